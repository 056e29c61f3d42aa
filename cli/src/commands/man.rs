//! `ensue man`: man pages, generated from the definition of the command line.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use super::CommandLine;
use crate::report::{CommandResult, Failure, say, say_bytes};

/// Print the man page, or write the pages of all commands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue man | man -l -
  ensue man --all ~/.local/share/man/man1     man ensue-executions-list")]
pub(crate) struct Man {
    /// Write the pages of all commands into a folder. Existing pages are overwritten.
    #[arg(long, value_name = "FOLDER")]
    all: Option<PathBuf>,
}

/// A page: its file, and its text in roff.
struct ManPage {
    file: String,
    text: Vec<u8>,
}

impl Man {
    pub(super) fn run(self) -> CommandResult {
        let pages = pages()?;
        match (self.all, pages.first()) {
            (Some(folder), _) => write(&folder, &pages),
            (None, Some(first)) => {
                say_bytes(&first.text);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

/// Returns the pages of all commands, that of `ensue` itself first.
fn pages() -> Result<Vec<ManPage>, Failure> {
    let mut line = CommandLine::command().disable_help_subcommand(true);
    line.build();
    let mut pages = Vec::new();
    push_pages(&line, &mut pages).map_err(|error| Failure::new(format!("a man page cannot be created: {error}")))?;
    Ok(pages)
}

fn push_pages(command: &clap::Command, pages: &mut Vec<ManPage>) -> std::io::Result<()> {
    // Clap's name for a command with its parents' names: `ensue-executions-list`.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = clap_mangen::Man::new(command.clone()).source(concat!("ensue ", env!("CARGO_PKG_VERSION"))).manual("Ensue");
    let mut text = Vec::new();
    man.render(&mut text)?;
    pages.push(ManPage { file: format!("{name}.1"), text });
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| push_pages(command, pages))
}

fn write(folder: &Path, pages: &[ManPage]) -> CommandResult {
    let failed = |path: &Path, error: &std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for page in pages {
        let path = folder.join(&page.file);
        std::fs::write(&path, &page.text).map_err(|error| failed(&path, &error))?;
        say(path.display().to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_man_page_with_options_and_examples() {
        let pages = pages().unwrap();
        let files: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(files[0], "ensue.1");
        for file in ["ensue-executions.1", "ensue-executions-list.1", "ensue-dead-letters-show.1", "ensue-man.1"] {
            assert!(files.contains(&file), "{files:?}");
        }
        assert!(!files.contains(&"ensue-supervisor.1"), "nobody needs to call it");
        let list = pages.iter().find(|page| page.file == "ensue-executions.1").unwrap();
        let text = String::from_utf8(list.text.clone()).unwrap();
        assert!(text.contains("SYNOPSIS") && text.contains("ensue executions settle"), "{text}");
        for page in &pages {
            let text = String::from_utf8(page.text.clone()).unwrap();
            let heading = text.lines().find(|line| line.starts_with(".TH ")).unwrap();
            let of_release = concat!("\"ensue ", env!("CARGO_PKG_VERSION"), "\"");
            assert!(heading.contains(of_release) && heading.trim_end().ends_with("Ensue"), "{}: {heading}", page.file);
        }
    }

    #[test]
    fn existing_pages_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("man1");
        let pages = [ManPage { file: "ensue.1".into(), text: b"new".to_vec() }];
        write(&folder, &[ManPage { file: "ensue.1".into(), text: b"old".to_vec() }]).unwrap();
        write(&folder, &pages).unwrap();
        assert_eq!(std::fs::read(folder.join("ensue.1")).unwrap(), b"new");
    }
}

//! `ensue init`: creates a folder to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use ensue_engine::names::PackName;
use ensue_packs::{init::pack_name_of, init_files};

use super::schema;
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};

/// The folder of a project's schemas, which the first line of each of its files names for editors.
const SCHEMAS: &str = ".ensue/schemas";

/// Create a folder with a node's settings and a first pack. The pack has one rule and one test.
/// The folder also has JSON Schemas for editors.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue init my-automation
  ensue init . --pack release")]
pub(crate) struct Init {
    /// The folder. It is created if it does not exist. Existing files are not overwritten.
    folder: PathBuf,
    /// The name of the pack [default: the name of the folder].
    #[arg(long, value_name = "NAME")]
    pack: Option<PackName>,
}

impl Init {
    pub(super) fn run(self) -> CommandResult {
        let pack = match self.pack {
            Some(pack) => pack,
            None => pack_of(&self.folder)?,
        };
        let mut files = init_files(&pack);
        files.extend(schema::all().into_iter().map(|(file, text)| (format!("{SCHEMAS}/{file}"), text)));
        // Conflicting files are reported before anything is written.
        if let Some((path, _)) = files.iter().find(|(path, _)| self.folder.join(path).exists()) {
            let path = self.folder.join(path);
            return Err(Failure::with(Exit::Refused, format!("`{}` already exists; nothing was written", path.display()))
                .hint("choose another folder, or move the existing file away"));
        }
        for (path, text) in &files {
            write_new(&self.folder.join(path), text)?;
            say(self.folder.join(path).display().to_string());
        }
        eprint_line(closing(&self.folder, &pack));
        Ok(())
    }
}

fn pack_of(folder: &Path) -> Result<PackName, Failure> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = absolute.file_name().and_then(|name| name.to_str()).and_then(pack_name_of);
    name.ok_or_else(|| {
        Failure::with(Exit::Usage, format!("`{}` cannot be turned into a pack's name", folder.display()))
            .hint("name the pack: --pack my_automation")
    })
}

fn write_new(path: &Path, text: &str) -> CommandResult {
    let failed = |error: std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::options().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn closing(folder: &Path, pack: &PackName) -> String {
    let enter = if folder == Path::new(".") { String::new() } else { format!("  cd {}\n", folder.display()) };
    format!(
        "\n\
         Next:\n\
         {enter}  ensue check packs/\n\
         \x20 ensue serve --watch                       # prints a token at the very first start,\n\
         \x20                                           # and installs packs as you edit them\n\
         \n\
         and in another terminal:\n\
         \x20 export ENSUE_TOKEN=…                      # the token that it printed\n\
         \x20 ensue events send {pack}.hello --data '{{\"name\": \"Ada\"}}'\n\
         \x20 ensue keys set {pack}.webhook_secret\n\
         \x20 ensue hooks                               # where senders deliver, and their deliveries"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_folder_has_a_valid_pack_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("my-automation");
        let init = || Init { folder: folder.clone(), pack: None };
        init().run().unwrap();
        assert!(folder.join("ensue.yaml").is_file());
        assert!(folder.join("packs/my_automation/pack.yaml").is_file());
        assert_eq!(init().run().unwrap_err().exit(), Exit::Refused);
    }

    #[test]
    fn first_line_of_each_file_names_an_existing_schema() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("my-automation");
        Init { folder: folder.clone(), pack: None }.run().unwrap();
        let pack: PackName = "my_automation".parse().unwrap();
        let mut named = 0;
        for (path, text) in init_files(&pack).iter().filter(|(path, _)| path.ends_with(".yaml") && !path.ends_with(".test.yaml")) {
            let file = folder.join(path);
            let schema = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema=")).unwrap();
            assert!(file.parent().unwrap().join(schema).is_file(), "{path}: {schema}");
            named += 1;
        }
        assert_eq!(named, 5);
    }
}

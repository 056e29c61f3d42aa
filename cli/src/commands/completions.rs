//! `ensue completions`: completion scripts for shells, generated from the definition of the command line.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;

use super::CommandLine;
use crate::report::{CommandResult, say_bytes};

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(ensue completions bash)               for this shell
  ensue completions bash > ~/.local/share/bash-completion/completions/ensue
  ensue completions zsh > ~/.zfunc/_ensue        a folder of your fpath
  ensue completions fish > ~/.config/fish/completions/ensue.fish")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> CommandResult {
        say_bytes(&script(self.shell));
        Ok(())
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut CommandLine::command(), "ensue", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(command: &clap::Command) -> Vec<String> {
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        shown.flat_map(|command| std::iter::once(command.get_name().to_owned()).chain(names(command))).collect()
    }

    #[test]
    fn each_shell_completes_every_command() {
        let names = names(&CommandLine::command());
        assert!(names.iter().any(|name| name == "dead-letters"), "{names:?}");
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for name in &names {
                assert!(script.contains(name.as_str()), "{shell:?} knows no `{name}`");
            }
        }
    }
}

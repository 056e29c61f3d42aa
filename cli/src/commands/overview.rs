//! The list of commands in `ensue -h` and `ensue --help`, grouped by purpose.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::CommandLine;
use crate::output::GLOBAL_OPTIONS;

/// Each group with its commands, in the order in which a newcomer needs them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Start", &["demo", "init", "serve", "status", "doctor", "settings"]),
    ("Write packs", &["check", "lint", "pack", "eval", "cron", "schema", "packs", "actions", "triggers", "sensors", "rules"]),
    ("Run and answer", &["run", "events", "hooks", "executions", "inquiries", "replay"]),
    ("Look", &["why", "search", "explain", "enforcements", "timers", "queues", "locks", "log", "top"]),
    ("Access", &["tokens", "identities", "roles", "grants", "audit", "auth", "login", "logout", "password", "sessions", "whoami", "usage"]),
    (
        "Operate",
        &["keys", "connections", "vars", "profiles", "dead-letters", "parked", "clock", "restore", "views", "bench", "completions", "man"],
    ),
];

/// The width of the column of names.
const NAME_COLUMNS: usize = 14;

/// Returns the command line as it is parsed, with its commands in groups.
pub(crate) fn command_line() -> Command {
    let line = CommandLine::command();
    let template = template(&line);
    line.help_template(template)
}

/// Returns the template of the help, in which clap fills in everything except the commands.
fn template(line: &Command) -> String {
    let heading = line.get_styles().get_header();
    let name_style = line.get_styles().get_literal();
    let mut template = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n".to_owned();
    for (group, names) in GROUPS {
        let _ = writeln!(template, "{heading}{group}:{heading:#}");
        for name in names {
            let _ = writeln!(template, "  {name_style}{name:<NAME_COLUMNS$}{name_style:#}{}", about(line, name));
        }
    }
    let _ = write!(template, "\n{heading}{GLOBAL_OPTIONS}:{heading:#}\n{{options}}{{after-help}}");
    template
}

/// Returns the first sentence of a command's description.
fn about(line: &Command, name: &str) -> String {
    let about = line.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string).unwrap_or_default();
    about.split_once(". ").map_or(about.clone(), |(first, _)| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once_with_a_description() {
        let line = command_line();
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        listed.sort_unstable();
        let mut known: Vec<&str> = line.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        known.sort_unstable();
        assert_eq!(listed, known);
        for name in listed {
            assert!(!about(&line, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn short_help_has_at_most_78_lines_of_100_columns() {
        let help = command_line().render_help().to_string();
        assert!(help.lines().count() <= 78, "{} lines", help.lines().count());
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 100).collect();
        assert_eq!(wide, Vec::<&str>::new());
        for only_long in ["First steps:", "Exit codes:"] {
            assert!(!help.contains(only_long), "{help}");
            assert!(command_line().render_long_help().to_string().contains(only_long), "{only_long}");
        }
    }

    #[test]
    fn each_command_has_one_line_in_its_group() {
        let help = command_line().render_help().to_string();
        let list: Vec<&str> = help.lines().skip_while(|line| *line != "Start:").take_while(|line| !line.is_empty()).collect();
        insta::assert_snapshot!(list.join("\n"));
    }

    /// Returns every command that is not hidden, with the names of its parents.
    fn all_commands(command: &Command, parents: &str) -> Vec<(String, Command)> {
        let name = format!("{parents} {}", command.get_name()).trim().to_owned();
        let below = command.get_subcommands().filter(|command| !command.is_hide_set());
        let below: Vec<_> = below.flat_map(|command| all_commands(command, &name)).collect();
        std::iter::once((name, command.clone())).chain(below).collect()
    }

    /// Returns the lines under "Examples:" in the help of a command.
    fn examples(command: &mut Command) -> Vec<String> {
        let help = command.render_long_help().to_string();
        let lines = help.lines().skip_while(|line| *line != "Examples:" && *line != "First steps:").skip(1);
        lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn help_of_every_command_has_examples() {
        let commands = all_commands(&command_line(), "");
        assert!(commands.len() > 90, "only {} commands were found", commands.len());
        let mut without = Vec::new();
        for (name, mut command) in commands {
            if examples(&mut command).is_empty() {
                without.push(name);
            }
        }
        assert_eq!(without, Vec::<String>::new());
    }

    /// Splits the call of `ensue` out of a line of a shell, without redirections and the explanation behind two
    /// spaces.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line[line.find("ensue").unwrap_or_default()..].replace("  ", " # ").chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (_, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                ('|' | '<' | '>' | '#' | '&' | ')', None) => break,
                (_, _) => words.last_mut().expect("the list begins with a word").push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn examples_of_every_command_are_parsed() {
        for (name, mut command) in all_commands(&command_line(), "") {
            for example in examples(&mut command) {
                let parsed = command_line().try_get_matches_from(words(&example));
                let error = parsed.err().map(|error| error.to_string());
                assert!(error.is_none(), "{name}: {example}: {error:?}");
            }
        }
    }

    /// Returns the calls of `ensue` in a page: those between backticks, which may go over lines, and indented ones.
    fn calls(page: &str) -> Vec<String> {
        let quoted = page.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "));
        let indented = page.lines().filter(|line| line.starts_with("    ")).map(|line| line.trim().to_owned());
        quoted.chain(indented).filter(|call| call == "ensue" || call.starts_with("ensue ")).collect()
    }

    #[test]
    fn commands_in_the_readmes_of_the_library_are_parsed() {
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../packs/library");
        let (mut checked, mut broken) = (0, Vec::new());
        for pack in std::fs::read_dir(library).unwrap() {
            let readme = pack.unwrap().path().join("README.md");
            for call in calls(&std::fs::read_to_string(&readme).unwrap()) {
                checked += 1;
                if let Err(error) = command_line().try_get_matches_from(words(&call)) {
                    broken.push(format!("{}: {call}: {error}", readme.display()));
                }
            }
        }
        assert!(checked > 30, "only {checked} commands were found");
        assert_eq!(broken, Vec::<String>::new());
    }
}

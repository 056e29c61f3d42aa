//! The list of commands in `ensue --help`, grouped by purpose.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::CommandLine;
use crate::tree::wrapped;

/// Each group with its commands, in the order in which a newcomer needs them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Start", &["demo", "init", "serve", "status", "doctor"]),
    ("Write packs", &["check", "lint", "pack", "eval", "cron", "schema", "packs", "actions", "triggers", "rules"]),
    ("Run and answer", &["run", "events", "hooks", "executions", "inquiries", "replay"]),
    ("Look", &["why", "enforcements", "timers", "queues", "locks", "log", "top"]),
    (
        "Operate",
        &[
            "keys",
            "vars",
            "tokens",
            "profiles",
            "dead-letters",
            "parked",
            "clock",
            "restore",
            "views",
            "bench",
            "completions",
            "man",
            "version",
            "help",
        ],
    ),
];

/// The column in which descriptions begin, and their width: 80 columns together.
const NAME_COLUMNS: usize = 16;
const TEXT_COLUMNS: usize = 64;

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
            let mut texts = wrapped(&about(line, name), TEXT_COLUMNS).into_iter();
            let first = texts.next().unwrap_or_default();
            let _ = writeln!(template, "  {name_style}{name:<width$}{name_style:#}{first}", width = NAME_COLUMNS - 2);
            for text in texts {
                let _ = writeln!(template, "{:NAME_COLUMNS$}{text}", "");
            }
        }
        template.push('\n');
    }
    let _ = write!(template, "{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    template
}

/// Returns the first sentence of a command's description.
fn about(line: &Command, name: &str) -> String {
    // Clap adds this one itself when it parses.
    if name == "help" {
        return "Print this help, or the help of a command".to_owned();
    }
    let about = line.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string).unwrap_or_default();
    about.split_once(". ").map_or(about.clone(), |(first, _)| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once_with_a_description() {
        let line = command_line();
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).filter(|name| *name != "help").collect();
        listed.sort_unstable();
        let mut known: Vec<&str> = line.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        known.sort_unstable();
        assert_eq!(listed, known);
        for name in listed {
            assert!(!about(&line, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn command_list_fits_on_one_screen() {
        let help = command_line().render_help().to_string();
        let list: Vec<&str> = help.lines().skip_while(|line| *line != "Start:").take_while(|line| *line != "Options:").collect();
        insta::assert_snapshot!(list.join("\n"));
    }
}

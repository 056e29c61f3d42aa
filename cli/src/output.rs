//! Prints answers: for people as tables and lines, for programs as JSON or YAML.
//!
//! The output formats are defined only here. Each command defines how its documents are shown to people.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::report::{CommandResult, Exit, Failure, printable_json, say};
use crate::style::{self, Colour, Style};
use crate::{frame, pager, table, yaml};

/// The heading of the options that every command takes.
pub(crate) const GLOBAL_OPTIONS: &str = "Global options";

/// How the answers of a command are printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// The output format: table, json or yaml [default: table].
    ///
    /// `table` is for people. `json` and `yaml` print one document.
    #[arg(
        id = "output", long, short, global = true, value_enum, default_value_t, value_name = "FORM",
        hide_possible_values = true, hide_default_value = true, help_heading = GLOBAL_OPTIONS
    )]
    form: OutputFormat,
    /// When to use color. `auto` uses it on a terminal, unless NO_COLOR is set.
    #[arg(
        id = "color", long, global = true, value_enum, default_value_t, value_name = "WHEN",
        hide_short_help = true, help_heading = GLOBAL_OPTIONS
    )]
    colour: Colour,
    /// Do not use a pager for long output.
    #[arg(long, global = true, hide_short_help = true, help_heading = GLOBAL_OPTIONS)]
    no_pager: bool,
}

/// The forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Writes JSON to standard output: unchanged to a program, escaped to a terminal so that it cannot control
/// it.
fn say_json(json: &str) {
    if std::io::stdout().is_terminal() { say(printable_json(json)) } else { say(json) }
}

impl Output {
    /// Returns the style of standard output.
    pub(crate) fn style(self) -> Style {
        Style::new(self.colour, std::io::stdout().is_terminal())
    }

    /// Returns the style of standard error.
    pub(crate) fn style_of_errors(self) -> Style {
        Style::new(self.colour, std::io::stderr().is_terminal())
    }

    /// Returns true if a person reads the answer: then text may surround it.
    pub(crate) fn is_for_people(self) -> bool {
        match self.form {
            OutputFormat::Table => true,
            OutputFormat::Json | OutputFormat::Yaml => false,
        }
    }

    /// Fails if a format other than the plain one is requested, because the option's output is not a
    /// document. Clap would detect this on one level only.
    pub(crate) fn must_be_plain(self, option: &str) -> CommandResult {
        if self.is_for_people() {
            return Ok(());
        }
        Err(Failure::with(Exit::Usage, format!("`{option}` prints an image, so --output does not apply")).hint("leave out --output"))
    }

    /// Prints a document to programs; for people, calls `tell`.
    pub(crate) fn print(self, document: &Value, tell: impl FnOnce()) {
        match self.form {
            OutputFormat::Table => tell(),
            OutputFormat::Json => say_json(&format!("{document:#}")),
            OutputFormat::Yaml => say(yaml::document(document).trim_end()),
        }
    }

    /// Prints one document: for people, the lines that `show` returns, possibly none; otherwise the document
    /// itself.
    pub(crate) fn print_one(self, document: &Value, show: impl FnOnce(&Value) -> String) {
        self.print(document, || {
            let shown = show(document);
            if !shown.trim_end().is_empty() {
                self.page(shown.trim_end());
            }
        });
    }

    /// Prints documents as rows for people, or as they are.
    pub(crate) fn print_list(self, answer: &Value, columns: &[table::Column]) {
        self.print(answer, || self.page(&table::page(answer, columns)));
    }

    /// Prints one document of a possibly endless series: a line for people, a line of JSON, or a separate
    /// YAML document.
    pub(crate) fn print_next(self, document: &Value, line: impl FnOnce(&Value) -> String) {
        match self.form {
            OutputFormat::Table => say(line(document)),
            OutputFormat::Json => say_json(&document.to_string()),
            OutputFormat::Yaml => say(format!("---\n{}", yaml::document(document).trim_end())),
        }
    }

    /// Prints a document of a series from the API's own text: JSON keeps those bytes, on one line.
    pub(crate) fn print_raw_next(self, raw: &str, line: impl FnOnce(&Value) -> String) {
        match self.form {
            // A line break can appear only between values, where a space is equivalent.
            OutputFormat::Json => say_json(&raw.trim().replace(['\n', '\r'], " ")),
            OutputFormat::Table | OutputFormat::Yaml => self.print_next(&serde_json::from_str(raw).unwrap_or_default(), line),
        }
    }

    /// Prints a new version of a document: over the previous one at a terminal, after it elsewhere.
    pub(crate) fn print_again(self, document: &Value, show: impl FnOnce(&Value) -> String) {
        match (self.form, table::terminal().filter(|_| !style::is_dumb())) {
            (OutputFormat::Table, Some(size)) => frame::draw(&show(document), size),
            (OutputFormat::Table, None) => say(format!("{}\n", show(document).trim_end())),
            (OutputFormat::Json | OutputFormat::Yaml, _) => self.print_next(document, |_| String::new()),
        }
    }

    /// Prints text for people, in a pager if it is longer than the terminal.
    pub(crate) fn page(self, text: &str) {
        let is_paged = !self.no_pager && pager::is_wanted(text);
        if !(is_paged && pager::show(text)) {
            say(text);
        }
    }
}

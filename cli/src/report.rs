//! Reports errors to people, and determines the exit code of the program.
//!
//! Exit codes and the form of errors are defined only here. Requested output goes to standard output,
//! everything else to standard error.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use ensue_engine::explain::{Explain, Fault};
use serde_json::Value;

use crate::style::Style;

/// The exit codes of the program, documented in `docs/reference/exit-codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(clap::ValueEnum))]
pub(crate) enum Exit {
    /// The requested operation failed: a check found errors, an execution failed, the log is damaged.
    Failed = 1,
    /// The command line is invalid. Clap exits with this code.
    Usage = 2,
    /// No node answers.
    Unreachable = 3,
    /// The caller lacks permission.
    NotAllowed = 4,
    /// The thing does not exist.
    Missing = 5,
    /// The input is invalid, or the current state does not allow the operation.
    Refused = 6,
    /// The node cannot do it now; a later retry may work.
    TryLater = 7,
    /// The program could not continue: an internal error, or a log that failed under a running node.
    Internal = 70,
    /// The program was interrupted before it was done.
    Interrupted = 130,
}

impl Exit {
    /// Ends the program with this code immediately.
    pub(crate) fn now(self) -> ! {
        std::process::exit(self as i32)
    }
}

impl From<Fault> for Exit {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed | Fault::Invalid | Fault::Conflict | Fault::TooLarge => Self::Refused,
            Fault::Unauthenticated | Fault::Forbidden => Self::NotAllowed,
            Fault::Missing => Self::Missing,
            Fault::Busy | Fault::Unavailable => Self::TryLater,
            Fault::World => Self::Failed,
            Fault::Bug => Self::Internal,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    notes: Vec<String>,
    hint: Option<String>,
    is_reported: bool,
    /// The code of the node's problem, if the node refused.
    code: Option<Box<str>>,
}

/// The result of a command.
pub(crate) type CommandResult = Result<(), Failure>;

impl Failure {
    /// Creates a failure of the requested operation.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with(Exit::Failed, message)
    }

    /// Creates a failure with a reason and an exit code.
    pub(crate) fn with(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), notes: Vec::new(), hint: None, is_reported: false, code: None }
    }

    /// Converts an error that explains itself.
    pub(crate) fn from_error(error: &dyn Explain) -> Self {
        Self { hint: error.hint(), ..Self::with(error.fault().into(), chain(error)) }
    }

    /// Adds a hint: what to type next.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds lines between the message and the hint.
    #[must_use]
    pub(crate) fn notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Returns the failure as one that was already written in another form: only its exit code still counts.
    #[must_use]
    pub(crate) fn suppress_report(self) -> Self {
        Self { is_reported: true, ..self }
    }

    /// Adds the code of the node's problem.
    #[must_use]
    pub(crate) fn with_code(self, code: Option<String>) -> Self {
        Self { code: code.map(Into::into), ..self }
    }

    /// Returns the code of the node's problem, if the node refused.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the hint, if there is one.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    fn show(&self, style: Style) -> String {
        let mut text = format!("{} {}\n", style.bad("error:"), printable(&self.message));
        for note in &self.notes {
            let _ = writeln!(text, "  {}", printable(note));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{} {}", style.good("hint:"), printable(hint));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns the message of an error and its causes, without repetitions.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Reports a failure, if there is one, and returns the exit code.
pub(crate) fn finish(outcome: CommandResult, style: Style) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_reported {
                eprint_line(failure.show(style).trim_end());
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Writes a line of requested output to standard output.
pub(crate) fn say(text: impl AsRef<str>) {
    say_bytes(format!("{}\n", text.as_ref()).as_bytes());
}

/// Writes raw bytes of requested output to standard output. If the reader has gone away (`| head`), the
/// program ends quietly: there is nothing left to do for it.
pub(crate) fn say_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        unwritten(&error);
    }
}

/// Prints clap's help or error, and returns the exit code.
pub(crate) fn say_of_clap(said: &clap::Error, colour: clap::ColorChoice) -> ExitCode {
    if said.use_stderr() {
        eprint_bytes(usage_error(said, Style::of_help(colour, std::io::stderr().is_terminal())).as_bytes());
    } else if let Err(error) = said.print().and_then(|()| std::io::stdout().flush()) {
        unwritten(&error);
    }
    ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(Exit::Usage as u8))
}

/// Returns the text of a usage error. Its suggestions are hints, as those of every other error.
fn usage_error(said: &clap::Error, style: Style) -> String {
    let text = said.render();
    let text = if style.is_coloured() { text.ansi().to_string() } else { text.to_string() };
    let lines = text.split_inclusive('\n').map(|line| match line.trim_start().split_once("tip:") {
        Some((color, tip)) if color.is_empty() || (color.starts_with('\u{1b}') && color.ends_with('m')) => format!("{color}hint:{tip}"),
        Some(_) | None => line.to_owned(),
    });
    lines.collect()
}

/// Ends the program because standard output cannot be written.
fn unwritten(error: &std::io::Error) -> ! {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprint_line(format!("error: standard output cannot be written: {error}"));
    Exit::Failed.now()
}

/// Writes a line for people to standard error.
pub(crate) fn eprint_line(text: impl AsRef<str>) {
    eprint_bytes(format!("{}\n", text.as_ref()).as_bytes());
}

/// Writes raw bytes to standard error.
pub(crate) fn eprint_bytes(bytes: &[u8]) {
    // There is nowhere else to report the error.
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// Returns true if both input and output are terminals, so that a person can be asked.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Returns the text without anything that could control a terminal: control characters, except line breaks
/// and tabs, and characters that change the direction of text. Both are shown as U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            control if control.is_control() || turns_text_around(control) => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// Returns true for characters that make a terminal show text in another order than it is read: the
/// bidirectional controls of Unicode.
pub(crate) fn turns_text_around(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns JSON text for a terminal: the characters that could control it are escaped, which does not change
/// the document.
pub(crate) fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && (character.is_control() || turns_text_around(character)) {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns the document with [`printable`] applied to each of its texts and names, for text that is colored
/// afterwards and would lose its colors otherwise.
pub(crate) fn printable_document(document: &Value) -> Value {
    match document {
        Value::String(text) => Value::String(printable(text)),
        Value::Array(items) => items.iter().map(printable_document).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (printable(name), printable_document(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::style::visible;

    #[test]
    fn failure_says_what_is_wrong_where_and_what_to_do_next() {
        let failure = Failure::with(Exit::Refused, "the parameters do not fit the action `core.http`")
            .notes(vec!["/url: is missing; it is a required string".into()])
            .hint("see `ensue actions show core.http`");
        insta::assert_snapshot!(failure.show(Style::PLAIN), @r"
        error: the parameters do not fit the action `core.http`
          /url: is missing; it is a required string
        hint: see `ensue actions show core.http`
        ");
    }

    #[test]
    fn color_marks_the_error_and_the_hint() {
        let failure = Failure::with(Exit::Missing, "there is no action `core.ecko`").hint("did you mean `core.echo`?");
        insta::assert_snapshot!(visible(&failure.show(Style::COLOURED)));
    }

    #[test]
    fn suggestion_of_a_usage_error_is_a_hint() {
        let command = || clap::Command::new("ensue").subcommand_required(true).subcommands(["events", "rules"].map(clap::Command::new));
        let mistake = |word: &str| command().try_get_matches_from(["ensue", word]).unwrap_err();
        insta::assert_snapshot!(usage_error(&mistake("evnts"), Style::PLAIN), @r"
        error: unrecognized subcommand 'evnts'

        hint: a similar subcommand exists: 'events'

        Usage: ensue <COMMAND>

        For more information, try '--help'.
        ");
        let coloured = visible(&usage_error(&mistake("evnts"), Style::COLOURED));
        assert!(coloured.contains("\n␛[32mhint:␛[0m a similar"), "{coloured}");
        let plain = usage_error(&mistake("a tip: b"), Style::PLAIN);
        assert!(plain.starts_with("error: unrecognized subcommand 'a tip: b'"), "{plain}");
    }

    #[test]
    fn control_characters_from_outside_are_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\tc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}\n\tc\u{fffd}");
    }

    #[test]
    fn json_on_a_terminal_is_escaped_and_stays_the_same_document() {
        let document = serde_json::json!({ "a": "x\u{202e}y\u{9b}z\n" });
        let shown = printable_json(&format!("{document:#}"));
        assert!(shown.contains(r"x\u202ey\u009bz\n"), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), document);
    }

    #[test]
    fn bidirectional_control_characters_are_replaced() {
        for turning in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars() {
            assert_eq!(printable(&format!("invoice{turning}fdp.exe")), "invoice\u{fffd}fdp.exe", "{turning:?}");
        }
        assert_eq!(printable("שלום עולם 日本 👩‍👩‍👧"), "שלום עולם 日本 👩‍👩‍👧", "scripts and joined signs stay as they are");
    }

    /// Returns the meaning of a code, as the reference documents it.
    fn meaning(exit: Exit) -> &'static str {
        match exit {
            Exit::Failed => "the requested operation failed",
            Exit::Usage => "the command line is invalid",
            Exit::Unreachable => "no node answers",
            Exit::NotAllowed => "not allowed",
            Exit::Missing => "not found",
            Exit::Refused => "rejected",
            Exit::TryLater => "try again later",
            Exit::Internal => "the program could not continue",
            Exit::Interrupted => "interrupted by Ctrl-C",
        }
    }

    #[test]
    fn exit_codes_match_the_reference() {
        let reference = include_str!("../../docs/reference/exit-codes.md");
        let rows = reference.lines().filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            Some((cells.next()?.parse::<u8>().ok()?, cells.next()?))
        });
        let documented: Vec<(u8, &str)> = rows.collect();
        let mut known = vec![(0, "success")];
        known.extend(Exit::value_variants().iter().map(|exit| (*exit as u8, meaning(*exit))));
        assert_eq!(documented, known);
    }

    #[test]
    fn every_failure_has_a_nonzero_exit_code() {
        for fault in [Fault::Malformed, Fault::Unauthenticated, Fault::Missing, Fault::Busy, Fault::World, Fault::Bug] {
            assert_ne!(Exit::from(fault) as u8, 0, "{fault:?}");
        }
    }
}

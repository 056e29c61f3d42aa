//! A pager for what is longer than the terminal, as `git` and `man` have one.
//!
//! Only where a person sits at the terminal: a pipe gets the text itself.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// What `$PAGER` is where it is not set.
const DEFAULT_PAGER: &str = "less";
/// How `less` is called where `$LESS` does not say: colours are shown, the screen is left as it is, and a short text needs no key.
const LESS_OPTIONS: &str = "FRX";

/// Says whether a text is to be paged: a person is there, and it is longer than the terminal.
pub(crate) fn is_wanted(text: &str) -> bool {
    let is_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    is_person && terminal_size::terminal_size().is_some_and(|(_, height)| is_longer(text, height.0))
}

/// Says whether a text and the prompt behind it need more lines than there are.
fn is_longer(text: &str, height: u16) -> bool {
    text.lines().count() >= usize::from(height)
}

/// The program that pages, and its arguments; none where the person wants none.
fn program(pager: Option<&str>) -> Option<Vec<&str>> {
    let words: Vec<&str> = pager.unwrap_or(DEFAULT_PAGER).split_whitespace().collect();
    match words.as_slice() {
        [] | ["cat"] => None,
        [_, ..] => Some(words),
    }
}

/// Shows a text in the pager, and waits until it is left; false where there is no pager.
pub(crate) fn show(text: &str) -> bool {
    let pager = std::env::var("PAGER").ok();
    let Some(words) = program(pager.as_deref()) else { return false };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS_OPTIONS);
    }
    let Ok(mut started) = command.spawn() else { return false };
    if let Some(mut stdin) = started.stdin.take() {
        // Who leaves the pager early has seen enough.
        let _ = stdin.write_all(text.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
    }
    // However it ended, the text was shown.
    let _ = started.wait();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_paged_when_its_last_line_would_scroll_away() {
        assert!(!is_longer(&"line\n".repeat(23), 24));
        assert!(is_longer(&"line\n".repeat(24), 24));
    }

    #[test]
    fn whoever_wants_no_pager_names_none_or_cat() {
        assert_eq!(program(None), Some(vec!["less"]));
        assert_eq!(program(Some("more -d")), Some(vec!["more", "-d"]));
        assert_eq!((program(Some("")), program(Some("cat"))), (None, None));
    }
}

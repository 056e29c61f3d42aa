//! Colour, where a person sees it: not in a pipe, not with `NO_COLOR`, not on a dumb terminal.
//!
//! What is printed reads as well without.

use std::io::IsTerminal;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_coloured: bool,
}

impl Style {
    /// No colour.
    pub(crate) const PLAIN: Self = Self { is_coloured: false };

    /// Gives the style for standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// Gives the style for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(is_terminal: bool) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_coloured: is_terminal && !is_unwanted && !is_dumb }
    }

    /// What is right.
    pub(crate) fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// What is wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    /// What to look at.
    pub(crate) fn strong(self, text: &str) -> String {
        self.painted("1", text)
    }

    /// What may be passed over.
    pub(crate) fn faint(self, text: &str) -> String {
        self.painted("2", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.is_coloured && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

//! Secrets that somebody types without seeing them, or sends to standard input, one in each line.

use std::io::{IsTerminal as _, Read as _};

use crate::report::{Exit, Failure};

/// The most bytes that are read.
const BYTES_MAX: u64 = 16 * 1024;

/// Where secrets come from.
pub(crate) enum SecretInput {
    /// A person types them.
    Terminal,
    /// The lines of standard input that were not used.
    Lines(std::collections::VecDeque<String>),
}

impl SecretInput {
    /// Reads standard input, unless it is a terminal.
    pub(crate) fn open() -> Result<Self, Failure> {
        if std::io::stdin().is_terminal() {
            return Ok(Self::Terminal);
        }
        let mut text = String::new();
        let read = std::io::stdin().take(BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
        Ok(Self::Lines(text.lines().map(str::to_owned).collect()))
    }

    /// Asks for a secret, which must not be empty.
    pub(crate) fn ask(&mut self, what: &str) -> Result<String, Failure> {
        self.ask_if_given(what)?.ok_or_else(|| {
            Failure::with(Exit::Usage, format!("no {what} was given"))
                .hint("type it, or send it to standard input: one line for each secret, in the order in which the command asks for them")
        })
    }

    /// Asks for a secret. Returns `None` if it is empty, or if standard input has no further line.
    pub(crate) fn ask_if_given(&mut self, what: &str) -> Result<Option<String>, Failure> {
        let given = match self {
            Self::Terminal => rpassword::prompt_password(format!("{what} (not shown): "))
                .map_err(|error| Failure::new(format!("the {what} cannot be read: {error}")))?,
            Self::Lines(lines) => lines.pop_front().unwrap_or_default(),
        };
        Ok(Some(given).filter(|given| !given.is_empty()))
    }

    /// Asks for a new secret, twice on a terminal.
    pub(crate) fn ask_new(&mut self, what: &str) -> Result<String, Failure> {
        let new = self.ask(what)?;
        if matches!(self, Self::Terminal) && self.ask(&format!("{what} again"))? != new {
            return Err(Failure::with(Exit::Usage, format!("the {what} was typed differently the second time")).hint("try again"));
        }
        Ok(new)
    }
}

//! Why something was not measured.

use std::fmt;

/// Why something was not measured.
#[derive(Debug)]
pub struct Unmeasured {
    /// Whose fault it is.
    pub fault: Fault,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// Whose fault it is that something was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for does not make sense.
    Asked,
    /// A file that was named cannot be used.
    Given,
    /// The machine or the node did not do its part.
    World,
}

impl Unmeasured {
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), hint: None }
    }

    pub(crate) fn world(message: impl Into<String>) -> Self {
        Self::new(Fault::World, message)
    }

    /// Says what could not be measured, and why.
    pub(crate) fn of(what: &str, error: &std::io::Error) -> Self {
        Self::world(format!("`{what}` could not be measured: {error}"))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Unmeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

//! Why a measurement failed.

use std::fmt;

/// Why a measurement failed.
#[derive(Debug)]
pub struct MeasurementError {
    /// The cause of the failure.
    pub fault: Fault,
    /// What is wrong, for people.
    pub message: String,
    /// How to fix it, if known.
    pub hint: Option<String>,
}

/// The cause of a failed measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request makes no sense.
    Asked,
    /// A named file cannot be used.
    Given,
    /// The machine or the node did not do its part.
    World,
}

impl MeasurementError {
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), hint: None }
    }

    pub(crate) fn world(message: impl Into<String>) -> Self {
        Self::new(Fault::World, message)
    }

    /// Creates an error from what could not be measured, and why.
    pub(crate) fn of(what: &str, error: &std::io::Error) -> Self {
        Self::world(format!("`{what}` could not be measured: {error}"))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for MeasurementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

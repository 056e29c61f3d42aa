//! Why a source cannot go on: the kind, which decides how soon it is tried again, and a sentence for people.

use std::time::Duration;

pub use ensue_engine::sensors::facts::SensorErrorKind;
use thiserror::Error;

/// Why a source cannot go on. Its run ends, and the node starts another one later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SourceError {
    /// What kind of problem it is.
    pub kind: SensorErrorKind,
    /// The problem, for people: a lower-case fragment without secrets.
    pub message: String,
    /// How long the other side asks to be left alone, if it does.
    pub retry_after: Option<Duration>,
}

impl SourceError {
    /// Returns an error of a kind.
    pub fn new(kind: SensorErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Returns the error with the time that the other side asks to be left alone.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

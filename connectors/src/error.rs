//! Why a source cannot go on: the kind, which decides how soon it is tried again, and a sentence for people.

use std::time::Duration;

use thiserror::Error;

/// Why a source cannot go on. Its run ends, and the node starts another one later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SourceError {
    /// What kind of problem it is.
    pub kind: SourceErrorKind,
    /// The problem, for people: a lower-case fragment without secrets.
    pub message: String,
    /// How long the other side asks to be left alone, if it does.
    pub retry_after: Option<Duration>,
}

impl SourceError {
    /// Returns an error of a kind.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Returns the error with the time that the other side asks to be left alone.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

/// The kind of a source's problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The other side cannot be reached, or the connection broke.
    Connect,
    /// The other side's certificate is not accepted, or it does not accept ours.
    Tls,
    /// The other side does not accept our credentials.
    Auth,
    /// The thing to read does not exist: a file, a program, a page.
    NotFound,
    /// The other side answers in a form that is not expected.
    Protocol,
    /// The other side did not answer in time.
    Timeout,
    /// The program ended.
    Exited,
    /// An expression of the sensor failed.
    Emits,
    /// Too many messages could not be read.
    Poisoned,
    /// A limit was exceeded.
    Limit,
    /// The operator does not allow requests to that address.
    EgressDenied,
    /// A key that the sensor needs is not set.
    KeyMissing,
    /// An internal error.
    Bug,
}

impl SourceErrorKind {
    /// Returns its name in facts and answers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Exited => "exited",
            Self::Emits => "emits",
            Self::Poisoned => "poisoned",
            Self::Limit => "limit",
            Self::EgressDenied => "egress_denied",
            Self::KeyMissing => "key_missing",
            Self::Bug => "bug",
        }
    }

    /// Returns true if only a person can repair it, so that trying again soon is pointless.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Auth | Self::NotFound | Self::KeyMissing => true,
            Self::Connect
            | Self::Tls
            | Self::Protocol
            | Self::Timeout
            | Self::Exited
            | Self::Emits
            | Self::Poisoned
            | Self::Limit
            | Self::EgressDenied
            | Self::Bug => false,
        }
    }
}

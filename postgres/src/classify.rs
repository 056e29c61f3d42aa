//! What an error of the database means for the statement that was sent.

use std::error::Error as _;
use std::fmt;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// What became of a statement that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It may have been committed.
    Unknown(String),
    /// It was rolled back; the same statement may succeed later.
    Again(String),
    /// It was rolled back, because the server is not the primary.
    NotPrimary(String),
    /// It was rolled back: a constraint does not allow it.
    Constraint(String),
    /// It was rolled back: a disk of the server is full.
    Full,
    /// It was not sent: the server lacks records of the log that were acknowledged.
    Rewritten(String),
    /// It was rolled back, and would be again.
    Refused(String),
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("a disk of the server is full"),
            Self::Unknown(why)
            | Self::Again(why)
            | Self::NotPrimary(why)
            | Self::Constraint(why)
            | Self::Rewritten(why)
            | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Returns what an error means.
pub(crate) fn meaning(error: &Error) -> Meaning {
    match error.as_db_error() {
        Some(told) => of_server(told),
        None if is_ours(error) => Meaning::Refused(text(error)),
        None => Meaning::Unknown(text(error)),
    }
}

/// Returns what a message of the server means. An error of the session (`FATAL`) or of the server (`PANIC`) may come at
/// any time, also while a commit waits.
fn of_server(told: &DbError) -> Meaning {
    let why = describe_db_error(told);
    if !matches!(told.parsed_severity(), Some(Severity::Error)) {
        return Meaning::Unknown(why);
    }
    let code = told.code();
    if *code == SqlState::DISK_FULL {
        return Meaning::Full;
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Meaning::NotPrimary(why);
    }
    match &code.code()[..2] {
        "23" => Meaning::Constraint(why),
        // Conflicts with others, limits of resources, and what an administrator canceled.
        "40" | "53" | "55" | "57" => Meaning::Again(why),
        _ => Meaning::Refused(why),
    }
}

/// Returns true if the client rejected the statement before it was sent.
fn is_ours(error: &Error) -> bool {
    // The driver does not expose the kind. Its errors of encoding begin like this.
    let said = error.to_string();
    said.starts_with("error serializing parameter") || said.starts_with("error encoding message") || said.starts_with("expected ")
}

/// Returns the message of an error with its cause.
pub(crate) fn text(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(told), _) => describe_db_error(told),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

fn describe_db_error(told: &DbError) -> String {
    format!("{} ({})", told.message(), told.code().code())
}

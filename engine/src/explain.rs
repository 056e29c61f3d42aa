//! Errors for people: what each reports in addition to its message.
//!
//! HTTP is left to the API, and exit codes to the command line.

use std::any::Any;

pub use ensue_derive::Explain;

/// An error that a person may see.
pub trait Explain: std::error::Error {
    /// Returns the error's page: `docs/errors/<slug>.md`.
    fn slug(&self) -> &'static str;
    /// Returns who has to act.
    fn fault(&self) -> Fault;
    /// Returns what to type or change next.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Returns the text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

/// The class of an error, which shows who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input is malformed.
    Malformed,
    /// The input is not valid.
    Invalid,
    /// The caller is not authenticated.
    Unauthenticated,
    /// The caller is not allowed to do this.
    Forbidden,
    /// The thing does not exist.
    Missing,
    /// The current state does not allow it.
    Conflict,
    /// The input is too large.
    TooLarge,
    /// Too many requests: try again later.
    Busy,
    /// The node cannot do it now: try again later.
    Unavailable,
    /// Something outside Ensue failed.
    World,
    /// An internal error.
    Bug,
}

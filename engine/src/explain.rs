//! Errors for people: what each says beside its message.
//!
//! It knows neither HTTP (the API does) nor exit codes (the command line does).

mod outcomes;

use std::any::Any;

/// An error that a person can meet.
pub trait Explain: std::error::Error {
    /// Gives the error's page: `docs/errors/<slug>.md`.
    fn slug(&self) -> &'static str;
    /// Says whose move it is.
    fn fault(&self) -> Fault;
    /// Says what to type or change next.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Gives what a panic says.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

/// Whose move it is after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was given is malformed.
    Malformed,
    /// What was given does not fit.
    Invalid,
    /// The caller has not said who they are.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The thing is not there.
    Missing,
    /// The state does not allow it now.
    Conflict,
    /// What was given is too large.
    TooLarge,
    /// Too much at once: try again later.
    Busy,
    /// The node cannot do it now: try again later.
    Unavailable,
    /// The world outside did not cooperate.
    World,
    /// A bug of ours.
    Bug,
}

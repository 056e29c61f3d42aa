//! The error type of the ports.

use ensue_engine::catalog::Misfit;
use ensue_engine::explain::Explain;

/// The error with which a port rejects a request: a message for people, and the places where the input does not
/// fit.
#[derive(Debug)]
pub struct PortError {
    /// The reason, whose turn it is to act, and what to do.
    pub why: Box<dyn Explain + Send + Sync>,
    /// Where the input does not fit; empty for other kinds of errors.
    pub misfits: Vec<Misfit>,
}

impl PortError {
    /// Adds the places where the input does not fit.
    #[must_use]
    pub fn with_misfits(self, misfits: Vec<Misfit>) -> Self {
        Self { misfits, ..self }
    }
}

impl<E: Explain + Send + Sync + 'static> From<E> for PortError {
    fn from(why: E) -> Self {
        Self { why: Box::new(why), misfits: Vec::new() }
    }
}

//! What a port says no with.

use ensue_engine::catalog::Misfit;
use ensue_engine::explain::Explain;

/// What a port says no with: an error for people, and where what was given does not fit.
#[derive(Debug)]
pub struct Declined {
    /// Why, with whose move it is and what to do.
    pub why: Box<dyn Explain + Send + Sync>,
    /// Where what was given does not fit; empty where the error is of another kind.
    pub misfits: Vec<Misfit>,
}

impl Declined {
    /// Adds where what was given does not fit.
    #[must_use]
    pub fn with_misfits(self, misfits: Vec<Misfit>) -> Self {
        Self { misfits, ..self }
    }
}

impl<E: Explain + Send + Sync + 'static> From<E> for Declined {
    fn from(why: E) -> Self {
        Self { why: Box::new(why), misfits: Vec::new() }
    }
}

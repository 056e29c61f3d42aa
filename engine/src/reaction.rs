//! What follows from a record, as a noun reports it to the engine.

use crate::ids::ExecutionId;
use crate::record::{BodyHandle, Draft};

/// What follows from a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Reaction {
    /// These facts, and then perhaps more.
    Drafts {
        /// The facts.
        drafts: Vec<Draft>,
        /// Whether the record has a next consequence.
        then: Then,
        /// How many steps the rules took that were judged for it.
        steps: u64,
    },
    /// These bodies must be at hand first.
    Needs(Vec<BodyHandle>),
    /// This execution is paused, and what follows waits until it is resumed.
    Held(ExecutionId),
    /// What should follow cannot be worked out; the reaction is put aside.
    Impossible(String),
}

/// Which consequence of a record is asked for. A record has one after the other, so that a turn can end between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consequence(pub u32);

impl Consequence {
    /// The first.
    pub const FIRST: Self = Self(0);
    /// Comes after all others of any record: nothing is left but to start what waits for a worker or a lock.
    pub const LAST: Self = Self(u32::MAX);

    /// Returns the one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Whether a record has a next consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This was all.
    Nothing,
    /// The next one is to be asked for.
    More,
    /// This one is to be asked for: those before it are done with.
    From(Consequence),
}

impl Reaction {
    /// Nothing follows.
    pub(crate) fn nothing() -> Self {
        Self::last(Vec::new())
    }

    /// This follows, and nothing more.
    pub(crate) fn last(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::Nothing, steps: 0 }
    }

    /// This follows, and then the consequences from `next` on are to be asked for.
    pub(crate) fn from(drafts: Vec<Draft>, next: Consequence) -> Self {
        Self::Drafts { drafts, then: Then::From(next), steps: 0 }
    }

    /// This follows, and the next consequence is to be asked for.
    pub(crate) fn more(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::More, steps: 0 }
    }

    /// Returns the same, with the steps that rules took which were judged for it.
    pub(crate) fn taking(mut self, taken: u64) -> Self {
        if let Self::Drafts { steps, .. } = &mut self {
            *steps += taken;
        }
        self
    }
}

//! Reactions: the consequences of a record, as a noun reports them to the engine.

use crate::ids::ExecutionId;
use crate::record::{BodyHandle, Draft};

/// The consequences of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Reaction {
    /// These facts, and perhaps more after them.
    Drafts {
        /// The facts.
        drafts: Vec<Draft>,
        /// Whether the record has a next consequence.
        then: Then,
        /// How many steps the rules took that were judged for it.
        steps: u64,
    },
    /// These bodies must be fetched first.
    Needs(Vec<BodyHandle>),
    /// This execution is paused, and the consequences are held until it is resumed.
    Held(ExecutionId),
    /// The consequences cannot be computed; the reaction is parked.
    Impossible(String),
}

/// The index of a consequence. The consequences of a record come one after the other, so that a turn can end
/// between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consequence(pub u32);

impl Consequence {
    /// The first.
    pub const FIRST: Self = Self(0);
    /// Comes after all other consequences of any record: the only thing left is to start executions that wait
    /// for a worker or a lock.
    pub const LAST: Self = Self(u32::MAX);

    /// Returns the index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Whether a record has a next consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// There are no more.
    Nothing,
    /// Ask for the next one.
    More,
    /// Ask for this one: those before it are done.
    From(Consequence),
}

impl Reaction {
    /// Returns a reaction without consequences.
    pub(crate) fn nothing() -> Self {
        Self::last(Vec::new())
    }

    /// Returns a reaction with these drafts and nothing more.
    pub(crate) fn last(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::Nothing, steps: 0 }
    }

    /// Returns a reaction with these drafts, to continue with the consequences from `next` on.
    pub(crate) fn from(drafts: Vec<Draft>, next: Consequence) -> Self {
        Self::Drafts { drafts, then: Then::From(next), steps: 0 }
    }

    /// Returns a reaction with these drafts, to continue with the next consequence.
    pub(crate) fn more(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::More, steps: 0 }
    }

    /// Returns `None` if there is nothing to record and nothing more to ask for; else the drafts, to continue with the
    /// next ones.
    pub(crate) fn unless_nothing(self) -> Option<Self> {
        match self {
            Self::Drafts { drafts, .. } if drafts.is_empty() => None,
            Self::Drafts { drafts, .. } => Some(Self::more(drafts)),
            other @ (Self::Needs(_) | Self::Held(_) | Self::Impossible(_)) => Some(other),
        }
    }

    /// Returns the same reaction with the number of steps that judging rules took.
    pub(crate) fn taking(mut self, taken: u64) -> Self {
        if let Self::Drafts { steps, .. } = &mut self {
            *steps += taken;
        }
        self
    }
}

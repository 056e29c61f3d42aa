//! Reactions that an internal error stopped, and that wait for an operator to retry or dismiss them.
//!
//! A reaction that was retried or dismissed has no row; its history is in the log.

use std::fmt;

use ensue_engine::fact::Fact;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::view::{Column, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which parked reactions can be filtered: none.
pub const COLUMNS: &[Column] = &[];

/// A reaction that waits for an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParkedReaction {
    /// The record to which it is owed.
    pub of: Position,
    /// The position of the record that parked it.
    pub position: Position,
    /// The index among the record's consequences.
    pub next: u32,
    /// The error.
    pub error: String,
    /// When it was parked.
    pub parked_at: Timestamp,
}

/// The position of the record to which a reaction is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwedTo(pub Position);

impl fmt::Display for OwedTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<OwedTo> for Term {
    fn from(owed_to: OwedTo) -> Self {
        Self::Text(owed_to.to_string())
    }
}

impl View for ParkedReaction {
    const NAME: ViewName = ViewName::ParkedReactions;
    type Key = OwedTo;

    fn key(record: &Record) -> Option<Touch<OwedTo>> {
        match &record.fact {
            Fact::ReactionParked(fact) => Some(Touch::Changes(OwedTo(fact.of))),
            Fact::ReactionRetried(fact) => Some(Touch::Changes(OwedTo(fact.of))),
            Fact::ReactionDismissed(fact) => Some(Touch::Changes(OwedTo(fact.of))),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        match &record.fact {
            Fact::ReactionParked(fact) => {
                Some(Self { of: fact.of, position: record.position, next: fact.next, error: fact.error.clone(), parked_at: record.time })
            }
            Fact::ReactionRetried(_) | Fact::ReactionDismissed(_) => None,
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.parked_at
    }
}

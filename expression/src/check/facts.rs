//! Facts about paths that hold at a point because of the conditions around it.

use crate::ast::Span;
use crate::types::ValueType;

/// The maximum number of facts that are kept. Later ones are forgotten.
const FACTS_MAX: usize = 128;

/// Facts, latest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    stated: Vec<PathFact>,
}

#[derive(Clone, Debug)]
struct PathFact {
    path: Box<str>,
    fact: Fact,
    weight: Weight,
}

/// What is known about a path.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// It is there, and its value is one of these.
    Is(ValueType),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// Why a fact holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weight {
    /// Whatever depends on it is evaluated only if the fact holds.
    Firm,
    /// It comes from another operand of the same `&&` or `||`, written at this place. If that operand fails,
    /// the fact need not hold, and this one is evaluated even so.
    Beside(Span),
}

/// What all facts together say about a path.
pub(crate) struct PathSummary {
    pub(crate) is: Option<ValueType>,
    pub(crate) presence: Option<PathPresence>,
    /// The neighboring operand that says so, if any.
    pub(crate) beside: Option<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathPresence {
    Present,
    Absent,
}

impl Facts {
    pub(crate) fn len(&self) -> usize {
        self.stated.len()
    }

    /// Forgets all facts except the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.stated.truncate(len);
    }

    /// Returns the facts that hold wherever something depending on them is evaluated.
    pub(crate) fn firm(&self) -> Self {
        Self { stated: self.stated.iter().filter(|stated| matches!(stated.weight, Weight::Firm)).cloned().collect() }
    }

    pub(crate) fn state(&mut self, path: &str, fact: Fact, weight: Weight) {
        if self.stated.len() < FACTS_MAX {
            self.stated.push(PathFact { path: path.into(), fact, weight });
        }
    }

    pub(crate) fn of(&self, path: &str) -> PathSummary {
        let mut said = PathSummary { is: None, presence: None, beside: None };
        for stated in self.stated.iter().filter(|stated| *stated.path == *path) {
            match &stated.fact {
                Fact::Is(value) => {
                    said.is = Some(match said.is {
                        Some(before) => before.and(value),
                        None => value.clone(),
                    });
                    said.presence = said.presence.or(Some(PathPresence::Present));
                }
                Fact::Present => said.presence = said.presence.or(Some(PathPresence::Present)),
                Fact::Absent => said.presence = Some(PathPresence::Absent),
            }
            if let Weight::Beside(span) = stated.weight {
                said.beside = Some(span);
            }
        }
        said
    }
}

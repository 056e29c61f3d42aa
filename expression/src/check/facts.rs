//! Facts about paths that hold at a place because of the conditions around it.

use crate::ast::Span;
use crate::types::ValueType;

/// How many facts are kept; later ones are forgotten.
const FACTS_MAX: usize = 128;

/// Facts, the latest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    stated: Vec<Stated>,
}

#[derive(Clone, Debug)]
struct Stated {
    path: Box<str>,
    fact: Fact,
    weight: Weight,
}

/// What is known of a path.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// It is there, and its value is one of these.
    Is(ValueType),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// How a fact comes to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weight {
    /// What depends on it is evaluated only where it holds.
    Firm,
    /// It is another operand of the same `&&` or `||`, which is written here. Where that one errs, the fact need not hold, and
    /// this one is evaluated all the same.
    Beside(Span),
}

/// What all facts together say of a path.
pub(crate) struct Said {
    pub(crate) is: Option<ValueType>,
    pub(crate) presence: Option<Presence>,
    /// The operand beside that says so, if one does.
    pub(crate) beside: Option<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    Absent,
}

impl Facts {
    pub(crate) fn len(&self) -> usize {
        self.stated.len()
    }

    /// Forgets all facts but the first ones.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.stated.truncate(len);
    }

    /// The facts that hold wherever what depends on them is evaluated.
    pub(crate) fn firm(&self) -> Self {
        Self { stated: self.stated.iter().filter(|stated| matches!(stated.weight, Weight::Firm)).cloned().collect() }
    }

    pub(crate) fn state(&mut self, path: &str, fact: Fact, weight: Weight) {
        if self.stated.len() < FACTS_MAX {
            self.stated.push(Stated { path: path.into(), fact, weight });
        }
    }

    pub(crate) fn of(&self, path: &str) -> Said {
        let mut said = Said { is: None, presence: None, beside: None };
        for stated in self.stated.iter().filter(|stated| *stated.path == *path) {
            match &stated.fact {
                Fact::Is(value) => {
                    said.is = Some(match said.is {
                        Some(before) => before.and(value),
                        None => value.clone(),
                    });
                    said.presence = said.presence.or(Some(Presence::Present));
                }
                Fact::Present => said.presence = said.presence.or(Some(Presence::Present)),
                Fact::Absent => said.presence = Some(Presence::Absent),
            }
            if let Weight::Beside(span) = stated.weight {
                said.beside = Some(span);
            }
        }
        said
    }
}

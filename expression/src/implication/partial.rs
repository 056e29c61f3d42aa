//! A partly known value: the parts that an author wrote out of an event that an action is going to emit.

use std::collections::BTreeMap;

use super::test::{Test, no_whole_number_passes};
use crate::analyse::Literal;

/// What is known about a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// Nothing.
    Unknown,
    /// It is this value, which is neither a list nor a map.
    Literal(Literal),
    /// It is a whole number, or it is missing.
    Integer,
    /// It is a map with these fields and no others.
    Map(BTreeMap<String, Partial>),
    /// It is a map that has these fields, and maybe others.
    AtLeast(BTreeMap<String, Partial>),
}

impl Partial {
    /// Returns what is known about the value at a path, or nothing if it is missing or not known.
    pub(super) fn at(&self, path: &[String]) -> Option<&Self> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::Map(fields) | Self::AtLeast(fields) => fields.get(name)?.at(rest),
            Self::Unknown | Self::Literal(_) | Self::Integer => None,
        }
    }

    /// Returns true if there is nothing at a path, so that reading it is an error.
    pub(super) fn lacks(&self, path: &[String]) -> bool {
        let Some((name, rest)) = path.split_first() else { return false };
        match self {
            Self::Unknown => false,
            Self::Literal(_) | Self::Integer => true,
            Self::Map(fields) => fields.get(name).is_none_or(|field| field.lacks(rest)),
            Self::AtLeast(fields) => fields.get(name).is_some_and(|field| field.lacks(rest)),
        }
    }

    /// Returns true if a value known this far fails one of the tests.
    pub(super) fn refutes(&self, tests: &[Test]) -> bool {
        match self {
            Self::Literal(literal) => tests.iter().any(|test| test.outcome(literal) == Some(false)),
            Self::Integer => no_whole_number_passes(tests),
            Self::Unknown | Self::Map(_) | Self::AtLeast(_) => false,
        }
    }
}

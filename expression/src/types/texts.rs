//! The texts that a value can be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TYPE_TEXTS_MAX;

/// A set of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Texts {
    Any,
    OneOf(Arc<BTreeSet<Box<str>>>),
    AnyBut(Arc<BTreeSet<Box<str>>>),
}

impl Texts {
    pub(crate) fn one_of(texts: BTreeSet<Box<str>>) -> Self {
        if texts.len() > TYPE_TEXTS_MAX { Self::Any } else { Self::OneOf(Arc::new(texts)) }
    }

    /// Returns all texts except these. A list that is too long is dropped.
    pub(crate) fn any_but(texts: BTreeSet<Box<str>>) -> Self {
        if texts.len() > TYPE_TEXTS_MAX { Self::Any } else { Self::AnyBut(Arc::new(texts)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::OneOf(texts) if texts.is_empty())
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(texts) => texts.contains(text),
            Self::AnyBut(texts) => !texts.contains(text),
        }
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::OneOf(one), Self::OneOf(other)) => Self::one_of(one.union(other).cloned().collect()),
            (Self::AnyBut(one), Self::AnyBut(other)) => Self::any_but(one.intersection(other).cloned().collect()),
            (Self::OneOf(some), Self::AnyBut(but)) | (Self::AnyBut(but), Self::OneOf(some)) => {
                Self::any_but(but.difference(some).cloned().collect())
            }
        }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, set) | (set, Self::Any) => set.clone(),
            (Self::OneOf(one), Self::OneOf(other)) => Self::one_of(one.intersection(other).cloned().collect()),
            (Self::AnyBut(one), Self::AnyBut(other)) => Self::any_but(one.union(other).cloned().collect()),
            (Self::OneOf(some), Self::AnyBut(but)) | (Self::AnyBut(but), Self::OneOf(some)) => {
                Self::one_of(some.difference(but).cloned().collect())
            }
        }
    }

    /// Returns the texts that are not among these.
    pub(crate) fn others(&self) -> Self {
        match self {
            Self::Any => Self::OneOf(Arc::default()),
            Self::OneOf(texts) => Self::AnyBut(Arc::clone(texts)),
            Self::AnyBut(texts) => Self::OneOf(Arc::clone(texts)),
        }
    }
}

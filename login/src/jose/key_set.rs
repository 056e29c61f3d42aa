//! The keys that an issuer publishes.

use std::sync::Arc;

use bytes::Bytes;
use ensue_expression::{Document, NodeKind};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::key::{Key, KeyFault};

/// The maximum number of keys in a set.
pub const KEYS_MAX: usize = 100;

/// A set of keys. Those that cannot be used are left out, with the reason.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    left_out: Vec<LeftOut>,
}

/// A key that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place in the list, counted from 0.
    pub index: usize,
    /// Why it is not used.
    pub fault: KeyFault,
}

/// Why a document is not a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The document is not JSON.
    #[error("the keys are not JSON: {0}")]
    NotJson(String),
    /// The document has no list of keys.
    #[error("the document has no list `keys`")]
    NoKeys,
    /// The list is too long.
    #[error("the document has {0} keys, but may have at most {KEYS_MAX}")]
    TooMany(usize),
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys that cannot be used are left out.
    ///
    /// # Errors
    /// If the document is not JSON, has no list `keys`, or the list has over [`KEYS_MAX`] elements.
    pub fn read(document: &[u8]) -> Result<Self, KeySetError> {
        let document = Document::parse(Bytes::copy_from_slice(document)).map_err(|error| KeySetError::NotJson(error.to_string()))?;
        let list = document.root().get("keys").filter(|keys| keys.kind() == NodeKind::Array).ok_or(KeySetError::NoKeys)?;
        if list.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(list.len()));
        }
        let mut left_out = Vec::new();
        let mut read: Vec<(usize, Key)> = Vec::new();
        for (index, node) in list.items().enumerate() {
            match Key::read(node) {
                Ok(key) if read.iter().any(|(_, known)| *known == key) => {}
                Ok(key) => read.push((index, key)),
                Err(fault) => left_out.push(LeftOut { index, fault }),
            }
        }
        let is_shared = |key: &Key| key.id().is_some() && read.iter().filter(|(_, other)| other.id() == key.id()).count() > 1;
        let (shared, keys): (Vec<_>, Vec<_>) = read.iter().cloned().partition(|(_, key)| is_shared(key));
        left_out.extend(shared.into_iter().map(|(index, _)| LeftOut { index, fault: KeyFault::SameId }));
        left_out.sort_by_key(|left| left.index);
        Ok(Self { keys: keys.into_iter().map(|(_, key)| Arc::new(key)).collect(), left_out })
    }

    /// Returns the key for a token: the one with its key id or, if the token has none, the only one that fits.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Returns true if the set has this very key.
    pub fn contains(&self, key: &Arc<Key>) -> bool {
        self.keys.iter().any(|known| Arc::ptr_eq(known, key) || known == key)
    }

    /// Returns the number of keys that can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns true if no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the keys that are not used, in their order.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

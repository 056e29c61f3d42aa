//! Outputs, artifacts and saved states that all nodes of a log can read.
//!
//! A node writes them to its data directory, and copies them to a store of [`Objects`]. A node that does not have an
//! output or an artifact reads it from there, and keeps a copy. [`SharedOutputs`], [`SharedBlobs`] and [`SharedStates`] do so
//! for any implementation of [`Objects`].

mod blobs;
mod memory;
mod outputs;
mod seal;
mod states;

use ensue_engine::time::Timestamp;
use thiserror::Error;

use crate::disk_retention::RetentionLimits;

pub use blobs::SharedBlobs;
pub use memory::MemoryObjects;
pub use outputs::SharedOutputs;
pub use seal::OutputSeal;
pub use states::{SharedStateError, SharedStates};

/// What an object is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The output of an attempt.
    Output,
    /// An artifact.
    Artifact,
    /// A saved state of the engine.
    State,
}

impl ObjectKind {
    /// Returns its name in a store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Output => "outputs",
            Self::Artifact => "artifacts",
            Self::State => "states",
        }
    }
}

/// The thing that objects belong to: the output of an attempt, by the attempt's id; an artifact, by its digest; or a saved
/// state, by its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectOwner {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

/// A part of a thing, stored as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The thing.
    pub owner: ObjectOwner,
    /// The name of the part.
    pub part: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A part in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectPart {
    /// Its name.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A store of objects that all nodes of a log reach. All methods block.
pub trait Objects: Send + Sync {
    /// Returns the maximum number of bytes of one artifact, of one stream of an attempt's output, or of a saved state.
    fn bytes_max(&self, kind: ObjectKind) -> u64;
    /// Stores objects, and notes the time of each: `now`, or the time of the store's own clock. An object that exists is
    /// replaced.
    fn put(&self, objects: &[Object], now: Timestamp) -> Result<(), ObjectError>;
    /// Lists the parts of a thing by name; empty if it is not stored.
    fn parts(&self, owner: &ObjectOwner) -> Result<Vec<ObjectPart>, ObjectError>;
    /// Returns some parts of a thing by name. Parts that are not stored are left out.
    fn get(&self, owner: &ObjectOwner, parts: &[String]) -> Result<Vec<Object>, ObjectError>;
    /// Removes the things of a kind whose newest object is older than the limit allows, and the oldest ones over the quota.
    /// Returns how many things were removed.
    fn expire(&self, kind: ObjectKind, limits: RetentionLimits, now: Timestamp) -> Result<u64, ObjectError>;
}

/// A thing of a store that cannot choose itself what expires.
#[derive(Clone, Debug)]
pub struct StoredThing<T> {
    /// When its newest object was stored.
    pub at: Timestamp,
    /// The number of bytes of all its objects.
    pub bytes: u64,
    /// What is removed with it.
    pub content: T,
}

/// Returns the contents of the things that [`Objects::expire`] removes.
pub fn select_expired<T>(mut things: Vec<StoredThing<T>>, limits: RetentionLimits, now: Timestamp) -> Vec<T> {
    let too_old = limits.too_old(now);
    things.sort_by_key(|thing| std::cmp::Reverse(thing.at));
    let mut kept_bytes = 0_u64;
    things.retain(|thing| {
        kept_bytes = kept_bytes.saturating_add(thing.bytes);
        kept_bytes > limits.quota_bytes || too_old.is_some_and(|too_old| thing.at <= too_old)
    });
    things.into_iter().map(|thing| thing.content).collect()
}

/// Why a store of objects cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the shared store cannot be used: {0}")]
pub struct ObjectError(pub String);

/// Removes old things from the shared store. What cannot be removed now is removed by the next round.
fn expire(objects: &dyn Objects, kind: ObjectKind, (limits, now): (RetentionLimits, Timestamp)) {
    match objects.expire(kind, limits, now) {
        Ok(0) => {}
        Ok(removed) => tracing::info!(kind = kind.as_str(), removed, "old outputs and artifacts were removed from the shared store"),
        Err(error) => tracing::warn!(kind = kind.as_str(), %error, "old outputs and artifacts stay in the shared store"),
    }
}

#[cfg(test)]
mod tests;

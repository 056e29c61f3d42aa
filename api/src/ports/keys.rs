//! Writing the named secrets, and showing them.

use std::sync::Arc;

use ensue_engine::names::KeyRef;
use ensue_engine::ports::{CommitReceipt, Secret};
use ensue_engine::time::Timestamp;

use super::{OnBehalf, PortError};

/// The named secrets. Every method blocks, and returns after the commit. The read models say which keys are
/// set.
pub trait KeyWriter: Send + Sync {
    /// Encrypts a new value in the vault and makes it the current one.
    fn set(&self, key: &KeyRef, new: NewValue, by: &OnBehalf) -> Result<SetKey, PortError>;
    /// Does the same with a key that is set, and accepts the value before it for some milliseconds.
    fn rotate(&self, key: &KeyRef, new: NewValue, overlap_millis: u64, by: &OnBehalf) -> Result<SetKey, PortError>;
    /// Records that a version is shown, and then returns its value: the current version if none is named.
    fn reveal(&self, key: &KeyRef, version: Option<u32>, by: &OnBehalf) -> Result<RevealedKey, PortError>;
    /// Removes a key.
    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<CommitReceipt, PortError>;
}

/// A new value of a key.
pub struct NewValue {
    /// The value.
    pub value: Secret,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// A value that is shown.
pub struct RevealedKey {
    /// Its version.
    pub version: u32,
    /// The value.
    pub value: Arc<Secret>,
    /// The sequencer's reply.
    pub committed: CommitReceipt,
}

/// A key that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// The current version.
    pub version: u32,
    /// The sequencer's reply.
    pub committed: CommitReceipt,
}

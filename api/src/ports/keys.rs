//! Writing the named secrets.

use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Committed, Secret};

use super::{Declined, OnBehalf};

/// The named secrets. Every method blocks, and returns after the commit. The read models say which keys are
/// set.
pub trait KeyWriter: Send + Sync {
    /// Encrypts a new value in the vault and makes it the current one.
    fn set(&self, key: &KeyRef, value: Secret, by: &OnBehalf) -> Result<SetKey, Declined>;
    /// Removes a key.
    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A key that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// The current version.
    pub version: u32,
    /// The sequencer's reply.
    pub committed: Committed,
}

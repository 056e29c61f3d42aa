//! The named secrets, to be written.

use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Committed, Secret};

use super::{Declined, OnBehalf};

/// The named secrets. All of it is blocking, and returns after the commit. Which keys are set is in the read models.
pub trait KeyWriter: Send + Sync {
    /// Seals a new value in the vault and makes it the current one.
    fn set(&self, key: &KeyRef, value: Secret, by: &OnBehalf) -> Result<SetKey, Declined>;
    /// Forgets a key.
    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A key that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// The version that is current now.
    pub version: u32,
    /// What the sequencer said.
    pub committed: Committed,
}

//! For whom keys are opened, and why they cannot be.

use ensue_engine::names::{ActionRef, KeyRef};
use ensue_engine::record::AttemptOf;
use thiserror::Error;

/// The attempt that a key is opened for.
#[derive(Clone, Debug)]
pub struct KeyUser {
    /// The attempt.
    pub attempt: AttemptOf,
    /// Its action.
    pub action: ActionRef,
}

/// Why a key that is set cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Its value cannot be used.
    #[error("the key `{key}` cannot be opened: {why}")]
    Unusable {
        /// The key.
        key: KeyRef,
        /// The reason, without the value.
        why: String,
    },
    /// Another store has its value, and does not provide it now. The attempt fails as if its server could not be reached,
    /// so the action's `retry` applies.
    #[error("key_unavailable: {0}")]
    Unavailable(String),
}

//! How much an attempt has said while it ran.

use serde::{Deserialize, Serialize};

/// How much an attempt has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The first index that is not passed.
    pub next: u32,
    /// How many reports of progress.
    pub progressed: u32,
    /// How many events.
    pub emitted: u32,
    /// How many artifacts.
    pub artifacts: u32,
    /// How many messages that could not be taken.
    pub refused: u32,
}

impl Heard {
    /// Says whether the attempt has said nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

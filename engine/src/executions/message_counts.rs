//! Counts of what an attempt has said while it ran.

use serde::{Deserialize, Serialize};

/// Counts of what an attempt has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// The next index to accept: all lower ones were seen.
    pub next: u32,
    /// The number of progress reports.
    pub progressed: u32,
    /// The number of events.
    pub emitted: u32,
    /// The number of artifacts.
    pub artifacts: u32,
    /// The number of messages that were rejected.
    pub refused: u32,
}

//! What a node does in the background.

use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;

/// What can be done in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Checks the log's chain from the first record to the last.
    LogVerify,
    /// Builds the read models anew from the log.
    ViewsRebuild,
}

/// Something done in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does.
    pub kind: JobKind,
    /// When it began.
    pub began_at: Timestamp,
    /// The position it has reached.
    pub position: Position,
    /// How it stands.
    pub state: JobState,
}

/// How it stands with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It goes on.
    Running,
    /// It ended, and all was well.
    Succeeded {
        /// When.
        ended_at: Timestamp,
    },
    /// It ended, and found something wrong or could not go on.
    Failed {
        /// When.
        ended_at: Timestamp,
        /// What it found, where, and what to do.
        why: String,
    },
}

//! The background jobs of a node.

use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;

/// The kinds of background jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Verifies the log's hash chain from the first record to the last.
    LogVerify,
    /// Rebuilds the read models from the log.
    ViewsRebuild,
    /// Replaces the master key of the vault, or completes a rotation that was interrupted.
    MasterKeyRotate,
}

/// A background job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its kind.
    pub kind: JobKind,
    /// When it started.
    pub began_at: Timestamp,
    /// The position it has reached.
    pub position: Position,
    /// Its state.
    pub state: JobState,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It is running.
    Running,
    /// It ended successfully.
    Succeeded {
        /// When it ended.
        ended_at: Timestamp,
    },
    /// It ended because it found something wrong or could not continue.
    Failed {
        /// When it ended.
        ended_at: Timestamp,
        /// What it found, where, and what to do.
        why: String,
    },
}

//! What the world owes the state after a commit.

use std::sync::Arc;

use crate::ids::{AttemptId, ExecutionId};
use crate::names::ActionRef;
use crate::record::{BodyHandle, CatalogRevision};
use crate::time::Timestamp;

/// One thing that the world owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have this attempt run.
    Dispatch(Box<Dispatch>),
    /// Stop this attempt, and report its end.
    Stop {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// This attempt is over for the log; what still runs of it runs for nothing.
    Release {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
    },
}

/// An attempt to run, with all that a worker needs to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Which try, from 1.
    pub number: u32,
    /// The fencing token.
    pub token: u64,
    /// The worker that the log gave it to.
    pub worker: Arc<str>,
    /// The action.
    pub action: ActionRef,
    /// The catalog in which the action and what it needs is looked up.
    pub catalog: CatalogRevision,
    /// The parameters.
    pub params: BodyHandle,
    /// When the attempt was started; its deadline counts from here.
    pub started_at: Timestamp,
    /// How long it may take, in milliseconds.
    pub timeout_millis: u64,
    /// How long it may go on after it was asked to stop, in milliseconds.
    pub grace_millis: u64,
    /// Who asked for the execution, as the log writes actors.
    pub actor: String,
    /// The W3C trace it belongs to, as `cause.trace` of a record has it.
    pub trace: Option<String>,
}

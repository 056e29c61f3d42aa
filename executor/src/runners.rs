//! Runners: how each kind of action is run.
//!
//! The list is closed: an action's `run` names exactly one of them.

mod builtin;
mod emit;
mod http;
mod lending;
mod mail;
mod process;
mod shell;

use ensue_engine::catalog::Run;
use ensue_engine::executions::facts::FailureKind;

pub(crate) use builtin::at_once;
pub(crate) use http::{HTTP_HOPS_MAX, Request, retry_after_of, stays_below, too_many_redirects};
pub(crate) use process::heard_to_its_end;

use crate::attempt::{AttemptContext, Ending, attempt_failure};

/// Runs one kind of action.
pub(crate) trait Runner {
    /// Runs an attempt to its end. Records that the attempt begins before anything outside the node is
    /// touched, and stops when the attempt is cut off.
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending;
}

/// Runs an attempt with the runner that its action names.
pub(crate) async fn run(attempt: &AttemptContext<'_>) -> Ending {
    match &attempt.action.run {
        Run::Process(command) => command.run(attempt).await,
        Run::Shell(script) => script.run(attempt).await,
        Run::Http(request) => request.run(attempt).await,
        Run::Mail(message) => message.run(attempt).await,
        Run::Emit { trigger, payload, dedupe } => emit::Emit { trigger, payload, dedupe: dedupe.as_ref() }.run(attempt).await,
        // Its steps are executions of their own, and no attempt of it is ever started.
        Run::Workflow(_) => Err(attempt_failure(FailureKind::Spawn, "a workflow has no attempts: this is an internal error")),
        Run::Builtin(builtin) => builtin.run(attempt).await,
    }
}

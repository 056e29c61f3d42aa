//! The end of an execution that no longer runs or starts anything: it took too long, or somebody canceled it.

use crate::executions::facts::{ExecutionCancelled, Failure, FailureKind, Pace};
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::time::duration_text;

/// Returns the end of an execution that no longer runs or starts anything: it took too long, or somebody canceled it.
pub(crate) fn stop_fact(execution: &Execution) -> Fact {
    if execution.phase.is_timed_out() {
        execution.timed_out(too_long(execution))
    } else {
        ExecutionCancelled { error: None, part_of: execution.part_of.clone(), by: None }.into()
    }
}

/// Returns the failure of an execution that took too long as a whole.
pub(crate) fn too_long(execution: &Execution) -> Failure {
    let limit = duration_text(execution.limit_millis.unwrap_or(0));
    let message = match (execution.phase, execution.pace) {
        (Phase::Indeterminate { attempt, .. } | Phase::Settled { attempt, .. }, _) => {
            format!("it took longer than {limit}, and it is unknown whether attempt {} took effect", attempt.number)
        }
        (_, Pace::InSteps) => format!("it took longer than {limit}, all its steps together"),
        (_, Pace::Asks) => format!("it was not answered within {limit}"),
        (_, Pace::Awaits { .. }) => format!("no event came within {limit}"),
        (_, Pace::Worked | Pace::AtOnce | Pace::Sleeps { .. }) => format!("it took longer than {limit}, all its attempts together"),
    };
    Failure::new(FailureKind::Timeout, message)
}

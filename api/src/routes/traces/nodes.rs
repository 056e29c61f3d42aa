//! The nodes of a trace.

use std::collections::BTreeMap;

use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::{Enforcement, Event, Execution};
use serde_json::Value;

use crate::ports::Ports;
use crate::problem::Problem;
use crate::wire::enforcements::{WireBecame, WireHeld};
use crate::wire::executions::WireNotStarted;
use crate::wire::traces::{WireTraceError, WireTraceNode, WireTraced};

/// Maps attempts to executions: an event that an execution emits is caused by an attempt, but the graph shows
/// executions.
pub(super) fn attempts_of(executions: &[Execution]) -> BTreeMap<Id, ExecutionId> {
    let attempts = executions.iter().flat_map(|execution| execution.attempts.iter().map(|attempt| (attempt.id.0, execution.id)));
    attempts.collect()
}

/// Returns the cause of an event, as the graph shows it. An event created by the engine itself is caused by the
/// record that it reports: of an execution, or of a rule that failed on another event.
pub(super) fn led_to_by(ports: &Ports, event: &Event, attempts: &BTreeMap<Id, ExecutionId>) -> Result<Option<Id>, Problem> {
    let Some(parent) = event.parent else { return Ok(None) };
    if let Some(execution) = attempts.get(&parent) {
        return Ok(Some(execution.0));
    }
    match InternalTrigger::of(&event.trigger) {
        Some(InternalTrigger::RuleErred) => {
            let payload = event.payload.map(|payload| ports.log.body(payload.position)).transpose()?.flatten();
            let payload: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
            let on = payload.as_ref().and_then(|payload| payload["event"].as_str()?.parse().ok());
            Ok(Some(on.unwrap_or(parent)))
        }
        // The attempt that emitted it may belong to an execution of another page.
        Some(_) | None => {
            let of = event.source.strip_prefix("execution/").and_then(|id| id.parse().ok());
            Ok(Some(of.unwrap_or(parent)))
        }
    }
}

pub(super) fn enforcement_node(enforcement: Enforcement, began_at: Timestamp) -> WireTraceNode {
    let what = WireTraced::Enforcement {
        rule: enforcement.rule,
        rule_id: enforcement.rule_id,
        outcome: enforcement.outcome,
        held: enforcement.held.map(WireHeld::from),
        became: enforcement.became.map(WireBecame::from),
        error: enforcement.error,
    };
    node(enforcement.id.0, Some(enforcement.event.0), enforcement.position, enforcement.time, began_at, what)
}

pub(super) fn execution_node(execution: Execution, began_at: Timestamp) -> WireTraceNode {
    let what = WireTraced::Execution {
        action: execution.action,
        status: execution.status,
        attempt: execution.attempt,
        started_micros: execution.started_at.map(|started| started.micros_since(began_at)),
        ended_micros: execution.ended_at.map(|ended| ended.micros_since(began_at)),
        error: execution.error.map(|error| WireTraceError { kind: error.kind, message: error.message }),
        step: execution.step,
        item: execution.item,
        not_started: execution.not_started.into_iter().map(WireNotStarted::from).collect(),
        not_started_count: execution.not_started_count,
    };
    // A rerun is caused by the original execution, whatever caused that one.
    let again = execution.rerun_of.map(|of| of.0);
    let parent = execution.parent.map(|workflow| workflow.0).or(again).or(execution.enforcement.map(|enforcement| enforcement.0));
    node(execution.id.0, parent, execution.position, execution.requested_at, began_at, what)
}

pub(super) fn node(
    id: Id,
    parent: Option<Id>,
    position: Position,
    time: Timestamp,
    began_at: Timestamp,
    what: WireTraced,
) -> WireTraceNode {
    WireTraceNode { id, parent, position, time, micros: time.micros_since(began_at), what }
}

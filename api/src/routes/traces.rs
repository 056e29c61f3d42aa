//! Traces: the causal graph around an event, an enforcement or an execution.
//!
//! Everything is already in the views; this file puts it together.

use std::collections::BTreeMap;

use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::record::Position;
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_engine::time::Timestamp;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery, Order};
use ensue_views::{Column, Enforcement, Event, Execution, Row, RowReach, RowScope, View};
use serde_json::Value;

use super::Routes;
use crate::auth::Allowed;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{Permission as _, TracesRead};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond;
use crate::routes::judged::Judged;
use crate::rows::read_row;
use crate::wire::enforcements::{WireBecame, WireHeld};
use crate::wire::executions::WireNotStarted;
use crate::wire::traces::{WireTrace, WireTraceError, WireTraceNode, WireTraced};
use crate::wire::verdicts::{Definitions, WireVerdict};

/// The maximum number of things of one kind in a trace.
const THINGS_MAX: usize = 500;
/// The maximum number of events in a trace whose rules explain why they did not match.
const EXPLAINED_EVENTS_MAX: usize = 20;
/// The maximum number of rules of an event that are explained this way.
const EXPLAINED_RULES_MAX: usize = 100;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TracesRead>(
        "/trace/{id}",
        get,
        Operation::shows::<WireTrace>("trace_get", "Returns the causal graph around an event, an enforcement or an execution").sees_views(),
    );
}

/// Shows the graph.
pub(super) async fn get(allowed: Allowed<TracesRead>, call: Call) -> Outcome {
    let id: Id = call.named("id", TracesRead::THING)?;
    let missing = Missing::new(TracesRead::THING, call.part("id"));
    let reach = allowed.rows();
    let trace = call.api().threads.explaining(move |ports| Tracer { ports, reach }.trace(id)).await??;
    respond::json(&trace.ok_or(missing)?)
}

/// Reads what a caller sees of a graph.
struct Tracer<'a> {
    ports: &'a Ports,
    reach: RowReach,
}

impl Tracer<'_> {
    /// Builds the graph around a resource; `None` if it does not exist. Blocking.
    fn trace(&self, asked: Id) -> Result<Option<WireTrace>, Problem> {
        let Some(root) = self.root_of(asked)? else { return Ok(None) };
        let (events, more_events) = self.of_chain::<Event>(root)?;
        let (mut executions, more_executions) = self.of_chain::<Execution>(root)?;
        if more_executions {
            let above = self.asked_and_above(asked, &executions)?;
            executions.extend(above);
        }
        let began_at = events.iter().map(View::began_at).chain(executions.iter().map(View::began_at)).min().unwrap_or_default();
        let attempts = attempts_of(&executions);
        let mut nodes = Vec::new();
        let mut steps_left = EVENT_STEPS_MAX;
        let mut is_truncated = more_events || more_executions;
        for (index, event) in events.into_iter().enumerate() {
            let (enforcements, more_enforcements) = self.of_event(event.id)?;
            is_truncated |= more_enforcements;
            let not_matched = if index < EXPLAINED_EVENTS_MAX { self.not_matched(&event, &enforcements, &mut steps_left) } else { None };
            let parent = led_to_by(self.ports, &event, &attempts)?;
            nodes.push(self.event_node(event, not_matched, parent, began_at));
            nodes.extend(enforcements.into_iter().map(|enforcement| enforcement_node(enforcement, began_at)));
        }
        nodes.extend(executions.into_iter().map(|execution| execution_node(execution, began_at)));
        // A cause precedes its effects in the log.
        nodes.sort_by_key(|node| node.position);
        Ok(Some(WireTrace { root, began_at, asked, nodes, truncated: is_truncated }))
    }

    /// Reads a row that the caller sees.
    fn seen<V: View>(&self, key: &str) -> Result<Option<V>, Problem> {
        Ok(read_row::<V>(self.ports, key)?.filter(|row| self.reach.covers(row.scope().as_ref())))
    }

    /// Finds the first record of a thing's chain.
    fn root_of(&self, id: Id) -> Result<Option<Id>, Problem> {
        let key = id.to_string();
        if let Some(event) = self.seen::<Event>(&key)? {
            return Ok(Some(event.correlation));
        }
        if let Some(execution) = self.seen::<Execution>(&key)? {
            return Ok(Some(execution.correlation));
        }
        Ok(self.seen::<Enforcement>(&key)?.map(|enforcement| enforcement.correlation))
    }

    /// Reads the items of a chain, oldest first, and returns whether there are more than are shown.
    fn of_chain<V: View>(&self, root: Id) -> Result<(Vec<V>, bool), Problem> {
        self.first_things(Column::Correlation, root)
    }

    /// Reads the requested execution and the workflows above it, unless they are among the first items of a long
    /// chain.
    fn asked_and_above(&self, asked: Id, shown: &[Execution]) -> Result<Vec<Execution>, Problem> {
        let (mut found, mut next) = (Vec::new(), Some(ExecutionId(asked)));
        while let Some(id) = next.filter(|id| shown.iter().all(|execution| execution.id != *id)) {
            let Some(execution) = self.seen::<Execution>(&id.to_string())? else { break };
            next = execution.parent;
            found.push(execution);
        }
        Ok(found)
    }

    /// Reads an event's enforcements, oldest first, and returns whether there are more than are shown.
    fn of_event(&self, event: EventId) -> Result<(Vec<Enforcement>, bool), Problem> {
        self.first_things(Column::Event, event.0)
    }

    fn first_things<V: View>(&self, column: Column, id: Id) -> Result<(Vec<V>, bool), Problem> {
        const { assert!(THINGS_MAX < LIST_ROWS_MAX) };
        let query = ListQuery { order: Order::OldestFirst, limit: THINGS_MAX + 1, ..ListQuery::newest(V::NAME, self.reach.clone()) }
            .with(column, id.to_string());
        let mut things: Vec<V> = self.ports.views.list(&query)?.iter().map(Row::read).collect::<Result<_, _>>()?;
        let has_more = things.len() > THINGS_MAX;
        things.truncate(THINGS_MAX);
        Ok((things, has_more))
    }

    /// Returns the first of the rules that did not match, and why; none if that can no longer be computed.
    fn not_matched(&self, event: &Event, enforcements: &[Enforcement], steps_left: &mut u64) -> Option<Vec<WireVerdict>> {
        let judged = Judged::stored(self.ports, event, Definitions::Then).ok()?;
        let others = judged.rules().iter().filter(|rule| enforcements.iter().all(|enforcement| enforcement.rule_id != rule.id));
        let others = others.filter(|rule| self.reach.covers(Some(&RowScope::of_pack(rule.name.pack().as_str()))));
        let verdicts = others.take(EXPLAINED_RULES_MAX).map(|rule| judged.briefly(rule, None, steps_left));
        Some(verdicts.filter(|verdict| !verdict.is_match()).map(WireVerdict::without_explanation).collect())
    }

    fn event_node(&self, event: Event, not_matched: Option<Vec<WireVerdict>>, parent: Option<Id>, began_at: Timestamp) -> WireTraceNode {
        let counted = |count| (self.reach == RowReach::Everything).then_some(count);
        let (matched, erred) = (counted(event.matched), counted(event.erred));
        let what = WireTraced::Event { trigger: event.trigger, source: event.source, matched, erred, not_matched };
        node(event.id.0, parent, event.position, event.received_at, began_at, what)
    }
}

/// Maps attempts to executions: an event that an execution emits is caused by an attempt, but the graph shows
/// executions.
fn attempts_of(executions: &[Execution]) -> BTreeMap<Id, ExecutionId> {
    let attempts = executions.iter().flat_map(|execution| execution.attempts.iter().map(|attempt| (attempt.id.0, execution.id)));
    attempts.collect()
}

/// Returns the cause of an event, as the graph shows it. An event created by the engine itself is caused by the
/// record that it reports: of an execution, or of a rule that failed on another event.
fn led_to_by(ports: &Ports, event: &Event, attempts: &BTreeMap<Id, ExecutionId>) -> Result<Option<Id>, Problem> {
    let Some(parent) = event.parent else { return Ok(None) };
    if let Some(execution) = attempts.get(&parent) {
        return Ok(Some(execution.0));
    }
    match InternalTrigger::of(&event.trigger) {
        None => Ok(Some(parent)),
        Some(InternalTrigger::RuleErred) => {
            let payload = event.payload.map(|payload| ports.log.body(payload.position)).transpose()?.flatten();
            let payload: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
            let on = payload.as_ref().and_then(|payload| payload["event"].as_str()?.parse().ok());
            Ok(Some(on.unwrap_or(parent)))
        }
        Some(_) => {
            let of = event.source.strip_prefix("execution/").and_then(|id| id.parse().ok());
            Ok(Some(of.unwrap_or(parent)))
        }
    }
}

fn enforcement_node(enforcement: Enforcement, began_at: Timestamp) -> WireTraceNode {
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

fn execution_node(execution: Execution, began_at: Timestamp) -> WireTraceNode {
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

fn node(id: Id, parent: Option<Id>, position: Position, time: Timestamp, began_at: Timestamp, what: WireTraced) -> WireTraceNode {
    WireTraceNode { id, parent, position, time, micros: time.micros_since(began_at), what }
}

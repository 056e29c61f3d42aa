//! Traces: the causal graph around an event, an enforcement or an execution.
//!
//! Everything is already in the views; this file puts it together.

mod nodes;

use std::cell::Cell;

use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::record::{Position, StreamId};
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_engine::time::Timestamp;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery, Order};
use ensue_views::{Column, Enforcement, Event, Execution, Row, RowReach, RowScope, View};

use self::nodes::{attempts_of, enforcement_node, execution_node, led_to_by, node};
use super::Routes;
use crate::as_of::{self, AS_OF, AsOfUnavailable, FOLDED_MAX, NotThen};
use crate::auth::Allowed;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{Permission as _, TracesRead};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond;
use crate::routes::judged::Judged;
use crate::rows::read_row;
use crate::wire::traces::{WireTrace, WireTraceNode, WireTraced};
use crate::wire::verdicts::{Definitions, WireVerdict};

/// The maximum number of things of one kind in a trace.
const THINGS_MAX: usize = 500;
/// The maximum number of events in a trace whose rules explain why they did not match.
const EXPLAINED_EVENTS_MAX: usize = 20;
/// The maximum number of rules of an event that are explained this way.
const EXPLAINED_RULES_MAX: usize = 100;
/// The maximum number of records that are folded for a trace at an earlier position.
const FOLDED_IN_TRACE_MAX: usize = 50_000;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TracesRead>(
        "/trace/{id}",
        get,
        Operation::shows::<WireTrace>("trace_get", "Returns the causal graph around an event, an enforcement or an execution")
            .asked(&[AS_OF])
            .sees_views(),
    );
}

/// Shows the graph.
pub(super) async fn get(allowed: Allowed<TracesRead>, call: Call) -> Outcome {
    let id: Id = call.named("id", TracesRead::THING)?;
    let missing = Missing::new(TracesRead::THING, call.part("id"));
    let (reach, at) = (allowed.rows(), call.as_of());
    let trace = call.api().threads.explaining(move |ports| Tracer { ports, reach, at, folded: Cell::new(0) }.trace(id)).await??;
    respond::json(&trace.ok_or(missing)?)
}

/// Reads what a caller sees of a graph.
struct Tracer<'a> {
    ports: &'a Ports,
    reach: RowReach,
    /// The earlier position that the graph is about.
    at: Option<Position>,
    /// How many records were folded for that.
    folded: Cell<usize>,
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
        let executions: Vec<Execution> = executions
            .into_iter()
            .map(|execution| self.then((execution.id, StreamId::Execution(execution.id)), execution))
            .collect::<Result<_, _>>()?;
        let began_at = events.iter().map(View::began_at).chain(executions.iter().map(View::began_at)).min().unwrap_or_default();
        let attempts = attempts_of(&executions);
        let mut nodes = Vec::new();
        let mut steps_left = EVENT_STEPS_MAX;
        let mut is_truncated = more_events || more_executions;
        for (index, event) in events.into_iter().enumerate() {
            let (enforcements, more_enforcements) = self.of_event(event.id)?;
            let enforcements: Vec<Enforcement> = enforcements
                .into_iter()
                .map(|enforcement| self.then((enforcement.id, StreamId::Enforcement(enforcement.id)), enforcement))
                .collect::<Result<_, _>>()?;
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

    /// Returns true if a row existed at the position that the graph is about.
    fn is_there<V: View>(&self, row: &V) -> bool {
        self.at.is_none_or(|at| row.position() <= at)
    }

    /// Returns a row as it was at the position that the graph is about.
    fn then<V: View>(&self, (key, stream): (V::Key, StreamId), row: V) -> Result<V, Problem> {
        let Some(at) = self.at else { return Ok(row) };
        let then = as_of::fold::<V>(self.ports, &stream, &key, at, FOLDED_MAX)?;
        self.folded.set(self.folded.get() + then.records);
        if self.folded.get() > FOLDED_IN_TRACE_MAX {
            return Err(AsOfUnavailable::Together { most: FOLDED_IN_TRACE_MAX, at }.into());
        }
        Ok(then.row.unwrap_or(row))
    }

    /// Finds the first record of a thing's chain.
    fn root_of(&self, id: Id) -> Result<Option<Id>, Problem> {
        let key = id.to_string();
        let found = if let Some(event) = self.seen::<Event>(&key)? {
            (event.position, event.correlation)
        } else if let Some(execution) = self.seen::<Execution>(&key)? {
            (execution.position, execution.correlation)
        } else if let Some(enforcement) = self.seen::<Enforcement>(&key)? {
            (enforcement.position, enforcement.correlation)
        } else {
            return Ok(None);
        };
        match (self.at, found) {
            (Some(at), (from, _)) if from > at => Err(NotThen { noun: TracesRead::THING, name: key, at, from: Some(from) }.into()),
            (_, (_, root)) => Ok(Some(root)),
        }
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
        things.retain(|thing| self.is_there(thing));
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

//! Traces: the causal graph around an event, an enforcement or an execution.
//!
//! Everything is already in the views; this file puts it together.

mod folds;
mod nodes;

use std::cell::Cell;

use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::names::StepName;
use ensue_engine::record::{Position, StreamId};
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_engine::time::Timestamp;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery, Order};
use ensue_views::{Column, Enforcement, Event, Execution, Row, RowReach, RowScope, View};

use self::folds::{Folds, count_folded};
use self::nodes::{attempts_of, enforcement_node, execution_node, led_to_by, node};
use super::Routes;
use crate::as_of::{self, AsOfQuery, AsOfUnavailable, FOLDED_MAX, NotThen};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{Permission as _, TracesRead};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, words};
use crate::respond;
use crate::routes::event_verdicts::EventVerdicts;
use crate::rows::read_row;
use crate::wire::traces::{WireTrace, WireTraceNode, WireTraced};
use crate::wire::verdicts::{WireDefinitions, WireVerdict};

/// The maximum number of things of one kind in a trace.
const THINGS_MAX: usize = 500;
/// The maximum number of executions that are read for a trace, those included that are folded.
const SCANNED_MAX: usize = 10_000;
/// The maximum number of events in a trace whose rules explain why they did not match.
const EXPLAINED_EVENTS_MAX: usize = 20;
/// The maximum number of rules of an event that are explained this way.
const EXPLAINED_RULES_MAX: usize = 100;
/// The maximum number of records that are folded for a trace at an earlier position.
const FOLDED_IN_TRACE_MAX: usize = 50_000;

/// The parameters of a graph.
#[derive(Query)]
struct TraceQuery {
    /// Only what began after this position: `next` of the previous page.
    #[query(what = "a position")]
    after: Option<u64>,
    /// Counts the items of steps, and what is below them, instead of returning each.
    fold: Option<Items>,
}

words!(Items ["items" => Self::Folded]);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TracesRead>(
        "/trace/{id}",
        get,
        Operation::shows::<WireTrace>("trace_get", "Returns the causal graph around an event, an enforcement or an execution")
            .with_query(&[TraceQuery::PARAMETERS, AsOfQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Shows the graph.
pub(super) async fn get(allowed: AllowedCaller<TracesRead>, call: Call) -> Outcome {
    let id: Id = call.parse_part("id", TracesRead::THING)?;
    let missing = Missing::new(TracesRead::THING, call.part("id"));
    let TraceQuery { after, fold } = call.parameters()?;
    let (after, items) = (Position(after.unwrap_or(0)), fold.unwrap_or(Items::Shown));
    let (reach, at) = (allowed.rows(), call.as_of());
    let trace = move |ports: &Ports| Tracer { ports, reach, after, at, folded: Cell::new(0) }.trace(id, items);
    let trace = call.api().threads.explaining(trace).await??;
    respond::json(&trace.ok_or(missing)?)
}

/// What becomes of the items of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Items {
    /// Each is in the graph.
    Shown,
    /// They are counted.
    Folded,
}

/// The executions of a page.
struct TracePage {
    shown: Vec<Execution>,
    /// Those that are counted, each with the step that it is folded into.
    folded: Vec<((ExecutionId, StepName), Execution)>,
    /// The position of the last one that was read, if there are more.
    last: Option<Position>,
}

/// Reads what a caller sees of a graph.
struct Tracer<'a> {
    ports: &'a Ports,
    reach: RowReach,
    /// The position after which the page begins.
    after: Position,
    /// The earlier position that the graph is about.
    at: Option<Position>,
    /// How many records were folded for that.
    folded: Cell<usize>,
}

impl Tracer<'_> {
    /// Builds the graph around a resource; `None` if it does not exist. Blocking.
    fn trace(&self, asked: Id, items: Items) -> Result<Option<WireTrace>, Problem> {
        let Some(root) = self.root_of(asked)? else { return Ok(None) };
        let (mut events, more_events) = self.first_things::<Event>(Column::Correlation, root, self.after)?;
        let above = self.asked_and_above(asked)?;
        let TracePage { shown: mut executions, mut folded, last } = self.executions(root, &above, items)?;
        // The page ends where the first of both is cut off, so that the next one continues with both.
        let next = events.last().filter(|_| more_events).map(View::position).into_iter().chain(last).min();
        if let Some(next) = next {
            events.retain(|event| event.position <= next);
            executions.retain(|execution| execution.position <= next);
            folded.retain(|(_, execution)| execution.position <= next);
        }
        if self.after == Position(0) {
            // The first page has the requested execution, however long the chain is.
            let missing = above.into_iter().filter(|above| executions.iter().all(|execution| execution.id != above.id));
            executions.extend(missing.collect::<Vec<_>>());
        }
        let executions = self.all_then(executions, |execution| (execution.id, StreamId::Execution(execution.id)))?;
        let began_at = self.began_at(root)?;
        let attempts = attempts_of(&executions);
        let mut nodes = Vec::new();
        let mut steps_left = EVENT_STEPS_MAX;
        let mut is_truncated = next.is_some();
        for (index, event) in events.into_iter().enumerate() {
            let (enforcements, more_enforcements) = self.first_things::<Enforcement>(Column::Event, event.id.0, Position(0))?;
            let enforcements = self.all_then(enforcements, |enforcement| (enforcement.id, StreamId::Enforcement(enforcement.id)))?;
            is_truncated |= more_enforcements;
            let not_matched = if index < EXPLAINED_EVENTS_MAX { self.not_matched(&event, &enforcements, &mut steps_left) } else { None };
            let parent = led_to_by(self.ports, &event, &attempts)?;
            nodes.push(self.event_node(event, not_matched, parent, began_at));
            nodes.extend(enforcements.into_iter().map(|enforcement| enforcement_node(enforcement, began_at)));
        }
        nodes.extend(executions.into_iter().map(|execution| execution_node(execution, began_at)));
        // A cause precedes its effects in the log.
        nodes.sort_by_key(|node| node.position);
        let folded = folded.into_iter().map(|(step, execution)| {
            let id = execution.id;
            Ok((step, self.then((id, StreamId::Execution(id)), execution)?))
        });
        let folded = count_folded(folded.collect::<Result<_, Problem>>()?);
        Ok(Some(WireTrace { root, began_at, asked, nodes, folded, next, truncated: is_truncated }))
    }

    /// Reads the executions of a page, and folds those that are not shown.
    fn executions(&self, root: Id, above: &[Execution], items: Items) -> Result<TracePage, Problem> {
        if items == Items::Shown {
            let (shown, has_more) = self.first_things::<Execution>(Column::Correlation, root, self.after)?;
            let last = shown.last().filter(|_| has_more).map(View::position);
            return Ok(TracePage { shown, folded: Vec::new(), last });
        }
        let folds = Folds::new(self.ports, above.iter().map(|execution| execution.id).collect());
        let mut page = TracePage { shown: Vec::new(), folded: Vec::new(), last: None };
        let mut after = self.after;
        loop {
            let (executions, has_more) = self.first_things::<Execution>(Column::Correlation, root, after)?;
            for execution in executions {
                if page.shown.len() == THINGS_MAX || page.shown.len() + page.folded.len() == SCANNED_MAX {
                    return Ok(TracePage { last: Some(after), ..page });
                }
                after = execution.position;
                match folds.step_of(&execution)? {
                    Some(step) => page.folded.push((step, execution)),
                    None => page.shown.push(execution),
                }
            }
            if !has_more {
                return Ok(page);
            }
        }
    }

    /// Returns when the first thing of the chain began, on whichever page it is.
    fn began_at(&self, root: Id) -> Result<Timestamp, Problem> {
        let event = self.things::<Event>(Column::Correlation, root, Position(0), 1)?.first().map(View::began_at);
        let execution = self.things::<Execution>(Column::Correlation, root, Position(0), 1)?.first().map(View::began_at);
        Ok(event.into_iter().chain(execution).min().unwrap_or_default())
    }

    /// Reads a row that the caller sees.
    fn read_visible<V: View>(&self, key: &str) -> Result<Option<V>, Problem> {
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

    /// Returns rows as they were at the position that the graph is about.
    fn all_then<V: View>(&self, rows: Vec<V>, of: impl Fn(&V) -> (V::Key, StreamId)) -> Result<Vec<V>, Problem> {
        rows.into_iter().map(|row| self.then(of(&row), row)).collect()
    }

    /// Finds the first record of a thing's chain.
    fn root_of(&self, id: Id) -> Result<Option<Id>, Problem> {
        let key = id.to_string();
        let found = if let Some(event) = self.read_visible::<Event>(&key)? {
            (event.position, event.correlation)
        } else if let Some(execution) = self.read_visible::<Execution>(&key)? {
            (execution.position, execution.correlation)
        } else if let Some(enforcement) = self.read_visible::<Enforcement>(&key)? {
            (enforcement.position, enforcement.correlation)
        } else {
            return Ok(None);
        };
        match (self.at, found) {
            (Some(at), (from, _)) if from > at => Err(NotThen { noun: TracesRead::THING, name: key, at, from: Some(from) }.into()),
            (_, (_, root)) => Ok(Some(root)),
        }
    }

    /// Reads the requested execution and the workflows above it.
    fn asked_and_above(&self, asked: Id) -> Result<Vec<Execution>, Problem> {
        let (mut found, mut next) = (Vec::new(), Some(ExecutionId(asked)));
        while let Some(id) = next {
            let Some(execution) = self.read_visible::<Execution>(&id.to_string())? else { break };
            next = execution.parent;
            found.push(execution);
        }
        Ok(found)
    }

    /// Reads the first things after a position, oldest first, and returns whether there are more.
    fn first_things<V: View>(&self, column: Column, id: Id, after: Position) -> Result<(Vec<V>, bool), Problem> {
        const { assert!(THINGS_MAX < LIST_ROWS_MAX) };
        let mut things = self.things(column, id, after, THINGS_MAX + 1)?;
        let has_more = things.len() > THINGS_MAX;
        things.truncate(THINGS_MAX);
        Ok((things, has_more))
    }

    fn things<V: View>(&self, column: Column, id: Id, after: Position, limit: usize) -> Result<Vec<V>, Problem> {
        let query = ListQuery { order: Order::OldestFirst, after: Some(after), limit, ..ListQuery::newest(V::NAME, self.reach.clone()) }
            .with(column, id.to_string());
        let things: Vec<V> = self.ports.views.list(&query)?.iter().map(Row::read).collect::<Result<_, _>>()?;
        Ok(things.into_iter().filter(|thing| self.is_there(thing)).collect())
    }

    /// Returns the first of the rules that did not match, and why; none if that can no longer be computed.
    fn not_matched(&self, event: &Event, enforcements: &[Enforcement], steps_left: &mut u64) -> Option<Vec<WireVerdict>> {
        let judged = EventVerdicts::from_stored(self.ports, event, WireDefinitions::Then).ok()?;
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

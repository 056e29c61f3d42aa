//! The graph of an execution's steps: their definition in the catalog of the execution, with what became of
//! each, also of those that have not begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Action, Catalog, Run};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::StepName;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{CatalogRevision, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{Purpose, SkippedBecause};
use ensue_views::executions::Status;
use ensue_views::store::{LIST_ROWS_MAX, Order};
use ensue_views::{Column, Execution, ListQuery, Row, RowReach, ViewName};
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::respond;
use crate::wire::executions::WireFailure;
use crate::wire::graph::{WireGraph, WireGraphEdge, WireGraphNode, WireStep, WireStepState};

/// The maximum number of executions of steps that are counted.
const EXECUTIONS_MAX: usize = 10_000;

/// The definition of the steps is no longer stored.
#[derive(Debug, Error, Explain)]
#[error("the catalog of revision {0}, with the steps of this execution, is no longer stored")]
#[explain(slug = "catalog-gone", fault = Missing, hint = "list the executions of its steps with `ensue executions list --parent ID`")]
struct StepsGone(CatalogRevision);

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions/{id}/graph",
        get,
        Operation::shows::<WireGraph>("execution_graph", "Returns the steps of a workflow with the state of each")
            .refuses(&[(410, "catalog_gone")])
            .sees_views(),
    );
}

/// Shows the graph.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    respond::json(&call.api().threads.blocking(move |ports| graph(ports, &execution)).await??)
}

/// What became of a step.
#[derive(Default)]
struct Course {
    counts: BTreeMap<Status, u32>,
    undos: BTreeMap<Status, u32>,
    /// The execution of the whole step, with its status.
    single: Option<(ExecutionId, Status)>,
    /// The number of its executions, and of items that failed without one.
    known: u32,
    taken_over: u32,
    is_taken_over: bool,
    items: Option<u32>,
    skipped: Option<SkippedBecause>,
    /// How the whole step ended.
    ended: Option<Option<Failure>>,
    /// When the first of it was requested.
    first: Option<Timestamp>,
    /// When the last of it ended. What undoes it comes later, and does not count.
    last: Option<Timestamp>,
}

pub(super) fn graph(ports: &Ports, execution: &Execution) -> Result<WireGraph, Problem> {
    let catalog = ports.installed.at(execution.catalog).ok_or(StepsGone(execution.catalog))?;
    let mut graph = WireGraph {
        execution: execution.id,
        catalog: execution.catalog,
        nodes: Vec::new(),
        edges: Vec::new(),
        critical: Vec::new(),
        truncated: false,
    };
    let Some(Run::Workflow(workflow)) = definition(&catalog, execution).map(|action| &action.run) else { return Ok(graph) };
    let steps = WireStep::all(workflow, &catalog);
    let mut courses: BTreeMap<StepName, Course> = steps.iter().map(|step| (step.step.clone(), Course::default())).collect();
    let is_truncated = count_executions(ports, execution, &mut courses)?;
    graph.truncated = is_truncated;
    read_facts(ports, execution, &mut courses)?;
    graph.critical = critical(&steps, &courses);
    let edge = |step: &WireStep, needs: &StepName| WireGraphEdge { from: needs.clone(), to: step.step.clone() };
    graph.edges = steps.iter().flat_map(|step| step.needs.iter().map(move |needs| edge(step, needs))).collect();
    let node = |step: WireStep| {
        let course = courses.remove(&step.step).unwrap_or_default();
        let state = Some(course.state()).filter(|state| *state != WireStepState::ToCome || !is_truncated);
        course.into_wire(step, state)
    };
    graph.nodes = steps.into_iter().map(node).collect();
    Ok(graph)
}

/// Returns the definition of an execution: an action, or the steps of its rule.
pub(super) fn definition<'c>(catalog: &'c Catalog, execution: &Execution) -> Option<&'c Arc<Action>> {
    let of_rule = execution.rule.as_ref().and_then(|rule| catalog.rules().get(rule));
    let steps = of_rule.filter(|rule| execution.parent.is_none() && rule.has_steps() && rule.action.name == execution.action);
    steps.map(|rule| &rule.action).or_else(|| catalog.actions().get(&execution.action))
}

/// Reads the steps and items of a workflow after a position, oldest first: [`LIST_ROWS_MAX`], or fewer if they are the last.
/// They belong where it belongs.
pub(super) fn steps_after(ports: &Ports, of: ExecutionId, after: Option<Position>) -> Result<Vec<Execution>, Problem> {
    let query = ListQuery {
        after,
        order: Order::OldestFirst,
        limit: LIST_ROWS_MAX,
        ..ListQuery::newest(ViewName::Executions, RowReach::Everything)
    };
    let rows = ports.views.list(&query.with(Column::Parent, of.to_string()))?;
    Ok(rows.iter().map(Row::read).collect::<Result<_, _>>()?)
}

/// Counts the executions of each step, which belong where their workflow belongs. Returns whether there are more than can be counted.
fn count_executions(ports: &Ports, of: &Execution, courses: &mut BTreeMap<StepName, Course>) -> Result<bool, Problem> {
    let (mut after, mut counted) = (None, 0);
    loop {
        let page = steps_after(ports, of.id, after)?;
        for execution in &page {
            if let Some(course) = execution.step.as_ref().and_then(|step| courses.get_mut(step)) {
                course.count(execution);
            }
        }
        counted += page.len();
        after = page.last().map(|last| last.position);
        if page.len() < LIST_ROWS_MAX || counted >= EXECUTIONS_MAX {
            return Ok(page.len() == LIST_ROWS_MAX);
        }
    }
}

/// Reads the workflow's own records, which say what happened to steps without an execution. Those that the views
/// do not show yet are left out.
fn read_facts(ports: &Ports, of: &Execution, courses: &mut BTreeMap<StepName, Course>) -> Result<(), Problem> {
    let mut after = Revision(0);
    while after < of.revision {
        let records = ports.log.read_stream(&StreamId::Execution(of.id), after, ReadLimit::default())?;
        let Some(last) = records.last() else { break };
        after = last.revision;
        records.iter().filter(|record| record.revision <= of.revision).for_each(|record| note(record, courses));
    }
    Ok(())
}

fn note(record: &Record, courses: &mut BTreeMap<StepName, Course>) {
    let mut at = |step: &StepName, change: &dyn Fn(&mut Course)| {
        if let Some(course) = courses.get_mut(step) {
            course.last = course.last.max(Some(record.time));
            change(course);
        }
    };
    match &record.fact {
        Fact::StepSkipped(fact) => at(&fact.step, &|course| course.skipped = Some(fact.because)),
        Fact::WaitMatched(fact) if fact.purpose == Purpose::Cancels && fact.execution.is_some() => {
            at(&fact.step, &|course| course.skipped = Some(SkippedBecause::Event));
        }
        Fact::StepFailed(fact) if fact.item.is_some() => at(&fact.step, &|course| {
            course.known += 1;
            *course.counts.entry(status_of(&fact.error)).or_default() += 1;
        }),
        Fact::StepFailed(fact) => at(&fact.step, &|course| course.ended = Some(Some(fact.error.clone()))),
        Fact::StepExpanded(fact) => at(&fact.step, &|course| {
            course.items = Some(fact.count);
            if fact.count == 0 {
                course.ended.get_or_insert(None);
            }
        }),
        Fact::StepEnded(fact) => at(&fact.step, &|course| course.ended = Some(fact.error.clone())),
        Fact::StepTakenOver(fact) => at(&fact.step, &|course| {
            course.taken_over += 1;
            course.is_taken_over |= fact.item.is_none();
        }),
        _ => {}
    }
}

/// Returns the status of a step that ended with this error.
fn status_of(error: &Failure) -> Status {
    match error.kind {
        FailureKind::Cancelled => Status::Cancelled,
        FailureKind::Timeout => Status::TimedOut,
        _ => Status::Failed,
    }
}

/// The statuses of executions that have not ended, the one that needs attention first.
const OPEN: [Status; 8] = [
    Status::Indeterminate,
    Status::Running,
    Status::Cancelling,
    Status::Undoing,
    Status::Paused,
    Status::Waiting,
    Status::Queued,
    Status::Delayed,
];

impl Course {
    fn count(&mut self, execution: &Execution) {
        if execution.undoes {
            *self.undos.entry(execution.status).or_default() += 1;
            return;
        }
        self.first = Some(self.first.map_or(execution.requested_at, |first| first.min(execution.requested_at)));
        self.last = self.last.max(execution.ended_at);
        self.known += 1;
        *self.counts.entry(execution.status).or_default() += 1;
        if execution.item.is_none() && execution.turn.is_none() {
            self.single = Some((execution.id, execution.status));
        }
    }

    fn state(&self) -> WireStepState {
        let open = OPEN.into_iter().find(|status| self.counts.contains_key(status));
        match (&self.ended, open) {
            _ if self.skipped.is_some() => WireStepState::Skipped,
            (Some(Some(error)), _) => status_of(error).into(),
            (Some(None), _) => WireStepState::Succeeded,
            (None, Some(open)) => open.into(),
            (None, None) => match self.single {
                Some((_, status)) => status.into(),
                None if self.is_taken_over => WireStepState::Succeeded,
                // Some of its items or turns ended, and the others follow.
                None if self.known > 0 || self.items.is_some() => WireStepState::Running,
                None => WireStepState::ToCome,
            },
        }
    }

    fn is_open(&self) -> bool {
        OPEN.iter().any(|status| WireStepState::from(*status) == self.state())
    }

    fn into_wire(self, step: WireStep, state: Option<WireStepState>) -> WireGraphNode {
        let named = |counts: &BTreeMap<Status, u32>| counts.iter().map(|(status, count)| (status.as_str().to_owned(), *count)).collect();
        WireGraphNode {
            started_at: self.first,
            ended_at: self.last.filter(|_| !self.is_open()),
            state,
            counts: named(&self.counts),
            undos: named(&self.undos),
            execution: self.single.map(|(id, _)| id),
            items: self.items,
            skipped: self.skipped,
            error: self.ended.flatten().map(WireFailure::from),
            taken_over: self.taken_over,
            step,
        }
    }
}

/// Returns the chain of steps that took until the end, or until now.
fn critical(steps: &[WireStep], courses: &BTreeMap<StepName, Course>) -> Vec<StepName> {
    // An open step ends after all that have ended.
    let end = |step: &StepName| {
        courses.get(step).and_then(|course| if course.is_open() { Some((true, None)) } else { Some((false, Some(course.last?))) })
    };
    let latest = |names: &mut dyn Iterator<Item = &StepName>| -> Option<StepName> {
        let ends = names.filter_map(|name| Some((end(name)?, name)));
        ends.max_by_key(|(end, _)| *end).map(|(_, name)| name.clone())
    };
    let mut chain: Vec<StepName> = latest(&mut steps.iter().map(|step| &step.step)).into_iter().collect();
    while let Some(step) = chain.last().and_then(|last| steps.iter().find(|step| step.step == *last)) {
        let Some(before) = latest(&mut step.needs.iter()) else { break };
        chain.push(before);
    }
    chain.reverse();
    chain
}

//! The steps of a workflow as a graph: as they are written, and what became of each in an execution.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::catalog::{Builtin, Catalog, Run, Step, Task, Workflow};
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, StepName};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::SkippedBecause;
use ensue_views::executions::Status;
use schemars::JsonSchema;
use serde::Serialize;

use crate::wire::executions::WireFailure;

/// A step of a workflow, as it is written.
#[wire(Serialize)]
#[derive(Clone)]
pub(crate) struct WireStep {
    pub(crate) step: StepName,
    kind: WireStepKind,
    /// The action that it runs; null for a step that fails or asserts.
    action: Option<ActionRef>,
    /// The steps that must end before it starts.
    pub(crate) needs: Vec<StepName>,
    /// How many of them are enough; null if all must end.
    needs_any: Option<u32>,
    /// Its condition, as it is written.
    r#if: Option<String>,
    /// The expression for the items that it is done for.
    for_each: Option<String>,
    /// Whether it is repeated in turns.
    repeats: bool,
    /// Its column in a drawing: the number of steps in the longest chain before it.
    pub(crate) rank: u32,
    /// Its row in that column, from 0.
    pub(crate) lane: u32,
}

/// What a step does.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireStepKind {
    /// It runs an action.
    Action,
    /// It runs the steps of an action.
    Workflow,
    /// It asks people.
    Inquiry,
    /// It waits for an event.
    Wait,
    /// It waits for a time.
    Sleep,
    /// It fails.
    Fail,
    /// It succeeds if a condition is true, and fails otherwise.
    Assert,
}

impl WireStep {
    /// Shows the steps of a workflow in the order in which they are written, each with its place in a drawing.
    pub(crate) fn all(workflow: &Workflow, catalog: &Catalog) -> Vec<Self> {
        let mut steps: Vec<Self> = workflow.steps().iter().map(|step| Self::from_step(step, catalog)).collect();
        let places: BTreeMap<StepName, usize> = steps.iter().enumerate().map(|(place, step)| (step.step.clone(), place)).collect();
        let needs: Vec<Vec<usize>> = steps.iter().map(|step| step.needs.iter().map(|name| places[name]).collect()).collect();
        for (step, (rank, lane)) in steps.iter_mut().zip(places_of(&needs)) {
            (step.rank, step.lane) = (rank, lane);
        }
        steps
    }

    fn from_step(step: &Step, catalog: &Catalog) -> Self {
        let action = match &step.task {
            Task::Action { action, .. } => Some(action.clone()),
            Task::Fail { .. } | Task::Assert { .. } => None,
        };
        let run = action.as_ref().and_then(|action| Some(&catalog.actions().get(action)?.run));
        let kind = match run {
            _ if step.wait.is_some() => WireStepKind::Wait,
            _ if matches!(step.task, Task::Assert { .. }) => WireStepKind::Assert,
            Some(Run::Workflow(_)) => WireStepKind::Workflow,
            Some(Run::Builtin(Builtin::Inquiry)) => WireStepKind::Inquiry,
            Some(Run::Builtin(Builtin::Sleep)) => WireStepKind::Sleep,
            Some(_) => WireStepKind::Action,
            None if action.is_some() => WireStepKind::Action,
            None => WireStepKind::Fail,
        };
        Self {
            step: step.name.clone(),
            kind,
            action,
            needs: step.needs.clone(),
            needs_any: step.enough.map(|enough| enough.count),
            r#if: step.starts.condition().map(|condition| condition.source().to_owned()),
            for_each: step.for_each.as_ref().map(|each| each.items.source().to_owned()),
            repeats: step.repeat.is_some(),
            rank: 0,
            lane: 0,
        }
    }
}

/// Returns the rank and the lane of each step. A rank is one more than the greatest one of the steps that it
/// needs, and the lanes of a rank follow those of these steps, so that few lines cross.
fn places_of(needs: &[Vec<usize>]) -> Vec<(u32, u32)> {
    let mut ranks: Vec<Option<u32>> = vec![None; needs.len()];
    // Steps need each other in no cycle, so each round finds the rank of at least one step.
    while ranks.iter().any(Option::is_none) {
        for (step, needed) in needs.iter().enumerate() {
            let known: Option<Vec<u32>> = needed.iter().map(|needed| ranks[*needed]).collect();
            ranks[step] = known.map(|known| known.iter().max().map_or(0, |rank| rank + 1));
        }
    }
    let mut by_rank: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (step, rank) in ranks.iter().enumerate() {
        by_rank.entry(rank.unwrap_or_default()).or_default().push(step);
    }
    let mut places = vec![(0, 0); needs.len()];
    for (rank, mut steps) in by_rank {
        let lanes = |step: &usize| needs[*step].iter().map(|needed| u64::from(places[*needed].1)).sum::<u64>();
        let before = |step: &usize| (lanes(step) * 1_000).checked_div(needs[*step].len() as u64).unwrap_or(0);
        steps.sort_by_key(|step| (before(step), *step));
        for (lane, step) in (0..).zip(steps) {
            places[step] = (rank, lane);
        }
    }
    places
}

/// The graph of an execution's steps.
#[wire(Serialize)]
pub(crate) struct WireGraph {
    pub(crate) execution: ExecutionId,
    /// The revision of the catalog with the definition of the steps.
    pub(crate) catalog: CatalogRevision,
    /// The steps in the order in which they are written; none if the action has no steps.
    pub(crate) nodes: Vec<WireGraphNode>,
    /// A line for each step that another one needs.
    pub(crate) edges: Vec<WireGraphEdge>,
    /// The chain of steps that took until the end, or until now, in their order: each is the one that the next
    /// had to wait for longest.
    pub(crate) critical: Vec<StepName>,
    /// Whether there are more executions of steps than were counted, the oldest of them.
    pub(crate) truncated: bool,
}

/// A line from a step to one that needs it.
#[wire(Serialize)]
pub(crate) struct WireGraphEdge {
    pub(crate) from: StepName,
    pub(crate) to: StepName,
}

/// A step, and what became of it.
#[wire(Serialize)]
pub(crate) struct WireGraphNode {
    #[serde(flatten)]
    pub(crate) step: WireStep,
    /// Its state; null if nothing is known of it because the graph is truncated.
    pub(crate) state: Option<WireStepState>,
    /// When its first execution was requested.
    pub(crate) started_at: Option<Timestamp>,
    /// When the last of it ended; null while it is open.
    pub(crate) ended_at: Option<Timestamp>,
    /// Why it was skipped.
    pub(crate) skipped: Option<SkippedBecause>,
    /// Why it failed, if it failed before it had an execution, or as a whole.
    pub(crate) error: Option<WireFailure>,
    /// The execution of it, if there is one and it is not one of several.
    pub(crate) execution: Option<ExecutionId>,
    /// The number of items that it is done for, once that is known.
    pub(crate) items: Option<u32>,
    /// The number of its executions, and of items that failed before they had one, by status.
    pub(crate) counts: BTreeMap<String, u32>,
    /// The number of executions that undo it, by status.
    pub(crate) undos: BTreeMap<String, u32>,
    /// How many of its results were taken over from the execution that is rerun: itself, or items of it.
    pub(crate) taken_over: u32,
}

/// The state of a step: that of its execution, or of the one of several that needs attention first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireStepState {
    /// It has not begun.
    ToCome,
    /// It does not start.
    Skipped,
    /// Its execution waits for a time.
    Delayed,
    /// Its execution waits for a lock or for a worker.
    Queued,
    /// Its execution is paused.
    Paused,
    /// Its execution waits for its own steps, a time, an answer or an event.
    Waiting,
    /// It runs.
    Running,
    /// It was asked to stop.
    Cancelling,
    /// Its execution undoes its own steps.
    Undoing,
    /// It is unknown whether it took effect; a person must decide.
    Indeterminate,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It exceeded its timeout.
    TimedOut,
    /// It ended because it was asked to.
    Cancelled,
}

impl WireStepState {
    /// Returns true if nothing more happens to the step, unless it is undone.
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Skipped | Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled)
    }
}

impl From<Status> for WireStepState {
    fn from(status: Status) -> Self {
        match status {
            Status::Delayed => Self::Delayed,
            Status::Queued => Self::Queued,
            Status::Paused => Self::Paused,
            Status::Waiting => Self::Waiting,
            Status::Running => Self::Running,
            Status::Cancelling => Self::Cancelling,
            Status::Undoing => Self::Undoing,
            Status::Indeterminate => Self::Indeterminate,
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::TimedOut => Self::TimedOut,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_is_drawn_after_all_that_it_needs_and_beside_them() {
        let needs = [vec![], vec![4], vec![0], vec![0, 2], vec![]];
        assert_eq!(places_of(&needs), [(0, 0), (1, 1), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(places_of(&[]), []);
    }
}

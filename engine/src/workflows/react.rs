//! The consequences for a workflow: its steps start, in the order in which they are written, once the steps
//! that they need have ended.
//!
//! Each call returns the next thing that is due, from the state alone; the caller asks again until nothing is due.

use crate::catalog::{Run, Step};
use crate::command::Context;
use crate::executions::end;
use crate::executions::facts::{ExecutionCancelRequested, Pace};
use crate::executions::start::start_waiting;
use crate::executions::state::Execution;
use crate::fact::{ExecutionFact, Fact, StepFact};
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Draft, Record, StreamId};
use crate::state::State;
use crate::timers::facts::TimerKind;
use crate::workflows::facts::{PartRole, Purpose, WaitMatched};
use crate::workflows::run::{WorkflowRun, definition, draft_of};
use crate::workflows::state::{PartEnd, WorkflowState};
use crate::workflows::waits;

/// How many executions are asked to end at once.
const ASKED_AT_ONCE: usize = 100;

/// What happened to a workflow.
enum Change<'a> {
    /// It was requested.
    Begun,
    /// A step of it has ended, or an item of one.
    Ended(&'a StepName),
    /// Enough of the steps that a step needs have ended.
    Chosen(&'a StepName),
    /// A step is done for each of several items.
    Expanded(&'a StepName),
    /// Somebody asked it to end.
    CancelRequested,
    /// It is undoing its steps that succeeded, and continues with that.
    Undoing,
    /// A step of it waits for an event from now on.
    Awaits(&'a StepName),
}

/// The drafts that are due in a workflow.
struct Due {
    drafts: Vec<Draft>,
    /// The consequence of the same record from which more may be due.
    then: Consequence,
}

impl Due {
    /// Returns a draft after which nothing of the workflow is due.
    fn last(draft: Draft) -> Self {
        Self { drafts: vec![draft], then: Consequence::LAST }
    }
}

/// Returns the consequences of a record of an execution for its workflow, from the `next`-th on, and then for
/// the executions that may start.
pub(crate) fn after_execution(state: &State, record: &Record, fact: ExecutionFact<'_>, next: Consequence, with: &Context<'_>) -> Reaction {
    let change = match (PartEnd::of(fact), fact, &record.stream) {
        (Some(end), ..) if end.part_of.role == PartRole::Undo => Some((end.part_of.workflow, Change::Undoing)),
        (Some(end), ..) => Some((end.part_of.workflow, Change::Ended(&end.part_of.step))),
        (None, ExecutionFact::ExecutionRequested(fact), StreamId::Execution(id))
            if fact.pace == Pace::InSteps && fact.start_at.is_none() && fact.wait_millis.is_none() =>
        {
            Some((*id, Change::Begun))
        }
        (None, ExecutionFact::LockAcquired(_), StreamId::Execution(id)) => Some((*id, Change::Begun)),
        (None, ExecutionFact::ExecutionCancelRequested(_), StreamId::Execution(id)) => Some((*id, Change::CancelRequested)),
        _ => None,
    };
    follow(state, change, record, next, with)
}

/// Returns the consequences of a fired timer of a workflow, from the `next`-th on, and then for the
/// executions that may start.
pub(crate) fn after_timer(
    state: &State,
    record: &Record,
    id: ExecutionId,
    kind: TimerKind,
    next: Consequence,
    with: &Context<'_>,
) -> Reaction {
    let change = match kind {
        TimerKind::Start | TimerKind::Turn => Some((id, Change::Begun)),
        TimerKind::Timeout => Some((id, Change::CancelRequested)),
        TimerKind::Retry
        | TimerKind::Sleep
        | TimerKind::Expiry
        | TimerKind::Reminder
        | TimerKind::Escalation
        | TimerKind::Schedule
        | TimerKind::Interval
        | TimerKind::Hold => None,
    };
    follow(state, change, record, next, with)
}

/// Returns the consequences of a record of a step, from the `next`-th on.
pub(crate) fn react(state: &State, record: &Record, fact: StepFact<'_>, next: Consequence, with: &Context<'_>) -> Reaction {
    let StreamId::Execution(id) = record.stream else { return Reaction::nothing() };
    let change = match fact {
        StepFact::StepSkipped(fact) => Change::Ended(&fact.step),
        StepFact::StepChosen(fact) => Change::Chosen(&fact.step),
        StepFact::StepFailed(fact) => Change::Ended(&fact.step),
        StepFact::StepEnded(fact) => Change::Ended(&fact.step),
        StepFact::StepTakenOver(fact) => Change::Ended(&fact.step),
        StepFact::StepExpanded(fact) => Change::Expanded(&fact.step),
        StepFact::UndoBegun(_) | StepFact::UndoFailed(_) => Change::Undoing,
        StepFact::WaitOpened(fact) => Change::Awaits(&fact.step),
        StepFact::WaitMatched(fact) => return react_to_match(state, record, fact, with),
        StepFact::WaitErred(_) | StepFact::RerunPlanned(_) => return Reaction::nothing(),
    };
    follow(state, Some((id, change)), record, next, with)
}

/// Ends a step whose event has come, or that its event cancels, if it has begun.
fn react_to_match(state: &State, record: &Record, fact: &WaitMatched, with: &Context<'_>) -> Reaction {
    let Some(child) = fact.execution.and_then(|id| Some((id, state.executions().get(&id)?))) else { return Reaction::nothing() };
    match fact.purpose {
        Purpose::Awaited if child.1.awaits_event() => waits::end(state, record, child, with),
        Purpose::Awaited => Reaction::nothing(),
        Purpose::Cancels => waits::cancel_by_event(state, record, child).unwrap_or_else(Reaction::nothing),
    }
}

fn follow(state: &State, change: Option<(ExecutionId, Change<'_>)>, record: &Record, next: Consequence, with: &Context<'_>) -> Reaction {
    let due = match change {
        Some((id, change)) if next < Consequence::LAST => due(state, id, &change, record, next, with),
        Some(_) | None => Ok(None),
    };
    match due {
        Ok(Some(due)) => Reaction::from(due.drafts, due.then),
        // The record that asks many executions to end continues by itself, and starts the waiting executions
        // after the last of them: none of their ends begins that again.
        Ok(None) if matches!(record.fact, Fact::ExecutionCancelled(_)) && is_next_to_end(state) => Reaction::nothing(),
        Ok(None) => start_waiting(state, record.id, with),
        Err(reaction) => reaction,
    }
}

/// Returns true if the first in a queue, or the next execution to get a lock, must end with the workflow around it.
fn is_next_to_end(state: &State) -> bool {
    let free = state.locks().next_free().and_then(|(_, id)| Some((id, state.executions().get(&id)?)));
    state
        .executions()
        .first_queued()
        .chain(free)
        .any(|(id, execution)| state.workflows().to_end(id, execution, state.executions()).is_some())
}

fn due(
    state: &State,
    id: ExecutionId,
    change: &Change<'_>,
    record: &Record,
    next: Consequence,
    with: &Context<'_>,
) -> Result<Option<Due>, Reaction> {
    let (Some(execution), Some(progress)) = (state.executions().get(&id), state.workflows().progress(&id)) else { return Ok(None) };
    // Only the record that requires them to end asks them; otherwise each end would ask for the next one. It
    // asks from the state alone, even if nothing else can be worked out.
    if record.position == progress.stop_before {
        let asked = ends_asked_for(state, state.workflows().to_be_asked(id, progress), execution, record);
        if !asked.is_empty() {
            return Ok(Some(Due { drafts: asked, then: next }));
        }
    }
    let catalog = with.catalogs.at(execution.catalog);
    let action = catalog.as_ref().and_then(|catalog| definition(catalog, execution));
    let (Some(catalog), Some(action), Some(Run::Workflow(workflow))) = (&catalog, action, action.map(|action| &action.run)) else {
        return without_steps(id, execution, progress, record);
    };
    let run = WorkflowRun { state, id, execution, progress, catalog, action, workflow, record, with };
    let due = match change {
        Change::Begun => run.due_at_begin(next)?,
        Change::Awaits(step) => run.first_of(workflow.step(step).into_iter(), next)?,
        Change::Chosen(step) => match run.first_of(workflow.step(step).into_iter(), next)? {
            Some(due) => Some(due),
            None => Some(run.rest_asked_to_end(step)).filter(|asked| !asked.is_empty()).map(|drafts| Due { drafts, then: next }),
        },
        Change::Expanded(step) => run.next_within(step)?.map(|drafts| Due { drafts, then: next }),
        Change::Ended(step) if run.state(step).is_some_and(|state| !state.status.is_end()) => {
            run.next_within(step)?.map(|drafts| Due { drafts, then: next })
        }
        Change::Ended(step) => run.first_of(workflow.dependents(step), next)?,
        // A step that was skipped because the consequences of another step's end were dismissed also ends now.
        Change::CancelRequested => run.first_of(workflow.steps().iter(), next)?,
        Change::Undoing => None,
    };
    match due {
        Some(due) => Ok(Some(due)),
        None => Ok(run.end()?.map(Due::last)),
    }
}

/// A workflow whose steps cannot be read can only be canceled.
fn without_steps(id: ExecutionId, execution: &Execution, progress: &WorkflowState, record: &Record) -> Result<Option<Due>, Reaction> {
    match (progress.cancels, progress.open) {
        (0, _) => {
            let (action, catalog) = (&execution.action, execution.catalog);
            Err(Reaction::Impossible(format!("the steps of `{action}` cannot be read in the catalog of revision {catalog}")))
        }
        (_, 0) => Ok(Some(Due::last(draft_of(id, execution, record, end::stop_fact(execution), None)))),
        (..) => Ok(None),
    }
}

/// Asks executions to end, a limited number at once.
pub(super) fn ends_asked_for(
    state: &State,
    children: impl Iterator<Item = ExecutionId>,
    workflow: &Execution,
    record: &Record,
) -> Vec<Draft> {
    let open = children.filter(|child| state.executions().get(child).is_some());
    open.take(ASKED_AT_ONCE).map(|child| draft_of(child, workflow, record, ExecutionCancelRequested {}.into(), None)).collect()
}

impl WorkflowRun<'_> {
    /// Returns the due records of a workflow that has begun: first the waits that open with it, then the steps
    /// that need nothing.
    fn due_at_begin(&self, next: Consequence) -> Result<Option<Due>, Reaction> {
        let waits = u32::try_from(self.workflow.early_watches().count()).unwrap_or(u32::MAX);
        if next.0 < waits
            && let Some((draft, then)) = self.early_wait(next)?
        {
            return Ok(Some(Due { drafts: vec![draft], then }));
        }
        let due = self.first_of(self.workflow.roots(), Consequence(next.0.saturating_sub(waits)))?;
        Ok(due.map(|due| Due { then: Consequence(due.then.0 + waits), ..due }))
    }

    /// Starts, skips or fails the first of these steps that is due, from the `next`-th on.
    fn first_of<'s>(&self, steps: impl Iterator<Item = &'s Step>, next: Consequence) -> Result<Option<Due>, Reaction> {
        for (place, step) in (0..).zip(steps).skip(next.0 as usize) {
            match self.state(&step.name) {
                None => {
                    if let Some(draft) = self.due(step)? {
                        return Ok(Some(Due { drafts: vec![draft], then: Consequence(place).next() }));
                    }
                }
                Some(state) if !state.status.is_end() => {
                    if let Some(drafts) = self.next_within(&step.name)? {
                        return Ok(Some(Due { drafts, then: Consequence(place) }));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// Returns the due records of a step that is done more than once and has not ended.
    fn next_within(&self, name: &StepName) -> Result<Option<Vec<Draft>>, Reaction> {
        match self.next_of_items(name)? {
            Some(drafts) => Ok(Some(drafts)),
            None => self.next_of_turns(name),
        }
    }
}

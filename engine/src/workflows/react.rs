//! The consequences for a workflow: its steps start, in the order in which they are written, once the steps
//! that they need have ended.
//!
//! Each call returns the next thing that is due, from the state alone; the caller asks again until nothing is due.

use crate::executions::end;
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::run::definition;
use std::collections::BTreeSet;

use ensue_expression::{Budget, Document, EVALUATION_STEPS_MAX, EvaluationError, Expression, Path, Scope, Template};
use serde_json::Value as Json;

use crate::catalog::{Extra, OnFailure, Run, StartsIf, Step, Task, WhenCancelled, WhenFailing};
use crate::command::Context;
use crate::executions::facts::{
    ExecutionCancelRequested, ExecutionCancelled, ExecutionFailed, ExecutionRequested, ExecutionSucceeded, Failure, FailureKind, Pace,
};
use crate::executions::start::start_waiting;
use crate::executions::state::{Execution, Phase};
use crate::fact::{ExecutionFact, Fact, StepFact};
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::react::own_claims;
use crate::mutants;
use crate::names::{ActionRef, StepName};
use crate::reaction::{Consequence, Reaction};
use crate::record::{Actor, Body, Draft, Record, StreamId};
use crate::rules::judge::complete;
use crate::rules::local;
use crate::state::State;
use crate::time::millis;
use crate::timers::facts::TimerKind;
use crate::workflows::facts::{PartOf, PartRole, SkippedBecause, StepFailed, StepSkipped, WaitMatched};
use crate::workflows::inputs::{Ends, ExpressionInputs};
use crate::workflows::state::{End, StepState, StepStatus, WorkflowState};
use crate::workflows::waits;

/// The maximum depth of nested workflows.
pub(crate) const LEVEL_MAX: u32 = 16;

/// How many executions are asked to end at once.
const ASKED_AT_ONCE: usize = 100;

/// What happened to a workflow.
enum Change<'a> {
    /// It was requested.
    Begun,
    /// A step of it has ended, or an item of one.
    Ended(&'a StepName),
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
    let change = match (End::of(fact), fact, &record.stream) {
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
        StepFact::StepFailed(fact) => Change::Ended(&fact.step),
        StepFact::StepEnded(fact) => Change::Ended(&fact.step),
        StepFact::StepTakenOver(fact) => Change::Ended(&fact.step),
        StepFact::StepExpanded(fact) => Change::Expanded(&fact.step),
        StepFact::UndoBegun(_) | StepFact::UndoFailed(_) => Change::Undoing,
        StepFact::WaitOpened(fact) => Change::Awaits(&fact.step),
        StepFact::WaitMatched(fact) => return matched(state, record, fact, with),
        StepFact::WaitErred(_) | StepFact::RerunPlanned(_) => return Reaction::nothing(),
    };
    follow(state, Some((id, change)), record, next, with)
}

/// Ends a step whose event has come, if it has begun.
fn matched(state: &State, record: &Record, fact: &WaitMatched, with: &Context<'_>) -> Reaction {
    let child = fact.execution.and_then(|id| Some((id, state.executions().get(&id)?)));
    match child.filter(|(_, execution)| execution.phase == Phase::Awaiting) {
        Some(child) => waits::end(state, record, child, with),
        None => Reaction::nothing(),
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
        Change::Begun => run.begun(next)?,
        Change::Awaits(step) => run.first_of(workflow.step(step).into_iter(), next)?,
        Change::Expanded(step) => run.next_within(step)?.map(|drafts| Due { drafts, then: next }),
        Change::Ended(step) if run.state(step).is_some_and(|state| !state.status.is_end()) => {
            run.next_within(step)?.map(|drafts| Due { drafts, then: next })
        }
        Change::Ended(step) => run.first_of(workflow.dependents(step), next)?,
        // A step that was passed over because the consequences of another step's end were dismissed also ends now.
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
        (_, 0) => Ok(Some(Due::last(draft_of(id, execution, record, end_of_stopped(execution, progress), None)))),
        (..) => Ok(None),
    }
}

/// Returns the end of a workflow that was canceled or took too long.
fn end_of_stopped(execution: &Execution, progress: &WorkflowState) -> Fact {
    if progress.is_timed_out {
        end::stopped(execution)
    } else {
        ExecutionCancelled { error: None, part_of: execution.part_of.clone() }.into()
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

fn draft_of(stream: ExecutionId, workflow: &Execution, record: &Record, fact: Fact, body: Option<Body>) -> Draft {
    Draft {
        stream: StreamId::Execution(stream),
        begins: None,
        actor: Actor::Engine,
        cause: Some(workflow.cause(record.id)),
        trace: None,
        fact,
        body,
    }
}

impl WorkflowRun<'_> {
    pub(super) fn state(&self, step: &StepName) -> Option<&StepState> {
        self.state.workflows().step(self.id, step)
    }

    /// Returns what is due in a workflow that has begun: first the waits that open with it, then the steps
    /// that need nothing.
    fn begun(&self, next: Consequence) -> Result<Option<Due>, Reaction> {
        let waits = u32::try_from(self.workflow.early_waits().count()).unwrap_or(u32::MAX);
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
                    if let Some(ends) = self.ends_of_needs(step) {
                        return self.begin(step, ends).map(|draft| Some(Due { drafts: vec![draft], then: Consequence(place).next() }));
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

    /// Returns what is due in a step that is done more than once and has not ended.
    fn next_within(&self, name: &StepName) -> Result<Option<Vec<Draft>>, Reaction> {
        match self.next_of_items(name)? {
            Some(drafts) => Ok(Some(drafts)),
            None => self.next_of_turns(name),
        }
    }

    /// Returns how the steps that a step needs have ended; `None` if one has not.
    fn ends_of_needs(&self, step: &Step) -> Option<Ends> {
        let counted = if mutants::is("only the first need counts") { step.needs.len().min(1) } else { step.needs.len() };
        let needs = &step.needs[..counted];
        if !self.have_ended(needs) {
            return None;
        }
        let mut ends = Ends { succeeded: true, failed: false };
        for name in needs {
            let (needed, state) = self.workflow.step(name).zip(self.state(name))?;
            match state.status {
                StepStatus::Running => return None,
                StepStatus::Succeeded => {}
                StepStatus::Failed | StepStatus::TimedOut => {
                    ends.failed = true;
                    ends.succeeded &= !needed.on_failure.fails();
                }
                StepStatus::Cancelled => ends.succeeded &= !needed.on_failure.fails(),
                StepStatus::Skipped => ends.succeeded = false,
            }
        }
        Some(ends)
    }

    /// Returns true if all these steps have ended. Each of them asks when it ends, so this must be quick if
    /// thousands are needed: the search jumps about, so that it soon finds a step that has not ended, in
    /// whatever order they end.
    fn have_ended(&self, needs: &[StepName]) -> bool {
        let stride = stride(needs.len());
        self.progress.ended as usize >= needs.len()
            && (0..needs.len())
                .map(|turn| &needs[turn * stride % needs.len()])
                .all(|name| self.state(name).is_some_and(|state| state.status.is_end()))
    }

    /// Returns why nothing of a step may start, if the workflow was canceled or is failing.
    fn stopped(&self, step: &Step) -> Option<SkippedBecause> {
        let may_start = match self.progress.cancels {
            0 => true,
            1 => step.starts.when_cancelled() == WhenCancelled::MayStart || mutants::is("step begins in a cancelled workflow"),
            _ => false,
        };
        if !may_start {
            return Some(SkippedBecause::Cancelled);
        }
        let is_failing = self.progress.failing.is_some() && step.starts.when_failing() == WhenFailing::IsSkipped;
        is_failing.then_some(SkippedBecause::Failing)
    }

    fn begin(&self, step: &Step, ends: Ends) -> Result<Draft, Reaction> {
        let skipped = |because| Ok(self.draft(StepSkipped { step: step.name.clone(), because }.into(), None));
        let stopped = self.stopped(step);
        // Taking over costs nothing, and a rerun of this execution would have to run again whatever is not
        // taken over now. But a step with items may still have items to run.
        let taken_over = self.taken_over(step, ends)?;
        if let Some(taken_over) = taken_over.filter(|draft| stopped.is_none() || !matches!(draft.fact, Fact::StepExpanded(_))) {
            return Ok(taken_over);
        }
        if let Some(because) = stopped {
            return skipped(because);
        }
        if !ends.succeeded && matches!(step.starts, StartsIf::Succeeded | StartsIf::SucceededAnd(_)) {
            return skipped(SkippedBecause::Needs);
        }
        let on_failure = step.on_failure;
        let failed = |error| Ok(self.draft(StepFailed { step: step.name.clone(), item: None, error, on_failure }.into(), None));
        match self.started(step, ends) {
            Ok(Some(draft)) => Ok(draft),
            Ok(None) => skipped(SkippedBecause::Condition),
            Err(StepError::Fails(error)) => failed(error),
            Err(StepError::Stuck(reaction)) => Err(reaction),
        }
    }

    /// Returns the record that starts a step; `None` if its condition is false.
    fn started(&self, step: &Step, ends: Ends) -> Result<Option<Draft>, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        if let Some(condition) = step.starts.condition() {
            let inputs = self.inputs(ends, &condition.reads())?;
            if !condition.holds(&self.scope(&inputs, &[condition], &mut budget)?, &mut budget)? {
                return Ok(None);
            }
        }
        if let Some(wait) = step.wait.as_ref().filter(|_| self.state.workflows().waits().get(self.id, &step.name).is_none()) {
            return Ok(Some(self.wait_opened(step, wait, ends)?));
        }
        if let Some(each) = &step.for_each {
            return self.expanded(step, each, ends, &mut budget).map(Some);
        }
        if let Some(repeat) = &step.repeat {
            return self.first_turn(step, repeat, ends).map(Some);
        }
        match &step.task {
            Task::Action { action, with } => {
                let inputs = self.inputs(ends, &with.reads())?;
                let scope = self.scope(&inputs, &with.expressions(), &mut budget)?;
                self.requested(step, Nth::Only, action, with, &scope, &mut budget).map(Some)
            }
            Task::Fail { message } => {
                let inputs = self.inputs(ends, &message.reads())?;
                let message = message.render(&self.scope(&inputs, &message.expressions(), &mut budget)?, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(StepError::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }

    /// Returns the request of the execution that is a step, or an item of one.
    pub(super) fn requested(
        &self,
        step: &Step,
        nth: Nth,
        name: &ActionRef,
        with: &Template,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Draft, StepError> {
        let fails = |kind, message: String| Err(StepError::Fails(Failure::new(kind, message)));
        let Some(action) = self.catalog.actions().get(name) else {
            return fails(FailureKind::ParametersInvalid, format!("there is no action `{name}`"));
        };
        let params = match complete(&action.parameters, with.render_document(scope, budget)?) {
            Ok(params) => params,
            Err(misfits) => {
                let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return fails(FailureKind::ParametersInvalid, format!("the parameters do not fit `{name}`: {misfits}"));
            }
        };
        let claim = match action.claim(params.root()) {
            Ok(claim) => claim,
            Err(misfit) => {
                return fails(FailureKind::ParametersInvalid, format!("`{name}` cannot be run with these parameters: {}", misfit.message));
            }
        };
        let labels = match action.labels_of(params.root()) {
            Ok(labels) => labels,
            Err(misfit) => {
                return fails(FailureKind::ParametersInvalid, format!("`{name}` cannot be run with these parameters: {}", misfit.message));
            }
        };
        let awaits = step.wait.as_ref().map(|wait| Pace::Awaits { expires_millis: wait.expires.map(millis) });
        let pace = match awaits.map_or_else(|| action.pace(params.root()), Ok) {
            Ok(pace) => pace,
            Err(misfit) => return fails(FailureKind::ParametersInvalid, format!("the parameters do not fit `{name}`: {misfit}")),
        };
        if matches!(nth, Nth::Notification(_)) && !matches!(pace, Pace::Worked | Pace::AtOnce) {
            let message = format!("`{name}` has steps or waits, so it cannot be used to notify people of an inquiry");
            return fails(FailureKind::ParametersInvalid, message);
        }
        if pace == Pace::InSteps && self.execution.level >= LEVEL_MAX {
            let message = format!("`{name}` would be nested {} workflows deep; the limit is {LEVEL_MAX}", self.execution.level + 1);
            return fails(FailureKind::ChildFailed, message);
        }
        let log = self.state.log();
        let of_step = Id::derived(log, self.id.0, Role::Step(&step.name));
        let part = |item: Option<u32>, role: PartRole| {
            // Whether an item's failure counts is decided once all have ended.
            let on_failure = if item.is_none() && role != PartRole::Undo { step.on_failure } else { OnFailure::default() };
            Some(PartOf { workflow: self.id, step: step.name.clone(), item, on_failure, role })
        };
        let (child, part_of, wait_millis) = match nth {
            Nth::Only => (of_step, part(None, step.role()), None),
            Nth::Item(item) => (Id::derived(log, of_step, Role::Item(item)), part(Some(item), step.role()), None),
            Nth::Turn { iteration, wait } => {
                (Id::derived(log, of_step, Role::Iteration(iteration)), part(Some(iteration - 1), PartRole::Turn), wait)
            }
            Nth::Undo(item) => (Id::derived(log, self.id.0, Role::Undo(&step.name, item.unwrap_or(0))), part(item, PartRole::Undo), None),
            Nth::Notification(teller) => (teller.0, None, None),
        };
        let child = ExecutionId(child);
        let (retry, timeout) = match (nth, &step.undo) {
            (Nth::Undo(_), Some(undo)) => (&undo.retry, undo.timeout),
            (Nth::Notification(_), _) => (&None, None),
            _ => (&step.retry, step.timeout),
        };
        let fact = ExecutionRequested {
            action: name.clone(),
            catalog: self.execution.catalog,
            rule: None,
            event: None,
            enforcement: None,
            given: None,
            part_of,
            rerun_of: None,
            priority: step.priority.unwrap_or_else(|| self.execution.priority()),
            queue: action.queue.clone(),
            labels,
            given_labels: BTreeSet::new(),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            timeout_millis: millis(action.timeout),
            grace_millis: millis(action.grace),
            failures_max: retry.as_ref().or(action.retry.as_ref()).map(|retry| retry.attempts),
            // The limits of both the step and its action apply.
            limit_millis: timeout.into_iter().chain(action.limit).min().map(millis),
            start_at: None,
            locks: own_claims(self.state, self.id, claim),
            wait_millis,
            pace,
            own_above: self.execution.own_above.clone(),
        };
        let body = Some(Body::json(params.bytes().clone()));
        Ok(Draft { stream: StreamId::Execution(child), begins: Some(child.0), ..self.draft(fact.into(), body) })
    }

    /// Returns the workflow's end if all its steps have ended; before an end other than success, its undo.
    fn end(&self) -> Result<Option<Draft>, Reaction> {
        let left = usize::from(mutants::is("workflow ends before its last step"));
        if (self.progress.ended as usize) + left < self.workflow.steps().len() || (self.progress.open > 0 && left == 0) {
            return Ok(None);
        }
        if let Some(undoing) = &self.progress.undoing {
            return self.undo_or_end(undoing).map(Some);
        }
        let (end, body) = self.outcome()?;
        let begun = if self.progress.cancels <= 1 { self.undo_begun(&end) } else { None };
        Ok(Some(self.draft(begun.unwrap_or(end), body)))
    }

    /// Returns how the workflow ends, based on the ends of its steps.
    fn outcome(&self) -> Result<(Fact, Option<Body>), Reaction> {
        if self.progress.cancels > 0 && !mutants::is("cancelled workflow goes by its steps") {
            return Ok((end_of_stopped(self.execution, self.progress), None));
        }
        let part_of = self.execution.part_of.clone();
        let result = match &self.progress.failing {
            Some(step) => Err(StepError::Fails(self.failure_of(step))),
            None => self.result(),
        };
        match result {
            Ok(body) => Ok((ExecutionSucceeded { part_of }.into(), body)),
            Err(StepError::Fails(error)) => Ok((ExecutionFailed { error, part_of }.into(), None)),
            Err(StepError::Stuck(reaction)) => Err(reaction),
        }
    }

    fn failure_of(&self, name: &StepName) -> Failure {
        let message = match self.state(name) {
            Some(StepState { error: Some(error), status: StepStatus::TimedOut, .. }) => {
                format!("step `{name}` timed out: {}", error.message)
            }
            Some(StepState { error: Some(error), status: StepStatus::Cancelled, .. }) => {
                format!("step `{name}` was cancelled: {}", error.message)
            }
            Some(StepState { error: Some(error), .. }) => format!("step `{name}` failed: {}", error.message),
            Some(StepState { error: None, .. }) | None => format!("step `{name}` was cancelled"),
        };
        Failure::new(FailureKind::ChildFailed, message)
    }

    /// Returns the workflow's result.
    fn result(&self) -> Result<Option<Body>, StepError> {
        let Some(template) = self.workflow.result() else { return Ok(None) };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs(Ends { succeeded: true, failed: false }, &template.reads())?;
        let result = template.render_document(&self.scope(&inputs, &template.expressions(), &mut budget)?, &mut budget)?;
        if let Some(schema) = &self.action.result {
            let misfits = schema.misfits(result.root(), Extra::Allowed);
            if !misfits.is_empty() {
                let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(StepError::Fails(Failure::new(
                    FailureKind::ResultInvalid,
                    format!("the result does not match its declaration: {misfits}"),
                )));
            }
        }
        Ok(Some(Body::json(result.bytes().clone())))
    }

    pub(super) fn inputs(&self, ends: Ends, reads: &[Path]) -> Result<ExpressionInputs<'_>, StepError> {
        ExpressionInputs::of(self.state, self.id, self.execution, (self.action, self.workflow), (ends, reads), self.with)
    }

    /// Returns the scope of the inputs, with the workflow's local values if one of the expressions reads them.
    pub(super) fn scope<'s>(
        &'s self,
        inputs: &'s ExpressionInputs<'_>,
        expressions: &[&Expression],
        budget: &mut Budget,
    ) -> Result<Scope<'s>, EvaluationError> {
        let mut scope = inputs.scope();
        if expressions.iter().any(|expression| expression.reads_root("local")) {
            local::all(&mut scope, &self.action.local, budget)?;
        }
        Ok(scope)
    }

    pub(super) fn draft(&self, fact: Fact, body: Option<Body>) -> Draft {
        draft_of(self.id, self.execution, self.record, fact, body)
    }
}

/// Returns the length of jumps that reach each of `count` places once and spread them early: about 0.6 of
/// all, without a common divisor.
fn stride(count: usize) -> usize {
    let has_common_divisor = |stride: &usize| {
        let (mut larger, mut smaller) = (count, *stride);
        while smaller > 0 {
            (larger, smaller) = (smaller, larger % smaller);
        }
        larger > 1
    };
    (count * 618 / 1000 + 1..).find(|stride| !has_common_divisor(stride)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stride_visits_each_index_once() {
        for count in 1..500 {
            let reached: BTreeSet<usize> = (0..count).map(|turn| turn * stride(count) % count).collect();
            assert_eq!(reached.len(), count, "{count}");
        }
    }

    #[test]
    fn stride_quickly_finds_the_last_remaining_index() {
        let count: usize = 10_000;
        for gone in [0, 5_000, 9_000, 9_900] {
            for shift in [0, count - gone] {
                let is_left = |place: usize| !(shift..shift + gone).contains(&place);
                let tries = (0..count).position(|turn| is_left(turn * stride(count) % count)).unwrap();
                assert!(tries <= 4 * count / (count - gone), "{gone} of {count} gone from {shift}: {tries} tries");
            }
        }
    }
}

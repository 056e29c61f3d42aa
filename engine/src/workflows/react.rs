//! What follows for a workflow: its steps start, in the order in which they are written, once those that they need have ended.
//!
//! Each call gives the next thing that is due, from the state alone; the caller asks again until there is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_expression::{Budget, Document, EVALUATION_STEPS_MAX, EvaluationError, Expression, Path, Scope, Template};
use serde_json::Value as Json;

use crate::catalog::{Action, Catalog, Extra, OnFailure, Run, StartsIf, Step, Task, WhenCancelled, WhenFailing, Workflow};
use crate::command::Context;
use crate::engine::{Engine, Reaction};
use crate::executions::decide::millis;
use crate::executions::facts::{
    ExecutionCancelRequested, ExecutionCancelled, ExecutionFailed, ExecutionRequested, ExecutionSucceeded, Failure, FailureKind, Pace,
};
use crate::executions::react::start_waiting;
use crate::executions::state::{Execution, Phase};
use crate::executions::timed;
use crate::fact::{ExecutionFact, Fact, StepFact};
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::react::own_claims;
use crate::mutants;
use crate::names::{ActionRef, StepName};
use crate::record::{Actor, Body, Draft, Record, StreamId};
use crate::rules::judge::{complete, describe};
use crate::rules::local;
use crate::timers::facts::TimerKind;
use crate::workflows::facts::{PartOf, PartRole, SkippedBecause, StepFailed, StepSkipped, WaitMatched};
use crate::workflows::sight::{Ends, Sight};
use crate::workflows::state::{Course, End, StepState, StepStatus};
use crate::workflows::waits;

/// How deep workflows may stand in workflows.
pub(crate) const LEVEL_MAX: u32 = 16;

/// How many executions are asked to end at once.
const ASKED_AT_ONCE: usize = 100;

/// The consequence behind the last that a workflow can have: only who waits for a worker is left.
const NO_MORE: u32 = u32::MAX;

/// What happened to a workflow.
enum News<'a> {
    /// It was asked for.
    Begun,
    /// A step of it has ended, or an item of one.
    Ended(&'a StepName),
    /// A step is to be done for each of several items.
    Expanded(&'a StepName),
    /// Somebody asked that it end.
    CancelRequested,
    /// It undoes what succeeded of it, and goes on with that.
    Undoing,
    /// A step of it waits for an event from now on.
    Awaits(&'a StepName),
}

/// What is due in a workflow, and from which consequence on more is to be asked for.
type Due = Option<(Vec<Draft>, u32)>;

/// Gives what follows from a record of an execution for the workflow that it is about, from the `next`-th consequence on, and who may run
/// then.
pub(crate) fn after_execution(engine: &Engine, record: &Record, fact: ExecutionFact<'_>, next: u32, with: &Context<'_>) -> Reaction {
    let news = match (End::of(fact), fact, &record.stream) {
        (Some(end), ..) if end.part_of.role == PartRole::Undo => Some((end.part_of.workflow, News::Undoing)),
        (Some(end), ..) => Some((end.part_of.workflow, News::Ended(&end.part_of.step))),
        (None, ExecutionFact::ExecutionRequested(fact), StreamId::Execution(id))
            if fact.pace == Pace::InSteps && fact.start_at.is_none() && fact.wait_millis.is_none() =>
        {
            Some((*id, News::Begun))
        }
        (None, ExecutionFact::LockAcquired(_), StreamId::Execution(id)) => Some((*id, News::Begun)),
        (None, ExecutionFact::ExecutionCancelRequested(_), StreamId::Execution(id)) => Some((*id, News::CancelRequested)),
        _ => None,
    };
    follow(engine, news, record, next, with)
}

/// Gives what follows for a workflow from one of its timers that has fired, from the `next`-th consequence on, and who may run then.
pub(crate) fn after_timer(engine: &Engine, record: &Record, id: ExecutionId, kind: TimerKind, next: u32, with: &Context<'_>) -> Reaction {
    let news = match kind {
        TimerKind::Start | TimerKind::Turn => Some((id, News::Begun)),
        TimerKind::Timeout => Some((id, News::CancelRequested)),
        TimerKind::Retry
        | TimerKind::Sleep
        | TimerKind::Expiry
        | TimerKind::Reminder
        | TimerKind::Escalation
        | TimerKind::Schedule
        | TimerKind::Interval
        | TimerKind::Hold => None,
    };
    follow(engine, news, record, next, with)
}

/// Gives what follows from a record of a step, from the `next`-th consequence on.
pub(crate) fn react(engine: &Engine, record: &Record, fact: StepFact<'_>, next: u32, with: &Context<'_>) -> Reaction {
    let StreamId::Execution(id) = record.stream else { return Reaction::nothing() };
    let news = match fact {
        StepFact::StepSkipped(fact) => News::Ended(&fact.step),
        StepFact::StepFailed(fact) => News::Ended(&fact.step),
        StepFact::StepEnded(fact) => News::Ended(&fact.step),
        StepFact::StepTakenOver(fact) => News::Ended(&fact.step),
        StepFact::StepExpanded(fact) => News::Expanded(&fact.step),
        StepFact::UndoBegun(_) | StepFact::UndoFailed(_) => News::Undoing,
        StepFact::WaitOpened(fact) => News::Awaits(&fact.step),
        StepFact::WaitMatched(fact) => return matched(engine, record, fact, with),
        StepFact::WaitErred(_) | StepFact::RerunPlanned(_) => return Reaction::nothing(),
    };
    follow(engine, Some((id, news)), record, next, with)
}

/// The event has come that a step waits for: where the step has begun, it ends.
fn matched(engine: &Engine, record: &Record, fact: &WaitMatched, with: &Context<'_>) -> Reaction {
    let child = fact.execution.and_then(|id| Some((id, engine.executions().get(&id)?)));
    match child.filter(|(_, execution)| execution.phase == Phase::Awaiting) {
        Some(child) => waits::end(engine, record, child, with),
        None => Reaction::nothing(),
    }
}

fn follow(engine: &Engine, news: Option<(ExecutionId, News<'_>)>, record: &Record, next: u32, with: &Context<'_>) -> Reaction {
    let due = match news {
        Some((id, news)) if next < NO_MORE => due(engine, id, &news, record, next, with),
        Some(_) | None => Ok(None),
    };
    match due {
        Ok(Some((drafts, from))) => Reaction::from(drafts, from),
        // Who asks many to end goes on by itself, and starts who waits when they all are: none of them begins that anew.
        Ok(None) if matches!(record.fact, Fact::ExecutionCancelled(_)) && is_next_to_end(engine) => Reaction::nothing(),
        Ok(None) => start_waiting(engine, record.id, with),
        Err(reaction) => reaction,
    }
}

/// Says whether the first in a queue, or who may have a lock next, is to end with the workflow around it.
fn is_next_to_end(engine: &Engine) -> bool {
    let free = engine.locks().next_free().and_then(|(_, id)| Some((id, engine.executions().get(&id)?)));
    engine
        .executions()
        .first_queued()
        .chain(free)
        .any(|(id, execution)| engine.workflows().to_end(id, execution, engine.executions()).is_some())
}

fn due(engine: &Engine, id: ExecutionId, news: &News<'_>, record: &Record, next: u32, with: &Context<'_>) -> Result<Due, Reaction> {
    let (Some(execution), Some(course)) = (engine.executions().get(&id), engine.workflows().course(&id)) else { return Ok(None) };
    // The record asks by which they are to end, and no other: each of them that has ended would ask for the next else. It asks from the
    // state alone, also where nothing else can be worked out.
    if record.position == course.stop_before {
        let asked = ends_asked_for(engine, engine.workflows().to_be_asked(id, course), execution, record);
        if !asked.is_empty() {
            return Ok(Some((asked, next)));
        }
    }
    let catalog = with.catalogs.at(execution.catalog);
    let action = catalog.as_ref().and_then(|catalog| definition(catalog, execution));
    let (Some(catalog), Some(action), Some(Run::Workflow(workflow))) = (&catalog, action, action.map(|action| &action.run)) else {
        return without_steps(id, execution, course, record);
    };
    let going = Going { engine, id, execution, course, catalog, action, workflow, record, with };
    let due = match news {
        News::Begun => going.begun(next)?,
        News::Awaits(step) => going.first_of(workflow.step(step).into_iter(), next)?,
        News::Expanded(step) => going.next_within(step)?.map(|drafts| (drafts, next)),
        News::Ended(step) if going.state(step).is_some_and(|state| !state.status.is_end()) => {
            going.next_within(step)?.map(|drafts| (drafts, next))
        }
        News::Ended(step) => going.first_of(workflow.dependents(step), next)?,
        // Also a step that was passed over, because what should have followed from another's end was dismissed, comes to an end now.
        News::CancelRequested => going.first_of(workflow.steps().iter(), next)?,
        News::Undoing => None,
    };
    match due {
        Some(due) => Ok(Some(due)),
        None => Ok(going.end()?.map(|draft| (vec![draft], NO_MORE))),
    }
}

/// Has something worked out for a workflow that is open; none where its steps cannot be read.
pub(crate) fn with_steps<T>(
    engine: &Engine,
    id: ExecutionId,
    record: &Record,
    with: &Context<'_>,
    work: impl FnOnce(&Going<'_>) -> T,
) -> Option<T> {
    let (execution, course) = (engine.executions().get(&id)?, engine.workflows().course(&id)?);
    let catalog = with.catalogs.at(execution.catalog)?;
    let action = definition(&catalog, execution)?;
    let Run::Workflow(workflow) = &action.run else { return None };
    Some(work(&Going { engine, id, execution, course, catalog: &catalog, action, workflow, record, with }))
}

/// Gives what an execution is made of: an action, or the steps of a rule.
pub(crate) fn definition<'c>(catalog: &'c Catalog, execution: &Execution) -> Option<&'c Arc<Action>> {
    match &execution.of_rule {
        Some(of) => catalog.rules().get(&of.rule).map(|rule| &rule.action),
        None => catalog.actions().get(&execution.action),
    }
}

/// A workflow whose steps nobody can know can only be cancelled.
fn without_steps(id: ExecutionId, execution: &Execution, course: &Course, record: &Record) -> Result<Due, Reaction> {
    match (course.cancels, course.open) {
        (0, _) => {
            let (action, catalog) = (&execution.action, execution.catalog);
            Err(Reaction::Impossible(format!("the steps of `{action}` cannot be read in the catalog of revision {catalog}")))
        }
        (_, 0) => Ok(Some((vec![draft_of(id, execution, record, end_of_stopped(execution, course), None)], NO_MORE))),
        (..) => Ok(None),
    }
}

/// Gives the end of a workflow that was cancelled, or took too long.
fn end_of_stopped(execution: &Execution, course: &Course) -> Fact {
    if course.is_timed_out {
        timed::stopped(execution)
    } else {
        ExecutionCancelled { error: None, part_of: execution.part_of.clone() }.into()
    }
}

/// Asks executions to end, some of them at once.
pub(super) fn ends_asked_for(
    engine: &Engine,
    children: impl Iterator<Item = ExecutionId>,
    workflow: &Execution,
    record: &Record,
) -> Vec<Draft> {
    let open = children.filter(|child| engine.executions().get(child).is_some());
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

/// A workflow that goes on.
pub(crate) struct Going<'a> {
    pub(super) engine: &'a Engine,
    pub(super) id: ExecutionId,
    pub(super) execution: &'a Execution,
    pub(super) course: &'a Course,
    pub(super) catalog: &'a Arc<Catalog>,
    pub(super) action: &'a Action,
    pub(super) workflow: &'a Workflow,
    pub(super) record: &'a Record,
    pub(super) with: &'a Context<'a>,
}

/// Why a step cannot be started as it says.
pub(super) enum Hindrance {
    /// It fails.
    Fails(Failure),
    /// Something must be at hand first, or it cannot be worked out at all.
    Stuck(Reaction),
}

/// Which of the executions of a step it is.
#[derive(Clone, Copy)]
pub(super) enum Nth {
    /// The only one.
    Only,
    /// An item's, from 0.
    Item(u32),
    /// A turn's, from 1.
    Turn {
        /// Which.
        iteration: u32,
        /// How long it waits before it starts, in milliseconds.
        wait: Option<u64>,
    },
    /// The one that undoes it, or an item of it.
    Undo(Option<u32>),
    /// One that tells those whom it asks, and is no part of the workflow.
    Notification(ExecutionId),
}

impl From<Reaction> for Hindrance {
    fn from(reaction: Reaction) -> Self {
        Self::Stuck(reaction)
    }
}

impl From<EvaluationError> for Hindrance {
    fn from(error: EvaluationError) -> Self {
        Self::Fails(Failure::new(FailureKind::Expression, describe(&error)))
    }
}

impl Going<'_> {
    pub(super) fn state(&self, step: &StepName) -> Option<&StepState> {
        self.engine.workflows().step(self.id, step)
    }

    /// Gives what is due in a workflow that has begun: first what it waits for from then on, then the steps that need nothing.
    fn begun(&self, next: u32) -> Result<Due, Reaction> {
        let waits = u32::try_from(self.workflow.early_waits().count()).unwrap_or(NO_MORE);
        if next < waits
            && let Some((draft, place)) = self.early_wait(next)?
        {
            return Ok(Some((vec![draft], place + 1)));
        }
        let due = self.first_of(self.workflow.roots(), next.saturating_sub(waits))?;
        Ok(due.map(|(drafts, from)| (drafts, from + waits)))
    }

    /// Starts, skips or fails the first of these steps that is due, from the `next`-th on.
    fn first_of<'s>(&self, steps: impl Iterator<Item = &'s Step>, next: u32) -> Result<Due, Reaction> {
        for (place, step) in (0..NO_MORE).zip(steps).skip(next as usize) {
            match self.state(&step.name) {
                None => {
                    if let Some(ends) = self.ends_of_needs(step) {
                        return self.begin(step, ends).map(|draft| Some((vec![draft], place + 1)));
                    }
                }
                Some(state) if !state.status.is_end() => {
                    if let Some(drafts) = self.next_within(&step.name)? {
                        return Ok(Some((drafts, place)));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// Gives what is due in a step that is done more than once and has not ended.
    fn next_within(&self, name: &StepName) -> Result<Option<Vec<Draft>>, Reaction> {
        match self.next_of_items(name)? {
            Some(drafts) => Ok(Some(drafts)),
            None => self.next_of_turns(name),
        }
    }

    /// Gives how the steps ended that a step needs; none where one has not.
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

    /// Says whether these steps have all ended. Each of them asks when it ends, so that it must be quick where thousands are needed: the
    /// search jumps about, for in whatever order they end, one that has not is soon found so.
    fn have_ended(&self, needs: &[StepName]) -> bool {
        let stride = stride(needs.len());
        self.course.ended as usize >= needs.len()
            && (0..needs.len())
                .map(|turn| &needs[turn * stride % needs.len()])
                .all(|name| self.state(name).is_some_and(|state| state.status.is_end()))
    }

    /// Says why nothing of a step may start, where the workflow was cancelled or is failing.
    fn stopped(&self, step: &Step) -> Option<SkippedBecause> {
        let may_start = match self.course.cancels {
            0 => true,
            1 => step.starts.when_cancelled() == WhenCancelled::MayStart || mutants::is("step begins in a cancelled workflow"),
            _ => false,
        };
        if !may_start {
            return Some(SkippedBecause::Cancelled);
        }
        let is_failing = self.course.failing.is_some() && step.starts.when_failing() == WhenFailing::IsSkipped;
        is_failing.then_some(SkippedBecause::Failing)
    }

    fn begin(&self, step: &Step, ends: Ends) -> Result<Draft, Reaction> {
        let skipped = |because| Ok(self.draft(StepSkipped { step: step.name.clone(), because }.into(), None));
        let stopped = self.stopped(step);
        // It costs nothing, and what is not taken over now would be run once more by who runs this one again. Items may still be to be run.
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
            Err(Hindrance::Fails(error)) => failed(error),
            Err(Hindrance::Stuck(reaction)) => Err(reaction),
        }
    }

    /// Gives the record that starts a step; none where its condition does not hold.
    fn started(&self, step: &Step, ends: Ends) -> Result<Option<Draft>, Hindrance> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        if let Some(condition) = step.starts.condition() {
            let sight = self.sight(ends, &condition.reads())?;
            if !condition.holds(&self.scope(&sight, &[condition], &mut budget)?, &mut budget)? {
                return Ok(None);
            }
        }
        if let Some(wait) = step.wait.as_ref().filter(|_| self.engine.workflows().waits().get(self.id, &step.name).is_none()) {
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
                let sight = self.sight(ends, &with.reads())?;
                let scope = self.scope(&sight, &with.expressions(), &mut budget)?;
                self.requested(step, Nth::Only, action, with, &scope, &mut budget).map(Some)
            }
            Task::Fail { message } => {
                let sight = self.sight(ends, &message.reads())?;
                let message = message.render(&self.scope(&sight, &message.expressions(), &mut budget)?, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(Hindrance::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }

    /// Gives the request of the execution that a step is, or an item of it.
    pub(super) fn requested(
        &self,
        step: &Step,
        nth: Nth,
        name: &ActionRef,
        with: &Template,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Draft, Hindrance> {
        let fails = |kind, message: String| Err(Hindrance::Fails(Failure::new(kind, message)));
        let Some(action) = self.catalog.actions().get(name) else {
            return fails(FailureKind::ParametersInvalid, format!("there is no action `{name}`"));
        };
        let rendered: Json = with.render(scope, budget)?;
        let params = match complete(&action.parameters, rendered) {
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
        let log = self.engine.log();
        let of_step = Id::derived(log, self.id.0, Role::Step(&step.name));
        let part = |item: Option<u32>, role: PartRole| {
            // Whether an item's failure counts is said once all have ended.
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
            // What the step says and what its action says both hold.
            limit_millis: timeout.into_iter().chain(action.limit).min().map(millis),
            start_at: None,
            locks: own_claims(self.engine, self.id, claim),
            wait_millis,
            pace,
            own_above: self.execution.own_above.clone(),
        };
        let body = Some(Body::json(params.bytes().clone()));
        Ok(Draft { stream: StreamId::Execution(child), begins: Some(child.0), ..self.draft(fact.into(), body) })
    }

    /// Gives the workflow's end where all its steps have ended, and before it, where that is no success, what undoes them.
    fn end(&self) -> Result<Option<Draft>, Reaction> {
        let left = usize::from(mutants::is("workflow ends before its last step"));
        if (self.course.ended as usize) + left < self.workflow.steps().len() || (self.course.open > 0 && left == 0) {
            return Ok(None);
        }
        if let Some(undoing) = &self.course.undoing {
            return self.undo_or_end(undoing).map(Some);
        }
        let (end, body) = self.outcome()?;
        let begun = if self.course.cancels <= 1 { self.undo_begun(&end) } else { None };
        Ok(Some(self.draft(begun.unwrap_or(end), body)))
    }

    /// Gives how the workflow ends by what became of its steps.
    fn outcome(&self) -> Result<(Fact, Option<Body>), Reaction> {
        if self.course.cancels > 0 && !mutants::is("cancelled workflow goes by its steps") {
            return Ok((end_of_stopped(self.execution, self.course), None));
        }
        let part_of = self.execution.part_of.clone();
        let result = match &self.course.failing {
            Some(step) => Err(Hindrance::Fails(self.failure_of(step))),
            None => self.result(),
        };
        match result {
            Ok(body) => Ok((ExecutionSucceeded { part_of }.into(), body)),
            Err(Hindrance::Fails(error)) => Ok((ExecutionFailed { error, part_of }.into(), None)),
            Err(Hindrance::Stuck(reaction)) => Err(reaction),
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

    /// Gives what the workflow gives.
    fn result(&self) -> Result<Option<Body>, Hindrance> {
        let Some(template) = self.workflow.result() else { return Ok(None) };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let sight = self.sight(Ends { succeeded: true, failed: false }, &template.reads())?;
        let result = template.render(&self.scope(&sight, &template.expressions(), &mut budget)?, &mut budget)?;
        if let Some(schema) = &self.action.result {
            let result = Document::from_value(&result);
            let misfits = schema.misfits(result.root(), Extra::Allowed);
            if !misfits.is_empty() {
                let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(Hindrance::Fails(Failure::new(
                    FailureKind::ResultInvalid,
                    format!("the result does not match its declaration: {misfits}"),
                )));
            }
        }
        Ok(Some(Body::json(result.to_string())))
    }

    pub(super) fn sight(&self, ends: Ends, reads: &[Path]) -> Result<Sight<'_>, Hindrance> {
        Sight::of(self.engine, self.id, self.execution, (self.action, self.workflow), (ends, reads), self.with)
    }

    /// Gives the scope of a sight, with the workflow's local values where one of the expressions reads them.
    pub(super) fn scope<'s>(
        &'s self,
        sight: &'s Sight<'_>,
        expressions: &[&Expression],
        budget: &mut Budget,
    ) -> Result<Scope<'s>, EvaluationError> {
        let mut scope = sight.scope();
        if expressions.iter().any(|expression| expression.reads_root("local")) {
            local::all(&mut scope, &self.action.local, budget)?;
        }
        Ok(scope)
    }

    pub(super) fn draft(&self, fact: Fact, body: Option<Body>) -> Draft {
        draft_of(self.id, self.execution, self.record, fact, body)
    }
}

/// Gives the length of jumps that reach each of `count` places once, and spread them early: some 0.6 of all, without a common divisor.
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
    fn jumps_reach_each_place_once() {
        for count in 1..500 {
            let reached: BTreeSet<usize> = (0..count).map(|turn| turn * stride(count) % count).collect();
            assert_eq!(reached.len(), count, "{count}");
        }
    }

    #[test]
    fn jumps_soon_find_the_last_that_is_left_over_wherever_most_are_gone() {
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

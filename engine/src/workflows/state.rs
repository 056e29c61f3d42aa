//! The state of workflows: the progress of each, step by step.

mod progress;

use serde::{Deserialize, Serialize};

pub use self::progress::{ChosenNeeds, ItemProgress, ItemState, StepState, StepStatus, Turns, Undoable, Undoing, WorkflowState};
use crate::catalog::OnFailure;
use crate::executions::facts::{Failure, GivenEvent, Pace};
use crate::executions::milestone::HowEnded;
use crate::executions::state::{Execution, Executions};
use crate::fact::{ExecutionFact, StepFact, TimerFact};
use crate::ids::{EventId, ExecutionId};
use crate::names::{StepName, TriggerRef};
use crate::record::{BodyHandle, Position, Record, StreamId};
use crate::table::Table;
use crate::timers::facts::{TimerFired, TimerKind};
use crate::workflows::facts::{PartOf, PartRole, Purpose, StepTakenOver};
use crate::workflows::wait_index::Waits;

/// The open workflows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workflows {
    /// The progress of each.
    open: Table<ExecutionId, WorkflowState>,
    steps: Table<(ExecutionId, StepName), StepState>,
    items: Table<(ExecutionId, StepName, u32), ItemState>,
    /// The executions that a workflow may still ask to end: by how often it asked, and by the record that began them.
    unasked: Table<(ExecutionId, u32, Position), ExecutionId>,
    /// Those of them that are items and were never asked, with the records that began them.
    unasked_items: Table<(ExecutionId, StepName, u32), Position>,
    /// The steps and items of a workflow that succeeded and are undone if the workflow does not, by the
    /// records that ended them.
    undoable: Table<(ExecutionId, Position), Undoable>,
    /// The steps for which enough of those that they need have ended.
    chosen: Table<(ExecutionId, StepName), ChosenNeeds>,
    /// The waits of steps.
    waits: Waits,
    /// The waits of steps for the events that cancel them.
    cancels: Waits,
}

/// How an execution ended, for the step that it is.
pub(crate) struct PartEnd<'a> {
    pub(crate) part_of: &'a PartOf,
    status: StepStatus,
    error: Option<&'a Failure>,
}

impl<'a> PartEnd<'a> {
    /// Returns how an execution ended that is part of a workflow; `None` if the fact is not an end or the
    /// execution is not such a part.
    pub(crate) fn of(fact: ExecutionFact<'a>) -> Option<Self> {
        let ended = fact.execution_end()?;
        let is_by_event = matches!(fact, ExecutionFact::ExecutionCancelled(fact) if fact.by.is_some());
        let status = match ended.how {
            HowEnded::Cancelled if is_by_event => StepStatus::Skipped,
            HowEnded::Succeeded => StepStatus::Succeeded,
            HowEnded::Failed => StepStatus::Failed,
            HowEnded::TimedOut => StepStatus::TimedOut,
            HowEnded::Cancelled => StepStatus::Cancelled,
        };
        Some(Self { part_of: ended.part_of?, status, error: ended.error })
    }
}

impl Workflows {
    /// Returns the progress of a workflow; `None` if it is not a workflow or has ended.
    pub fn progress(&self, workflow: &ExecutionId) -> Option<&WorkflowState> {
        self.open.get(workflow)
    }

    /// Returns a step that has begun or never will, with its name.
    pub fn step_of(&self, workflow: ExecutionId, step: &StepName) -> Option<(&StepName, &StepState)> {
        let key = (workflow, step.clone());
        self.steps.range(key.clone()..=key).next().map(|((_, name), state)| (name, state))
    }

    /// Returns a step that has begun or never will.
    pub fn step(&self, workflow: ExecutionId, step: &StepName) -> Option<&StepState> {
        self.steps.get(&(workflow, step.clone()))
    }

    /// Returns the items of a step that were started, in order.
    pub fn items(&self, workflow: ExecutionId, step: &StepName) -> impl Iterator<Item = &ItemState> {
        let (first, last) = ((workflow, step.clone(), 0), (workflow, step.clone(), u32::MAX));
        self.items.range(first..=last).map(|(_, item)| item)
    }

    /// Returns an item of a step that was started.
    pub fn item(&self, workflow: ExecutionId, step: &StepName, item: u32) -> Option<&ItemState> {
        self.items.get(&(workflow, step.clone(), item))
    }

    /// Returns which of the steps that a step needs were enough for it, once that is decided.
    pub fn chosen_needs(&self, workflow: ExecutionId, step: &StepName) -> Option<&ChosenNeeds> {
        self.chosen.get(&(workflow, step.clone()))
    }

    /// Returns true if a step is no longer needed: nothing more of it starts, and its end does not count.
    pub fn is_dropped(&self, workflow: ExecutionId, step: &StepName) -> bool {
        self.chosen_of(workflow).any(|(_, chosen)| chosen.cancelled.contains(step))
    }

    fn chosen_of(&self, workflow: ExecutionId) -> impl Iterator<Item = (&(ExecutionId, StepName), &ChosenNeeds)> {
        self.chosen.range((workflow, StepName::MIN)..).take_while(move |((of, _), _)| *of == workflow)
    }

    /// Returns the executions of these steps that were not asked to end.
    pub(crate) fn unasked_of<'s>(
        &'s self,
        workflow: ExecutionId,
        steps: &'s [StepName],
        executions: &'s Executions,
    ) -> impl Iterator<Item = ExecutionId> + 's {
        let never = (workflow, 0, Position::default())..(workflow, 1, Position::default());
        let is_of = |child: &ExecutionId| {
            executions.get(child).and_then(|child| child.part_of.as_ref()).is_some_and(|part| steps.contains(&part.step))
        };
        self.unasked.range(never).map(|(_, child)| *child).filter(is_of)
    }

    /// Returns the waits of steps for the events with which they end.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Returns the waits of steps for events of a purpose.
    pub fn waits_for(&self, purpose: Purpose) -> &Waits {
        match purpose {
            Purpose::Awaited => &self.waits,
            Purpose::Cancels => &self.cancels,
        }
    }

    fn waits_for_mut(&mut self, purpose: Purpose) -> &mut Waits {
        match purpose {
            Purpose::Awaited => &mut self.waits,
            Purpose::Cancels => &mut self.cancels,
        }
    }

    /// Returns true if any step waits for an event of this trigger.
    pub fn watches(&self, trigger: &TriggerRef) -> bool {
        self.waits.watches(trigger) || self.cancels.watches(trigger)
    }

    /// Returns the event that has canceled a step which has not ended.
    pub fn cancelled_by(&self, workflow: ExecutionId, step: &StepName) -> Option<&(EventId, GivenEvent)> {
        self.cancels.get(workflow, step)?.matched.as_ref()
    }

    /// Returns the next step or item to undo in a workflow that does not succeed: the one that ended last.
    pub(crate) fn next_undo(&self, workflow: ExecutionId) -> Option<&Undoable> {
        self.undoable_of(workflow).next_back().map(|(_, undoable)| undoable)
    }

    /// Returns how many steps and items of a workflow must be undone.
    pub(crate) fn undo_count(&self, workflow: ExecutionId) -> u32 {
        u32::try_from(self.undoable_of(workflow).count()).unwrap_or(u32::MAX)
    }

    fn undoable_of(&self, workflow: ExecutionId) -> impl DoubleEndedIterator<Item = (&(ExecutionId, Position), &Undoable)> {
        self.undoable.range((workflow, Position::default())..=(workflow, Position(u64::MAX)))
    }

    /// Returns the executions that a workflow has yet to ask to end, the oldest first, those never asked
    /// before those asked once.
    pub(crate) fn to_be_asked(&self, workflow: ExecutionId, progress: &WorkflowState) -> impl Iterator<Item = ExecutionId> {
        let never = (workflow, 0, Position::default())..(workflow, 0, progress.stop_before);
        // The second cancel of a workflow also ends the cleanup in nested workflows.
        let once = (workflow, 1, Position::default())
            ..(workflow, 1, if progress.cancels > 1 { progress.stop_before } else { Position::default() });
        self.unasked.range(never).chain(self.unasked.range(once)).map(|(_, child)| *child)
    }

    /// Returns the items of a step that were not asked to end.
    pub(crate) fn unasked_items(&self, workflow: ExecutionId, step: &StepName) -> impl Iterator<Item = ExecutionId> {
        let (first, last) = ((workflow, step.clone(), 0), (workflow, step.clone(), u32::MAX));
        self.unasked_items.range(first..=last).filter_map(move |(_, begun)| self.unasked.get(&(workflow, 0, *begun)).copied())
    }

    /// Returns the outermost execution that must end and was not asked to yet, among this one and those
    /// around it. Inside one that was asked to end, that one decides what runs.
    pub(crate) fn to_end(&self, id: ExecutionId, execution: &Execution, executions: &Executions) -> Option<ExecutionId> {
        let (mut inner, mut inner_id) = (execution, id);
        let mut outermost = None;
        while let Some(part_of) = &inner.part_of {
            let (Some(progress), Some(workflow)) = (self.progress(&part_of.workflow), executions.get(&part_of.workflow)) else { break };
            let begun = inner.place.1;
            let is_due = |asked| begun < progress.stop_before && self.unasked.contains(&(part_of.workflow, asked, begun));
            if is_due(0) || (progress.cancels > 1 && is_due(1)) || self.is_stopped_item(part_of) {
                outermost = Some(inner_id);
            }
            (inner, inner_id) = (workflow, part_of.workflow);
        }
        outermost
    }

    fn is_stopped_item(&self, part_of: &PartOf) -> bool {
        let Some(item) = part_of.item else { return false };
        let items = self.step(part_of.workflow, &part_of.step).and_then(|step| step.items);
        items.is_some_and(|items| items.is_stopped()) && self.unasked_items.contains(&(part_of.workflow, part_of.step.clone(), item))
    }

    /// Applies what happened to an execution, before the executions do: they no longer know one that has ended.
    pub(crate) fn apply_execution(&mut self, record: &Record, fact: ExecutionFact<'_>, executions: &Executions) {
        let StreamId::Execution(id) = record.stream else { return };
        if let ExecutionFact::ExecutionRequested(fact) = fact {
            if fact.pace == Pace::InSteps {
                self.open.insert(id, WorkflowState::default());
            }
            if let Some(part_of) = &fact.part_of {
                self.begin(part_of, id, record.position);
            }
        }
        let Some(execution) = executions.get(&id) else { return };
        if let ExecutionFact::ExecutionCancelRequested(_) = fact {
            self.open.change(&id, |progress| {
                progress.cancels = progress.cancels.saturating_add(1);
                progress.stop_before = record.position;
            });
            if let Some(part_of) = &execution.part_of {
                self.mark_asked(part_of, execution.place.1, id);
            }
        }
        if let Some(end) = PartEnd::of(fact) {
            self.no_longer_asked(end.part_of, execution.place.1);
            self.end(&end, record.body_handle().or(execution.result), record.position);
        }
        if fact.is_end() && self.open.contains(&id) {
            self.forget(id);
        }
    }

    /// Applies a timer of a workflow: one that exceeds its limit ends as by a cancel.
    pub(crate) fn apply_timer(&mut self, record: &Record, fact: TimerFact<'_>, executions: &Executions) {
        let StreamId::Execution(id) = record.stream else { return };
        let TimerFact::TimerFired(TimerFired { kind: TimerKind::Timeout, .. }) = fact else { return };
        let Some(execution) = executions.get(&id) else { return };
        // Each undo has its own time limits.
        if self.progress(&id).is_none_or(WorkflowState::is_ending) {
            return;
        }
        self.open.change(&id, |progress| {
            progress.cancels = 1;
            progress.stop_before = record.position;
        });
        if let Some(part_of) = &execution.part_of {
            self.mark_asked(part_of, execution.place.1, id);
        }
    }

    /// Applies what happened to a step.
    pub(crate) fn apply_step(&mut self, record: &Record, fact: StepFact<'_>) {
        let StreamId::Execution(id) = record.stream else { return };
        match fact {
            StepFact::StepSkipped(fact) => {
                self.settle(id, &fact.step, StepState::new(StepStatus::Skipped), OnFailure::default(), record.position);
            }
            StepFact::StepFailed(fact) => {
                let error = Some(fact.error.clone());
                let Some(item) = fact.item else {
                    let failed = StepState { error, ..StepState::new(StepStatus::Failed) };
                    return self.settle(id, &fact.step, failed, fact.on_failure, record.position);
                };
                self.items.insert((id, fact.step.clone(), item), ItemState { status: StepStatus::Failed, result: None, error });
                self.change_items(id, &fact.step, |items| {
                    items.started = item + 1;
                    items.failed += 1;
                    items.first_failed.get_or_insert(item);
                });
            }
            StepFact::StepExpanded(fact) => {
                let Some(list) = record.body_handle() else { return };
                let (count, item_failure, begun) = (fact.count, fact.item_failure, record.position);
                let items = ItemProgress {
                    list,
                    item_failure,
                    begun,
                    count,
                    started: 0,
                    running: 0,
                    failed: 0,
                    first_failed: None,
                    fail_at: fact.fail_at,
                    takes_over: fact.takes_over,
                    taken_over: 0,
                };
                let begun = StepState { items: Some(items), ..StepState::new(StepStatus::Running) };
                self.steps.insert((id, fact.step.clone()), begun);
            }
            StepFact::StepEnded(fact) => {
                let status = if fact.error.is_none() { StepStatus::Succeeded } else { StepStatus::Failed };
                let ended = self.step(id, &fact.step).cloned().unwrap_or_else(|| StepState::new(status));
                let last = ended.turns.and_then(|turns| self.item(id, &fact.step, turns.begun_count.checked_sub(1)?)?.result);
                let result = record.body_handle().or(last).filter(|_| status == StepStatus::Succeeded);
                let is_taken_over = fact.error.is_none() && ended.items.is_some_and(|items| items.are_all_taken_over());
                let ended = StepState { status, result, error: fact.error.clone(), is_taken_over, ..ended };
                self.settle(id, &fact.step, ended, fact.on_failure, record.position);
                if status == StepStatus::Succeeded && fact.role == PartRole::UndoableStep {
                    self.undoable.insert((id, record.position), Undoable { step: fact.step.clone(), item: None });
                }
            }
            StepFact::StepChosen(fact) => {
                let chosen = ChosenNeeds { ended: fact.ended.clone(), cancelled: fact.cancelled.clone() };
                self.chosen.insert((id, fact.step.clone()), chosen);
            }
            StepFact::WaitOpened(fact) => self.waits_for_mut(fact.purpose).open(id, fact, record.position),
            StepFact::WaitMatched(fact) => self.waits_for_mut(fact.purpose).mark_matched(id, fact),
            StepFact::WaitErred(fact) => self.waits_for_mut(fact.purpose).mark_erred(id, &fact.step),
            StepFact::RerunPlanned(_) => self.open.change(&id, |progress| progress.kept = record.body_handle()),
            StepFact::StepTakenOver(fact) => self.take_over(id, fact, record.position),
            StepFact::UndoBegun(fact) => {
                let undoing = Undoing { end: fact.end.clone(), begun: 0, failed: 0, first_failed: None };
                self.open.change(&id, |progress| progress.undoing = Some(Box::new(undoing)));
            }
            StepFact::UndoFailed(fact) => {
                self.begin_undo(id);
                self.fail_undo(id, Undoable { step: fact.step.clone(), item: fact.item }, fact.error.message.clone());
            }
        }
    }

    /// Applies a success that is taken over. Undoing its effect is not up to the workflow that takes it over.
    fn take_over(&mut self, id: ExecutionId, fact: &StepTakenOver, at: Position) {
        let (status, result) = (StepStatus::Succeeded, fact.taken.result);
        let Some(item) = fact.item else {
            let taken = StepState { result, is_taken_over: true, ..StepState::new(status) };
            return self.settle(id, &fact.step, taken, OnFailure::default(), at);
        };
        self.items.insert((id, fact.step.clone(), item), ItemState { status, result, error: None });
        self.change_items(id, &fact.step, |items| {
            items.started = item + 1;
            items.taken_over += 1;
        });
    }

    fn begin(&mut self, part_of: &PartOf, child: ExecutionId, at: Position) {
        let PartOf { workflow, step, item, .. } = part_of;
        self.open.change(workflow, |progress| progress.open += 1);
        if part_of.role == PartRole::Undo {
            // Like cleanup in a canceled workflow: only the second cancel ends it.
            self.unasked.insert((*workflow, 1, at), child);
            return self.begin_undo(*workflow);
        }
        self.unasked.insert((*workflow, 0, at), child);
        let Some(item) = item else {
            self.steps.insert((*workflow, step.clone()), StepState::new(StepStatus::Running));
            return;
        };
        self.unasked_items.insert((*workflow, step.clone(), *item), at);
        let begun = ItemState { status: StepStatus::Running, result: None, error: None };
        self.items.insert((*workflow, step.clone(), *item), begun);
        if self.step(*workflow, step).is_none_or(|step| step.items.is_none()) {
            return self.begin_turn(*workflow, step, *item, at);
        }
        self.change_items(*workflow, step, |items| {
            items.started = item + 1;
            items.running += 1;
        });
    }

    /// Applies that an execution was asked to end: its workflow need not ask it, except a second time if it
    /// is a workflow itself.
    fn mark_asked(&mut self, part_of: &PartOf, begun: Position, child: ExecutionId) {
        self.no_longer_asked(part_of, begun);
        if self.progress(&child).is_some_and(|progress| progress.cancels == 1) {
            self.unasked.insert((part_of.workflow, 1, begun), child);
        }
    }

    fn no_longer_asked(&mut self, part_of: &PartOf, begun: Position) {
        self.unasked.remove(&(part_of.workflow, 0, begun));
        self.unasked.remove(&(part_of.workflow, 1, begun));
        if let Some(item) = part_of.item {
            self.unasked_items.remove(&(part_of.workflow, part_of.step.clone(), item));
        }
    }

    fn end(&mut self, end: &PartEnd<'_>, result: Option<BodyHandle>, at: Position) {
        let PartOf { workflow, step, item, on_failure, role } = end.part_of;
        self.open.change(workflow, |progress| progress.open = progress.open.saturating_sub(1));
        match (role, end.status) {
            (PartRole::Undo, StepStatus::Succeeded) => return,
            // The workflow was asked to end a second time.
            (PartRole::Undo, StepStatus::Cancelled) if self.progress(workflow).is_some_and(|progress| progress.cancels > 1) => return,
            (PartRole::Undo, _) => {
                let why = end.error.map_or("it was cancelled", |error| &error.message);
                return self.fail_undo(*workflow, Undoable { step: step.clone(), item: *item }, why.to_owned());
            }
            (PartRole::UndoableStep, StepStatus::Succeeded) if self.open.contains(workflow) => {
                self.undoable.insert((*workflow, at), Undoable { step: step.clone(), item: *item });
            }
            (PartRole::Step | PartRole::Turn | PartRole::UndoableStep, _) => {}
        }
        let result = if end.status == StepStatus::Succeeded { result } else { None };
        let Some(item) = item else {
            let ended = StepState { result, error: end.error.cloned(), ..StepState::new(end.status) };
            return self.settle(*workflow, step, ended, *on_failure, at);
        };
        let ended = ItemState { status: end.status, result, error: end.error.cloned() };
        self.items.insert((*workflow, step.clone(), *item), ended);
        self.steps.change(&(*workflow, step.clone()), |state| {
            if let Some(turns) = &mut state.turns {
                turns.status = end.status;
            }
        });
        self.change_items(*workflow, step, |items| {
            items.running -= 1;
            if end.status != StepStatus::Succeeded {
                items.failed += 1;
                items.first_failed.get_or_insert(*item);
            }
        });
    }

    /// Applies that the undo of the step that ended last begins, or fails before it begins.
    fn begin_undo(&mut self, workflow: ExecutionId) {
        let newest = self.undoable_of(workflow).next_back().map(|(key, _)| *key);
        if let Some(newest) = newest {
            self.undoable.remove(&newest);
        }
        self.change_undoing(workflow, |undoing| undoing.begun += 1);
    }

    fn fail_undo(&mut self, workflow: ExecutionId, of: Undoable, why: String) {
        self.change_undoing(workflow, |undoing| {
            undoing.failed += 1;
            undoing.first_failed.get_or_insert((of, why));
        });
    }

    fn change_undoing(&mut self, workflow: ExecutionId, change: impl FnOnce(&mut Undoing)) {
        self.open.change(&workflow, |progress| {
            if let Some(undoing) = &mut progress.undoing {
                change(undoing);
            }
        });
    }

    fn begin_turn(&mut self, workflow: ExecutionId, step: &StepName, turn: u32, at: Position) {
        let begun = self.step(workflow, step).and_then(|step| step.turns).map_or(at, |turns| turns.begun);
        let turns = Some(Turns { begun, begun_count: turn + 1, status: StepStatus::Running });
        self.steps.insert((workflow, step.clone()), StepState { turns, ..StepState::new(StepStatus::Running) });
    }

    fn change_items(&mut self, workflow: ExecutionId, step: &StepName, change: impl FnOnce(&mut ItemProgress)) {
        self.steps.change(&(workflow, step.clone()), |state| {
            if let Some(items) = &mut state.items {
                change(items);
            }
        });
    }

    /// Applies the end of a step; ignored if its workflow has ended already.
    fn settle(&mut self, workflow: ExecutionId, step: &StepName, ended: StepState, on_failure: OnFailure, at: Position) {
        if !self.open.contains(&workflow) {
            return;
        }
        let cancelled_by = self.cancelled_by(workflow, step).filter(|_| ended.status == StepStatus::Skipped).cloned();
        let ended = StepState { cancelled_by: cancelled_by.map(Box::new), ..ended };
        self.waits.close(workflow, step);
        self.cancels.close(workflow, step);
        let status = ended.status;
        // A step with several executions fails because of those of them that were canceled.
        let begun = ended.items.map(|items| items.begun).or(ended.turns.map(|turns| turns.begun));
        self.steps.insert((workflow, step.clone()), ended);
        let is_dropped = self.is_dropped(workflow, step);
        self.open.change(&workflow, |progress| {
            progress.ended += 1;
            if status.is_bad() && on_failure.fails() && !is_dropped && progress.cancels == 0 {
                // An end that was caused by another end does not end anything else.
                let is_first = progress.failing.is_none();
                let is_of_another_end = status == StepStatus::Cancelled || begun.is_some_and(|begun| begun < progress.stop_before);
                if on_failure == OnFailure::CancelOthers && (is_first || !is_of_another_end) {
                    progress.stop_before = at;
                }
                progress.failing.get_or_insert_with(|| step.clone());
            }
        });
    }

    fn forget(&mut self, workflow: ExecutionId) {
        let steps: Vec<StepName> = self.steps_of(workflow).cloned().collect();
        for step in steps {
            let items = self.items.range((workflow, step.clone(), 0)..=(workflow, step.clone(), u32::MAX));
            let keys: Vec<_> = items.map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| self.items.remove(key));
            self.steps.remove(&(workflow, step));
        }
        let undoable: Vec<_> = self.undoable_of(workflow).map(|(key, _)| *key).collect();
        undoable.iter().for_each(|key| self.undoable.remove(key));
        let chosen: Vec<_> = self.chosen_of(workflow).map(|(key, _)| key.clone()).collect();
        chosen.iter().for_each(|key| self.chosen.remove(key));
        self.waits.forget(workflow);
        self.cancels.forget(workflow);
        self.open.remove(&workflow);
    }

    fn steps_of(&self, workflow: ExecutionId) -> impl Iterator<Item = &StepName> {
        let first = (workflow, StepName::MIN);
        self.steps.range(first..).map(|((of, step), _)| (of, step)).take_while(move |(of, _)| **of == workflow).map(|(_, step)| step)
    }

    pub(crate) fn commit(&mut self) {
        self.open.commit();
        self.steps.commit();
        self.items.commit();
        self.unasked.commit();
        self.unasked_items.commit();
        self.undoable.commit();
        self.chosen.commit();
        self.waits.commit();
        self.cancels.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.open.undo();
        self.steps.undo();
        self.items.undo();
        self.unasked.undo();
        self.unasked_items.undo();
        self.undoable.undo();
        self.chosen.undo();
        self.waits.undo();
        self.cancels.undo();
    }
}

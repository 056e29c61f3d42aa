//! What workflows are made into: how far each has come, step by step.

use serde::{Deserialize, Serialize};

use crate::executions::facts::{Failure, Pace};
use crate::executions::state::Executions;
use crate::fact::{ExecutionFact, StepFact};
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::record::{BodyHandle, Record, StreamId};
use crate::table::Table;
use crate::workflows::facts::PartOf;

/// The workflows that are open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workflows {
    courses: Table<ExecutionId, Course>,
    steps: Table<(ExecutionId, StepName), StepState>,
    items: Table<(ExecutionId, StepName, u32), ItemState>,
    /// The executions that a workflow waits for, under it.
    open: Table<(ExecutionId, ExecutionId), StepName>,
}

/// How far a workflow has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// How many of its steps have ended.
    pub ended: u32,
    /// The step by whose failure it is failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<StepName>,
    /// How often somebody asked that it end.
    #[serde(default)]
    pub cancels: u32,
}

/// A step that has begun, or never will.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BodyHandle>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Its items, where it is done for each of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Expanded>,
}

/// Where a step stands that is done for each of several items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expanded {
    /// The list of items.
    pub list: BodyHandle,
    /// How many there are.
    pub count: u32,
    /// How many were started, the first ones.
    pub started: u32,
    /// How many of these run.
    pub running: u32,
    /// How many of these have ended in another way than by success.
    pub failed: u32,
    /// The first of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failed: Option<u32>,
}

/// An item of a step that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemState {
    /// Where it stands.
    pub status: StepStatus,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BodyHandle>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It has started and not ended.
    Running,
    /// It ended with a result.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It ended because it was asked to.
    Cancelled,
    /// It never starts.
    Skipped,
}

impl StepStatus {
    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Says whether it is for good.
    pub fn is_end(self) -> bool {
        match self {
            Self::Running => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Skipped => true,
        }
    }
}

impl StepState {
    fn new(status: StepStatus) -> Self {
        Self { status, result: None, error: None, items: None }
    }
}

/// How an execution ended, for the step that it is.
pub(crate) struct End<'a> {
    pub(crate) part_of: &'a PartOf,
    status: StepStatus,
    error: Option<&'a Failure>,
}

impl<'a> End<'a> {
    /// Gives how an execution ended that is a part of a workflow; none for what is no end, or of no workflow.
    pub(crate) fn of(fact: ExecutionFact<'a>) -> Option<Self> {
        let (part_of, status, error) = match fact {
            ExecutionFact::ExecutionSucceeded(fact) => (&fact.part_of, StepStatus::Succeeded, None),
            ExecutionFact::ExecutionFailed(fact) => (&fact.part_of, StepStatus::Failed, Some(&fact.error)),
            ExecutionFact::ExecutionTimedOut(fact) => (&fact.part_of, StepStatus::TimedOut, Some(&fact.error)),
            ExecutionFact::ExecutionCancelled(fact) => (&fact.part_of, StepStatus::Cancelled, None),
            ExecutionFact::ExecutionRequested(_)
            | ExecutionFact::AttemptStarted(_)
            | ExecutionFact::AttemptProgressed(_)
            | ExecutionFact::AttemptEmitted(_)
            | ExecutionFact::ArtifactKept(_)
            | ExecutionFact::MessageRefused(_)
            | ExecutionFact::AttemptSucceeded(_)
            | ExecutionFact::AttemptFailed(_)
            | ExecutionFact::AttemptLost(_)
            | ExecutionFact::AttemptReportedLate(_)
            | ExecutionFact::ExecutionCancelRequested(_)
            | ExecutionFact::ExecutionBecameIndeterminate(_)
            | ExecutionFact::ExecutionSettled(_) => return None,
        };
        Some(Self { part_of: part_of.as_ref()?, status, error })
    }
}

impl Workflows {
    /// Gives how far a workflow has come; none for what is no workflow, or has ended.
    pub fn course(&self, workflow: &ExecutionId) -> Option<&Course> {
        self.courses.get(workflow)
    }

    /// Gives a step that has begun, or never will, with its name.
    pub fn step_of(&self, workflow: ExecutionId, step: &StepName) -> Option<(&StepName, &StepState)> {
        let key = (workflow, step.clone());
        self.steps.range(key.clone()..=key).next().map(|((_, name), state)| (name, state))
    }

    /// Gives a step that has begun, or never will.
    pub fn step(&self, workflow: ExecutionId, step: &StepName) -> Option<&StepState> {
        self.steps.get(&(workflow, step.clone()))
    }

    /// Gives the items of a step that were started, in their order.
    pub fn items(&self, workflow: ExecutionId, step: &StepName) -> impl Iterator<Item = &ItemState> {
        let (first, last) = ((workflow, step.clone(), 0), (workflow, step.clone(), u32::MAX));
        self.items.range(first..=last).map(|(_, item)| item)
    }

    /// Gives an item of a step that was started.
    pub fn item(&self, workflow: ExecutionId, step: &StepName, item: u32) -> Option<&ItemState> {
        self.items.get(&(workflow, step.clone(), item))
    }

    /// Gives the executions that a workflow waits for, with their steps.
    pub fn open(&self, workflow: ExecutionId) -> impl Iterator<Item = (ExecutionId, &StepName)> {
        let (first, last) = ((workflow, ExecutionId(crate::ids::Id::MIN)), (workflow, ExecutionId(crate::ids::Id::MAX)));
        self.open.range(first..=last).map(|((_, child), step)| (*child, step))
    }

    /// Folds what happened to an execution, before the executions do: of one that has ended they know nothing any more.
    pub(crate) fn apply_execution(&mut self, record: &Record, fact: ExecutionFact<'_>, executions: &Executions) {
        let StreamId::Execution(id) = record.stream else { return };
        if let ExecutionFact::ExecutionRequested(fact) = fact {
            if fact.pace == Pace::InSteps {
                self.courses.insert(id, Course::default());
            }
            if let Some(part_of) = &fact.part_of {
                self.begin(part_of, id);
            }
        }
        if let ExecutionFact::ExecutionCancelRequested(_) = fact {
            self.courses.change(&id, |course| course.cancels = course.cancels.saturating_add(1));
        }
        if let Some(end) = End::of(fact) {
            let result = record.body_handle().or_else(|| executions.get(&id).and_then(|execution| execution.result));
            self.end(&end, id, result);
        }
        if fact.is_end() && self.courses.contains(&id) {
            self.forget(id);
        }
    }

    /// Folds what happened to a step.
    pub(crate) fn apply_step(&mut self, record: &Record, fact: StepFact<'_>) {
        let StreamId::Execution(id) = record.stream else { return };
        match fact {
            StepFact::StepSkipped(fact) => self.settle(id, &fact.step, StepState::new(StepStatus::Skipped)),
            StepFact::StepFailed(fact) => {
                let error = Some(fact.error.clone());
                let Some(item) = fact.item else {
                    return self.settle(id, &fact.step, StepState { error, ..StepState::new(StepStatus::Failed) });
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
                let items = Expanded { list, count: fact.count, started: 0, running: 0, failed: 0, first_failed: None };
                let begun = StepState { items: Some(items), ..StepState::new(StepStatus::Running) };
                self.steps.insert((id, fact.step.clone()), begun);
            }
            StepFact::StepEnded(fact) => {
                let status = if fact.error.is_none() { StepStatus::Succeeded } else { StepStatus::Failed };
                let ended = self.step(id, &fact.step).cloned().unwrap_or_else(|| StepState::new(status));
                self.settle(id, &fact.step, StepState { status, error: fact.error.clone(), ..ended });
            }
            StepFact::WorkflowBeganFailing(fact) => self.courses.change(&id, |course| course.failing = Some(fact.step.clone())),
        }
    }

    fn begin(&mut self, part_of: &PartOf, child: ExecutionId) {
        let PartOf { workflow, step, item } = part_of;
        self.open.insert((*workflow, child), step.clone());
        let Some(item) = item else {
            self.steps.insert((*workflow, step.clone()), StepState::new(StepStatus::Running));
            return;
        };
        let begun = ItemState { status: StepStatus::Running, result: None, error: None };
        self.items.insert((*workflow, step.clone(), *item), begun);
        self.change_items(*workflow, step, |items| {
            items.started = item + 1;
            items.running += 1;
        });
    }

    fn end(&mut self, end: &End<'_>, child: ExecutionId, result: Option<BodyHandle>) {
        let PartOf { workflow, step, item } = end.part_of;
        self.open.remove(&(*workflow, child));
        let result = if end.status == StepStatus::Succeeded { result } else { None };
        let Some(item) = item else {
            let ended = StepState { result, error: end.error.cloned(), ..StepState::new(end.status) };
            return self.settle(*workflow, step, ended);
        };
        let ended = ItemState { status: end.status, result, error: end.error.cloned() };
        self.items.insert((*workflow, step.clone(), *item), ended);
        self.change_items(*workflow, step, |items| {
            items.running -= 1;
            if end.status != StepStatus::Succeeded {
                items.failed += 1;
                items.first_failed.get_or_insert(*item);
            }
        });
    }

    fn change_items(&mut self, workflow: ExecutionId, step: &StepName, change: impl FnOnce(&mut Expanded)) {
        self.steps.change(&(workflow, step.clone()), |state| {
            if let Some(items) = &mut state.items {
                change(items);
            }
        });
    }

    /// A step has ended; where its workflow has ended before, nobody asks for it any more.
    fn settle(&mut self, workflow: ExecutionId, step: &StepName, ended: StepState) {
        if self.courses.contains(&workflow) {
            self.steps.insert((workflow, step.clone()), ended);
            self.courses.change(&workflow, |course| course.ended += 1);
        }
    }

    fn forget(&mut self, workflow: ExecutionId) {
        let steps: Vec<StepName> = self.steps_of(workflow).cloned().collect();
        for step in steps {
            let items = self.items.range((workflow, step.clone(), 0)..=(workflow, step.clone(), u32::MAX));
            let keys: Vec<_> = items.map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| self.items.remove(key));
            self.steps.remove(&(workflow, step));
        }
        self.courses.remove(&workflow);
    }

    fn steps_of(&self, workflow: ExecutionId) -> impl Iterator<Item = &StepName> {
        let first = (workflow, StepName::MIN);
        self.steps.range(first..).map(|((of, step), _)| (of, step)).take_while(move |(of, _)| **of == workflow).map(|(_, step)| step)
    }

    pub(crate) fn commit(&mut self) {
        self.courses.commit();
        self.steps.commit();
        self.items.commit();
        self.open.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.courses.undo();
        self.steps.undo();
        self.items.undo();
        self.open.undo();
    }
}

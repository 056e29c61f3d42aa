//! Workflows: actions made of steps, each with what it waits for, whether it starts and what it does.
//!
//! Whether the expressions fit what they read was checked by `ensue-packs`; when a step starts is said by `workflows/react.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue_expression::{Expression, Path, Template};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalog::Retry;
use crate::names::{ActionRef, StepName, TriggerRef};
use crate::workflows::facts::PartRole;

/// The name of the function that holds where all needed steps succeeded, as expressions know it.
pub const SUCCEEDED: &str = "succeeded()";
/// The name of the function that holds where a needed step failed or timed out, as expressions know it.
pub const FAILED: &str = "failed()";
/// The name of the function that always holds, as expressions know it.
pub const ALWAYS: &str = "always()";

/// The action that puts a question to people.
pub const INQUIRY: &str = "core.inquiry";
/// The action that waits for an event.
pub const WAIT: &str = "core.wait";

/// The most steps of a workflow.
pub const STEPS_MAX: usize = 10_000;

/// How many items of a step run at once where its author does not say.
pub const PARALLEL_DEFAULT: u32 = 16;

/// The most turns of a step.
pub const TURNS_MAX: u32 = 10_000;

/// The most items of a step.
pub const ITEMS_MAX: u32 = 100_000;

/// The most items of a step that are open at once, whatever its author says, unless they only wait: each item that works comes back with a
/// report, and others' work has to go between the reports.
pub const ITEMS_OPEN_MAX: u32 = 1_000;

/// What the steps of a workflow are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The parameters of the action that it is.
    Parameters,
    /// The event that the rule which it is decided on.
    Event,
}

/// An action made of steps, or a rule.
#[derive(Clone, Debug)]
pub struct Workflow {
    given: Given,
    steps: Vec<Step>,
    places: BTreeMap<StepName, usize>,
    dependents: Vec<Vec<usize>>,
    roots: Vec<usize>,
    /// Those that wait for an event from the workflow's beginning on.
    early_waits: Vec<usize>,
    result: Option<Template>,
}

/// A step of a workflow.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, of which the workflow has no other.
    pub name: StepName,
    /// The steps that must have ended before it starts.
    pub needs: Vec<StepName>,
    /// Whether it starts then.
    pub starts: StartsIf,
    /// Over which items it is done, where it is done more than once.
    pub for_each: Option<ForEach>,
    /// How it is repeated, where it is.
    pub repeat: Option<Repeat>,
    /// What it does.
    pub task: Task,
    /// For which event it waits, where that is what it does.
    pub wait: Option<Wait>,
    /// What takes it back where it succeeded and the workflow does not.
    pub undo: Option<Undo>,
    /// What tells those whom it asks, where it asks people.
    pub notify: Option<Notify>,
    /// What its failure means for the workflow.
    pub on_failure: OnFailure,
    /// Whether and when what failed of it is tried again; without it, as its action says.
    pub retry: Option<Retry>,
    /// How long each execution of it may take, all its attempts together.
    pub timeout: Option<Duration>,
    /// −100 … 100, higher goes first; without it, the workflow's own.
    pub priority: Option<i8>,
}

/// Whether a step starts once the steps that it needs have ended.
#[derive(Clone, Debug)]
pub enum StartsIf {
    /// They all succeeded.
    Succeeded,
    /// They all succeeded, and this holds.
    SucceededAnd(Expression),
    /// This holds; it says by itself what the ends of the needed steps mean.
    Holds {
        /// The condition.
        condition: Expression,
        /// Whether it starts also in a workflow that is failing.
        when_failing: WhenFailing,
        /// Whether it starts also in a workflow that was cancelled.
        when_cancelled: WhenCancelled,
    },
}

/// Whether a step may start in a workflow that is failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFailing {
    /// It may: its condition asks for `failed()` or `always()`.
    MayStart,
    /// It is skipped.
    IsSkipped,
}

/// Whether a step may start in a workflow that was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenCancelled {
    /// It may: its condition asks for `always()`.
    MayStart,
    /// It is skipped.
    IsSkipped,
}

/// What a step is done over.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// Gives the list of items.
    pub items: Expression,
    /// How many of them run at once.
    pub parallel: u32,
    /// What the failure of one means for the others.
    pub failure: ItemFailure,
}

/// How a step is repeated.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// What must hold before each turn.
    pub while_holds: Option<Expression>,
    /// What ends it after a turn.
    pub until: Option<Expression>,
    /// How long is waited between two turns.
    pub every: Option<Duration>,
    /// How many turns there are at most.
    pub max: u32,
    /// What of each turn is joined into one list.
    pub collect: Option<Expression>,
}

/// What a step waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Of which kind the event is.
    pub trigger: TriggerRef,
    /// What must hold for it; it reads it as `event`. Without it, the first one is it.
    pub when: Option<Expression>,
    /// From when on.
    pub since: Since,
    /// How long, from the step's beginning on; for ever where its author does not say.
    pub expires: Option<Duration>,
    /// How the step ends when that time is over.
    pub on_expire: OnExpire,
}

/// How a step ends that has waited for an event in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpire {
    /// It fails.
    #[default]
    Fail,
    /// It succeeds without an event: no event is what its author hoped for, or can go on without.
    Succeed,
}

/// From when on events count for a step that waits for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// From the workflow's beginning on.
    #[default]
    Start,
    /// From the step's own beginning on.
    Step,
}

/// What takes back what a step did.
#[derive(Clone, Debug)]
pub struct Undo {
    /// The action, looked up in the workflow's catalog.
    pub action: ActionRef,
    /// Its parameters; they read also what the step gave, as `result`.
    pub with: Template,
    /// Whether and when it is tried again; without it, as its action says.
    pub retry: Option<Retry>,
    /// How long it may take, all its attempts together.
    pub timeout: Option<Duration>,
}

/// What tells those whom a step asks that they are, that they still are, and that others are as well.
#[derive(Clone, Debug)]
pub struct Notify {
    /// The action, looked up in the workflow's catalog. It is no workflow, and waits for nothing: it has attempts.
    pub action: ActionRef,
    /// Its parameters; they read also what is asked, as `inquiry`.
    pub with: Template,
}

/// What the failure of an item means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemFailure {
    /// They go on.
    #[default]
    OthersGoOn,
    /// Those that run are stopped, and no more start (`fail_fast: true`).
    StopsOthers,
}

/// What a step does: exactly one thing.
#[derive(Clone, Debug)]
pub enum Task {
    /// It runs an action.
    Action {
        /// The action, looked up in the workflow's catalog.
        action: ActionRef,
        /// Its parameters.
        with: Template,
    },
    /// It fails.
    Fail {
        /// Why.
        message: Template,
    },
}

/// What a step's failure means for the workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The workflow is failing; the steps that run beside it come to their ends.
    #[default]
    Fail,
    /// The workflow is failing, and the steps that run beside it are cancelled (`cancel_others: true`).
    CancelOthers,
    /// The workflow goes on (`on_failure: continue`).
    Continue,
}

impl OnFailure {
    /// Says whether the workflow fails with the step.
    pub fn fails(self) -> bool {
        match self {
            Self::Fail | Self::CancelOthers => true,
            Self::Continue => false,
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ItemFailure {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why steps make no workflow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// There is nothing to do.
    #[error("a workflow must have at least one step")]
    Empty,
    /// There are too many.
    #[error("a workflow can have at most {STEPS_MAX} steps, but this one has {0}: move some of them to sub-workflows")]
    TooMany(usize),
    /// Two have one name.
    #[error("two steps have the name `{0}`")]
    Twice(StepName),
    /// One needs what is not there.
    #[error("the step `{step}` needs `{needs}`, which does not exist")]
    NoStep {
        /// The step.
        step: StepName,
        /// What it needs.
        needs: StepName,
    },
    /// Some need each other, each the next, the last the first.
    #[error("these steps need each other in a cycle: {}", circle(.0))]
    Cycle(Vec<StepName>),
}

fn circle(names: &[StepName]) -> String {
    let first = names.first().into_iter();
    names.iter().chain(first).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ")
}

impl StartsIf {
    /// Makes it of what an author wrote: a condition that uses none of the status functions counts only where all succeeded.
    pub fn of(condition: Option<Expression>) -> Self {
        let Some(condition) = condition else { return Self::Succeeded };
        let asks = |function: &str| condition.reads().iter().any(|path| path.segments[0] == function);
        let (failed, always) = (asks(FAILED), asks(ALWAYS));
        if !failed && !always && !asks(SUCCEEDED) {
            return Self::SucceededAnd(condition);
        }
        Self::Holds {
            condition,
            when_failing: if failed || always { WhenFailing::MayStart } else { WhenFailing::IsSkipped },
            when_cancelled: if always { WhenCancelled::MayStart } else { WhenCancelled::IsSkipped },
        }
    }

    /// Gives the condition that its author wrote.
    pub fn condition(&self) -> Option<&Expression> {
        match self {
            Self::Succeeded => None,
            Self::SucceededAnd(condition) | Self::Holds { condition, .. } => Some(condition),
        }
    }

    /// Says whether it may hold in a workflow that is failing.
    pub fn when_failing(&self) -> WhenFailing {
        match self {
            Self::Succeeded | Self::SucceededAnd(_) => WhenFailing::IsSkipped,
            Self::Holds { when_failing, .. } => *when_failing,
        }
    }

    /// Says whether it may hold in a workflow that was cancelled.
    pub fn when_cancelled(&self) -> WhenCancelled {
        match self {
            Self::Succeeded | Self::SucceededAnd(_) => WhenCancelled::IsSkipped,
            Self::Holds { when_cancelled, .. } => *when_cancelled,
        }
    }
}

impl Step {
    /// Says whether it puts a question to people, once: then it has an answer.
    pub fn asks(&self) -> bool {
        matches!(&self.task, Task::Action { action, .. } if action.as_str() == INQUIRY) && self.for_each.is_none() && self.repeat.is_none()
    }

    /// Says which part of it an execution of it is, or of an item of it.
    pub(crate) fn role(&self) -> PartRole {
        if self.undo.is_some() { PartRole::UndoableStep } else { PartRole::Step }
    }

    /// Lists the paths that its expressions read.
    pub fn reads(&self) -> Vec<Path> {
        let conditions = self.starts.condition().into_iter().chain(self.for_each.as_ref().map(|each| &each.items));
        let template = match &self.task {
            Task::Action { with, .. } => with,
            Task::Fail { message } => message,
        };
        let of_turns = self.repeat.iter().flat_map(|repeat| repeat.while_holds.iter().chain(&repeat.until).chain(&repeat.collect));
        let wait = self.wait.iter().flat_map(|wait| &wait.when).flat_map(Expression::reads);
        let undo = self.undo.iter().flat_map(|undo| undo.with.reads());
        conditions.chain(of_turns).flat_map(Expression::reads).chain(template.reads()).chain(wait).chain(undo).collect()
    }

    /// Gives all its expressions.
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut all: Vec<&Expression> = self.starts.condition().into_iter().collect();
        all.extend(self.for_each.as_ref().map(|each| &each.items));
        if let Some(repeat) = &self.repeat {
            all.extend(repeat.while_holds.iter().chain(&repeat.until).chain(&repeat.collect));
        }
        all.extend(self.wait.as_ref().and_then(|wait| wait.when.as_ref()));
        let task = match &self.task {
            Task::Action { with, .. } => with,
            Task::Fail { message } => message,
        };
        let others = self.undo.as_ref().map(|undo| &undo.with).into_iter().chain(self.notify.as_ref().map(|notify| &notify.with));
        all.extend(std::iter::once(task).chain(others).flat_map(Template::expressions));
        all
    }

    /// Gives the actions that it may have run.
    pub fn actions(&self) -> impl Iterator<Item = &ActionRef> {
        let task = if let Task::Action { action, .. } = &self.task { Some(action) } else { None };
        let undo = self.undo.as_ref().map(|undo| &undo.action);
        task.into_iter().chain(undo).chain(self.notify.as_ref().map(|notify| &notify.action))
    }
}

impl Workflow {
    /// Makes a workflow of its steps, in the order in which they are written, and what it gives.
    pub fn new(given: Given, steps: Vec<Step>, result: Option<Template>) -> Result<Self, WorkflowError> {
        if steps.is_empty() {
            return Err(WorkflowError::Empty);
        }
        if steps.len() > STEPS_MAX {
            return Err(WorkflowError::TooMany(steps.len()));
        }
        let mut places = BTreeMap::new();
        for (place, step) in steps.iter().enumerate() {
            if places.insert(step.name.clone(), place).is_some() {
                return Err(WorkflowError::Twice(step.name.clone()));
            }
        }
        let mut dependents = vec![Vec::new(); steps.len()];
        let mut roots = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            if step.needs.is_empty() {
                roots.push(place);
            }
            for needs in &step.needs {
                let Some(needed) = places.get(needs) else {
                    return Err(WorkflowError::NoStep { step: step.name.clone(), needs: needs.clone() });
                };
                dependents[*needed].push(place);
            }
        }
        let early_waits = steps.iter().enumerate().filter(|(_, step)| step.wait.as_ref().is_some_and(|wait| wait.since == Since::Start));
        let early_waits = early_waits.map(|(place, _)| place).collect();
        let workflow = Self { given, steps, places, dependents, roots, early_waits, result };
        match workflow.cycle() {
            Some(cycle) => Err(WorkflowError::Cycle(cycle)),
            None => Ok(workflow),
        }
    }

    /// Says what its steps are given.
    pub fn given(&self) -> Given {
        self.given
    }

    /// Gives the steps in the order in which they are written.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Gives a step.
    pub fn step(&self, name: &StepName) -> Option<&Step> {
        self.places.get(name).map(|place| &self.steps[*place])
    }

    /// Gives the steps that need nothing, in the order in which they are written.
    pub fn roots(&self) -> impl Iterator<Item = &Step> {
        self.roots.iter().map(|place| &self.steps[*place])
    }

    /// Gives the steps that wait for an event from the workflow's beginning on, each with what for.
    pub fn early_waits(&self) -> impl Iterator<Item = (&Step, &Wait)> {
        self.early_waits.iter().map(|place| &self.steps[*place]).filter_map(|step| Some((step, step.wait.as_ref()?)))
    }

    /// Gives the steps that need `name`, in the order in which they are written.
    pub fn dependents(&self, name: &StepName) -> impl Iterator<Item = &Step> {
        let places = self.places.get(name).map_or(&[][..], |place| &self.dependents[*place]);
        places.iter().map(|place| &self.steps[*place])
    }

    /// Gives what the workflow gives, where its author says so.
    pub fn result(&self) -> Option<&Template> {
        self.result.as_ref()
    }

    /// Gives the steps of a circle, each needing the next; none where there is none.
    fn cycle(&self) -> Option<Vec<StepName>> {
        // What needs nothing that is left is taken away, again and again; what stays needs something that stays.
        let mut open: Vec<usize> = self.steps.iter().map(|step| step.needs.len()).collect();
        let mut free = self.roots.clone();
        while let Some(place) = free.pop() {
            for dependent in &self.dependents[place] {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    free.push(*dependent);
                }
            }
        }
        let mut at = open.iter().position(|needs| *needs > 0)?;
        let mut way: Vec<usize> = Vec::new();
        loop {
            if let Some(again) = way.iter().position(|seen| *seen == at) {
                return Some(way[again..].iter().map(|place| self.steps[*place].name.clone()).collect());
            }
            way.push(at);
            at = self.steps[at].needs.iter().map(|name| self.places[name]).find(|place| open[*place] > 0)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(name: &str, needs: &[&str]) -> Step {
        let message = Template::compile(&json!("no"), &ensue_expression::Roots::default()).unwrap();
        Step {
            name: name.parse().unwrap(),
            needs: needs.iter().map(|name| name.parse().unwrap()).collect(),
            starts: StartsIf::Succeeded,
            for_each: None,
            repeat: None,
            task: Task::Fail { message },
            wait: None,
            undo: None,
            notify: None,
            on_failure: OnFailure::Fail,
            retry: None,
            timeout: None,
            priority: None,
        }
    }

    fn names<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<&'a str> {
        steps.map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn what_follows_a_step_is_known_in_the_order_in_which_it_is_written() {
        let steps = vec![step("last", &["left", "right"]), step("right", &["first"]), step("left", &["first"]), step("first", &[])];
        let workflow = Workflow::new(Given::Parameters, steps, None).unwrap();
        assert_eq!(names(workflow.roots()), ["first"]);
        assert_eq!(names(workflow.dependents(&"first".parse().unwrap())), ["right", "left"]);
        assert_eq!(names(workflow.dependents(&"last".parse().unwrap())), [""; 0]);
    }

    #[test]
    fn a_circle_is_named_without_what_only_leads_into_it() {
        let steps = vec![step("before", &["one"]), step("one", &["two"]), step("two", &["three"]), step("three", &["one"])];
        let error = Workflow::new(Given::Parameters, steps, None).unwrap_err();
        assert_eq!(error.to_string(), "these steps need each other in a cycle: `one` → `two` → `three` → `one`");
    }

    #[test]
    fn a_step_that_needs_itself_is_a_circle() {
        let error = Workflow::new(Given::Parameters, vec![step("one", &["one"])], None).unwrap_err();
        assert_eq!(error, WorkflowError::Cycle(vec!["one".parse().unwrap()]));
    }
}

//! Workflows: actions made of steps. Each step has its dependencies, a condition and a task.
//!
//! `ensue-packs` has checked that expressions only read what exists; `workflows/react.rs` decides when a step
//! starts.

use crate::catalog::ItemFailure;
use crate::catalog::OnFailure;
use std::collections::BTreeMap;
use std::time::Duration;

use ensue_expression::{Expression, Path, Template};
use thiserror::Error;

use crate::catalog::Retry;
use crate::names::{ActionRef, StepName, TriggerRef};
use crate::workflows::facts::{PartRole, Purpose};

/// The name, in expressions, of the function that is true if all needed steps succeeded.
pub const SUCCEEDED: &str = "succeeded()";
/// The name, in expressions, of the function that is true if a needed step failed or timed out.
pub const FAILED: &str = "failed()";
/// The name, in expressions, of the function that is always true.
pub const ALWAYS: &str = "always()";

/// The action that asks people a question.
pub const INQUIRY: &str = "core.inquiry";
/// The action that waits for an event.
pub const WAIT: &str = "core.wait";

/// The maximum number of steps in a workflow.
pub const STEPS_MAX: usize = 10_000;

/// The default number of items of a step that run at once.
pub const PARALLEL_DEFAULT: u32 = 16;

/// The maximum number of turns of a step.
pub const TURNS_MAX: u32 = 10_000;

/// The maximum number of steps of which some are enough: their names are in one record.
pub const ENOUGH_OF_MAX: usize = 100;

/// The maximum number of items of a step.
pub const ITEMS_MAX: u32 = 100_000;

/// The maximum number of items of a step that are open at once, whatever its author writes, unless they only
/// wait. Each working item ends with a report, and other work must get its turn between the reports.
pub const ITEMS_OPEN_MAX: u32 = 1_000;

/// The input of a workflow's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowInput {
    /// The parameters of the action whose workflow it is.
    Parameters,
    /// The event on which the rule with these steps decided.
    Event,
}

/// The steps of an action or a rule.
#[derive(Clone, Debug)]
pub struct Workflow {
    given: WorkflowInput,
    steps: Vec<Step>,
    places: BTreeMap<StepName, usize>,
    dependents: Vec<Vec<usize>>,
    roots: Vec<usize>,
    /// The steps that watch for an event from the beginning of the workflow.
    early_watches: Vec<usize>,
    result: Option<Template>,
}

/// A step of a workflow.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, unique in the workflow.
    pub name: StepName,
    /// The steps that must end before it starts.
    pub needs: Vec<StepName>,
    /// How many of them are enough; without it, all of them must end.
    pub enough: Option<Enough>,
    /// Whether it starts after those steps.
    pub starts: StartsIf,
    /// Names that only this step sees, each computed from those before it. They join the workflow's own.
    pub local: Vec<(String, Expression)>,
    /// The items that it runs over, if it has any.
    pub for_each: Option<ForEach>,
    /// How it is repeated, if it is.
    pub repeat: Option<Repeat>,
    /// Its task.
    pub task: Task,
    /// The event that it waits for, if waiting is its task.
    pub wait: Option<Wait>,
    /// The event that cancels it, if its task is to ask or to wait.
    pub cancel_when: Option<CancelWhen>,
    /// The action that undoes it if it succeeded and the workflow does not.
    pub undo: Option<Undo>,
    /// The action that notifies the people whom it asks.
    pub notify: Option<Notify>,
    /// What its failure means for the workflow.
    pub on_failure: OnFailure,
    /// Whether and when to retry; without it, as its action says.
    pub retry: Option<Retry>,
    /// The time limit of each of its executions, for all attempts together.
    pub timeout: Option<Period>,
    /// The priority, −100 … 100; higher goes first; without it, the workflow's own.
    pub priority: Option<i8>,
}

/// How many of the steps that a step needs are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough {
    /// The number of steps, from 1.
    pub count: u32,
    /// What becomes of the others.
    pub rest: Rest,
}

/// What becomes of the steps that are not needed any longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They go on.
    #[default]
    GoesOn,
    /// They are canceled, or do not start, and their failures do not count.
    IsCancelled,
}

/// Whether a step starts after the steps that it needs have ended.
#[derive(Clone, Debug)]
pub enum StartsIf {
    /// It starts if all of them succeeded.
    Succeeded,
    /// It starts if all of them succeeded and the condition is true.
    SucceededAnd(Expression),
    /// It starts if the condition is true; the condition itself checks how the needed steps ended.
    Holds {
        /// The condition.
        condition: Expression,
        /// Whether it also starts if the workflow is failing.
        when_failing: WhenFailing,
        /// Whether it also starts if the workflow was cancelled.
        when_cancelled: WhenCancelled,
    },
}

/// Whether a step may start in a failing workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFailing {
    /// It may: its condition uses `failed()` or `always()`.
    MayStart,
    /// It is skipped.
    IsSkipped,
}

/// Whether a step may start in a cancelled workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenCancelled {
    /// It may: its condition uses `always()`.
    MayStart,
    /// It is skipped.
    IsSkipped,
}

/// The items of a step.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// The expression that returns the list of items.
    pub items: Expression,
    /// How many of them run at once.
    pub parallel: u32,
    /// What the failure of one item means for the others.
    pub failure: ItemFailure,
    /// How many items may fail before the step fails; without it, none.
    pub fail_at: Option<FailAt>,
}

/// How many items of a step may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailAt {
    /// A number of items.
    Count(u32),
    /// A percentage of all items, from 1 to 100.
    Percent(u32),
}

impl FailAt {
    /// Returns how many of `count` items may fail: a percentage is rounded down, and is at least 1.
    pub fn of(self, count: u32) -> u32 {
        match self {
            Self::Count(failures) => failures,
            Self::Percent(percent) => u32::try_from(u64::from(count) * u64::from(percent) / 100).unwrap_or(count).max(1),
        }
    }
}

/// How a step is repeated.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// The condition that must be true before each turn.
    pub while_holds: Option<Expression>,
    /// The condition that ends the repetition after a turn.
    pub until: Option<Expression>,
    /// The delay between two turns.
    pub every: Option<Period>,
    /// The maximum number of turns.
    pub max: u32,
    /// The value of each turn that is collected into a list.
    pub collect: Option<Expression>,
}

/// The event that a step waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The trigger of the event.
    pub trigger: TriggerRef,
    /// A condition that reads the event as `event`. Without it, the first event counts.
    pub when: Option<Expression>,
    /// The time from which events count.
    pub since: Since,
    /// How long it waits from the step's beginning; `None` means without limit.
    pub expires: Option<Period>,
    /// How the step ends after that time.
    pub on_expire: OnExpire,
}

/// The event that cancels a step.
#[derive(Clone, Debug)]
pub struct CancelWhen {
    /// The trigger of the event.
    pub trigger: TriggerRef,
    /// A condition that reads the event as `event`. Without it, the first event counts.
    pub when: Option<Expression>,
    /// The time from which events count.
    pub since: Since,
}

/// An event that a step watches for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'s> {
    pub(crate) trigger: &'s TriggerRef,
    pub(crate) when: Option<&'s Expression>,
    pub(crate) since: Since,
    pub(crate) purpose: Purpose,
}

/// How a step ends if the event did not come in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpire {
    /// It fails.
    #[default]
    Fail,
    /// It succeeds without an event: its author wanted no event, or can continue without one.
    Succeed,
}

/// The time from which events count for a step that waits for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// The beginning of the workflow.
    #[default]
    Start,
    /// The beginning of the step.
    Step,
}

/// The action that undoes a step.
#[derive(Clone, Debug)]
pub struct Undo {
    /// The action, looked up in the workflow's catalog.
    pub action: ActionRef,
    /// Its parameters, which can also read the step's result as `result`.
    pub with: Template,
    /// Whether and when to retry; without it, as its action says.
    pub retry: Option<Retry>,
    /// Its time limit, for all attempts together.
    pub timeout: Option<Period>,
}

/// A duration in a step.
#[derive(Clone, Debug)]
pub enum Period {
    /// It is written out.
    Fixed(Duration),
    /// It is computed when what it limits begins, and recorded then.
    Computed(Template),
}

impl Period {
    /// Returns the template that computes it.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Fixed(_) => None,
            Self::Computed(template) => Some(template),
        }
    }
}

/// Notifies the people whom a step asks: first when it asks them, then as a reminder, and when others are
/// asked as well.
#[derive(Clone, Debug)]
pub struct Notify {
    /// The action, looked up in the workflow's catalog. It is not a workflow and does not wait: it has
    /// attempts.
    pub action: ActionRef,
    /// Its parameters, which can also read the question as `inquiry`.
    pub with: Template,
}

/// The task of a step.
#[derive(Clone, Debug)]
pub enum Task {
    /// Runs an action.
    Action {
        /// The action, looked up in the workflow's catalog.
        action: ActionRef,
        /// Its parameters.
        with: Template,
    },
    /// Fails.
    Fail {
        /// The error message.
        message: Template,
    },
    /// Succeeds if a condition is true, and fails otherwise.
    Assert {
        /// The condition.
        condition: Expression,
        /// The error message if it is false; without it, the condition as it is written.
        message: Option<Template>,
    },
}

/// Templates that are rendered together.
pub(crate) struct TemplateSet<'s>(Vec<&'s Template>);

impl<'s> TemplateSet<'s> {
    /// Returns the templates of an undo.
    pub(crate) fn of_undo(undo: &'s Undo) -> Self {
        Self(std::iter::once(&undo.with).chain(undo.timeout.iter().filter_map(Period::template)).collect())
    }

    /// Returns the paths that they read.
    pub(crate) fn reads(&self) -> Vec<Path> {
        self.0.iter().flat_map(|template| template.reads()).collect()
    }

    /// Returns their expressions.
    pub(crate) fn expressions(&self) -> Vec<&'s Expression> {
        self.0.iter().flat_map(|template| template.expressions()).collect()
    }
}

/// Why steps do not form a valid workflow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// There are no steps.
    #[error("a workflow must have at least one step")]
    Empty,
    /// There are too many steps.
    #[error("a workflow can have at most {STEPS_MAX} steps, but this one has {0}: move some of them to sub-workflows")]
    TooMany(usize),
    /// Two steps have the same name.
    #[error("two steps have the name `{0}`")]
    Twice(StepName),
    /// A step needs a step that does not exist.
    #[error("the step `{step}` needs `{needs}`, which does not exist")]
    NoStep {
        /// The step.
        step: StepName,
        /// The missing step.
        needs: StepName,
    },
    /// Some steps need each other in a cycle: each needs the next, the last needs the first.
    #[error("these steps need each other in a cycle: {}", circle(.0))]
    Cycle(Vec<StepName>),
}

fn circle(names: &[StepName]) -> String {
    let first = names.first().into_iter();
    names.iter().chain(first).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ")
}

impl StartsIf {
    /// Creates it from an author's condition. A condition without status functions also requires that all
    /// needed steps succeeded.
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

    /// Returns the author's condition.
    pub fn condition(&self) -> Option<&Expression> {
        match self {
            Self::Succeeded => None,
            Self::SucceededAnd(condition) | Self::Holds { condition, .. } => Some(condition),
        }
    }

    /// Returns whether it may be true in a failing workflow.
    pub fn when_failing(&self) -> WhenFailing {
        match self {
            Self::Succeeded | Self::SucceededAnd(_) => WhenFailing::IsSkipped,
            Self::Holds { when_failing, .. } => *when_failing,
        }
    }

    /// Returns whether it may be true in a cancelled workflow.
    pub fn when_cancelled(&self) -> WhenCancelled {
        match self {
            Self::Succeeded | Self::SucceededAnd(_) => WhenCancelled::IsSkipped,
            Self::Holds { when_cancelled, .. } => *when_cancelled,
        }
    }
}

impl Step {
    /// Returns true if it asks people a question exactly once, so that there is one answer.
    pub fn asks(&self) -> bool {
        matches!(&self.task, Task::Action { action, .. } if action.as_str() == INQUIRY) && self.for_each.is_none() && self.repeat.is_none()
    }

    /// Returns the events that it watches for.
    pub(crate) fn watches(&self) -> impl Iterator<Item = Watch<'_>> {
        let awaited = self.wait.as_ref().map(|wait| Watch {
            trigger: &wait.trigger,
            when: wait.when.as_ref(),
            since: wait.since,
            purpose: Purpose::Awaited,
        });
        let cancels = self.cancel_when.as_ref().map(|cancel| Watch {
            trigger: &cancel.trigger,
            when: cancel.when.as_ref(),
            since: cancel.since,
            purpose: Purpose::Cancels,
        });
        awaited.into_iter().chain(cancels)
    }

    /// Returns the role of an execution of this step, or of one of its items.
    pub(crate) fn role(&self) -> PartRole {
        if self.undo.is_some() { PartRole::UndoableStep } else { PartRole::Step }
    }

    /// Returns the paths that its expressions read.
    pub fn reads(&self) -> Vec<Path> {
        let conditions = self.starts.condition().into_iter().chain(self.for_each.as_ref().map(|each| &each.items));
        let conditions = conditions.chain(self.task.condition()).chain(self.local.iter().map(|(_, local)| local));
        let of_turns = self.repeat.iter().flat_map(|repeat| repeat.while_holds.iter().chain(&repeat.until).chain(&repeat.collect));
        let wait = self.watches().filter_map(|watch| watch.when).flat_map(Expression::reads);
        let undo = self.undo.iter().flat_map(|undo| undo.with.reads());
        let task = self.task.template().into_iter().chain(self.periods()).flat_map(Template::reads);
        conditions.chain(of_turns).flat_map(Expression::reads).chain(task).chain(wait).chain(undo).collect()
    }

    /// Returns the templates of its computed durations.
    fn periods(&self) -> impl Iterator<Item = &Template> {
        let of_turns = self.repeat.as_ref().and_then(|repeat| repeat.every.as_ref());
        let expires = self.wait.as_ref().and_then(|wait| wait.expires.as_ref());
        let undo = self.undo.as_ref().and_then(|undo| undo.timeout.as_ref());
        self.timeout.iter().chain(of_turns).chain(expires).chain(undo).filter_map(Period::template)
    }

    /// Returns the templates that a request of an execution of this step renders, `with` among them.
    pub(crate) fn request_templates<'s>(&'s self, with: &'s Template) -> TemplateSet<'s> {
        let of_turns = self.repeat.as_ref().and_then(|repeat| repeat.every.as_ref());
        let expires = self.wait.as_ref().and_then(|wait| wait.expires.as_ref());
        let periods = self.timeout.iter().chain(of_turns).chain(expires).filter_map(Period::template);
        TemplateSet(std::iter::once(with).chain(periods).collect())
    }

    /// Returns the paths that expressions with these paths read, including those of the step's local names if
    /// they read any.
    pub(crate) fn with_local(&self, mut reads: Vec<Path>) -> Vec<Path> {
        if reads.iter().any(|path| path.segments[0] == "local") {
            reads.extend(self.local.iter().flat_map(|(_, local)| local.reads()));
        }
        reads
    }

    /// Returns all its expressions.
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut all: Vec<&Expression> = self.starts.condition().into_iter().collect();
        all.extend(self.for_each.as_ref().map(|each| &each.items));
        if let Some(repeat) = &self.repeat {
            all.extend(repeat.while_holds.iter().chain(&repeat.until).chain(&repeat.collect));
        }
        all.extend(self.watches().filter_map(|watch| watch.when));
        all.extend(self.task.condition().into_iter().chain(self.local.iter().map(|(_, local)| local)));
        let others = self.undo.as_ref().map(|undo| &undo.with).into_iter().chain(self.notify.as_ref().map(|notify| &notify.with));
        all.extend(self.task.template().into_iter().chain(others).chain(self.periods()).flat_map(Template::expressions));
        all
    }

    /// Returns the actions that it may run.
    pub fn actions(&self) -> impl Iterator<Item = &ActionRef> {
        let task = if let Task::Action { action, .. } = &self.task { Some(action) } else { None };
        let undo = self.undo.as_ref().map(|undo| &undo.action);
        task.into_iter().chain(undo).chain(self.notify.as_ref().map(|notify| &notify.action))
    }
}

impl Task {
    /// Returns the condition that decides how it ends.
    fn condition(&self) -> Option<&Expression> {
        match self {
            Self::Assert { condition, .. } => Some(condition),
            Self::Action { .. } | Self::Fail { .. } => None,
        }
    }

    /// Returns its parameters, or its message.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Action { with, .. } => Some(with),
            Self::Fail { message } => Some(message),
            Self::Assert { message, .. } => message.as_ref(),
        }
    }
}

impl Workflow {
    /// Creates a workflow from its steps, in the order in which they are written, and its result.
    pub fn new(given: WorkflowInput, steps: Vec<Step>, result: Option<Template>) -> Result<Self, WorkflowError> {
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
        let early_watches = steps.iter().enumerate().filter(|(_, step)| step.watches().any(|watch| watch.since == Since::Start));
        let early_watches = early_watches.map(|(place, _)| place).collect();
        let workflow = Self { given, steps, places, dependents, roots, early_watches, result };
        match workflow.cycle() {
            Some(cycle) => Err(WorkflowError::Cycle(cycle)),
            None => Ok(workflow),
        }
    }

    /// Returns the input of its steps.
    pub fn input(&self) -> WorkflowInput {
        self.given
    }

    /// Returns the steps in the order in which they are written.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns a step.
    pub fn step(&self, name: &StepName) -> Option<&Step> {
        self.places.get(name).map(|place| &self.steps[*place])
    }

    /// Returns the steps that need no others, in the order in which they are written.
    pub fn roots(&self) -> impl Iterator<Item = &Step> {
        self.roots.iter().map(|place| &self.steps[*place])
    }

    /// Returns the steps that watch for an event from the beginning of the workflow, each with the event.
    pub(crate) fn early_watches(&self) -> impl Iterator<Item = (&Step, Watch<'_>)> {
        let steps = self.early_watches.iter().map(|place| &self.steps[*place]);
        steps.flat_map(|step| step.watches().filter(|watch| watch.since == Since::Start).map(move |watch| (step, watch)))
    }

    /// Returns the steps that need `name`, in the order in which they are written.
    pub fn dependents(&self, name: &StepName) -> impl Iterator<Item = &Step> {
        let places = self.places.get(name).map_or(&[][..], |place| &self.dependents[*place]);
        places.iter().map(|place| &self.steps[*place])
    }

    /// Returns the template of the workflow's result, if its author declares one.
    pub fn result(&self) -> Option<&Template> {
        self.result.as_ref()
    }

    /// Returns the steps of a cycle, each needing the next, or `None` if there is no cycle.
    fn cycle(&self) -> Option<Vec<StepName>> {
        // Repeatedly remove the steps whose needs are all removed. Each remaining step needs another
        // remaining step.
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
            enough: None,
            starts: StartsIf::Succeeded,
            local: Vec::new(),
            for_each: None,
            repeat: None,
            task: Task::Fail { message },
            wait: None,
            cancel_when: None,
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
    fn dependents_of_a_step_are_in_definition_order() {
        let steps = vec![step("last", &["left", "right"]), step("right", &["first"]), step("left", &["first"]), step("first", &[])];
        let workflow = Workflow::new(WorkflowInput::Parameters, steps, None).unwrap();
        assert_eq!(names(workflow.roots()), ["first"]);
        assert_eq!(names(workflow.dependents(&"first".parse().unwrap())), ["right", "left"]);
        assert_eq!(names(workflow.dependents(&"last".parse().unwrap())), [""; 0]);
    }

    #[test]
    fn cycle_error_names_only_the_steps_of_the_cycle() {
        let steps = vec![step("before", &["one"]), step("one", &["two"]), step("two", &["three"]), step("three", &["one"])];
        let error = Workflow::new(WorkflowInput::Parameters, steps, None).unwrap_err();
        assert_eq!(error.to_string(), "these steps need each other in a cycle: `one` → `two` → `three` → `one`");
    }

    #[test]
    fn step_that_needs_itself_is_a_cycle() {
        let error = Workflow::new(WorkflowInput::Parameters, vec![step("one", &["one"])], None).unwrap_err();
        assert_eq!(error, WorkflowError::Cycle(vec!["one".parse().unwrap()]));
    }
    #[test]
    fn percentage_of_failures_is_rounded_down_and_at_least_one() {
        assert_eq!([0, 5, 10, 19, 20, u32::MAX].map(|count| FailAt::Percent(10).of(count)), [1, 1, 1, 1, 2, u32::MAX / 10]);
        assert_eq!([0, 5].map(|count| FailAt::Count(3).of(count)), [3, 3]);
    }
}

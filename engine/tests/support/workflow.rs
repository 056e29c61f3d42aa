//! Workflows in short calls.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{
    ALWAYS, CancelWhen, Enough, FAILED, FailAt, ForEach, ItemFailure, Notify, OnFailure, PARALLEL_DEFAULT, Period, Repeat, Rest, Retry,
    Run, SUCCEEDED, Since, StartsIf, Step, Task, Undo, WAIT, Wait, Workflow, WorkflowInput,
};
use ensue_engine::fact::Fact;
use ensue_engine::record::Record;
use ensue_engine::workflows::facts::{PartOf, PartRole, Purpose, RerunFrom};
use ensue_expression::{Expression, Roots, Template};
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use super::Pieces;

/// A step that runs an action with the step's name as a parameter.
pub(crate) fn does(name: &str, action: &str) -> StepPiece {
    let task = Task::Action { action: action.parse().unwrap(), with: template(&json!({ "step": name })) };
    StepPiece::new(name, task)
}

/// A step that waits for an event.
pub(crate) fn awaits(name: &str, wait: Wait) -> StepPiece {
    let task = Task::Action { action: WAIT.parse().unwrap(), with: template(&json!({ "trigger": wait.trigger.as_str() })) };
    let mut piece = StepPiece::new(name, task);
    piece.0.wait = Some(wait);
    piece
}

/// A step that fails.
pub(crate) fn fails(name: &str, message: &str) -> StepPiece {
    StepPiece::new(name, Task::Fail { message: template(&json!(message)) })
}

/// A step that succeeds if a condition is true.
pub(crate) fn asserts(name: &str, condition: &str, message: Option<&str>) -> StepPiece {
    let message = message.map(|message| template(&json!(message)));
    StepPiece::new(name, Task::Assert { condition: expression(condition), message })
}

/// A step under construction.
#[derive(Clone)]
pub(crate) struct StepPiece(Step);

impl StepPiece {
    fn new(name: &str, task: Task) -> Self {
        Self(Step {
            name: name.parse().unwrap(),
            needs: Vec::new(),
            enough: None,
            starts: StartsIf::Succeeded,
            local: Vec::new(),
            for_each: None,
            repeat: None,
            task,
            wait: None,
            cancel_when: None,
            undo: None,
            notify: None,
            on_failure: OnFailure::Fail,
            retry: None,
            timeout: None,
            priority: None,
        })
    }

    pub(crate) fn needs<const N: usize>(self, steps: [&str; N]) -> Self {
        self.needing(steps)
    }

    pub(crate) fn needing(mut self, steps: impl IntoIterator<Item: AsRef<str>>) -> Self {
        self.0.needs = steps.into_iter().map(|step| step.as_ref().parse().unwrap()).collect();
        self
    }

    /// So many of these steps are enough.
    pub(crate) fn needs_any<const N: usize>(self, count: u32, steps: [&str; N], rest: Rest) -> Self {
        let mut piece = self.needing(steps);
        piece.0.enough = Some(Enough { count, rest });
        piece
    }

    pub(crate) fn starts_if(mut self, condition: &str) -> Self {
        self.0.starts = StartsIf::of(Some(expression(condition)));
        self
    }

    pub(crate) fn over(mut self, items: &str) -> Self {
        self.0.for_each =
            Some(ForEach { items: expression(items), parallel: PARALLEL_DEFAULT, failure: ItemFailure::OthersGoOn, fail_at: None });
        self
    }

    pub(crate) fn repeat(mut self, repeat: Repetition) -> Self {
        self.0.repeat = Some(repeat.0);
        self
    }

    pub(crate) fn parallel(mut self, parallel: u32) -> Self {
        self.0.for_each.as_mut().expect("it is done for each of several").parallel = parallel;
        self
    }

    pub(crate) fn fail_fast(mut self) -> Self {
        self.0.for_each.as_mut().expect("it is done for each of several").failure = ItemFailure::StopsOthers;
        self
    }

    /// So many items may fail.
    pub(crate) fn fail_at(mut self, most: FailAt) -> Self {
        self.0.for_each.as_mut().expect("it is done for each of several").fail_at = Some(most);
        self
    }

    /// A name that only this step sees.
    pub(crate) fn local(mut self, name: &str, value: &str) -> Self {
        self.0.local.push((name.to_owned(), expression(value)));
        self
    }

    /// Its time limit is computed.
    pub(crate) fn timeout_of(mut self, value: &Value) -> Self {
        self.0.timeout = Some(Period::Computed(template(value)));
        self
    }

    pub(crate) fn tolerate_failure(mut self) -> Self {
        self.0.on_failure = OnFailure::Continue;
        self
    }

    pub(crate) fn cancels_others(mut self) -> Self {
        self.0.on_failure = OnFailure::CancelOthers;
        self
    }

    pub(crate) fn priority(mut self, priority: i8) -> Self {
        self.0.priority = Some(priority);
        self
    }

    /// Such an event cancels it.
    pub(crate) fn cancelled_by(mut self, trigger: &str, when: &str, since: Since) -> Self {
        self.0.cancel_when = Some(CancelWhen { trigger: trigger.parse().unwrap(), when: Some(expression(when)), since });
        self
    }

    /// It notifies its assignees through this action.
    pub(crate) fn notifies(mut self, action: &str, with: &Value) -> Self {
        let roots = ["inquiry", "params", "item", "index", "steps", "execution", "local"];
        let with = Template::compile(with, &Roots::new(roots)).unwrap();
        self.0.notify = Some(Notify { action: action.parse().unwrap(), with });
        self
    }

    pub(crate) fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = Some(retry);
        self
    }

    pub(crate) fn timeout(mut self, seconds: u64) -> Self {
        self.0.timeout = Some(Period::Fixed(Duration::from_secs(seconds)));
        self
    }

    /// The action that undoes it.
    pub(crate) fn undone_by(mut self, action: &str, given: &Value) -> Self {
        self.0.undo = Some(Undo { action: action.parse().unwrap(), with: template(given), retry: None, timeout: None });
        self
    }

    pub(crate) fn undo_retried(mut self, retry: Retry) -> Self {
        self.0.undo.as_mut().expect("it is undone").retry = Some(retry);
        self
    }

    /// The parameters of its action.
    pub(crate) fn with(mut self, given: &Value) -> Self {
        if let Task::Action { with, .. } = &mut self.0.task {
            *with = template(given);
        }
        self
    }
}

/// At most so many turns.
pub(crate) fn times(max: u32) -> Repetition {
    Repetition(Repeat { while_holds: None, until: None, every: None, max, collect: None })
}

/// How a step is repeated.
pub(crate) struct Repetition(Repeat);

impl Repetition {
    pub(crate) fn while_holds(self, condition: &str) -> Self {
        Self(Repeat { while_holds: Some(expression(condition)), ..self.0 })
    }

    pub(crate) fn until(self, condition: &str) -> Self {
        Self(Repeat { until: Some(expression(condition)), ..self.0 })
    }

    pub(crate) fn every(self, wait: Duration) -> Self {
        Self(Repeat { every: Some(Period::Fixed(wait)), ..self.0 })
    }

    /// The delay between turns is computed.
    pub(crate) fn every_of(self, wait: &Value) -> Self {
        Self(Repeat { every: Some(Period::Computed(template(wait))), ..self.0 })
    }

    pub(crate) fn collect(self, part: &str) -> Self {
        Self(Repeat { collect: Some(expression(part)), ..self.0 })
    }
}

impl Pieces {
    /// A workflow.
    pub(crate) fn workflow<const N: usize>(self, name: &str, steps: [StepPiece; N]) -> Self {
        self.workflow_giving(name, steps.into(), None)
    }

    /// A workflow with a result.
    pub(crate) fn workflow_giving(self, name: &str, steps: Vec<StepPiece>, result: Option<&Value>) -> Self {
        let workflow = Workflow::new(WorkflowInput::Parameters, steps_of(steps), result.map(template)).unwrap();
        self.action_with(name, |action| action.run = Run::Workflow(Arc::new(workflow)))
    }
}

/// Summarizes the records of the workflow and its steps.
pub(crate) fn summarize(outcome: &Outcome) -> Vec<String> {
    outcome.records().iter().filter_map(short).collect()
}

pub(crate) fn short(record: &Record) -> Option<String> {
    let part = |part_of: &Option<PartOf>| match part_of {
        None => "flow".to_owned(),
        Some(part) => {
            let of = part.item.map_or(part.step.to_string(), |item| format!("{}[{item}]", part.step));
            if part.role == PartRole::Undo { format!("undo of {of}") } else { of }
        }
    };
    Some(match &record.fact {
        Fact::ExecutionRequested(fact) => format!("{} asked", part(&fact.part_of)),
        Fact::ExecutionSucceeded(fact) => format!("{} succeeded", part(&fact.part_of)),
        Fact::ExecutionFailed(fact) => format!("{} failed", part(&fact.part_of)),
        Fact::ExecutionTimedOut(fact) => format!("{} timed out", part(&fact.part_of)),
        Fact::ExecutionCancelled(fact) => format!("{} cancelled", part(&fact.part_of)),
        Fact::StepChosen(fact) => {
            let names: Vec<&str> = fact.ended.iter().map(|name| name.as_str()).collect();
            format!("{} follows {}", fact.step, names.join(" and "))
        }
        Fact::StepSkipped(fact) => format!("{} skipped: {}", fact.step, fact.because.as_str()),
        Fact::StepFailed(fact) => {
            format!("{}{} did not start: {}", fact.step, fact.item.map_or(String::new(), |i| format!("[{i}]")), fact.error.message)
        }
        Fact::StepExpanded(fact) => format!("{} of {}", fact.step, fact.count),
        Fact::StepEnded(fact) => {
            format!("{} ended{}", fact.step, fact.error.as_ref().map_or(String::new(), |error| format!(": {}", error.message)))
        }
        Fact::WaitOpened(fact) if fact.purpose == Purpose::Cancels => format!("{} would be cancelled by {}", fact.step, fact.trigger),
        Fact::WaitOpened(fact) => format!("{} awaits {}", fact.step, fact.trigger),
        Fact::WaitMatched(fact) if fact.purpose == Purpose::Cancels => format!("{} is cancelled by its event", fact.step),
        Fact::WaitMatched(fact) => format!("{} has come", fact.step),
        Fact::InquiryWithdrawn(fact) if fact.by.is_some() => "withdrawn".to_owned(),
        Fact::RerunPlanned(fact) => match &fact.from {
            RerunFrom::Start => "again from the start".to_owned(),
            RerunFrom::Failed => "again from failed".to_owned(),
            RerunFrom::Step(step) => format!("again from {step}"),
        },
        Fact::StepTakenOver(fact) => format!("{}{} taken over", fact.step, fact.item.map_or(String::new(), |item| format!("[{item}]"))),
        Fact::WaitErred(fact) => format!("{} erred", fact.step),
        Fact::UndoBegun(fact) => format!("{} to undo", fact.count),
        Fact::UndoFailed(fact) => format!("undo of {} did not start: {}", fact.step, fact.error.message),
        _ => return None,
    })
}

/// The steps in the engine's form.
pub(crate) fn steps_of(steps: Vec<StepPiece>) -> Vec<Step> {
    steps.into_iter().map(|step| step.0).collect()
}

pub(crate) fn expression(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap()
}

pub(crate) fn template(value: &Value) -> Template {
    Template::compile(value, &roots()).unwrap()
}

fn roots() -> Roots {
    Roots::new([
        "previous",
        "result",
        "iteration",
        "event",
        "events",
        "rule",
        "params",
        "local",
        "config",
        "vars",
        "execution",
        "steps",
        "item",
        "index",
        SUCCEEDED,
        FAILED,
        ALWAYS,
    ])
}

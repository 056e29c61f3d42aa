//! What follows for a workflow: its steps start, in the order in which they are written, once those that they need have ended.
//!
//! Each call gives the next thing that is due, from the state alone; the caller asks again until there is none.

use std::sync::Arc;

use ensue_expression::{Budget, Document, EVALUATION_STEPS_MAX, EvaluationError, Expression, Path, Scope, Template, Value};
use serde_json::Value as Json;

use crate::catalog::{
    Action, Catalog, Extra, ForEach, ITEMS_MAX, ItemFailure, OnFailure, Others, Run, StartsIf, Step, Task, WhenCancelled, WhenFailing,
    Workflow,
};
use crate::command::Context;
use crate::engine::{Engine, Reaction};
use crate::executions::decide::millis;
use crate::executions::facts::{
    ExecutionCancelRequested, ExecutionCancelled, ExecutionFailed, ExecutionRequested, ExecutionSucceeded, Failure, FailureKind, Pace,
};
use crate::executions::react::start_waiting;
use crate::executions::state::{Execution, Phase};
use crate::fact::{ExecutionFact, Fact, StepFact};
use crate::ids::{ExecutionId, Id, Role};
use crate::names::{ActionRef, StepName};
use crate::record::{Actor, Body, Draft, Position, Record, StreamId};
use crate::rules::judge::{complete, describe};
use crate::rules::local;
use crate::workflows::facts::{PartOf, SkippedBecause, StepEnded, StepExpanded, StepFailed, StepSkipped, WorkflowBeganFailing};
use crate::workflows::sight::{Ends, Sight};
use crate::workflows::state::{Course, End, Expanded, StepState, StepStatus};

/// How deep workflows may stand in workflows.
pub(crate) const LEVEL_MAX: u32 = 16;

/// How many executions are asked to end at once.
const CANCELS_AT_ONCE: usize = 100;

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
}

/// Gives what is due next in the workflow that a record of an execution is about; nothing where it is about none.
pub(crate) fn after_execution(
    engine: &Engine,
    record: &Record,
    fact: ExecutionFact<'_>,
    with: &Context<'_>,
) -> Result<Vec<Draft>, Reaction> {
    let StreamId::Execution(id) = record.stream else { return Ok(Vec::new()) };
    if let Some(end) = End::of(fact) {
        return due(engine, end.part_of.workflow, &News::Ended(&end.part_of.step), record, with);
    }
    match fact {
        ExecutionFact::ExecutionRequested(fact) if fact.pace == Pace::InSteps => due(engine, id, &News::Begun, record, with),
        ExecutionFact::ExecutionCancelRequested(_) => due(engine, id, &News::CancelRequested, record, with),
        _ => Ok(Vec::new()),
    }
}

/// Gives what follows from a record of a step.
pub(crate) fn react(engine: &Engine, record: &Record, fact: StepFact<'_>, with: &Context<'_>) -> Reaction {
    match after_step(engine, record, fact, with) {
        Ok(drafts) if drafts.is_empty() => start_waiting(engine, record.id, with),
        Ok(drafts) => Reaction::more(drafts),
        Err(reaction) => reaction,
    }
}

fn after_step(engine: &Engine, record: &Record, fact: StepFact<'_>, with: &Context<'_>) -> Result<Vec<Draft>, Reaction> {
    let StreamId::Execution(id) = record.stream else { return Ok(Vec::new()) };
    let news = match fact {
        StepFact::StepSkipped(fact) => News::Ended(&fact.step),
        StepFact::StepFailed(fact) => News::Ended(&fact.step),
        StepFact::StepEnded(fact) => News::Ended(&fact.step),
        StepFact::StepExpanded(fact) => News::Expanded(&fact.step),
        StepFact::WorkflowBeganFailing(_) => return Ok(Vec::new()),
    };
    due(engine, id, &news, record, with)
}

fn due(engine: &Engine, id: ExecutionId, news: &News<'_>, record: &Record, with: &Context<'_>) -> Result<Vec<Draft>, Reaction> {
    let (Some(execution), Some(course)) = (engine.executions().get(&id), engine.workflows().course(&id)) else { return Ok(Vec::new()) };
    let impossible = |why: String| Err(Reaction::Impossible(why));
    let Some(catalog) = with.catalogs.at(execution.catalog) else {
        return impossible(format!("the catalog of revision {} cannot be built", execution.catalog));
    };
    let Some(action) = catalog.actions().get(&execution.action).cloned() else {
        return impossible(format!("the action `{}` is not in the catalog of revision {}", execution.action, execution.catalog));
    };
    let Run::Workflow(workflow) = action.run.clone() else {
        return impossible(format!("the action `{}` is no workflow", execution.action));
    };
    let going = Going { engine, id, execution, course, catalog: &catalog, action: &action, workflow: &workflow, record, with };
    let drafts = match news {
        News::Begun => going.first_of(workflow.roots())?,
        News::CancelRequested => going.cancels(|_| true),
        News::Expanded(step) => going.next_of_items(step)?,
        News::Ended(step) => going.after(step)?,
    };
    if drafts.is_empty() { going.end() } else { Ok(drafts) }
}

/// A workflow that goes on.
struct Going<'a> {
    engine: &'a Engine,
    id: ExecutionId,
    execution: &'a Execution,
    course: &'a Course,
    catalog: &'a Arc<Catalog>,
    action: &'a Action,
    workflow: &'a Workflow,
    record: &'a Record,
    with: &'a Context<'a>,
}

/// Why a step cannot be started as it says.
enum Hindrance {
    /// It fails.
    Fails(Failure),
    /// Something must be at hand first, or it cannot be worked out at all.
    Stuck(Reaction),
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
    fn state(&self, step: &StepName) -> Option<&StepState> {
        self.engine.workflows().step(self.id, step)
    }

    /// Gives what follows from the end of a step, or of an item of it.
    fn after(&self, name: &StepName) -> Result<Vec<Draft>, Reaction> {
        let Some((step, state)) = self.workflow.step(name).zip(self.state(name)) else { return Ok(Vec::new()) };
        if !state.status.is_end() {
            return self.next_of_items(name);
        }
        let is_cancelled = self.course.cancels > 0;
        if self.is_in_the_way(step, state) && !is_cancelled {
            if self.course.failing.is_none() {
                return Ok(vec![self.draft(WorkflowBeganFailing { step: name.clone() }.into(), None)]);
            }
            if step.others == Others::AreCancelled {
                let cancels = self.cancels(|other| other != name);
                if !cancels.is_empty() {
                    return Ok(cancels);
                }
            }
        }
        self.first_of(self.workflow.dependents(name))
    }

    /// Says whether a step has ended so that the workflow cannot succeed any more.
    fn is_in_the_way(&self, step: &Step, state: &StepState) -> bool {
        match state.status {
            StepStatus::Failed | StepStatus::TimedOut | StepStatus::Cancelled => step.on_failure == OnFailure::Fail,
            StepStatus::Running | StepStatus::Succeeded | StepStatus::Skipped => false,
        }
    }

    /// Starts, skips or fails the first of these steps that is due.
    fn first_of<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> Result<Vec<Draft>, Reaction> {
        for step in steps {
            if self.state(&step.name).is_none()
                && let Some(ends) = self.ends_of_needs(step)
            {
                return self.begin(step, ends).map(|draft| vec![draft]);
            }
        }
        Ok(Vec::new())
    }

    /// Gives how the steps ended that a step needs; none where one has not.
    fn ends_of_needs(&self, step: &Step) -> Option<Ends> {
        let mut ends = Ends { succeeded: true, failed: false };
        for name in &step.needs {
            let (needed, state) = self.workflow.step(name).zip(self.state(name))?;
            match state.status {
                StepStatus::Running => return None,
                StepStatus::Succeeded => {}
                StepStatus::Failed | StepStatus::TimedOut => {
                    ends.failed = true;
                    ends.succeeded &= needed.on_failure == OnFailure::Continue;
                }
                StepStatus::Cancelled => ends.succeeded &= needed.on_failure == OnFailure::Continue,
                StepStatus::Skipped => ends.succeeded = false,
            }
        }
        Some(ends)
    }

    fn begin(&self, step: &Step, ends: Ends) -> Result<Draft, Reaction> {
        let skipped = |because| Ok(self.draft(StepSkipped { step: step.name.clone(), because }.into(), None));
        let may_start = match self.course.cancels {
            0 => true,
            1 => step.starts.when_cancelled() == WhenCancelled::MayStart,
            _ => false,
        };
        if !may_start {
            return skipped(SkippedBecause::Cancelled);
        }
        if self.course.failing.is_some() && step.starts.when_failing() == WhenFailing::IsSkipped {
            return skipped(SkippedBecause::Failing);
        }
        if !ends.succeeded && matches!(step.starts, StartsIf::Succeeded | StartsIf::SucceededAnd(_)) {
            return skipped(SkippedBecause::Needs);
        }
        let failed = |error| Ok(self.draft(StepFailed { step: step.name.clone(), item: None, error }.into(), None));
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
        if let Some(each) = &step.for_each {
            return self.expanded(step, each, ends, &mut budget).map(Some);
        }
        match &step.task {
            Task::Action { action, with } => {
                let sight = self.sight(ends, &with.reads())?;
                let scope = self.scope(&sight, &with.expressions(), &mut budget)?;
                self.requested(step, None, action, with, &scope, &mut budget).map(Some)
            }
            Task::Fail { message } => {
                let sight = self.sight(ends, &message.reads())?;
                let message = message.render(&self.scope(&sight, &message.expressions(), &mut budget)?, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(Hindrance::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }

    fn expanded(&self, step: &Step, each: &ForEach, ends: Ends, budget: &mut Budget) -> Result<Draft, Hindrance> {
        let sight = self.sight(ends, &each.items.reads())?;
        let items = each.items.evaluate(&self.scope(&sight, &[&each.items], budget)?, budget)?;
        let fails = |message: String| Err(Hindrance::Fails(Failure::new(FailureKind::Expression, message)));
        let Some(count) = items.elements().map(|elements| elements.len()) else {
            return fails(format!("`for_each` gives {}, and takes a list", items.brief()));
        };
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= ITEMS_MAX) else {
            return fails(format!("`for_each` gives {count} items, {ITEMS_MAX} is the most"));
        };
        let list = items.to_json()?;
        let fact = StepExpanded { step: step.name.clone(), count };
        Ok(self.draft(fact.into(), Some(Body::json(list.to_string()))))
    }

    /// Starts the next item of a step where one may run, and ends the step where all have ended.
    fn next_of_items(&self, name: &StepName) -> Result<Vec<Draft>, Reaction> {
        let Some((step, state)) = self.workflow.step(name).zip(self.state(name)) else { return Ok(Vec::new()) };
        let (Some(items), Some(each)) = (state.items, &step.for_each) else { return Ok(Vec::new()) };
        if state.status.is_end() {
            return Ok(Vec::new());
        }
        let stops = items.failed > 0 && each.failure == ItemFailure::StopsOthers;
        if stops {
            let cancels = self.cancels(|other| other == name);
            if !cancels.is_empty() {
                return Ok(cancels);
            }
        }
        let is_cancelled = self.course.cancels > 0 && step.starts.when_cancelled() == WhenCancelled::IsSkipped || self.course.cancels > 1;
        if items.started < items.count && !stops && !is_cancelled {
            if items.running >= each.parallel {
                return Ok(Vec::new());
            }
            return self.item(step, &items).map(|draft| vec![draft]);
        }
        if items.running > 0 {
            return Ok(Vec::new());
        }
        let error = self.error_of_items(name, &items);
        Ok(vec![self.draft(StepEnded { step: name.clone(), error }.into(), None)])
    }

    /// Starts the next item of a step, or fails it where it cannot be rendered.
    fn item(&self, step: &Step, items: &Expanded) -> Result<Draft, Reaction> {
        let index = items.started;
        match self.item_started(step, items, index) {
            Ok(draft) => Ok(draft),
            Err(Hindrance::Stuck(reaction)) => Err(reaction),
            Err(Hindrance::Fails(error)) => Ok(self.draft(StepFailed { step: step.name.clone(), item: Some(index), error }.into(), None)),
        }
    }

    fn item_started(&self, step: &Step, items: &Expanded, index: u32) -> Result<Draft, Hindrance> {
        let Some(list) = self.with.bodies.elements(&items.list) else { return Err(Reaction::Needs(vec![items.list]).into()) };
        let Some(item) = list.get(index as usize) else {
            return Err(Reaction::Impossible(format!("the list of {} items has no item {index}", items.count)).into());
        };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let template = match &step.task {
            Task::Action { with, .. } => with,
            Task::Fail { message } => message,
        };
        let ends = Ends { succeeded: true, failed: false };
        let sight = self.sight(ends, &template.reads())?;
        let scope = self.scope(&sight, &template.expressions(), &mut budget)?;
        let scope = scope.with("item", item.root()).with("index", Value::from(i64::from(index)));
        match &step.task {
            Task::Action { action, with } => self.requested(step, Some(index), action, with, &scope, &mut budget),
            Task::Fail { message } => {
                let message = message.render(&scope, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(Hindrance::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }

    fn error_of_items(&self, name: &StepName, items: &Expanded) -> Option<Failure> {
        let Some(first) = items.first_failed else {
            let message = format!("{} of {} items were started before it was cancelled", items.started, items.count);
            return (items.started < items.count).then(|| Failure::new(FailureKind::Cancelled, message));
        };
        let error = self.engine.workflows().item(self.id, name, first).and_then(|item| item.error.as_ref());
        let why = error.map_or("it was cancelled", |error| &error.message);
        let message = format!("{} of {} items failed, the first of them item {first}: {why}", items.failed, items.count);
        Some(Failure::new(FailureKind::ChildFailed, message))
    }

    /// Gives the request of the execution that a step is, or an item of it.
    fn requested(
        &self,
        step: &Step,
        item: Option<u32>,
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
        let pace = action.pace(params.root());
        if pace == Pace::InSteps && self.execution.level >= LEVEL_MAX {
            let message = format!("`{name}` would stand {} workflows deep, {LEVEL_MAX} is the most", self.execution.level + 1);
            return fails(FailureKind::ChildFailed, message);
        }
        let log = self.engine.log();
        let of_step = Id::derived(log, self.id.0, Role::Step(&step.name));
        let child = ExecutionId(item.map_or(of_step, |item| Id::derived(log, of_step, Role::Item(item))));
        let fact = ExecutionRequested {
            action: name.clone(),
            catalog: self.execution.catalog,
            rule: None,
            event: None,
            enforcement: None,
            part_of: Some(PartOf { workflow: self.id, step: step.name.clone(), item }),
            priority: step.priority.unwrap_or_else(|| self.execution.priority()),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            timeout_millis: millis(action.timeout),
            grace_millis: millis(action.grace),
            pace,
        };
        let body = Some(Body::json(params.bytes().clone()));
        Ok(Draft { stream: StreamId::Execution(child), begins: Some(child.0), ..self.draft(fact.into(), body) })
    }

    /// Asks executions to end that the workflow waits for: those of the steps that `is_asked` names, that were there before the record.
    fn cancels(&self, is_asked: impl Fn(&StepName) -> bool) -> Vec<Draft> {
        let open = self.engine.workflows().open(self.id).filter(|(_, step)| is_asked(step));
        let asked = open.filter_map(|(child, _)| {
            let execution = self.engine.executions().get(&child)?;
            if !self.may_be_asked(child, execution, self.record.position) {
                return None;
            }
            let cause = Some(self.execution.cause(self.record.id));
            let fact = ExecutionCancelRequested {}.into();
            Some(Draft { stream: StreamId::Execution(child), cause, ..self.draft(fact, None) })
        });
        asked.take(CANCELS_AT_ONCE).collect()
    }

    fn may_be_asked(&self, child: ExecutionId, execution: &Execution, before: Position) -> bool {
        let was_asked = match execution.phase {
            Phase::Queued | Phase::Running(_) | Phase::Indeterminate(_) => false,
            Phase::InSteps => self.engine.workflows().course(&child).is_some_and(|course| course.cancels >= self.course.cancels.max(1)),
            Phase::Cancelling(_) | Phase::Ending { .. } => true,
        };
        !was_asked && execution.place.1 < before
    }

    /// Gives the workflow's end where all its steps have ended.
    fn end(&self) -> Result<Vec<Draft>, Reaction> {
        if (self.course.ended as usize) < self.workflow.steps().len() {
            return Ok(Vec::new());
        }
        let part_of = self.execution.part_of.clone();
        if self.course.cancels > 0 {
            return Ok(vec![self.draft(ExecutionCancelled { part_of }.into(), None)]);
        }
        let failed = |error: Failure| Ok(vec![self.draft(ExecutionFailed { error, part_of: part_of.clone() }.into(), None)]);
        if let Some(step) = &self.course.failing {
            return failed(self.failure_of(step));
        }
        match self.result() {
            Ok(body) => Ok(vec![self.draft(ExecutionSucceeded { part_of: part_of.clone() }.into(), body)]),
            Err(Hindrance::Fails(error)) => failed(error),
            Err(Hindrance::Stuck(reaction)) => Err(reaction),
        }
    }

    fn failure_of(&self, name: &StepName) -> Failure {
        let message = match self.state(name) {
            Some(StepState { error: Some(error), status: StepStatus::TimedOut, .. }) => {
                format!("step `{name}` timed out: {}", error.message)
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
                    format!("the result is not as declared: {misfits}"),
                )));
            }
        }
        Ok(Some(Body::json(result.to_string())))
    }

    fn sight(&self, ends: Ends, reads: &[Path]) -> Result<Sight<'_>, Reaction> {
        Sight::of(self.engine, self.id, self.execution, (self.action, self.workflow), (ends, reads), self.with)
    }

    /// Gives the scope of a sight, with the workflow's local values where one of the expressions reads them.
    fn scope<'s>(&'s self, sight: &'s Sight<'_>, expressions: &[&Expression], budget: &mut Budget) -> Result<Scope<'s>, EvaluationError> {
        let mut scope = sight.scope();
        if expressions.iter().any(|expression| expression.reads_root("local")) {
            local::all(&mut scope, &self.action.local, budget)?;
        }
        Ok(scope)
    }

    fn draft(&self, fact: Fact, body: Option<Body>) -> Draft {
        Draft {
            stream: StreamId::Execution(self.id),
            begins: None,
            actor: Actor::Engine,
            cause: Some(self.execution.cause(self.record.id)),
            trace: None,
            fact,
            body,
        }
    }
}

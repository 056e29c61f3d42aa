//! The history of a rehearsal, computed from the records of its log: executions, their steps, and the
//! decisions of rules.
//!
//! It is a fold like the views, but over one short log, and it identifies steps by the paths that people
//! write.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::executions::facts::{ExecutionRequested, Failure};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId};
use ensue_engine::names::{ActionRef, RuleRef, StepName};
use ensue_engine::record::{Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::{Release, SupersededBecause};
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_packs::cases::{Status, StepPath};
use serde_json::Value;

/// The state after folding the records of a log.
#[derive(Clone, Debug, Default)]
pub struct History {
    executions: BTreeMap<ExecutionId, Execution>,
    steps: BTreeMap<(ExecutionId, StepName), StepHistory>,
    enforcements: Vec<Enforcement>,
    put_aside: Option<String>,
    /// The executions that undo steps, in order.
    undone: Vec<ExecutionId>,
    /// The executions that notify people of an inquiry.
    tell: BTreeSet<ExecutionId>,
}

/// An execution.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Its action.
    pub action: ActionRef,
    /// Its parameters.
    pub params: Value,
    /// The rule that requested it.
    pub rule: Option<RuleRef>,
    /// The step that it runs, if it is part of a workflow.
    pub part_of: Option<PartOf>,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// How many attempts were started.
    pub attempts: u32,
    /// The result of its last attempt, or the one with which it was settled.
    given: Option<Value>,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The status.
    pub status: Status,
    /// The result.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// A step of a workflow.
#[derive(Clone, Debug, Default)]
pub struct StepHistory {
    /// Its items or turns in order. An item without an execution has an entry as well.
    pub items: BTreeMap<u32, ItemOfStep>,
    /// Whether it has items or turns.
    pub is_several: bool,
    /// How it ended.
    pub end: Option<End>,
}

/// An item or a turn of a step. A step that runs once has one.
#[derive(Clone, Debug, Default)]
pub struct ItemOfStep {
    /// Its execution, if there is one.
    pub execution: Option<ExecutionId>,
    /// How it ended.
    pub end: Option<End>,
}

/// A decision of a rule.
#[derive(Clone, Debug)]
pub struct Enforcement {
    /// The rule.
    pub rule: RuleRef,
    /// The event.
    pub event: EventId,
    /// The outcome. If the enforcement was held and then released, the outcome of the release.
    pub outcome: Outcome,
    /// If it was held, why another one was acted on instead.
    pub superseded: Option<SupersededBecause>,
    /// Its id.
    pub id: EnforcementId,
}

/// The path to an execution: the names on it, and the item or turn at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionPath {
    /// The path.
    pub path: StepPath,
    /// The items and turns on the path, outermost first, from 0.
    pub items: Vec<u32>,
}

impl History {
    /// Folds a record.
    pub fn apply(&mut self, record: &Record) {
        let body = || record.body.as_ref().and_then(|body| serde_json::from_slice(body.content.as_ref()?).ok());
        let (succeeded, failed) = (
            |result| End { status: Status::Succeeded, result, error: None },
            |status, error: &Failure| End { status, result: None, error: Some(error.clone()) },
        );
        match (&record.fact, &record.stream) {
            (Fact::InquiryNotified(fact), _) => drop(self.tell.insert(fact.execution)),
            (Fact::ExecutionRequested(fact), StreamId::Execution(id)) => self.request(*id, fact, body().unwrap_or_default()),
            (Fact::AttemptStarted(fact), StreamId::Execution(id)) => self.change(*id, |execution| execution.attempts = fact.number),
            (Fact::AttemptSucceeded(_) | Fact::ExecutionSettled(_), StreamId::Execution(id)) => {
                self.change(*id, |execution| execution.given = body());
            }
            (Fact::ExecutionSucceeded(_), StreamId::Execution(id)) => {
                let given = self.executions.get(id).and_then(|execution| execution.given.clone());
                self.end(*id, succeeded(body().or(given)));
            }
            (Fact::ExecutionFailed(fact), StreamId::Execution(id)) => self.end(*id, failed(Status::Failed, &fact.error)),
            (Fact::ExecutionTimedOut(fact), StreamId::Execution(id)) => self.end(*id, failed(Status::TimedOut, &fact.error)),
            (Fact::ExecutionCancelled(fact), StreamId::Execution(id)) => {
                let status = if fact.by.is_some() { Status::Skipped } else { Status::Cancelled };
                self.end(*id, End { status, result: None, error: None });
            }
            (Fact::ExecutionBecameIndeterminate(_), StreamId::Execution(id)) => {
                self.end(*id, End { status: Status::Indeterminate, result: None, error: None });
            }
            (Fact::StepSkipped(fact), StreamId::Execution(id)) => {
                self.step(*id, &fact.step).end = Some(End { status: Status::Skipped, result: None, error: None });
            }
            (Fact::StepFailed(fact), StreamId::Execution(id)) => {
                let step = self.step(*id, &fact.step);
                let end = Some(failed(Status::Failed, &fact.error));
                match fact.item {
                    Some(item) => {
                        step.is_several = true;
                        step.items.entry(item).or_default().end = end;
                    }
                    None => step.end = end,
                }
            }
            (Fact::StepExpanded(fact), StreamId::Execution(id)) => self.step(*id, &fact.step).is_several = true,
            (Fact::StepEnded(fact), StreamId::Execution(id)) => {
                let step = self.step(*id, &fact.step);
                let last = step.items.values().next_back().and_then(|item| item.end.clone());
                step.end = Some(match &fact.error {
                    Some(error) => failed(Status::Failed, error),
                    None => succeeded(body().or_else(|| last.and_then(|last| last.result))),
                });
            }
            (Fact::EnforcementMade(fact), StreamId::Enforcement(id)) => {
                let (rule, outcome) = (fact.rule.clone(), fact.outcome.clone());
                self.enforcements.push(Enforcement { rule, event: fact.event, outcome, superseded: None, id: *id });
            }
            (Fact::EnforcementReleased(fact), StreamId::Enforcement(id)) => self.change_enforcement(*id, |enforcement| {
                enforcement.outcome = match &fact.outcome {
                    Release::Executed { execution } => Outcome::Executed { execution: *execution },
                    Release::Skipped { reason } => Outcome::Skipped { reason: reason.clone() },
                    Release::Shadowed => Outcome::Shadowed,
                    Release::Rejected { error } => Outcome::Rejected { error: error.clone() },
                }
            }),
            (Fact::EnforcementSuperseded(fact), StreamId::Enforcement(id)) => {
                self.change_enforcement(*id, |enforcement| enforcement.superseded = Some(fact.why));
            }
            (Fact::ReactionParked(fact), _) => {
                self.put_aside.get_or_insert_with(|| fact.error.clone());
            }
            // All other facts are about progress, or do not concern cases.
            (_, _) => {}
        }
    }

    fn request(&mut self, id: ExecutionId, fact: &ExecutionRequested, params: Value) {
        if fact.part_of.as_ref().is_some_and(|part_of| part_of.role == PartRole::Undo) {
            self.undone.push(id);
        } else if let Some(part_of) = &fact.part_of {
            let step = self.step(part_of.workflow, &part_of.step);
            step.is_several |= part_of.item.is_some();
            step.items.entry(part_of.item.unwrap_or(0)).or_default().execution = Some(id);
        }
        let execution = Execution {
            action: fact.action.clone(),
            params,
            rule: fact.rule.clone(),
            part_of: fact.part_of.clone(),
            end: None,
            attempts: 0,
            given: None,
        };
        self.executions.insert(id, execution);
    }

    fn change_enforcement(&mut self, id: EnforcementId, change: impl FnOnce(&mut Enforcement)) {
        if let Some(enforcement) = self.enforcements.iter_mut().rfind(|enforcement| enforcement.id == id) {
            change(enforcement);
        }
    }

    /// Returns an execution.
    pub fn execution(&self, id: ExecutionId) -> Option<&Execution> {
        self.executions.get(&id)
    }

    /// Returns the executions that have not ended. An indeterminate execution counts as ended.
    pub fn open(&self) -> impl Iterator<Item = (ExecutionId, &Execution)> {
        self.executions.iter().filter(|(_, execution)| execution.end.is_none()).map(|(id, execution)| (*id, execution))
    }

    /// Returns the decisions of the rules, in order.
    pub fn enforcements(&self) -> &[Enforcement] {
        &self.enforcements
    }

    /// Returns the paths of the undone steps of an execution, in the order of their undoing. A step with
    /// several items is listed once.
    pub fn undone(&self, of: ExecutionId) -> Vec<String> {
        let root = self.way(of).path.to_string();
        let is_below = |id: &&ExecutionId| {
            let above = std::iter::successors(Some(**id), |id| Some(self.executions.get(id)?.part_of.as_ref()?.workflow));
            above.skip(1).any(|above| above == of)
        };
        let paths = self.undone.iter().filter(is_below).map(|id| {
            let path = self.way(*id).path.to_string();
            path.strip_prefix(&format!("{root}.")).map_or_else(|| path.clone(), str::to_owned)
        });
        let mut paths: Vec<String> = paths.collect();
        paths.dedup();
        paths
    }

    /// Returns true if an execution undoes a step.
    pub fn undoes(&self, id: ExecutionId) -> bool {
        self.undone.contains(&id)
    }

    /// Returns true if an execution notifies people of an inquiry.
    pub fn is_notification(&self, id: ExecutionId) -> bool {
        self.tell.contains(&id)
    }

    /// Returns the error of a parked reaction, if there is one. It is an internal error.
    pub fn put_aside(&self) -> Option<&str> {
        self.put_aside.as_deref()
    }

    /// Returns the steps of an execution by their paths, including those of nested workflows. If an enclosing
    /// step has several items, the last of them counts.
    pub fn steps_of(&self, id: ExecutionId) -> BTreeMap<String, &StepHistory> {
        let mut found = BTreeMap::new();
        self.collect(id, "", &mut found);
        found
    }

    fn collect<'h>(&'h self, id: ExecutionId, before: &str, found: &mut BTreeMap<String, &'h StepHistory>) {
        let steps = self.steps.iter().filter(|((workflow, _), _)| *workflow == id);
        for ((_, name), step) in steps {
            let path = format!("{before}{name}");
            for item in step.items.values().filter_map(|item| item.execution) {
                self.collect(item, &format!("{path}."), found);
            }
            found.insert(path, step);
        }
    }

    /// Returns the path to an execution.
    pub fn way(&self, id: ExecutionId) -> ExecutionPath {
        let mut names = Vec::new();
        let mut items = Vec::new();
        let mut at = self.executions.get(&id);
        while let Some(execution) = at {
            match &execution.part_of {
                Some(part_of) => {
                    names.push(part_of.step.to_string());
                    items.extend(part_of.item);
                    at = self.executions.get(&part_of.workflow);
                }
                None => {
                    match &execution.rule {
                        Some(rule) => names.push(rule.name().to_owned()),
                        None if names.is_empty() => names.push(execution.action.name().to_owned()),
                        None => {}
                    }
                    at = None;
                }
            }
        }
        names.reverse();
        items.reverse();
        ExecutionPath { path: StepPath::of(&names.join(".")), items }
    }

    fn step(&mut self, workflow: ExecutionId, name: &StepName) -> &mut StepHistory {
        self.steps.entry((workflow, name.clone())).or_default()
    }

    fn change(&mut self, id: ExecutionId, change: impl FnOnce(&mut Execution)) {
        if let Some(execution) = self.executions.get_mut(&id) {
            change(execution);
        }
    }

    fn end(&mut self, id: ExecutionId, end: End) {
        let Some(execution) = self.executions.get_mut(&id) else { return };
        execution.end = Some(end.clone());
        let Some(part_of) = execution.part_of.clone().filter(|part_of| part_of.role != PartRole::Undo) else { return };
        let step = self.step(part_of.workflow, &part_of.step);
        step.items.entry(part_of.item.unwrap_or(0)).or_default().end = Some(end.clone());
        if part_of.item.is_none() {
            step.end = Some(end);
        }
    }
}

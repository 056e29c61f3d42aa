//! The state of waiting steps: the open waits, and an index over them by the events that they require.

use std::collections::BTreeMap;

use ensue_derive::sparse;
use ensue_expression::{Document, Literal, Reach, Value};
use serde::{Deserialize, Serialize};

use crate::executions::facts::GivenEvent;
use crate::ids::{EventId, ExecutionId, Id};
use crate::names::{StepName, TriggerRef};
use crate::record::{Digest, Position};
use crate::table::Table;
use crate::workflows::facts::{WaitKey, WaitMatched, WaitOpened};

/// The number of names before those of a payload's fields: `event` and `payload`.
pub(crate) const PAYLOAD_NAMES: usize = 2;

/// The waits of steps that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    open: Table<(ExecutionId, StepName), Wait>,
    /// The waits that an event finds by its fields.
    keyed: Table<(TriggerRef, WaitKey, ExecutionId, StepName), ()>,
    /// The waits that must be tried with each event of their trigger.
    others: Table<(TriggerRef, ExecutionId, StepName), ()>,
    /// The fields by which keyed waits are found, with the number of such waits.
    paths: Table<(TriggerRef, Vec<Vec<String>>), u32>,
}

/// The wait of a step.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// The record since which it waits.
    pub opened: Position,
    /// The trigger of the event.
    pub trigger: TriggerRef,
    /// The key that it is found by.
    pub key: Option<WaitKey>,
    /// The event, once it has come.
    pub matched: Option<(EventId, GivenEvent)>,
    /// Whether its condition has failed to evaluate for an event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_erred: bool,
}

/// The form in which waiting steps read a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of them read it as it came, so that its fields find the steps.
    AsItCame,
    /// Each reads it in the newest version of its own catalog, so that each must be tried.
    DependsOnReader,
}

impl WaitKey {
    /// Creates a key from the values that fields must have; `None` if there are none.
    pub(crate) fn of(tests: BTreeMap<Vec<String>, Literal>) -> Option<Self> {
        let values = digest_of(tests.values());
        let paths: Vec<Vec<String>> = tests.into_keys().collect();
        (!paths.is_empty()).then_some(Self { paths, values })
    }
}

/// Hashes values in the form of [`WaitKey`].
fn digest_of<'l>(literals: impl Iterator<Item = &'l Literal>) -> Digest {
    let texts: Vec<String> = literals.map(text_of).collect();
    Digest::of(serde_json::Value::from(texts).to_string().as_bytes())
}

fn text_of(literal: &Literal) -> String {
    match literal {
        Literal::Null => "null".to_owned(),
        Literal::Bool(value) => format!("bool {value}"),
        Literal::Int(value) => format!("int {value}"),
        Literal::Uint(value) => format!("uint {value}"),
        Literal::Double(value) => format!("double {:x}", value.to_bits()),
        Literal::String(text) => format!("text {text}"),
    }
}

impl Waits {
    /// Returns the wait of a step; `None` if it waits for nothing or has ended.
    pub fn get(&self, workflow: ExecutionId, step: &StepName) -> Option<&Wait> {
        self.open.get(&(workflow, step.clone()))
    }

    /// Returns true if any step waits for an event of this trigger.
    pub fn watches(&self, trigger: &TriggerRef) -> bool {
        self.others_of(trigger).next().is_some() || self.paths_of(trigger).next().is_some()
    }

    /// Returns the steps that may wait for the event of this record.
    pub fn candidates(&self, trigger: &TriggerRef, (payload, form): (&Document, Form), at: Position) -> Vec<(ExecutionId, StepName)> {
        let mut found: Vec<(ExecutionId, StepName)> = self.others_of(trigger).collect();
        if form == Form::DependsOnReader {
            // No wait has a key without fields, so it sorts before all others.
            let none = WaitKey { paths: Vec::new(), values: digest_of(std::iter::empty()) };
            let first = (trigger.clone(), none, ExecutionId(Id::MIN), StepName::MIN);
            let keyed = self.keyed.range(first..).map(|(row, ())| row).take_while(|(of, ..)| of == trigger);
            found.extend(keyed.map(|(_, _, workflow, step)| (*workflow, step.clone())));
        }
        for paths in self.paths_of(trigger).filter(|_| form == Form::AsItCame) {
            let value = |path: &Vec<String>| match Reach::walk(Value::from(payload.root()), path, PAYLOAD_NAMES) {
                Reach::Found(value) => Literal::of(&value),
                Reach::Astray(_) => None,
            };
            let Some(values) = paths.iter().map(value).collect::<Option<Vec<Literal>>>() else { continue };
            let key = WaitKey { paths: paths.clone(), values: digest_of(values.iter()) };
            let first = (trigger.clone(), key.clone(), ExecutionId(Id::MIN), StepName::MIN);
            let keyed = self.keyed.range(first..).map(|(row, ())| row);
            let keyed = keyed.take_while(|(of, found, ..)| of == trigger && *found == key);
            found.extend(keyed.map(|(_, _, workflow, step)| (*workflow, step.clone())));
        }
        found.retain(|(workflow, step)| self.get(*workflow, step).is_some_and(|wait| wait.opened < at));
        found.sort_unstable();
        found
    }

    fn others_of<'w>(&'w self, trigger: &'w TriggerRef) -> impl Iterator<Item = (ExecutionId, StepName)> + 'w {
        let first = (trigger.clone(), ExecutionId(Id::MIN), StepName::MIN);
        let rows = self.others.range(first..).map(|(row, ())| row);
        rows.take_while(move |(of, ..)| of == trigger).map(|(_, workflow, step)| (*workflow, step.clone()))
    }

    fn paths_of<'w>(&'w self, trigger: &'w TriggerRef) -> impl Iterator<Item = &'w Vec<Vec<String>>> {
        let rows = self.paths.range((trigger.clone(), Vec::new())..).map(|(row, _)| row);
        rows.take_while(move |(of, _)| of == trigger).map(|(_, paths)| paths)
    }

    pub(crate) fn open(&mut self, workflow: ExecutionId, fact: &WaitOpened, at: Position) {
        let (trigger, step) = (fact.trigger.clone(), fact.step.clone());
        match &fact.key {
            Some(key) => {
                let path = (trigger.clone(), key.paths.clone());
                let count = self.paths.get(&path).copied().unwrap_or(0);
                self.paths.insert(path, count + 1);
                self.keyed.insert((trigger.clone(), key.clone(), workflow, step.clone()), ());
            }
            None => self.others.insert((trigger.clone(), workflow, step.clone()), ()),
        }
        let wait = Wait { opened: at, trigger, key: fact.key.clone(), matched: None, has_erred: false };
        self.open.insert((workflow, step), wait);
    }

    pub(crate) fn mark_matched(&mut self, workflow: ExecutionId, fact: &WaitMatched) {
        self.unlist(workflow, &fact.step);
        self.open.change(&(workflow, fact.step.clone()), |wait| wait.matched = Some((fact.event, fact.given.clone())));
    }

    pub(crate) fn mark_erred(&mut self, workflow: ExecutionId, step: &StepName) {
        self.open.change(&(workflow, step.clone()), |wait| wait.has_erred = true);
    }

    /// Closes the wait of a step that has ended or never starts.
    pub(crate) fn close(&mut self, workflow: ExecutionId, step: &StepName) {
        self.unlist(workflow, step);
        self.open.remove(&(workflow, step.clone()));
    }

    /// Closes all waits of a workflow that has ended.
    pub(crate) fn forget(&mut self, workflow: ExecutionId) {
        let open = self.open.range((workflow, StepName::MIN)..).map(|(row, _)| row).take_while(|(of, _)| *of == workflow);
        let steps: Vec<StepName> = open.map(|(_, step)| step.clone()).collect();
        steps.iter().for_each(|step| self.close(workflow, step));
    }

    /// Removes a wait from the index: it no longer looks for an event.
    fn unlist(&mut self, workflow: ExecutionId, step: &StepName) {
        let Some(wait) = self.get(workflow, step).filter(|wait| wait.matched.is_none()) else { return };
        let (trigger, key) = (wait.trigger.clone(), wait.key.clone());
        let Some(key) = key else { return self.others.remove(&(trigger, workflow, step.clone())) };
        let path = (trigger.clone(), key.paths.clone());
        match self.paths.get(&path).copied() {
            Some(count) if count > 1 => self.paths.insert(path, count - 1),
            Some(_) | None => self.paths.remove(&path),
        }
        self.keyed.remove(&(trigger, key, workflow, step.clone()));
    }

    pub(crate) fn commit(&mut self) {
        self.open.commit();
        self.keyed.commit();
        self.others.commit();
        self.paths.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.open.undo();
        self.keyed.undo();
        self.others.undo();
        self.paths.undo();
    }
}

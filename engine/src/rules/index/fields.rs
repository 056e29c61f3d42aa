//! The tests that the rules of one trigger require, each stored once, and which of them an event passes.
//!
//! `layer` organizes rules by these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_expression::{Check, Literal, Reach, Test, Value};

use crate::rules::judge::EventView;

/// A test, by the order in which it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TestId(usize);

/// How well a test distinguishes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// It passes for one kind of event: the field has this value, or starts with it.
    Picks,
    /// It passes for most events and fails for some: the field exists, or does not have this value.
    Guards,
    /// It passes if something is wrong: the field cannot be read.
    Errs,
}

/// All tests of a trigger's rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Tests {
    fields: BTreeMap<Arc<[String]>, FieldTests>,
    grades: Vec<Grade>,
}

/// The tests of one field.
#[derive(Clone, Debug, Default)]
struct FieldTests {
    is: BTreeMap<Literal, TestId>,
    starts: Affixes,
    ends: Affixes,
    /// The checks that must be tried one by one.
    others: BTreeMap<Check, TestId>,
}

/// Texts that another text may start with, or end with.
#[derive(Clone, Debug, Default)]
struct Affixes {
    by_text: BTreeMap<String, TestId>,
    /// The lengths that occur, in bytes.
    lengths: BTreeSet<usize>,
}

impl Tests {
    /// Returns the id of a test; `None` if an event does not contain what is tested.
    pub(super) fn id_of(&mut self, test: &Test) -> Option<TestId> {
        if !is_of_event(&test.path) {
            return None;
        }
        if !self.fields.contains_key(&test.path) {
            self.fields.insert(Arc::clone(&test.path), FieldTests::default());
        }
        let field = self.fields.get_mut(&test.path)?;
        let next = TestId(self.grades.len());
        let (id, grade) = match &test.check {
            Check::Is(literal) => (*field.is.entry(literal.clone()).or_insert(next), Grade::Picks),
            Check::StartsWith(start) => (field.starts.id_of(start, next), Grade::Picks),
            Check::EndsWith(end) => (field.ends.id_of(end, next), Grade::Picks),
            Check::IsNot(_) | Check::Present | Check::Absent => (*field.others.entry(test.check.clone()).or_insert(next), Grade::Guards),
            Check::Errs { .. } => (*field.others.entry(test.check.clone()).or_insert(next), Grade::Errs),
        };
        if id == next {
            self.grades.push(grade);
        }
        Some(id)
    }

    pub(super) fn grade(&self, TestId(at): TestId) -> Grade {
        self.grades[at]
    }

    /// Forgets the tests that no rule is filed under.
    pub(super) fn keep_only(&mut self, used: &BTreeSet<TestId>) {
        for field in self.fields.values_mut() {
            field.is.retain(|_, id| used.contains(id));
            field.starts.keep_only(used);
            field.ends.keep_only(used);
            field.others.retain(|_, id| used.contains(id));
        }
        self.fields.retain(|_, field| !field.is_empty());
    }

    /// Returns the tests that an event passes, ascending.
    pub(super) fn passed_by(&self, event: &EventView<'_>) -> Vec<TestId> {
        let mut passed = Vec::new();
        for (path, field) in &self.fields {
            field.note_passed(&reach(event, path), &mut passed);
        }
        passed.sort_unstable();
        passed
    }
}

/// Returns true if `reach` can follow the path.
fn is_of_event(path: &[String]) -> bool {
    matches!(path, [root, field, ..] if root == "event" && matches!(field.as_str(), "payload" | "source" | "trigger"))
}

fn reach<'a>(event: &EventView<'a>, path: &[String]) -> Reach<'a> {
    let from = match path.get(1).map(String::as_str) {
        Some("source") => Value::from(event.source),
        Some("trigger") => Value::from(event.trigger.as_str()),
        _ => Value::from(event.payload.root()),
    };
    Reach::walk(from, path, 2)
}

impl FieldTests {
    fn is_empty(&self) -> bool {
        self.is.is_empty() && self.starts.by_text.is_empty() && self.ends.by_text.is_empty() && self.others.is_empty()
    }

    fn note_passed(&self, reach: &Reach<'_>, passed: &mut Vec<TestId>) {
        if let Reach::Found(value) = reach {
            if !self.is.is_empty() {
                passed.extend(Literal::of(value).and_then(|literal| self.is.get(&literal)));
            }
            if let Value::String(text) = value {
                passed.extend(self.starts.lengths_up_to(text).filter_map(|len| self.starts.by_text.get(text.get(..len)?)));
                passed.extend(self.ends.lengths_up_to(text).filter_map(|len| self.ends.by_text.get(text.get(text.len() - len..)?)));
            }
        }
        passed.extend(self.others.iter().filter(|(check, _)| check.passes(reach)).map(|(_, id)| id));
    }
}

impl Affixes {
    fn id_of(&mut self, text: &str, next: TestId) -> TestId {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        self.lengths.insert(text.len());
        self.by_text.insert(text.to_owned(), next);
        next
    }

    fn keep_only(&mut self, used: &BTreeSet<TestId>) {
        self.by_text.retain(|_, id| used.contains(id));
        self.lengths = self.by_text.keys().map(String::len).collect();
    }

    fn lengths_up_to(&self, text: &str) -> impl Iterator<Item = usize> {
        self.lengths.range(..=text.len()).copied()
    }
}

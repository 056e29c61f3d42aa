//! The index over rules: by trigger, then by an equality test that every match must pass, so that ten thousand rules cost an
//! event about what ten do.
//!
//! It only leaves rules out that neither match nor err; what a candidate makes of the event is `judge.rs`'s. (One part of such a rule
//! is false. That it might have spent its budget on another part first is no reason to look at it.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_expression::{Access, Literal, Node, NodeKind, Path, Value};

use crate::catalog::Rule;
use crate::names::TriggerRef;
use crate::rules::judge::reads_local;

/// The rules of a catalog, ready to be looked up by an event.
#[derive(Clone, Debug, Default)]
pub struct RuleIndex {
    by_trigger: BTreeMap<TriggerRef, Bucket>,
}

/// The rules of one trigger.
#[derive(Clone, Debug, Default)]
struct Bucket {
    rules: Vec<Arc<Rule>>,
    /// The rules that demand no equality of the payload.
    open: Vec<usize>,
    /// The others: by the payload's field that they test, then by what it must be.
    tested: BTreeMap<Vec<String>, BTreeMap<Literal, Vec<usize>>>,
}

impl RuleIndex {
    /// Builds the index.
    pub fn over<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Self {
        let mut of_trigger: BTreeMap<TriggerRef, Vec<Arc<Rule>>> = BTreeMap::new();
        for rule in rules {
            // A trigger that is listed twice is still one: a rule judges an event once.
            for trigger in rule.triggers.iter().collect::<BTreeSet<_>>() {
                of_trigger.entry(trigger.clone()).or_default().push(rule.clone());
            }
        }
        Self { by_trigger: of_trigger.into_iter().map(|(trigger, rules)| (trigger, Bucket::of(rules))).collect() }
    }

    /// Gives the rules that an event of this trigger and payload may match, or may err on, in the order of their refs.
    pub fn candidates<'a>(&'a self, trigger: &TriggerRef, payload: Node<'_>) -> Vec<&'a Arc<Rule>> {
        let Some(bucket) = self.by_trigger.get(trigger) else { return Vec::new() };
        let mut found = bucket.open.clone();
        for (path, by_value) in &bucket.tested {
            let Some(node) = path.iter().try_fold(payload, |node, name| node.get(name)) else {
                // Reading a field that is not there is an error, and an error is a verdict of its own.
                found.extend(by_value.values().flatten());
                continue;
            };
            if let Some(value) = Literal::of(&Value::from(node)) {
                found.extend(by_value.get(&value).into_iter().flatten());
            }
            if node.kind() != NodeKind::Bool {
                // A condition that takes the field itself for true or false (`event.payload.draft`) errs on anything else.
                let truths = [true, false].into_iter().filter_map(|truth| by_value.get(&Literal::Bool(truth)));
                found.extend(truths.flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| bucket.rules.get(at)).collect()
    }

    /// Gives all rules of a trigger, in the order of their refs.
    pub fn of_trigger(&self, trigger: &TriggerRef) -> &[Arc<Rule>] {
        self.by_trigger.get(trigger).map_or(&[], |bucket| &bucket.rules)
    }
}

impl Bucket {
    /// Puts each rule under the test that the fewest rules share: what all rules of a trigger ask (`action == "opened"`) tells
    /// them apart no better than the trigger does.
    fn of(rules: Vec<Arc<Rule>>) -> Self {
        let tests: Vec<Vec<FieldTest>> = rules.iter().map(|rule| field_tests(rule)).collect();
        let mut shared: BTreeMap<(&[String], &Literal), usize> = BTreeMap::new();
        for test in tests.iter().flatten() {
            for value in &test.any_of {
                *shared.entry((&test.path, value)).or_default() += 1;
            }
        }
        let sharers =
            |test: &FieldTest| -> usize { test.any_of.iter().filter_map(|value| shared.get(&(test.path.as_slice(), value))).sum() };
        let mut open = Vec::new();
        let mut tested: BTreeMap<Vec<String>, BTreeMap<Literal, Vec<usize>>> = BTreeMap::new();
        for (at, tests) in tests.iter().enumerate() {
            match tests.iter().min_by_key(|test| sharers(test)) {
                None => open.push(at),
                Some(test) => {
                    let by_value = tested.entry(test.path.clone()).or_default();
                    for value in &test.any_of {
                        by_value.entry(value.clone()).or_default().push(at);
                    }
                }
            }
        }
        Self { rules, open, tested }
    }
}

/// A field below `event.payload` that must be one of some values for a rule to match.
struct FieldTest {
    path: Vec<String>,
    any_of: Vec<Literal>,
}

/// Gives the tests of a rule. One whose condition reads its local values has none: these are computed first, and may err
/// whatever the field is.
fn field_tests(rule: &Rule) -> Vec<FieldTest> {
    let Some(when) = &rule.when else { return Vec::new() };
    if reads_local(when) {
        return Vec::new();
    }
    // A test that nothing passes (`event.payload.n in []`) is no key to be found under, and the rule may still err.
    let tests = when.required().into_iter().filter(|test| !test.any_of.is_empty());
    tests.filter_map(|test| Some(FieldTest { path: payload_path(&test.path)?, any_of: test.any_of })).collect()
}

fn payload_path(path: &Path) -> Option<Vec<String>> {
    match path.segments.as_slice() {
        [root, payload, fields @ ..]
            if root == "event" && payload == "payload" && !fields.is_empty() && path.access == Access::Required =>
        {
            Some(fields.to_vec())
        }
        _ => None,
    }
}

//! The index over rules: by trigger, then by an equality test that every match must pass, so that ten thousand rules cost an
//! event about what ten do.
//!
//! It only leaves rules out that neither match nor err; what a candidate makes of the event is `judge.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_expression::{Access, Literal, Node, NodeKind, Path, Value};

use crate::catalog::Rule;
use crate::names::TriggerRef;

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
        let mut index = Self::default();
        for rule in rules {
            // A trigger that is listed twice is still one: a rule judges an event once.
            for trigger in rule.triggers.iter().collect::<BTreeSet<_>>() {
                index.by_trigger.entry(trigger.clone()).or_default().add(rule);
            }
        }
        index
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
    fn add(&mut self, rule: &Arc<Rule>) {
        let at = self.rules.len();
        self.rules.push(rule.clone());
        match tested_field(rule) {
            None => self.open.push(at),
            Some((path, values)) => {
                let by_value = self.tested.entry(path).or_default();
                for value in values {
                    by_value.entry(value).or_default().push(at);
                }
            }
        }
    }
}

/// Gives a field below `event.payload` that must be one of some values for the rule to match. A rule whose condition reads its
/// local values has none: these are computed first, and may err whatever the field is.
fn tested_field(rule: &Rule) -> Option<(Vec<String>, Vec<Literal>)> {
    let when = rule.when.as_ref()?;
    if when.reads().iter().any(|path| path.segments.first().is_some_and(|root| root == "local")) {
        return None;
    }
    when.required().into_iter().find_map(|test| Some((payload_path(&test.path)?, test.any_of)))
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

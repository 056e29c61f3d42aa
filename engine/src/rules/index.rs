//! The index over rules: by trigger, then by the properties that an event needs for a rule to match or to
//! err, so that ten thousand rules cost an event about as much as ten.
//!
//! It leaves out only rules that neither match nor err; `judge.rs` decides what a candidate makes of the
//! event. (A rule that is left out might have used up its budget before its condition came out false. That is
//! not a reason to examine it.)

mod fields;
mod layer;
mod need;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_expression::{Demand, KnownBindings, Scope, Value};

use self::fields::Tests;
use self::layer::{Layer, RuleAt};
use crate::catalog::Rule;
use crate::names::TriggerRef;
use crate::rules::judge::EventView;

/// The rules of a catalog, indexed for lookup by event.
#[derive(Clone, Debug, Default)]
pub struct RuleIndex {
    by_trigger: BTreeMap<TriggerRef, OfTrigger>,
}

/// The rules of one trigger, ordered by ref.
#[derive(Clone, Debug, Default)]
struct OfTrigger {
    rules: Vec<Arc<Rule>>,
    tests: Tests,
    top: Layer,
}

impl RuleIndex {
    /// Builds the index.
    pub fn over<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Self {
        let mut of_trigger: BTreeMap<TriggerRef, Vec<(Arc<Rule>, Demand)>> = BTreeMap::new();
        // The events of a rule's schedule belong to that rule alone.
        for rule in rules.filter(|rule| rule.schedule.is_none()) {
            let demand = demand_of(rule);
            // A trigger that is listed twice counts once: a rule judges an event once.
            for trigger in rule.triggers.iter().collect::<BTreeSet<_>>() {
                of_trigger.entry(trigger.clone()).or_default().push((rule.clone(), demand.clone()));
            }
        }
        Self { by_trigger: of_trigger.into_iter().map(|(trigger, rules)| (trigger, OfTrigger::new(rules))).collect() }
    }

    /// Returns the rules that an event may match, or may err on, ordered by ref.
    pub fn candidates<'a>(&'a self, event: &EventView<'_>) -> Vec<&'a Arc<Rule>> {
        self.by_trigger.get(event.trigger).map(|rules| rules.candidates(event)).unwrap_or_default()
    }

    /// Returns all rules of a trigger, ordered by ref.
    pub fn of_trigger(&self, trigger: &TriggerRef) -> &[Arc<Rule>] {
        self.by_trigger.get(trigger).map_or(&[], |of_trigger| &of_trigger.rules)
    }
}

impl OfTrigger {
    fn new(rules: Vec<(Arc<Rule>, Demand)>) -> Self {
        let (rules, demands): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
        let mut tests = Tests::default();
        let entries = demands.iter().enumerate().filter_map(|(at, demand)| Some((RuleAt(at), need::needs_of(demand, &mut tests)?)));
        let entries = entries.collect();
        let top = Layer::over(entries, &tests);
        tests.keep_only(&top.tests());
        Self { rules, tests, top }
    }

    fn candidates(&self, event: &EventView<'_>) -> Vec<&Arc<Rule>> {
        let mut found = Vec::new();
        self.top.look_up(&self.tests.passed_by(event), &mut found);
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|RuleAt(at)| self.rules.get(at)).collect()
    }
}

/// Returns the properties that an event needs for the rule to match or to err.
fn demand_of(rule: &Rule) -> Demand {
    let Some(when) = &rule.when else { return Demand::Anything };
    let mut constants = Scope::new().with("rule", Value::map([("ref", Value::from(rule.name.as_str()))]));
    // The configuration may be large, and most conditions do not read it.
    if when.reads_root("config") || rule.local.iter().any(|(_, value)| value.reads_root("config")) {
        constants.set("config", Value::from_json(&rule.config));
    }
    when.demand(&KnownBindings { constants, named: Some(("local", &rule.local)) })
}

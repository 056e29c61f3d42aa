//! Layers: rules filed under the tests that find them. If many rules are filed under one test, they are filed
//! under further tests below it.
//!
//! A layer knows tests by their ids only.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Grade, TestId, Tests};
use super::need::Need;

/// The maximum number of nested tests.
const LAYERS_MAX: usize = 4;
/// Up to this many rules are scanned instead of being distinguished further.
const SCANNED_MAX: usize = 4;
/// The maximum number of tests that a rule may be filed under in the top layer.
const KEYS_MAX: usize = 1_024;
/// The maximum number of tests below one of the top layer.
const KEYS_BELOW_MAX: usize = 64;

/// A rule, by its index among those of its trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleAt(pub(super) usize);

/// Rules, and how to find them.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// The rules that must be examined in any case.
    rules: Vec<RuleAt>,
    /// The rules that require a test to pass.
    below: BTreeMap<TestId, Layer>,
}

/// A rule that has yet to be filed.
struct Entry {
    rule: RuleAt,
    /// Its needs, apart from the tests that it is already filed under.
    needs: Vec<Need>,
    /// The number of further tests that it may be filed under.
    keys_max: usize,
}

impl Layer {
    /// Files each rule under the tests of whichever of its needs the fewest rules share: a test that all
    /// rules of a trigger require (`action == "opened"`) distinguishes them no better than the trigger does.
    pub(super) fn over(rules: Vec<(RuleAt, Vec<Need>)>, tests: &Tests) -> Self {
        let entries = rules.into_iter().map(|(rule, needs)| Entry { rule, needs, keys_max: KEYS_MAX }).collect();
        Self::split(entries, tests, 0)
    }

    /// Collects the rules whose needs may be met by the passed tests, which are ascending.
    pub(super) fn look_up(&self, passed: &[TestId], found: &mut Vec<RuleAt>) {
        found.extend(&self.rules);
        if self.below.len() <= passed.len() {
            let layers = self.below.iter().filter(|(test, _)| passed.binary_search(test).is_ok());
            layers.for_each(|(_, layer)| layer.look_up(passed, found));
        } else {
            passed.iter().filter_map(|test| self.below.get(test)).for_each(|layer| layer.look_up(passed, found));
        }
    }

    /// Returns the tests that something is filed under.
    pub(super) fn tests(&self) -> BTreeSet<TestId> {
        let below = self.below.values().flat_map(Self::tests);
        self.below.keys().copied().chain(below).collect()
    }

    fn split(entries: Vec<Entry>, tests: &Tests, layers_above: usize) -> Self {
        let is_small = layers_above > 0 && entries.len() <= SCANNED_MAX;
        if is_small || layers_above == LAYERS_MAX {
            return Self { rules: entries.into_iter().map(|entry| entry.rule).collect(), below: BTreeMap::new() };
        }
        let choice = Choice::among(&entries, tests);
        let mut rules = Vec::new();
        let mut hung: BTreeMap<TestId, Vec<Entry>> = BTreeMap::new();
        for mut entry in entries {
            match choice.best(&entry.needs, entry.keys_max) {
                None => rules.push(entry.rule),
                Some(at) => {
                    let need = entry.needs.remove(at);
                    choice.hang(&need, entry, &mut hung);
                }
            }
        }
        let below = hung.into_iter().map(|(test, entries)| (test, Self::split(entries, tests, layers_above + 1))).collect();
        Self { rules, below }
    }
}

/// The counts over a layer's rules from which a need is chosen.
struct Choice<'t> {
    tests: &'t Tests,
    sharers: BTreeMap<TestId, usize>,
    rules: usize,
}

impl<'t> Choice<'t> {
    fn among(entries: &[Entry], tests: &'t Tests) -> Self {
        let mut choice = Self { tests, sharers: BTreeMap::new(), rules: entries.len() };
        for entry in entries {
            choice.count(&entry.needs, entry.keys_max);
        }
        choice
    }

    fn count(&mut self, needs: &[Need], keys_max: usize) {
        for need in needs.iter().filter(|need| need.keys(self.tests) <= keys_max) {
            match need {
                Need::Test(test) => *self.sharers.entry(*test).or_default() += 1,
                Need::Any(any) => any.branches.iter().for_each(|needs| self.count(needs, keys_max)),
            }
        }
    }

    /// Returns the index of the need by which to find a rule.
    fn best(&self, needs: &[Need], keys_max: usize) -> Option<usize> {
        let usable = needs.iter().enumerate().filter(|(_, need)| need.keys(self.tests) <= keys_max);
        usable.filter_map(|(at, need)| Some((self.cost(need)?, at))).min().map(|(_, at)| at)
    }

    /// Returns roughly how many rules are examined if a rule is found by this need.
    fn cost(&self, need: &Need) -> Option<usize> {
        match need {
            Need::Test(test) => {
                let sharers = self.sharers.get(test).copied().unwrap_or(0);
                match self.tests.grade(*test) {
                    Grade::Picks => Some(sharers),
                    // Most events pass it, so it must save many rules at once to be worth testing.
                    Grade::Guards => (sharers > SCANNED_MAX).then_some(self.rules + 1),
                    Grade::Errs => Some(0),
                }
            }
            Need::Any(any) => {
                let branches = any.branches.iter().map(|needs| needs.iter().filter_map(|need| self.cost(need)).min());
                branches.sum::<Option<usize>>()
            }
        }
    }

    /// Files the rule under every test that can meet the need.
    fn hang(&self, need: &Need, entry: Entry, hung: &mut BTreeMap<TestId, Vec<Entry>>) {
        let keys_left = entry.keys_max.min(KEYS_BELOW_MAX);
        let keys_each = keys_left / need.keys(self.tests).max(1);
        let mut to_hang = vec![(need.clone(), entry.needs)];
        while let Some((need, needs)) = to_hang.pop() {
            match need {
                Need::Test(test) => {
                    // Every rule is filed under the errors of the fields that it reads, so the rules must be
                    // distinguished there as well as here.
                    let keys_max = if self.tests.grade(test) == Grade::Errs { keys_left } else { keys_each };
                    hung.entry(test).or_default().push(Entry { rule: entry.rule, needs, keys_max });
                }
                Need::Any(any) => {
                    for branch in &any.branches {
                        let cheapest = branch.iter().enumerate().filter_map(|(at, need)| Some((self.cost(need)?, at))).min();
                        // The need was chosen because each of its branches has a cost.
                        let Some((_, chosen)) = cheapest else { continue };
                        let others = branch.iter().enumerate().filter(|(at, _)| *at != chosen).map(|(_, need)| need);
                        to_hang.push((branch[chosen].clone(), others.chain(&needs).cloned().collect()));
                    }
                }
            }
        }
    }
}

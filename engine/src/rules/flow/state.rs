//! The state of flow control: the keys that it knows, and the enforcements that it holds.
//!
//! Times are kept as elapsed time, which clock steps do not change, as [`Timers`] keep waits.

use std::collections::BTreeMap;

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::catalog::Control;
use crate::events::internal::InternalTriggers;
use crate::executions::facts::GivenEvent;
use crate::fact::FlowFact;
use crate::ids::{EnforcementId, EventId, Id, RuleId};
use crate::names::RuleRef;
use crate::record::{CatalogRevision, Cause, Digest, Position, Record, Revision, StreamId};
use crate::rules::facts::{EnforcementMade, Outcome};
use crate::rules::flow::facts::{ControlledMatch, SupersededBecause};
use crate::table::{Table, undone_together};
use crate::timers::state::Timers;

/// How many expired keys are forgotten with each one that is added: more than are added.
const FORGOTTEN_AT_ONCE: usize = 2;

/// The keys and enforcements that the flow control of rules knows and holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    rules: Table<RuleId, FlowOfRule>,
    /// The keys that `dedupe` and `throttle` know.
    keys: Table<(RuleId, Control, Digest), KnownKey>,
    /// The same by age: the least recently used is the first.
    ages: Table<(RuleId, Control, Position), Digest>,
    held: Table<EnforcementId, HeldEnforcement>,
    /// The held enforcements, by key and in order.
    of_key: Table<(RuleId, Control, Digest, Position), EnforcementId>,
    /// The same for a whole rule.
    of_rule: Table<(RuleId, Control, Position), EnforcementId>,
}

undone_together!(pub(crate) Flows { rules, keys, ages, held, of_key, of_rule });

/// The flow control of a rule for which state is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowOfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The digest that identifies its flow control.
    pub flow: Digest,
    /// How many keys are known.
    pub keys: BTreeMap<Control, u32>,
    /// How many enforcements are held.
    pub held: BTreeMap<Control, u32>,
}

/// A key that `dedupe` or `throttle` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKey {
    /// The elapsed time at which it expires, in microseconds.
    pub until: i64,
    /// The record that last used it.
    pub used: Position,
    /// The enforcement of that record.
    pub by: EnforcementId,
}

/// An enforcement that is held.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldEnforcement {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The catalog that it judged by.
    pub catalog: CatalogRevision,
    /// The flow control that holds it.
    pub control: Control,
    /// The elapsed time at which it is released, in microseconds.
    pub until: i64,
    /// The record since which this flow control holds it.
    pub since: Position,
    /// When this flow control began to hold the first match of its row, as elapsed time in microseconds. A row
    /// is a match and those of its key that came before the newest of them was due.
    pub began: i64,
    /// How many flow controls have held it.
    pub holds: u32,
    /// The keys of its match, for each flow control from the one that holds it on.
    pub keys: BTreeMap<Control, Digest>,
    /// The value by which a window tells it from other matches of its key.
    pub distinct: Option<Digest>,
    /// The event.
    pub event: HeldEvent,
    /// The other events of its window, the oldest first, if the window has filled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gathered: Vec<HeldEvent>,
    /// How many records its stream has.
    pub revision: Revision,
    /// The first record of its chain.
    pub root: Id,
    /// How many events are above it in the chain.
    pub depth: u32,
    /// The W3C trace of the chain.
    pub trace: Option<String>,
}

/// An event for which an enforcement is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldEvent {
    /// Its id.
    pub id: EventId,
    /// What expressions see of it.
    pub given: GivenEvent,
    /// The engine's own triggers that have an event above its consequences.
    #[serde(default, skip_serializing_if = "InternalTriggers::is_empty")]
    pub internal_above: InternalTriggers,
}

impl HeldEnforcement {
    /// Returns the cause of a record that `parent` led to in this enforcement's chain.
    pub(crate) fn cause(&self, parent: Id) -> Cause {
        Cause { parent: Some(parent), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }

    fn key(&self) -> Option<Digest> {
        self.keys.get(&self.control).copied()
    }
}

impl FlowFact<'_> {
    /// Returns true if the fact ends the current hold of an enforcement.
    pub(crate) fn ends_a_hold(self) -> bool {
        match self {
            Self::EnforcementHeldOn(_) | Self::EnforcementReleased(_) | Self::EnforcementSuperseded(_) => true,
            Self::RuleKeyForgotten(_) | Self::RuleFlowEnded(_) => false,
        }
    }
}

impl FlowOfRule {
    fn count(counts: &mut BTreeMap<Control, u32>, control: Control, change: impl FnOnce(u32) -> u32) {
        let count = change(counts.get(&control).copied().unwrap_or(0));
        if count == 0 {
            counts.remove(&control)
        } else {
            counts.insert(control, count)
        };
    }
}

impl Flows {
    /// Returns a held enforcement.
    pub fn get(&self, id: EnforcementId) -> Option<&HeldEnforcement> {
        self.held.get(&id)
    }

    /// Returns how many enforcements are held.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Returns the rules for which state is kept.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &FlowOfRule)> {
        self.rules.iter().map(|(id, rule)| (*id, rule))
    }

    /// Returns the state kept for a rule.
    pub fn of(&self, rule: RuleId) -> Option<&FlowOfRule> {
        self.rules.get(&rule)
    }

    /// Returns a key that `dedupe` or `throttle` knows.
    pub fn key(&self, rule: RuleId, control: Control, key: Digest) -> Option<KnownKey> {
        self.keys.get(&(rule, control, key)).copied()
    }

    /// Returns the least recently used key.
    pub(crate) fn oldest_key(&self, rule: RuleId, control: Control) -> Option<(Digest, KnownKey)> {
        let ((_, _, _), key) = self.ages.range(places(rule, control)).next()?;
        self.key(rule, control, *key).map(|known| (*key, known))
    }

    /// Returns the enforcements held under a key, the oldest first.
    pub fn held_under(
        &self,
        rule: RuleId,
        control: Control,
        key: Digest,
    ) -> impl DoubleEndedIterator<Item = (EnforcementId, &HeldEnforcement)> {
        let first = (rule, control, key, Position(0));
        let of_key = self.of_key.range(first..=(rule, control, key, Position(u64::MAX)));
        of_key.filter_map(|(_, id)| self.get(*id).map(|held| (*id, held)))
    }

    /// Returns the row of a key whose newest match is not due yet, the oldest first; empty if there is none.
    pub(crate) fn open_row(&self, (rule, control, key): (RuleId, Control, Digest), elapsed: i64) -> Vec<(EnforcementId, &HeldEnforcement)> {
        let newest = self.held_under(rule, control, key).next_back().filter(|(_, newest)| newest.until > elapsed);
        newest.map_or_else(Vec::new, |(_, newest)| self.row_of(newest))
    }

    /// Returns the row of a held enforcement, the oldest first.
    pub(crate) fn row_of(&self, held: &HeldEnforcement) -> Vec<(EnforcementId, &HeldEnforcement)> {
        let Some(key) = held.key() else { return Vec::new() };
        let under = self.held_under(held.rule_id, held.control, key);
        under.filter(|(_, other)| other.began == held.began).collect()
    }

    /// Returns the enforcements that a flow control of a rule holds, the oldest first.
    pub fn held_by(&self, rule: RuleId, control: Control) -> impl Iterator<Item = (EnforcementId, &HeldEnforcement)> {
        self.of_rule.range(places(rule, control)).filter_map(|(_, id)| self.get(*id).map(|held| (*id, held)))
    }

    /// Returns the enforcements held for a rule.
    pub fn held_for(&self, rule: RuleId) -> impl Iterator<Item = (EnforcementId, &HeldEnforcement)> {
        Control::ALL.into_iter().flat_map(move |control| self.held_by(rule, control))
    }

    /// Returns the revision of an enforcement's next record.
    pub(crate) fn next_revision(&self, id: EnforcementId) -> Revision {
        self.get(id).map_or(Revision(1), |held| held.revision.next())
    }

    /// Notes another record of a held enforcement.
    pub(crate) fn note(&mut self, id: EnforcementId, revision: Revision) {
        self.held.change(&id, |held| held.revision = revision);
    }

    /// Applies a new enforcement.
    pub(crate) fn apply_made(&mut self, record: &Record, fact: &EnforcementMade, timers: &Timers) {
        let (Some(controlled), StreamId::Enforcement(id)) = (&fact.flow, &record.stream) else { return };
        let rule = fact.rule_id;
        if self.of(rule).is_none_or(|of| of.flow != controlled.flow) {
            let of = FlowOfRule { rule: fact.rule.clone(), flow: controlled.flow, keys: BTreeMap::new(), held: BTreeMap::new() };
            self.rules.insert(rule, of);
        }
        for (control, key) in &controlled.keys {
            if let Some(until) = key.until {
                let known = KnownKey { until: timers.elapsed(until), used: record.position, by: *id };
                self.know(rule, *control, key.key, known, timers.elapsed(record.time));
            }
        }
        let (Outcome::Held { by, until }, Some(given)) = (&fact.outcome, &controlled.given) else { return };
        let held = HeldEnforcement::of(record, fact, controlled, (*by, timers.elapsed(*until)), given);
        self.hold(*id, held, timers.elapsed(record.time));
    }

    /// Applies what happened to a held enforcement or to kept state.
    pub(crate) fn apply(&mut self, record: &Record, fact: FlowFact<'_>, timers: &Timers) {
        match (fact, &record.stream) {
            (FlowFact::EnforcementHeldOn(fact), StreamId::Enforcement(id)) => {
                let Some(held) = self.let_go(*id) else { return };
                let (control, until, since) = (fact.by, timers.elapsed(fact.until), record.position);
                let holds = held.holds.saturating_add(1);
                let held = HeldEnforcement { control, until, since, holds, revision: record.revision, ..held };
                self.hold(*id, held, timers.elapsed(record.time));
            }
            (FlowFact::EnforcementReleased(_), StreamId::Enforcement(id)) => drop(self.let_go(*id)),
            (FlowFact::EnforcementSuperseded(fact), StreamId::Enforcement(id)) => {
                let Some(held) = self.let_go(*id) else { return };
                if let (SupersededBecause::WindowFilled, Some(by)) = (fact.why, fact.by) {
                    self.held.change(&by, |by| by.gathered.push(held.event));
                }
            }
            (FlowFact::RuleKeyForgotten(fact), _) => self.forget(fact.rule_id, fact.control, fact.key),
            (FlowFact::RuleFlowEnded(fact), _) => self.end(fact.rule_id),
            // Facts about an enforcement are on its own stream.
            (FlowFact::EnforcementHeldOn(_) | FlowFact::EnforcementReleased(_) | FlowFact::EnforcementSuperseded(_), _) => {}
        }
    }

    fn know(&mut self, rule: RuleId, control: Control, key: Digest, known: KnownKey, now: i64) {
        match self.key(rule, control, key) {
            Some(before) => self.ages.remove(&(rule, control, before.used)),
            None => self.rules.change(&rule, |of| FlowOfRule::count(&mut of.keys, control, |count| count.saturating_add(1))),
        }
        self.keys.insert((rule, control, key), known);
        self.ages.insert((rule, control, known.used), key);
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.oldest_key(rule, control) {
                Some((oldest, known)) if known.until <= now => self.forget(rule, control, oldest),
                Some(_) | None => break,
            }
        }
    }

    fn forget(&mut self, rule: RuleId, control: Control, key: Digest) {
        let Some(known) = self.key(rule, control, key) else { return };
        self.keys.remove(&(rule, control, key));
        self.ages.remove(&(rule, control, known.used));
        self.rules.change(&rule, |of| FlowOfRule::count(&mut of.keys, control, |count| count.saturating_sub(1)));
    }

    fn hold(&mut self, id: EnforcementId, held: HeldEnforcement, elapsed: i64) {
        let Some(key) = held.key() else { return };
        let row = self.held_under(held.rule_id, held.control, key).next_back().filter(|(_, newest)| newest.until > elapsed);
        let began = row.map_or(elapsed, |(_, newest)| newest.began);
        let held = HeldEnforcement { began, ..held };
        let (rule, control, since) = (held.rule_id, held.control, held.since);
        self.of_key.insert((rule, control, key, since), id);
        self.of_rule.insert((rule, control, since), id);
        self.rules.change(&rule, |of| FlowOfRule::count(&mut of.held, control, |count| count.saturating_add(1)));
        self.held.insert(id, held);
    }

    fn let_go(&mut self, id: EnforcementId) -> Option<HeldEnforcement> {
        let held = self.get(id)?.clone();
        let (rule, control, since) = (held.rule_id, held.control, held.since);
        if let Some(key) = held.key() {
            self.of_key.remove(&(rule, control, key, since));
        }
        self.of_rule.remove(&(rule, control, since));
        self.rules.change(&rule, |of| FlowOfRule::count(&mut of.held, control, |count| count.saturating_sub(1)));
        self.held.remove(&id);
        Some(held)
    }

    /// Forgets all state kept for a rule; what it held was reported before.
    fn end(&mut self, rule: RuleId) {
        for control in Control::ALL {
            let known: Vec<Digest> = self.ages.range(places(rule, control)).map(|(_, key)| *key).collect();
            known.into_iter().for_each(|key| self.forget(rule, control, key));
        }
        let held: Vec<EnforcementId> = self.held_for(rule).map(|(id, _)| id).collect();
        held.into_iter().for_each(|id| drop(self.let_go(id)));
        self.rules.remove(&rule);
    }
}

impl HeldEnforcement {
    fn of(
        record: &Record,
        fact: &EnforcementMade,
        controlled: &ControlledMatch,
        (control, until): (Control, i64),
        given: &GivenEvent,
    ) -> Self {
        let keys = controlled.keys.iter().filter(|(later, _)| **later >= control).map(|(later, key)| (*later, key.key));
        Self {
            rule: fact.rule.clone(),
            rule_id: fact.rule_id,
            catalog: fact.catalog,
            control,
            until,
            since: record.position,
            began: until,
            holds: 1,
            keys: keys.collect(),
            distinct: controlled.distinct,
            event: HeldEvent { id: fact.event, given: given.clone(), internal_above: controlled.internal_above.clone() },
            gathered: Vec::new(),
            revision: record.revision,
            root: record.cause.root,
            depth: record.cause.depth,
            trace: record.cause.trace.clone(),
        }
    }
}

/// Returns the range of rows of one flow control of a rule, by position.
fn places(rule: RuleId, control: Control) -> std::ops::RangeInclusive<(RuleId, Control, Position)> {
    (rule, control, Position(0))..=(rule, control, Position(u64::MAX))
}

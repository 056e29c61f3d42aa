//! The state of rules: the modes that override those of their packs, and their known errors.

use serde::{Deserialize, Serialize};

use crate::catalog::{Mode, Rule};
use crate::fact::{EventFact, RuleFact};
use crate::health::state::Health;
use crate::ids::{EventId, Id, RuleId};
use crate::names::RuleRef;
use crate::record::{Cause, Digest, Position, Record};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;

/// The maximum number of known errors; the oldest is forgotten, and counts as new when it occurs again.
pub const ERROR_WAYS_MAX: usize = 10_000;
/// The maximum number of changes of a rule's mode that are kept, in addition to those that apply to events
/// still being worked on.
pub const MODE_CHANGES_MAX: usize = 16;
/// How long the repeats of a known error are collected before a record counts them, in milliseconds.
pub const ERROR_SUMMARY_MILLIS: u64 = 60_000;

/// The state of rules, apart from their definitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The modes that override those of the packs, with the position from which each applies: an earlier
    /// event is still judged by the mode before.
    modes: Table<(RuleId, Position), Mode>,
    ways: Table<Position, ErrorWay>,
    way_of: Table<(RuleId, Digest), Position>,
    /// The errors with repeats that no record has counted yet, by when that record is due.
    uncounted: Table<(Timestamp, Position), ()>,
}

undone_together!(pub(crate) Rules { modes, ways, way_of, uncounted });

/// A known error of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorWay {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The hash of the message.
    pub error: Digest,
    /// How often it occurred since its last record.
    pub uncounted: u64,
    /// The time of that record.
    pub recorded_at: Timestamp,
    /// The newest event with this error.
    pub newest: EventId,
    /// The first record of that event's chain.
    pub root: Id,
    /// How many events are above it.
    pub depth: u32,
    /// The trace of that chain, if it has one.
    pub trace: Option<String>,
}

impl ErrorWay {
    /// Returns when its uncounted repeats are due to be counted.
    pub fn due(&self) -> Timestamp {
        self.recorded_at.plus_millis(ERROR_SUMMARY_MILLIS)
    }

    /// Returns the cause of the newest event's consequences.
    pub(crate) fn cause(&self) -> Cause {
        Cause { parent: Some(self.newest.0), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }
}

impl Rules {
    /// Returns the mode that applies to a rule's match on the event at a position.
    pub fn mode_at(&self, rule: &Rule, event: Position) -> Mode {
        self.set_before(rule.id, event).unwrap_or(rule.mode)
    }

    /// Returns the mode that applies to a rule's matches from now on.
    pub fn mode(&self, rule: &Rule) -> Mode {
        self.mode_at(rule, Position(u64::MAX))
    }

    /// Returns the known error of a rule with a message, with the position of its first record.
    pub fn way(&self, rule: RuleId, error: Digest) -> Option<(Position, &ErrorWay)> {
        let at = self.way_of.get(&(rule, error))?;
        self.ways.get(at).map(|way| (*at, way))
    }

    /// Returns when repeats are next due to be counted; `None` if all are counted.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.uncounted.first().map(|((due, _), ())| *due)
    }

    /// Returns the errors with repeats that are due to be counted, the earliest due first, at most `most`.
    pub(crate) fn due(&self, now: Timestamp, most: usize) -> impl Iterator<Item = (Position, &ErrorWay)> {
        let due = self.uncounted.iter().take(most).take_while(move |((due, _), ())| *due <= now);
        due.filter_map(|((_, at), ())| self.ways.get(at).map(|way| (*at, way)))
    }

    /// Returns the mode that was last set before a position, overriding the rule's own; `None` if none was.
    fn set_before(&self, rule: RuleId, position: Position) -> Option<Mode> {
        self.modes.range((rule, Position(0))..(rule, position)).next_back().map(|(_, mode)| *mode)
    }

    pub(crate) fn apply_event(&mut self, record: &Record, fact: EventFact<'_>) {
        match fact {
            EventFact::EventReceived(fact) => {
                for at in &fact.again {
                    self.change_way(*at, |way| {
                        way.uncounted += 1;
                        way.newest = EventId(record.id);
                        (way.root, way.depth, way.trace) = (record.cause.root, record.cause.depth, record.cause.trace.clone());
                    });
                }
            }
            EventFact::DeliveryRefused(_) => {}
        }
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: RuleFact<'_>, health: &Health) {
        match fact {
            RuleFact::RuleModeSet(fact) => self.set_mode(fact.rule_id, fact.mode, record.position, health),
            RuleFact::LoopStopped(fact) => self.set_mode(fact.rule_id, Mode::Disabled, record.position, health),
            RuleFact::RuleErred(fact) => {
                while self.ways.len() >= ERROR_WAYS_MAX {
                    self.forget_oldest();
                }
                let way = ErrorWay {
                    rule: fact.rule.clone(),
                    rule_id: fact.rule_id,
                    error: fact.error,
                    uncounted: 0,
                    recorded_at: record.time,
                    newest: fact.event,
                    root: record.cause.root,
                    depth: record.cause.depth,
                    trace: record.cause.trace.clone(),
                };
                self.ways.insert(record.position, way);
                self.way_of.insert((fact.rule_id, fact.error), record.position);
            }
            RuleFact::RuleErrorsCounted(fact) => self.change_way(fact.error, |way| {
                way.uncounted = 0;
                way.recorded_at = record.time;
            }),
            RuleFact::EnforcementMade(_) => {}
        }
    }

    fn set_mode(&mut self, rule: RuleId, mode: Mode, since: Position, health: &Health) {
        if self.set_before(rule, since) == Some(mode) {
            return;
        }
        self.modes.insert((rule, since), mode);
        let kept: Vec<Position> = self.modes.range((rule, Position(0))..=(rule, since)).map(|((_, at), _)| *at).collect();
        let surplus = kept.len().saturating_sub(MODE_CHANGES_MAX);
        let unneeded = kept.iter().zip(kept.iter().skip(1)).filter(|(from, until)| !health.owes_between(**from, **until));
        for (at, _) in unneeded.take(surplus) {
            self.modes.remove(&(rule, *at));
        }
    }

    /// Changes a known error and updates the list of those with repeats to count.
    fn change_way(&mut self, at: Position, change: impl FnOnce(&mut ErrorWay)) {
        let Some(mut way) = self.ways.get(&at).cloned() else { return };
        self.uncounted.remove(&(way.due(), at));
        change(&mut way);
        if way.uncounted > 0 {
            self.uncounted.insert((way.due(), at), ());
        }
        self.ways.insert(at, way);
    }

    fn forget_oldest(&mut self) {
        let Some((at, way)) = self.ways.first() else { return };
        let (at, due, key) = (*at, way.due(), (way.rule_id, way.error));
        self.uncounted.remove(&(due, at));
        self.ways.remove(&at);
        self.way_of.remove(&key);
    }
}

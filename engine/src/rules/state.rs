//! What rules are made into: the modes that were set over their packs', and the ways in which they err.

use serde::{Deserialize, Serialize};

use crate::catalog::{Mode, Rule};
use crate::fact::{EventFact, RuleFact};
use crate::health::state::Health;
use crate::ids::{EventId, Id, RuleId};
use crate::names::RuleRef;
use crate::record::{Cause, Digest, Position, Record};
use crate::table::Table;
use crate::time::Timestamp;

/// The most ways of erring that are told apart; the oldest goes, and is news again when it comes back.
pub const ERROR_WAYS_MAX: usize = 10_000;
/// The most changes of a rule's mode that are kept, beside those by which events are judged that are still worked on.
pub const MODE_CHANGES_MAX: usize = 16;
/// How long the errors of a known way are gathered before a record counts them, in milliseconds.
pub const ERROR_SUMMARY_MILLIS: u64 = 60_000;

/// What is known of rules beside their definitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The modes that were set over the packs', from which position on: an event that came earlier is still judged by the one before.
    modes: Table<(RuleId, Position), Mode>,
    ways: Table<Position, ErrorWay>,
    way_of: Table<(RuleId, Digest), Position>,
    /// The ways with errors that no record has counted yet, by when one is due.
    uncounted: Table<(Timestamp, Position), ()>,
}

/// A way in which a rule errs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorWay {
    /// The rule.
    pub rule: RuleRef,
    /// Its id.
    pub rule_id: RuleId,
    /// The hash of the message.
    pub error: Digest,
    /// How often it erred so since the last record of it.
    pub uncounted: u64,
    /// When that was.
    pub recorded_at: Timestamp,
    /// The newest event it erred on.
    pub newest: EventId,
    /// The first record of that event's chain.
    pub root: Id,
    /// How many events stand above it.
    pub depth: u32,
    /// The trace of that chain, where it has one.
    pub trace: Option<String>,
}

impl ErrorWay {
    /// Returns when the errors that are not counted yet are due to be.
    pub fn due(&self) -> Timestamp {
        self.recorded_at.plus_millis(ERROR_SUMMARY_MILLIS)
    }

    /// Returns the cause of what follows from the newest event.
    pub(crate) fn cause(&self) -> Cause {
        Cause { parent: Some(self.newest.0), root: self.root, depth: self.depth, trace: self.trace.clone() }
    }
}

impl Rules {
    /// Gives what becomes of a rule's match on the event at a position.
    pub fn mode_at(&self, rule: &Rule, event: Position) -> Mode {
        self.set_before(rule.id, event).unwrap_or(rule.mode)
    }

    /// Gives what becomes of a rule's matches from now on.
    pub fn mode(&self, rule: &Rule) -> Mode {
        self.mode_at(rule, Position(u64::MAX))
    }

    /// Gives the known way in which a rule errs with a message, by the position of its first record.
    pub fn way(&self, rule: RuleId, error: Digest) -> Option<(Position, &ErrorWay)> {
        let at = self.way_of.get(&(rule, error))?;
        self.ways.get(at).map(|way| (*at, way))
    }

    /// Returns when errors are next due to be counted; none where all are counted.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.uncounted.first().map(|((due, _), ())| *due)
    }

    /// Returns the ways with errors that are due to be counted, the one due first in front: at most `most`.
    pub(crate) fn due(&self, now: Timestamp, most: usize) -> impl Iterator<Item = (Position, &ErrorWay)> {
        let due = self.uncounted.iter().take(most).take_while(move |((due, _), ())| *due <= now);
        due.filter_map(|((_, at), ())| self.ways.get(at).map(|way| (*at, way)))
    }

    /// Gives the mode that was last set over a rule's own before a position; none where none was.
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

    /// Changes a way and keeps the list of those to be counted.
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

    pub(crate) fn commit(&mut self) {
        self.modes.commit();
        self.ways.commit();
        self.way_of.commit();
        self.uncounted.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.modes.undo();
        self.ways.undo();
        self.way_of.undo();
        self.uncounted.undo();
    }
}

//! What the flow controls of a rule make of a match, one after the other: a pure function of the kept state and the time.
//!
//! A held enforcement that is due is left to its timer: a match that comes in between treats it as gone, so
//! the order in which the two are worked on makes no difference.

use std::collections::BTreeMap;

use crate::catalog::{Control, Does, Excess, Stage};
use crate::ids::{EnforcementId, RuleId};
use crate::record::Digest;
use crate::rules::flow::facts::SupersededBecause;
use crate::rules::flow::keys::only_key;
use crate::rules::flow::state::{Flows, HeldEvent};
use crate::time::Timestamp;
use crate::timers::state::Timers;

/// A match on its way through the flow controls of its rule.
pub(super) struct Walk<'a> {
    pub(super) flows: &'a Flows,
    pub(super) timers: &'a Timers,
    pub(super) rule: RuleId,
    pub(super) keys: &'a BTreeMap<Control, Digest>,
    pub(super) now: Timestamp,
    /// The maximum number of keys that a flow control of a rule may know, and of matches that it may hold.
    pub(super) most: usize,
}

/// Where a match ends up, and what it leaves behind.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) place: Place,
    /// What the flow controls that it passed remember about it, with the expiry.
    pub(super) known: BTreeMap<Control, Timestamp>,
    /// The enforcements that are no longer held because of it.
    pub(super) superseded: Vec<(EnforcementId, SupersededBecause)>,
    /// The keys that are forgotten because of it.
    pub(super) forgotten: Vec<(Control, Digest)>,
    /// The other events of the window that it fills, the oldest first.
    pub(super) gathered: Vec<HeldEvent>,
}

/// Where a match ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It passed: it is acted on.
    Through,
    /// It is held.
    Held {
        /// The flow control that holds it.
        by: Control,
        /// Until when, if nothing else happens first.
        until: Timestamp,
    },
    /// It repeats this enforcement.
    Deduplicated(EnforcementId),
    /// It exceeds the limit of a throttle.
    Throttled,
}

impl Walk<'_> {
    /// Applies flow controls in their order, as far as the match gets.
    pub(super) fn through(&self, stages: &[Stage]) -> Walked {
        let mut walked =
            Walked { place: Place::Through, known: BTreeMap::new(), superseded: Vec::new(), forgotten: Vec::new(), gathered: Vec::new() };
        for stage in stages {
            let control = stage.does.control();
            let key = self.keys.get(&control).copied().unwrap_or_else(only_key);
            walked.place = match stage.does {
                Does::Dedupe { within_millis } => self.dedupe(key, within_millis, &mut walked),
                Does::Throttle { limit, per_millis, excess } => self.throttle(key, (limit, per_millis), excess, &mut walked),
                Does::Debounce { quiet_millis } => self.last(control, key, quiet_millis, &mut walked),
                Does::Missing { for_millis } => self.last(control, key, for_millis, &mut walked),
                Does::Window { count, within_millis } => self.window(key, count, within_millis, &mut walked),
                // This is decided when its execution is requested.
                Does::Concurrency { .. } => Place::Through,
            };
            if walked.place != Place::Through {
                break;
            }
        }
        if walked.place == Place::Throttled {
            // It is dropped, so its repeats must not be dropped because of it.
            walked.known.clear();
            walked.forgotten.clear();
        }
        walked
    }

    fn dedupe(&self, key: Digest, within_millis: u64, walked: &mut Walked) -> Place {
        match self.flows.key(self.rule, Control::Dedupe, key) {
            Some(known) if known.until > self.elapsed() => Place::Deduplicated(known.by),
            Some(_) | None => {
                self.know(Control::Dedupe, key, self.now.plus_millis(within_millis), walked);
                Place::Through
            }
        }
    }

    /// A token bucket, stored as the time when it is full again: each token taken moves that time, which is
    /// never further away than all tokens take.
    fn throttle(&self, key: Digest, (limit, per_millis): (u32, u64), excess: Excess, walked: &mut Walked) -> Place {
        let tokens = i64::from(limit.max(1));
        let per_token = i64::try_from(per_millis.saturating_mul(1_000).div_ceil(tokens.unsigned_abs())).unwrap_or(i64::MAX);
        let known = self.flows.key(self.rule, Control::Throttle, key);
        let spent = known.map_or(0, |known| known.until.saturating_sub(self.elapsed()).max(0)).saturating_add(per_token);
        let too_much = spent.saturating_sub(per_token.saturating_mul(tokens));
        let full_at = later(self.now, spent);
        match excess {
            _ if too_much <= 0 => {
                self.know(Control::Throttle, key, full_at, walked);
                Place::Through
            }
            Excess::Drop => Place::Throttled,
            // It delays no more matches than it may hold; the others must be reported now.
            Excess::Delay if self.held_count(Control::Throttle) >= self.most => Place::Throttled,
            Excess::Delay => {
                self.know(Control::Throttle, key, full_at, walked);
                Place::Held { by: Control::Throttle, until: later(self.now, too_much) }
            }
        }
    }

    /// Holds the match instead of the one before it.
    fn last(&self, by: Control, key: Digest, millis: u64, walked: &mut Walked) -> Place {
        walked.superseded.extend(self.held_under(by, key).map(|(id, _)| (id, SupersededBecause::Newer)));
        self.hold(by, millis, walked)
    }

    fn window(&self, key: Digest, count: u32, within_millis: u64, walked: &mut Walked) -> Place {
        let counted: Vec<_> = self.held_under(Control::Window, key).collect();
        if counted.len().saturating_add(1) < count as usize {
            return self.hold(Control::Window, within_millis, walked);
        }
        walked.gathered.extend(counted.iter().map(|(_, event)| (*event).clone()));
        walked.superseded.extend(counted.into_iter().map(|(id, _)| (id, SupersededBecause::WindowFilled)));
        Place::Through
    }

    fn hold(&self, by: Control, millis: u64, walked: &mut Walked) -> Place {
        let makes_room = walked.superseded.iter().any(|(id, _)| self.flows.get(*id).is_some_and(|held| held.control == by));
        if !makes_room && self.held_count(by) >= self.most {
            let oldest = self.flows.held_by(self.rule, by).next();
            walked.superseded.extend(oldest.map(|(id, _)| (id, SupersededBecause::CrowdedOut)));
        }
        Place::Held { by, until: self.now.plus_millis(millis) }
    }

    fn know(&self, control: Control, key: Digest, until: Timestamp, walked: &mut Walked) {
        walked.known.insert(control, until);
        let is_new = self.flows.key(self.rule, control, key).is_none();
        let count = self.flows.of(self.rule).and_then(|of| of.keys.get(&control)).map_or(0, |count| *count as usize);
        if is_new && count >= self.most {
            // An expired key is dropped without a record.
            let oldest = self.flows.oldest_key(self.rule, control).filter(|(_, known)| known.until > self.elapsed());
            walked.forgotten.extend(oldest.map(|(key, _)| (control, key)));
        }
    }

    /// Returns the matches that a flow control holds under a key and that are not due yet, the oldest first.
    fn held_under(&self, control: Control, key: Digest) -> impl Iterator<Item = (EnforcementId, &HeldEvent)> {
        let now = self.elapsed();
        let held = self.flows.held_under(self.rule, control, key).filter(move |(_, held)| held.until > now);
        held.map(|(id, held)| (id, &held.event))
    }

    fn held_count(&self, control: Control) -> usize {
        self.flows.of(self.rule).and_then(|of| of.held.get(&control)).map_or(0, |count| *count as usize)
    }

    fn elapsed(&self) -> i64 {
        self.timers.elapsed(self.now)
    }
}

fn later(now: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_add(micros))
}

//! What the flow controls of a rule make of a match, one after the other: a pure function of the kept state and the time.
//!
//! A held enforcement that is due is left to its timer: a match that comes in between treats it as gone, so
//! the order in which the two are worked on makes no difference.

use std::collections::BTreeMap;

use ensue_expression::EVALUATION_BYTES_MAX;

use crate::catalog::{Acts, Control, Does, Excess, Stage, WINDOW_COUNT_MAX};
use crate::ids::{EnforcementId, RuleId};
use crate::names::TriggerRef;
use crate::record::Digest;
use crate::rules::flow::facts::SupersededBecause;
use crate::rules::flow::match_keys::only_key;
use crate::rules::flow::state::{Flows, HeldEnforcement, HeldEvent};
use crate::time::Timestamp;
use crate::timers::state::Timers;

/// A match on its way through the flow controls of its rule.
pub(super) struct Walk<'a> {
    pub(super) flows: &'a Flows,
    pub(super) timers: &'a Timers,
    pub(super) rule: RuleId,
    pub(super) keys: &'a BTreeMap<Control, Digest>,
    /// The value by which a window tells it from other matches of its key.
    pub(super) distinct: Option<Digest>,
    pub(super) trigger: &'a TriggerRef,
    pub(super) payload_bytes: u64,
    pub(super) now: Timestamp,
    /// The maximum number of keys that a flow control of a rule may know, and of matches that it may hold.
    pub(super) most: usize,
}

/// Where a match ends up, and what it leaves behind.
#[derive(Debug)]
pub(super) struct WalkOutcome {
    pub(super) place: MatchFate,
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
pub(super) enum MatchFate {
    /// It passed: it is acted on.
    Through,
    /// It is held.
    Held {
        /// The flow control that holds it.
        by: Control,
        /// Until when, if nothing else happens first.
        until: Timestamp,
        /// The timer that ends the hold.
        timer: HoldTimer,
    },
    /// It does not fit into one evaluation with the events of the row of this held match: that row is released
    /// first.
    After(EnforcementId),
    /// It repeats this enforcement.
    Deduplicated(EnforcementId),
    /// It exceeds the limit of a throttle.
    Throttled,
}

/// The timer that ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldTimer {
    /// The enforcement sets its own.
    Own,
    /// The first match of its row has set it.
    OfFirst,
}

impl Walk<'_> {
    /// Applies flow controls in their order, as far as the match gets.
    pub(super) fn through(&self, stages: &[Stage]) -> WalkOutcome {
        let mut walked = WalkOutcome {
            place: MatchFate::Through,
            known: BTreeMap::new(),
            superseded: Vec::new(),
            forgotten: Vec::new(),
            gathered: Vec::new(),
        };
        for stage in stages {
            let control = stage.does.control();
            let key = self.keys.get(&control).copied().unwrap_or_else(only_key);
            walked.place = match &stage.does {
                Does::Dedupe { within_millis } => self.dedupe(key, *within_millis, &mut walked),
                Does::Throttle { limit, per_millis, excess } => self.throttle(key, (*limit, *per_millis), *excess, &mut walked),
                Does::Debounce { quiet_millis, most_millis, acts } => self.debounce(key, (*quiet_millis, *most_millis), *acts, &mut walked),
                Does::Missing { for_millis } => self.last(control, key, self.now.plus_millis(*for_millis), &mut walked),
                Does::Window { count, within_millis } => self.window(key, *count, *within_millis, &mut walked),
                Does::Distinct { count, within_millis } => self.distinct(key, *count, *within_millis, &mut walked),
                Does::Each { of, within_millis } => self.each(key, of, *within_millis, &mut walked),
                Does::Digest { count, until_millis } => self.digest(key, *count, *until_millis, &mut walked),
                // This is decided when its execution is requested.
                Does::Concurrency { .. } => MatchFate::Through,
            };
            if walked.place != MatchFate::Through {
                break;
            }
        }
        if walked.place == MatchFate::Throttled {
            // It is dropped, so its repeats must not be dropped because of it.
            walked.known.clear();
            walked.forgotten.clear();
        }
        walked
    }

    fn dedupe(&self, key: Digest, within_millis: u64, walked: &mut WalkOutcome) -> MatchFate {
        match self.flows.key(self.rule, Control::Dedupe, key) {
            Some(known) if known.until > self.elapsed() => MatchFate::Deduplicated(known.by),
            Some(_) | None => {
                self.know(Control::Dedupe, key, self.now.plus_millis(within_millis), walked);
                MatchFate::Through
            }
        }
    }

    /// A token bucket, stored as the time when it is full again: each token taken moves that time, which is
    /// never further away than all tokens take.
    fn throttle(&self, key: Digest, (limit, per_millis): (u32, u64), excess: Excess, walked: &mut WalkOutcome) -> MatchFate {
        let tokens = i64::from(limit.max(1));
        let per_token = i64::try_from(per_millis.saturating_mul(1_000).div_ceil(tokens.unsigned_abs())).unwrap_or(i64::MAX);
        let known = self.flows.key(self.rule, Control::Throttle, key);
        let spent = known.map_or(0, |known| known.until.saturating_sub(self.elapsed()).max(0)).saturating_add(per_token);
        let too_much = spent.saturating_sub(per_token.saturating_mul(tokens));
        let full_at = later(self.now, spent);
        match excess {
            _ if too_much <= 0 => {
                self.know(Control::Throttle, key, full_at, walked);
                MatchFate::Through
            }
            Excess::Drop => MatchFate::Throttled,
            // It delays no more matches than it may hold; the others must be reported now.
            Excess::Delay if self.held_count(Control::Throttle) >= self.most => MatchFate::Throttled,
            Excess::Delay => {
                self.know(Control::Throttle, key, full_at, walked);
                MatchFate::Held { by: Control::Throttle, until: later(self.now, too_much), timer: HoldTimer::Own }
            }
        }
    }

    /// Holds the match until it is quiet, but not longer than its row may take.
    fn debounce(&self, key: Digest, (quiet_millis, most_millis): (u64, Option<u64>), acts: Acts, walked: &mut WalkOutcome) -> MatchFate {
        let row = self.flows.open_row((self.rule, Control::Debounce, key), self.elapsed());
        let quiet_at = self.now.plus_millis(quiet_millis);
        let until = most_millis.map_or(quiet_at, |most| quiet_at.min(self.after_first(&row, most)));
        match acts {
            Acts::OnLast => self.last(Control::Debounce, key, until, walked),
            Acts::OnAll => self.gather(Control::Debounce, &row, WINDOW_COUNT_MAX, (until, HoldTimer::Own), walked),
        }
    }

    /// Holds the match with those of its row, until the time of the first is over.
    fn digest(&self, key: Digest, count: u32, until_millis: u64, walked: &mut WalkOutcome) -> MatchFate {
        let row = self.flows.open_row((self.rule, Control::Window, key), self.elapsed());
        let timer = if row.is_empty() { HoldTimer::Own } else { HoldTimer::OfFirst };
        self.gather(Control::Window, &row, count, (self.after_first(&row, until_millis), timer), walked)
    }

    /// Holds the match beside those of its row. It passes with all of them if they are as many as may be acted on
    /// together, or if its rule holds as many matches as it may: none of them is dropped.
    fn gather(
        &self,
        by: Control,
        row: &[(EnforcementId, &HeldEnforcement)],
        count: u32,
        (until, timer): (Timestamp, HoldTimer),
        walked: &mut WalkOutcome,
    ) -> MatchFate {
        let bytes: u64 = row.iter().map(|(_, held)| held.event.given.payload.bytes).sum();
        if let Some((newest, _)) = row.last().filter(|_| bytes.saturating_add(self.payload_bytes) > EVALUATION_BYTES_MAX) {
            return MatchFate::After(*newest);
        }
        if row.len().saturating_add(1) < count as usize && self.held_count(by) < self.most {
            return MatchFate::Held { by, until, timer };
        }
        fill(row, walked)
    }

    /// Holds the match instead of the one before it.
    fn last(&self, by: Control, key: Digest, until: Timestamp, walked: &mut WalkOutcome) -> MatchFate {
        walked.superseded.extend(self.held_under(by, key).map(|(id, _)| (id, SupersededBecause::Newer)));
        self.hold(by, until, walked)
    }

    fn window(&self, key: Digest, count: u32, within_millis: u64, walked: &mut WalkOutcome) -> MatchFate {
        let counted: Vec<_> = self.held_under(Control::Window, key).collect();
        self.fill_or_hold(&counted, counted.len().saturating_add(1) >= count as usize, within_millis, walked)
    }

    /// Counts matches with different values: of equal ones, the newest.
    fn distinct(&self, key: Digest, count: u32, within_millis: u64, walked: &mut WalkOutcome) -> MatchFate {
        let (equal, others): (Vec<_>, Vec<_>) = self.held_under(Control::Window, key).partition(|(_, held)| held.distinct == self.distinct);
        walked.superseded.extend(equal.into_iter().map(|(id, _)| (id, SupersededBecause::Newer)));
        self.fill_or_hold(&others, others.len().saturating_add(1) >= count as usize, within_millis, walked)
    }

    /// Waits for a match of each trigger: of one trigger, the newest counts.
    fn each(&self, key: Digest, of: &[TriggerRef], within_millis: u64, walked: &mut WalkOutcome) -> MatchFate {
        if !of.contains(self.trigger) {
            return MatchFate::Through;
        }
        let (equal, others): (Vec<_>, Vec<_>) =
            self.held_under(Control::Window, key).partition(|(_, held)| held.event.given.trigger == *self.trigger);
        walked.superseded.extend(equal.into_iter().map(|(id, _)| (id, SupersededBecause::Newer)));
        let is_there =
            |trigger: &TriggerRef| trigger == self.trigger || others.iter().any(|(_, held)| held.event.given.trigger == *trigger);
        self.fill_or_hold(&others, of.iter().all(is_there), within_millis, walked)
    }

    fn fill_or_hold(
        &self,
        counted: &[(EnforcementId, &HeldEnforcement)],
        is_full: bool,
        within_millis: u64,
        walked: &mut WalkOutcome,
    ) -> MatchFate {
        if is_full { fill(counted, walked) } else { self.hold(Control::Window, self.now.plus_millis(within_millis), walked) }
    }

    fn hold(&self, by: Control, until: Timestamp, walked: &mut WalkOutcome) -> MatchFate {
        let makes_room = walked.superseded.iter().any(|(id, _)| self.flows.get(*id).is_some_and(|held| held.control == by));
        if !makes_room && self.held_count(by) >= self.most {
            let oldest = self.flows.held_by(self.rule, by).next();
            walked.superseded.extend(oldest.map(|(id, _)| (id, SupersededBecause::CrowdedOut)));
        }
        MatchFate::Held { by, until, timer: HoldTimer::Own }
    }

    /// Returns the time so long after the first match of a row, which is this one if there is no row.
    fn after_first(&self, row: &[(EnforcementId, &HeldEnforcement)], millis: u64) -> Timestamp {
        let passed = row.first().map_or(0, |(_, first)| self.elapsed().saturating_sub(first.began));
        later(self.now.plus_millis(millis), passed.saturating_neg())
    }

    fn know(&self, control: Control, key: Digest, until: Timestamp, walked: &mut WalkOutcome) {
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
    fn held_under(&self, control: Control, key: Digest) -> impl Iterator<Item = (EnforcementId, &HeldEnforcement)> {
        let now = self.elapsed();
        self.flows.held_under(self.rule, control, key).filter(move |(_, held)| held.until > now)
    }

    fn held_count(&self, control: Control) -> usize {
        self.flows.of(self.rule).and_then(|of| of.held.get(&control)).map_or(0, |count| *count as usize)
    }

    fn elapsed(&self) -> i64 {
        self.timers.elapsed(self.now)
    }
}

/// The match is acted on together with held ones.
fn fill(counted: &[(EnforcementId, &HeldEnforcement)], walked: &mut WalkOutcome) -> MatchFate {
    walked.gathered.extend(counted.iter().map(|(_, held)| held.event.clone()));
    walked.superseded.extend(counted.iter().map(|(id, _)| (*id, SupersededBecause::WindowFilled)));
    MatchFate::Through
}

fn later(now: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_add(micros))
}

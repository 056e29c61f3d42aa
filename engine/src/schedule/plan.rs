//! A plan: when a rule or a sensor is due, and what happens to times at which nothing could fire.
//!
//! It is a pure function of the due time and the current time. `state.rs` knows which plans run.

pub use crate::catalog::Misfire;
use std::fmt;
use std::time::Duration;

use super::Cron;
use crate::record::Digest;
use crate::time::{Timestamp, duration_text};
use crate::timers::facts::TimerKind;

/// How many times `fire_all` fires at most if a plan does not say; older ones are skipped.
pub const MADE_UP: usize = 100;
/// The maximum of that number: each firing computes a few times as many.
pub const MADE_UP_MAX: usize = 1_000;
/// How many times as many are computed at most at once, to find the newest ones.
const TIMES_OVER_MAX: usize = 4;
/// How late a time may fire with `skip` if a plan does not say, in addition to its jitter.
pub const GRACE: Duration = Duration::from_secs(60);
/// The shortest grace: a timer always fires a little late.
pub const GRACE_MIN: Duration = Duration::from_secs(1);
/// The shortest `every`, in milliseconds.
pub const EVERY_MILLIS_MIN: u64 = 1_000;
/// How many gaps between the times of a cron expression its jitter is compared with.
const GAPS_LOOKED_AT: usize = 400;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// When something is due, repeatedly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The due times.
    pub when: When,
    /// What happens to times at which nothing could fire.
    pub misfire: Misfire,
    /// How late a time may fire with `skip`, in addition to its jitter.
    pub grace: Duration,
    /// How many times `fire_all` fires at most: the newest, at least one.
    pub made_up: usize,
    /// The maximum delay of each time. Each delay is a share of it that follows from the timer's id.
    pub jitter: Duration,
}

/// The due times of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// By a cron expression in a time zone.
    Cron(Box<Cron>),
    /// Periodically, counted from the record that set it.
    Every(Duration),
    /// Once.
    At(Timestamp),
}

/// The decision on a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDecision {
    /// The time that fires; `None` if it is too late.
    pub fires: Option<Timestamp>,
    /// The times that do not fire: from the first, and before the second.
    pub missed: Option<(Timestamp, Timestamp)>,
    /// The next time, which may be due already; `None` if there is none.
    pub next: Option<Timestamp>,
}

impl fmt::Display for Plan {
    /// Writes a line for people: when it is due, and its maximum delay.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Cron(cron) => write!(f, "{cron} in {}", cron.zone())?,
            When::Every(period) => write!(f, "every {}", duration_text(millis(*period)))?,
            When::At(at) => write!(f, "at {at}")?,
        }
        if self.jitter.is_zero() { Ok(()) } else { write!(f, ", delayed by up to {}", duration_text(millis(self.jitter))) }
    }
}

impl Plan {
    /// Creates a plan whose times fire without jitter, and the newest of the missed times for all.
    pub fn new(when: When) -> Self {
        Self { when, misfire: Misfire::FireOnce, grace: GRACE, made_up: MADE_UP, jitter: Duration::ZERO }
    }

    /// Returns how long a time may still fire on its own after it was due.
    pub fn patience(&self) -> Duration {
        let grace = match self.misfire {
            Misfire::Skip => self.grace,
            Misfire::FireOnce | Misfire::FireAll => GRACE,
        };
        grace.saturating_add(self.jitter)
    }

    /// Returns a digest of its due times, which identifies the plan. The handling of missed times may change
    /// while it runs.
    pub fn digest(&self) -> Digest {
        // Not of the words for people: those may change with a release.
        let when = match &self.when {
            When::Cron(cron) => format!("cron {cron} in {}", cron.zone()),
            When::Every(period) => format!("every {}", period.as_micros()),
            When::At(at) => format!("at {}", at.micros()),
        };
        Digest::of(format!("{when}, jitter {}", self.jitter.as_micros()).as_bytes())
    }

    /// Returns the kind of its timers: times of the clock run by the clock, periods by the time that passes.
    pub fn timer_kind(&self) -> TimerKind {
        match self.when {
            When::Cron(_) | When::At(_) => TimerKind::Schedule,
            When::Every(_) => TimerKind::Interval,
        }
    }

    /// Returns the first due time after it was set.
    pub fn first(&self, set_at: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Cron(cron) => cron.next_after(set_at),
            When::Every(period) => Some(set_at.plus_millis(millis(*period))),
            When::At(at) => Some(*at).filter(|at| *at > set_at),
        }
    }

    /// Returns the due time after this one.
    pub fn next(&self, due: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Cron(cron) => cron.next_after(due),
            When::Every(period) => Some(due.plus_millis(millis(*period))),
            When::At(_) => None,
        }
    }

    /// Decides what fires at `now` for a due time: that time, or a later one that is due as well and fires
    /// for all.
    pub fn occasion(&self, due: Timestamp, now: Timestamp) -> DueDecision {
        // A time that may still be delayed has its own timer.
        let until = Timestamp::from_micros(now.micros() - micros(self.jitter));
        let newest = || self.newest(due, until.max(due));
        let missed = |from: Timestamp, until: Option<Timestamp>| until.filter(|until| *until > from).map(|until| (from, until));
        match self.misfire {
            Misfire::FireOnce => {
                let newest = newest();
                DueDecision { fires: Some(newest), missed: missed(due, Some(newest)), next: self.next(newest) }
            }
            Misfire::Skip => {
                let newest = newest();
                let next = self.next(newest);
                if until.micros_since(newest) <= micros(self.grace) {
                    return DueDecision { fires: Some(newest), missed: missed(due, Some(newest)), next };
                }
                let end = next.unwrap_or_else(|| newest.plus_millis(1));
                DueDecision { fires: None, missed: Some((due, end)), next }
            }
            Misfire::FireAll => {
                let first = self.first_made_up_for(due, until.max(due));
                DueDecision { fires: Some(first), missed: missed(due, Some(first)), next: self.next(first) }
            }
        }
    }

    /// Returns the newest time up to `until`; `due` is one.
    fn newest(&self, due: Timestamp, until: Timestamp) -> Timestamp {
        match &self.when {
            When::Cron(cron) => newest_of(cron, due, until),
            When::Every(period) => back(due, *period, until, 0),
            When::At(_) => due,
        }
    }

    /// Returns the first of the newest `made_up` times up to `until`; `due` is one.
    fn first_made_up_for(&self, due: Timestamp, until: Timestamp) -> Timestamp {
        match &self.when {
            When::Cron(cron) => {
                let after = (0..self.made_up).try_fold(due, |due, _| cron.next_after(due).filter(|next| *next <= until));
                if after.is_none() {
                    return due;
                }
                first_of_newest(cron, due, newest_of(cron, due, until), self.made_up)
            }
            When::Every(period) => back(due, *period, until, i64::try_from(self.made_up).unwrap_or(i64::MAX) - 1),
            When::At(_) => due,
        }
    }

    /// Returns true if its jitter is longer than the time between two of its times, starting at `from`.
    pub fn jitter_is_too_long(&self, from: Timestamp) -> bool {
        match &self.when {
            When::Cron(cron) => {
                let times: Vec<Timestamp> =
                    std::iter::successors(Some(from), |time| cron.next_after(*time)).skip(1).take(GAPS_LOOKED_AT).collect();
                times.windows(2).any(|pair| pair[1].micros_since(pair[0]) < micros(self.jitter))
            }
            When::Every(period) => self.jitter > *period,
            When::At(_) => false,
        }
    }
}

/// Returns the time of a period that is `before` periods older than the newest up to `until`, and not older
/// than `due`.
fn back(due: Timestamp, period: Duration, until: Timestamp, before: i64) -> Timestamp {
    let period = micros(period).max(1);
    let passed = until.micros_since(due).max(0) / period;
    Timestamp::from_micros(due.micros() + (passed - before).max(0) * period)
}

/// Returns the newest time of an expression up to `until`; `due` is one. It computes only a few dozen times,
/// however many are in between.
fn newest_of(cron: &Cron, due: Timestamp, until: Timestamp) -> Timestamp {
    let (first, last) = (due.micros(), until.micros());
    let one_after = |moment: i64| cron.next_after(Timestamp::from_micros(moment)).filter(|next| *next <= until);
    let mut window = MICROS_PER_SECOND;
    let (mut has_one, mut newest) = loop {
        let begin = last.saturating_sub(window).max(first);
        match one_after(begin) {
            Some(found) => break (begin, found),
            None if begin == first => return due,
            None => window = window.saturating_mul(2),
        }
    };
    let mut has_none = last;
    while has_none - has_one > 1 {
        let middle = has_one + (has_none - has_one) / 2;
        match one_after(middle) {
            Some(found) => (has_one, newest) = (middle.max(found.micros() - 1), found),
            None => has_none = middle,
        }
    }
    newest
}

/// Returns the first of this many newest times of an expression up to `newest`, and not before `due`; both are times of it.
/// It looks back twice as far each time, and computes a few times as many as it was asked for. If times are much denser further
/// back, it begins again where they are, so as not to compute all of them.
fn first_of_newest(cron: &Cron, due: Timestamp, mut newest: Timestamp, many: usize) -> Timestamp {
    let before_due = due.micros() - 1;
    let (mut left, mut window, mut found) = (many.max(1), MICROS_PER_SECOND, 0);
    loop {
        let begin = newest.micros().saturating_sub(window).max(before_due);
        let after = |time: Timestamp| cron.next_after(time).filter(|next| *next <= newest);
        let times = std::iter::successors(after(Timestamp::from_micros(begin)), |time| after(*time));
        let times: Vec<Timestamp> = times.take(TIMES_OVER_MAX * left + 1).collect();
        if times.len() > TIMES_OVER_MAX * left {
            // The newer half of this window has fewer than are left, and at least the newest.
            left -= found;
            newest = newest_of(cron, due, Timestamp::from_micros(newest.micros().saturating_sub(window / 2)));
            (window, found) = (MICROS_PER_SECOND, 0);
        } else if times.len() >= left || begin == before_due {
            return times.get(times.len().saturating_sub(left)).copied().unwrap_or(due);
        } else {
            found = times.len();
            window = window.saturating_mul(2);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Zone;
    use crate::time::Timestamp;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
    const SECOND: u64 = 1_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;

    fn cron(expression: &str, misfire: Misfire) -> Plan {
        let cron = Cron::parse(expression, Zone::UTC).unwrap();
        Plan { misfire, ..Plan::new(When::Cron(Box::new(cron))) }
    }

    fn every(millis: u64, misfire: Misfire) -> Plan {
        Plan { misfire, ..Plan::new(When::Every(Duration::from_millis(millis))) }
    }

    #[test]
    fn due_time_fires_on_time_with_any_misfire_setting() {
        for misfire in [Misfire::FireOnce, Misfire::Skip, Misfire::FireAll] {
            for plan in [cron("0 * * * *", misfire), every(HOUR, misfire)] {
                let occasion = plan.occasion(NOON, NOON.plus_millis(3));
                assert_eq!(occasion, DueDecision { fires: Some(NOON), missed: None, next: Some(NOON.plus_millis(HOUR)) }, "{plan}");
            }
        }
    }

    #[test]
    fn fire_once_fires_only_the_newest_missed_time() {
        for plan in [cron("0 * * * *", Misfire::FireOnce), every(HOUR, Misfire::FireOnce)] {
            let newest = NOON.plus_millis(5 * HOUR);
            let occasion = plan.occasion(NOON, newest.plus_millis(HOUR - 1));
            let next = Some(newest.plus_millis(HOUR));
            assert_eq!(occasion, DueDecision { fires: Some(newest), missed: Some((NOON, newest)), next }, "{plan}");
        }
    }

    #[test]
    fn skipped_times_fire_only_within_a_minute() {
        for plan in [cron("0 * * * *", Misfire::Skip), every(HOUR, Misfire::Skip)] {
            let newest = NOON.plus_millis(5 * HOUR);
            let next = newest.plus_millis(HOUR);
            let (soon, late) = (plan.occasion(NOON, newest.plus_millis(60_000)), plan.occasion(NOON, newest.plus_millis(60_001)));
            assert_eq!(soon, DueDecision { fires: Some(newest), missed: Some((NOON, newest)), next: Some(next) });
            assert_eq!(late, DueDecision { fires: None, missed: Some((NOON, next)), next: Some(next) });
        }
    }

    #[test]
    fn fire_all_fires_missed_times_one_by_one_up_to_the_newest_hundred() {
        for plan in [cron("0 * * * *", Misfire::FireAll), every(HOUR, Misfire::FireAll)] {
            let few = plan.occasion(NOON, NOON.plus_millis(99 * HOUR));
            assert_eq!(few, DueDecision { fires: Some(NOON), missed: None, next: Some(NOON.plus_millis(HOUR)) });
            let first = NOON.plus_millis(901 * HOUR);
            let many = plan.occasion(NOON, NOON.plus_millis(1_000 * HOUR));
            assert_eq!(many, DueDecision { fires: Some(first), missed: Some((NOON, first)), next: Some(first.plus_millis(HOUR)) });
        }
    }

    #[test]
    fn skipped_time_fires_within_the_grace_of_its_plan() {
        for plan in [cron("0 * * * *", Misfire::Skip), every(HOUR, Misfire::Skip)] {
            let plan = Plan { grace: Duration::from_secs(600), ..plan };
            let fires = |late: u64| plan.occasion(NOON, NOON.plus_millis(late)).fires;
            assert_eq!((fires(600 * SECOND), fires(600 * SECOND + 1)), (Some(NOON), None), "{plan}");
        }
    }

    #[test]
    fn fire_all_fires_as_many_missed_times_as_its_plan_says() {
        for plan in [cron("0 * * * *", Misfire::FireAll), every(HOUR, Misfire::FireAll)] {
            for (made_up, first) in [(1, 1_000), (2, 999), (1_000, 1)] {
                let plan = Plan { made_up, ..plan.clone() };
                let fires = plan.occasion(NOON, NOON.plus_millis(1_000 * HOUR)).fires;
                assert_eq!(fires, Some(NOON.plus_millis(first * HOUR)), "{plan}: {made_up}");
            }
        }
    }

    #[test]
    fn one_time_plan_is_due_exactly_once() {
        let plan = Plan::new(When::At(NOON));
        assert_eq!(plan.first(NOON.plus_millis(1)), None);
        assert_eq!(plan.occasion(NOON, NOON.plus_millis(DAY)), DueDecision { fires: Some(NOON), missed: None, next: None });
        let skipped = Plan { misfire: Misfire::Skip, ..plan }.occasion(NOON, NOON.plus_millis(DAY));
        assert_eq!((skipped.fires, skipped.next), (None, None));
        assert!(skipped.missed.is_some());
    }

    #[test]
    fn time_within_its_jitter_is_not_missed() {
        let plan = Plan { jitter: Duration::from_secs(600), ..cron("0 * * * *", Misfire::FireOnce) };
        let next = NOON.plus_millis(HOUR);
        let occasion = plan.occasion(NOON, next.plus_millis(599 * SECOND));
        assert_eq!(occasion, DueDecision { fires: Some(NOON), missed: None, next: Some(next) });
    }

    #[test]
    fn jitter_is_limited_by_the_shortest_interval() {
        let with = |plan: Plan, jitter: u64| Plan { jitter: Duration::from_secs(jitter), ..plan }.jitter_is_too_long(NOON);
        assert!(!with(cron("0 3 * * *", Misfire::Skip), 3_600));
        assert!(with(cron("0,5 3 * * *", Misfire::Skip), 301));
        assert!(!with(every(HOUR, Misfire::Skip), 3_600));
        assert!(with(every(HOUR, Misfire::Skip), 3_601));
    }

    #[test]
    fn made_up_times_are_found_where_they_are_denser_further_back() {
        let at = |text: &str| crate::schedule::moment(text).unwrap();
        let plan = Plan { made_up: 1_000, ..cron("* * * * 1 *", Misfire::FireAll) };
        let fires = plan.occasion(at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:05Z")).fires;
        assert_eq!(fires, Some(at("2025-01-31T23:43:26Z")), "six seconds of this year, and 994 of the last");
    }

    #[test]
    fn ten_years_of_missed_seconds_are_skipped_quickly() {
        let plan = cron("* * * * * *", Misfire::FireAll);
        let now = NOON.plus_millis(10 * 365 * DAY);
        assert_eq!(plan.occasion(NOON, now).fires, Some(Timestamp::from_micros(now.micros() - 99 * MICROS_PER_SECOND)));
    }

    proptest! {
        #[test]
        fn newest_missed_time_is_the_last_of_the_sequence(
            expression in prop::sample::select(vec!["*/7 * * * *", "0 3 * * *", "30 2 * * 0", "0 0 29 2 *", "*/5 8-17 * * 1-5"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
            hours in 0_u64..3_000,
        ) {
            let cron = Cron::parse(expression, zone.parse().unwrap()).unwrap();
            let due = cron.next_after(NOON).unwrap();
            let until = due.plus_millis(hours * HOUR + 17);
            let all = std::iter::successors(Some(due), |time| cron.next_after(*time)).take_while(|time| *time <= until);
            prop_assert_eq!(newest_of(&cron, due, until), all.last().unwrap());
        }

        #[test]
        fn first_of_the_newest_missed_times_is_found_in_the_sequence(
            expression in prop::sample::select(vec!["*/7 * * * *", "0 3 * * *", "30 2 * * 0", "0 0 29 2 *", "* 9 * * 1", "* * 1 * *"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
            hours in 0_u64..3_000,
            many in 1_usize..300,
        ) {
            let cron = Cron::parse(expression, zone.parse().unwrap()).unwrap();
            let due = cron.next_after(NOON).unwrap();
            let until = due.plus_millis(hours * HOUR + 17);
            let all = std::iter::successors(Some(due), |time| cron.next_after(*time)).take_while(|time| *time <= until);
            let all: Vec<Timestamp> = all.collect();
            let first = all[all.len().saturating_sub(many)];
            prop_assert_eq!(first_of_newest(&cron, due, *all.last().unwrap(), many), first);
            let plan = Plan { misfire: Misfire::FireAll, made_up: many, ..Plan::new(When::Cron(Box::new(cron))) };
            prop_assert_eq!(plan.occasion(due, until).fires, Some(first));
        }
    }
}

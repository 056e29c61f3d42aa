//! The circuit breaker of a connection: after repeated failures, uses fail at once for a while, so that a server that is down
//! gets no more requests and attempts do not wait for it.
//!
//! It is pure: the time is an argument. What counts as a failure is decided elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use super::settings::BreakerSettings;

/// How long a use counts for the share of failures.
const RECENT: Duration = Duration::from_secs(10);
/// The least number of recent uses of which half must fail.
const RECENT_MIN: usize = 20;
/// The most recent uses that are remembered.
const RECENT_MAX: usize = 200;
/// How long to wait for the one trial that is under way.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing, until its time is over.
    Open,
    /// One use, whose outcome decides.
    HalfOpen,
}

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    in_a_row: u32,
    recent: VecDeque<(Duration, bool)>,
    /// Counts how often it opened: uses from before say nothing about now.
    round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    Trying,
}

/// The right to one use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pass {
    round: u64,
    is_trial: bool,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed, in_a_row: 0, recent: VecDeque::new(), round: 0 }
    }

    /// Returns how long to wait if no use is let through now.
    pub(super) fn check(&self, now: Duration) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now >= until => Ok(()),
            State::Open { until } => Err(until - now),
            State::Trying => Err(TRIAL_WAIT),
        }
    }

    /// Lets a use through, or returns how long to wait.
    pub(super) fn enter(&mut self, now: Duration) -> Result<Pass, Duration> {
        self.check(now)?;
        let is_trial = self.state != State::Closed;
        if is_trial {
            self.state = State::Trying;
        }
        Ok(Pass { round: self.round, is_trial })
    }

    /// Lets a use through in any case, whose outcome decides as that of a trial does.
    pub(super) fn enter_anyway(&mut self) -> Pass {
        Pass { round: self.round, is_trial: self.state != State::Closed }
    }

    pub(super) fn success(&mut self, now: Duration, Pass { round, is_trial }: Pass) {
        if round != self.round {
            return;
        }
        if is_trial {
            (self.state, self.in_a_row) = (State::Closed, 0);
            self.recent.clear();
            return;
        }
        self.in_a_row = 0;
        self.note(now, false);
    }

    pub(super) fn fault(&mut self, now: Duration, Pass { round, is_trial }: Pass) {
        if round != self.round {
            return;
        }
        if is_trial {
            self.open(now);
            return;
        }
        self.in_a_row += 1;
        self.note(now, true);
        let faults = self.recent.iter().filter(|(_, is_fault)| *is_fault).count();
        let is_half = self.recent.len() >= RECENT_MIN && faults * 2 >= self.recent.len();
        if self.in_a_row >= self.settings.failures || is_half {
            self.open(now);
        }
    }

    /// Notes that a use says nothing about the server.
    pub(super) fn nothing(&mut self, Pass { round, is_trial }: Pass) {
        if round == self.round && is_trial && self.state == State::Trying {
            self.state = State::Open { until: Duration::ZERO };
        }
    }

    /// Returns what it lets through, and when it lets something through again.
    pub(super) fn state(&self, now: Duration) -> (BreakerState, Option<Duration>) {
        match self.state {
            State::Closed => (BreakerState::Closed, None),
            State::Open { until } if now < until => (BreakerState::Open, Some(until - now)),
            State::Open { .. } | State::Trying => (BreakerState::HalfOpen, None),
        }
    }

    fn open(&mut self, now: Duration) {
        self.state = State::Open { until: now + self.settings.open_for };
        self.round += 1;
        self.in_a_row = 0;
        self.recent.clear();
    }

    fn note(&mut self, now: Duration, is_fault: bool) {
        while self.recent.front().is_some_and(|(at, _)| now >= *at + RECENT) || self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, is_fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings::default())
    }

    fn fail(breaker: &mut Breaker, now: Duration) {
        let pass = breaker.enter(now).unwrap();
        breaker.fault(now, pass);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_in_between_does_not_count() {
        let mut breaker = breaker();
        for _ in 0..4 {
            fail(&mut breaker, SECOND);
        }
        let pass = breaker.enter(SECOND).unwrap();
        breaker.success(SECOND, pass);
        for _ in 0..4 {
            fail(&mut breaker, SECOND);
        }
        assert_eq!(breaker.state(SECOND).0, BreakerState::Closed);
        fail(&mut breaker, SECOND);
        assert_eq!(breaker.state(SECOND), (BreakerState::Open, Some(SECOND * 30)));
        assert_eq!(breaker.enter(SECOND * 11), Err(SECOND * 20));
    }

    #[test]
    fn half_of_twenty_recent_uses_open_it() {
        let mut breaker = breaker();
        for turn in 0..20 {
            assert_eq!(breaker.state(SECOND).0, BreakerState::Closed, "{turn}");
            let pass = breaker.enter(SECOND).unwrap();
            if turn % 2 == 0 { breaker.success(SECOND, pass) } else { breaker.fault(SECOND, pass) }
        }
        assert_eq!(breaker.state(SECOND).0, BreakerState::Open);
    }

    #[test]
    fn failures_that_are_long_ago_do_not_count_for_the_share() {
        let mut breaker = breaker();
        for turn in 0..40 {
            let now = SECOND * turn;
            let pass = breaker.enter(now).unwrap();
            if turn % 2 == 0 { breaker.success(now, pass) } else { breaker.fault(now, pass) }
        }
        assert_eq!(breaker.state(SECOND * 40).0, BreakerState::Closed);
    }

    #[test]
    fn one_trial_at_a_time_decides() {
        let mut breaker = breaker();
        for _ in 0..5 {
            fail(&mut breaker, Duration::ZERO);
        }
        let trial = breaker.enter(SECOND * 30).unwrap();
        assert_eq!(breaker.state(SECOND * 30).0, BreakerState::HalfOpen);
        assert_eq!(breaker.enter(SECOND * 30), Err(TRIAL_WAIT));
        breaker.fault(SECOND * 31, trial);
        assert_eq!(breaker.enter(SECOND * 60), Err(SECOND));
        let trial = breaker.enter(SECOND * 61).unwrap();
        breaker.success(SECOND * 61, trial);
        assert_eq!(breaker.state(SECOND * 61), (BreakerState::Closed, None));
    }

    #[test]
    fn trial_that_was_cut_off_lets_the_next_one_try() {
        let mut breaker = breaker();
        for _ in 0..5 {
            fail(&mut breaker, Duration::ZERO);
        }
        let trial = breaker.enter(SECOND * 30).unwrap();
        breaker.nothing(trial);
        assert!(breaker.enter(SECOND * 30).is_ok());
    }

    #[test]
    fn use_from_before_it_opened_says_nothing() {
        let mut breaker = breaker();
        let late = breaker.enter(Duration::ZERO).unwrap();
        for _ in 0..5 {
            fail(&mut breaker, Duration::ZERO);
        }
        breaker.success(SECOND, late);
        assert_eq!(breaker.state(SECOND).0, BreakerState::Open);
    }
}

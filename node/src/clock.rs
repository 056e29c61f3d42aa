//! The node's clock: the wall time at the start plus the monotonic clock, slewed towards the wall clock.
//!
//! Time decides nothing about order: order is the position, and time is for records and readers. It never goes
//! back except by a step.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ensue_engine::command::Moment;
use ensue_engine::time::Timestamp;

/// How far the wall clock may be off before the difference counts as a step, in microseconds.
pub const STEP_MICROS: i64 = 60_000_000;
/// The most that one tick slews the clock, in microseconds: NTP daemons slew 500 in a second.
const SLEW_MICROS: i64 = 500;

/// Tells the time and creates the random bits of ids.
pub trait SteppedClock: Send + Sync {
    /// Returns the node's time.
    fn now(&self) -> Timestamp;
    /// Starts the node's time no earlier than the log's newest record. If the wall clock is behind that record
    /// by at most [`STEP_MICROS`], the node's time continues from the record and is slewed. If it is behind by
    /// more, it was set back while no node ran: the step is returned, and the node uses the wall clock's time.
    fn go_on_from(&self, newest: Timestamp) -> Option<ClockStep>;
    /// Slews the node's time towards the wall clock; called about once a second. If the wall clock has moved
    /// away by more than [`STEP_MICROS`], returns the step: the node uses the wall clock's time from then on,
    /// and the step waits to be taken.
    fn tick(&self) -> Option<ClockStep>;
    /// Takes the oldest step that was not taken yet, if any.
    fn take_step(&self) -> Option<ClockStep>;
    /// Returns the time and random bits for a command if all earlier steps were taken. Otherwise takes and
    /// returns the oldest step.
    fn moment_or_step(&self) -> Result<Moment, ClockStep>;
    /// Returns random bits.
    fn entropy(&self) -> u128;

    /// Returns the time and random bits that enter the core with a command.
    fn moment(&self) -> Moment {
        Moment { time: self.now(), entropy: self.entropy() }
    }
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// The time of the node's clock.
    pub from: Timestamp,
    /// The time of the wall clock.
    pub to: Timestamp,
}

/// Where a node's clock gets its time from.
pub trait Hands: Send + Sync {
    /// Returns the microseconds since a fixed moment; never goes back.
    fn steady_micros(&self) -> i64;
    /// Returns the wall clock's microseconds since the Unix epoch; may jump.
    fn wall_micros(&self) -> i64;
    /// Returns random bits.
    fn entropy(&self) -> u128;
}

/// The node's clock, driven by a source of time.
#[derive(Debug)]
pub struct NodeClock<H> {
    hands: H,
    /// The wall time at the moment when the monotonic clock was 0, in microseconds, as slewed so far.
    origin: Mutex<ClockState>,
}

#[derive(Debug)]
struct ClockState {
    micros: i64,
    /// The newest time returned so far: later times are never earlier than it, except after a step.
    told: i64,
    /// The steps that were not taken yet, oldest first.
    steps: VecDeque<ClockStep>,
}

impl<H: Hands> NodeClock<H> {
    /// Starts at the wall clock's time.
    pub fn new(hands: H) -> Self {
        let micros = hands.wall_micros().saturating_sub(hands.steady_micros());
        Self { hands, origin: Mutex::new(ClockState { micros, told: i64::MIN, steps: VecDeque::new() }) }
    }

    fn origin(&self) -> MutexGuard<'_, ClockState> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, origin: &mut ClockState) -> Timestamp {
        origin.told = origin.told.max(origin.micros.saturating_add(self.hands.steady_micros()));
        Timestamp::from_micros(origin.told)
    }
}

impl<H: Hands> SteppedClock for NodeClock<H> {
    fn now(&self) -> Timestamp {
        self.at(&mut self.origin())
    }

    fn go_on_from(&self, newest: Timestamp) -> Option<ClockStep> {
        let mut origin = self.origin();
        let now = self.at(&mut origin);
        let behind = newest.micros_since(now);
        if behind > STEP_MICROS {
            return Some(ClockStep { from: newest, to: now });
        }
        origin.micros = origin.micros.saturating_add(behind.max(0));
        None
    }

    fn tick(&self) -> Option<ClockStep> {
        let wall = self.hands.wall_micros();
        let mut origin = self.origin();
        let from = self.at(&mut origin);
        let step = slew(&mut origin.micros, self.hands.steady_micros(), wall).map(|to| ClockStep { from, to });
        if let Some(step) = step {
            origin.told = step.to.micros();
            origin.steps.push_back(step);
        }
        step
    }

    fn take_step(&self) -> Option<ClockStep> {
        self.origin().steps.pop_front()
    }

    fn moment_or_step(&self) -> Result<Moment, ClockStep> {
        let mut origin = self.origin();
        // Both are read under one lock: otherwise a step between the two would be taken for elapsed time.
        match origin.steps.pop_front() {
            Some(step) => Err(step),
            None => Ok(Moment { time: self.at(&mut origin), entropy: self.hands.entropy() }),
        }
    }

    fn entropy(&self) -> u128 {
        self.hands.entropy()
    }
}

/// The machine's clocks and randomness.
#[derive(Debug)]
pub struct MachineHands {
    started: Instant,
}

impl Default for MachineHands {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Hands for MachineHands {
    fn steady_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn wall_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn entropy(&self) -> u128 {
        let mut bytes = [0; 16];
        // Without randomness no id would be safe, so the process must stop.
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        u128::from_le_bytes(bytes)
    }
}

/// The machine's own clock.
pub type SystemClock = NodeClock<MachineHands>;

impl Default for SystemClock {
    fn default() -> Self {
        Self::new(MachineHands::default())
    }
}

/// Returns the time that the wall clock stepped to, if it stepped.
fn slew(origin: &mut i64, elapsed: i64, wall: i64) -> Option<Timestamp> {
    let now = origin.saturating_add(elapsed);
    let off = wall.saturating_sub(now);
    if off.abs() > STEP_MICROS {
        *origin = wall.saturating_sub(elapsed);
        return Some(Timestamp::from_micros(wall));
    }
    *origin = origin.saturating_add(off.clamp(-SLEW_MICROS, SLEW_MICROS));
    None
}

/// A clock for tests.
#[cfg(test)]
pub(crate) mod hand {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that a test sets, in microseconds.
    #[derive(Default)]
    pub(crate) struct HandClock(pub(crate) AtomicI64);

    impl HandClock {
        pub(crate) fn advance(&self, seconds: i64) {
            self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        }
    }

    impl SteppedClock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }

        fn go_on_from(&self, _: Timestamp) -> Option<ClockStep> {
            None
        }

        fn tick(&self) -> Option<ClockStep> {
            None
        }

        fn take_step(&self) -> Option<ClockStep> {
            None
        }

        fn moment_or_step(&self) -> Result<Moment, ClockStep> {
            Ok(self.moment())
        }

        fn entropy(&self) -> u128 {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_774_699_200_000_000;

    /// A source of time that never moves.
    struct Still;

    impl Hands for Still {
        fn steady_micros(&self) -> i64 {
            0
        }

        fn wall_micros(&self) -> i64 {
            START
        }

        fn entropy(&self) -> u128 {
            0
        }
    }

    #[test]
    fn clock_slightly_behind_the_log_continues_from_the_log() {
        let clock = NodeClock::new(Still);
        let newest = Timestamp::from_micros(START + STEP_MICROS);
        assert_eq!(clock.go_on_from(newest), None);
        assert_eq!(clock.now(), newest);
        assert_eq!(clock.tick(), None);
        assert_eq!(clock.now(), newest);
    }

    #[test]
    fn clock_ahead_of_the_log_is_unchanged() {
        let clock = NodeClock::new(Still);
        assert_eq!(clock.go_on_from(Timestamp::from_micros(START - 1)), None);
        assert_eq!(clock.now().micros(), START);
    }

    #[test]
    fn clock_set_back_while_no_node_ran_is_a_step() {
        let clock = NodeClock::new(Still);
        let newest = Timestamp::from_micros(START + STEP_MICROS + 1);
        let step = clock.go_on_from(newest).expect("a step");
        assert_eq!((step.from, step.to.micros()), (newest, START));
        assert_eq!(clock.now().micros(), START);
    }

    #[test]
    fn slightly_wrong_clock_is_slewed_and_not_stepped() {
        let mut origin = START;
        assert_eq!(slew(&mut origin, 1_000_000, START + 1_000_000 + 30_000_000), None);
        assert_eq!(origin, START + SLEW_MICROS);
        assert_eq!(slew(&mut origin, 2_000_000, START), None);
        assert_eq!(origin, START);
    }

    #[test]
    fn clock_jump_of_more_than_a_minute_is_a_step() {
        let mut origin = START;
        let wall = START + 1_000_000 + STEP_MICROS + 1;
        assert_eq!(slew(&mut origin, 1_000_000, wall), Some(Timestamp::from_micros(wall)));
        assert_eq!(slew(&mut origin, 2_000_000, wall + 1_000_000), None);
        assert_eq!(origin + 2_000_000, wall + 1_000_000);
    }
}

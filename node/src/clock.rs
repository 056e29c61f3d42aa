//! The node's clock: the wall time at the start plus the monotonic clock, slewed towards the wall clock.
//!
//! It decides nothing by time. Order is the position; time is what a record says and what a person reads.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ensue_engine::command::Moment;
use ensue_engine::time::Timestamp;

/// How far the wall clock may be off before it counts as a step, in microseconds.
pub const STEP_MICROS: i64 = 60_000_000;
/// The most that one tick slews the clock, in microseconds: 500 in a second is what NTP daemons do.
const SLEW_MICROS: i64 = 500;

/// What tells the time, and draws the random bits of ids.
pub trait Clock: Send + Sync {
    /// Gives the node's time.
    fn now(&self) -> Timestamp;
    /// Brings the node's time nearer to the wall clock; called about once a second. Gives the step where the wall clock has moved
    /// away by more than [`STEP_MICROS`]: the node's time is the wall clock's from then on, and the step waits to be taken.
    fn tick(&self) -> Option<ClockStep>;
    /// Takes the oldest step that nobody has taken; none where there is none.
    fn take_step(&self) -> Option<ClockStep>;
    /// Gives what enters the core with a command, where all steps before it were taken; else the oldest of them, which is taken by
    /// that.
    fn moment_or_step(&self) -> Result<Moment, ClockStep>;
    /// Gives random bits.
    fn entropy(&self) -> u128;

    /// Gives what enters the core with a command.
    fn moment(&self) -> Moment {
        Moment { time: self.now(), entropy: self.entropy() }
    }
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// What the node's clock said.
    pub from: Timestamp,
    /// What the wall clock said.
    pub to: Timestamp,
}

/// Where a node's clock gets its time from.
pub trait Hands: Send + Sync {
    /// Gives the microseconds since some fixed moment; it never goes back.
    fn steady_micros(&self) -> i64;
    /// Gives the wall clock's microseconds since the Unix epoch; it may jump.
    fn wall_micros(&self) -> i64;
    /// Gives random bits.
    fn entropy(&self) -> u128;
}

/// The node's clock over some hands.
#[derive(Debug)]
pub struct NodeClock<H> {
    hands: H,
    /// The wall time when the steady hand was at 0, in microseconds, as slewed so far.
    origin: Mutex<Origin>,
}

#[derive(Debug)]
struct Origin {
    micros: i64,
    /// The steps that nobody has taken, the oldest first.
    steps: VecDeque<ClockStep>,
}

impl<H: Hands> NodeClock<H> {
    /// Starts at the wall clock's time.
    pub fn new(hands: H) -> Self {
        let micros = hands.wall_micros().saturating_sub(hands.steady_micros());
        Self { hands, origin: Mutex::new(Origin { micros, steps: VecDeque::new() }) }
    }

    fn origin(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, origin: &Origin) -> Timestamp {
        Timestamp::from_micros(origin.micros.saturating_add(self.hands.steady_micros()))
    }
}

impl<H: Hands> Clock for NodeClock<H> {
    fn now(&self) -> Timestamp {
        self.at(&self.origin())
    }

    fn tick(&self) -> Option<ClockStep> {
        let wall = self.hands.wall_micros();
        let mut origin = self.origin();
        let step = slew(&mut origin.micros, self.hands.steady_micros(), wall);
        origin.steps.extend(step);
        step
    }

    fn take_step(&self) -> Option<ClockStep> {
        self.origin().steps.pop_front()
    }

    fn moment_or_step(&self) -> Result<Moment, ClockStep> {
        let mut origin = self.origin();
        // Looked at together: a step between the two would be taken for time that has passed.
        match origin.steps.pop_front() {
            Some(step) => Err(step),
            None => Ok(Moment { time: self.at(&origin), entropy: self.hands.entropy() }),
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
        // Without randomness no id would be safe to give: there is nothing better than to stop.
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

fn slew(origin: &mut i64, elapsed: i64, wall: i64) -> Option<ClockStep> {
    let now = origin.saturating_add(elapsed);
    let off = wall.saturating_sub(now);
    if off.abs() > STEP_MICROS {
        *origin = wall.saturating_sub(elapsed);
        return Some(ClockStep { from: Timestamp::from_micros(now), to: Timestamp::from_micros(wall) });
    }
    *origin = origin.saturating_add(off.clamp(-SLEW_MICROS, SLEW_MICROS));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_774_699_200_000_000;

    #[test]
    fn a_clock_that_is_a_little_off_is_slewed_and_not_stepped() {
        let mut origin = START;
        assert_eq!(slew(&mut origin, 1_000_000, START + 1_000_000 + 30_000_000), None);
        assert_eq!(origin, START + SLEW_MICROS);
        assert_eq!(slew(&mut origin, 2_000_000, START), None);
        assert_eq!(origin, START);
    }

    #[test]
    fn a_clock_that_jumps_by_more_than_a_minute_is_a_step_and_is_followed() {
        let mut origin = START;
        let wall = START + 1_000_000 + STEP_MICROS + 1;
        let step = slew(&mut origin, 1_000_000, wall).expect("a step");
        assert_eq!((step.from.micros(), step.to.micros()), (START + 1_000_000, wall));
        assert_eq!(slew(&mut origin, 2_000_000, wall + 1_000_000), None);
        assert_eq!(origin + 2_000_000, wall + 1_000_000);
    }
}

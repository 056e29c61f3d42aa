//! One program with its whole behavior: drawn when it starts, and changed by the signals it gets.
//!
//! Supervisors and listeners are in other files.

use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ports::OutputStream;
use ensue_executor::programs::{EndedBy, Exit, Order};

use crate::ground::WorldGround;
use crate::program_lines::{self, Line};

/// How long a program takes to react to SIGTERM, in microseconds.
const HEEDS_MICROS: u64 = 20_000;

/// A program with its whole behavior.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// The node that started it.
    pub(super) node: u32,
    pub(super) token: u64,
    /// When it ends by itself, if ever.
    ends_at: Option<u64>,
    exit: Exit,
    /// Its output with the times.
    pub(super) prints: Vec<(u64, OutputStream, Bytes)>,
    /// The lines that it writes on descriptor 3.
    pub(super) says: Vec<Line>,
    /// Whether it ignores a request to stop.
    is_stubborn: bool,
    pub(super) deadline: u64,
    grace: u64,
    /// When it was told to stop, and the grace period.
    pub(super) told: Option<(u64, u64)>,
    pub(super) killed_at: Option<u64>,
    /// When its supervisor dies together with it.
    pub(super) lost_at: Option<u64>,
}

impl Process {
    /// Draws a program's behavior; once the world is healed, no supervisor dies.
    pub(super) fn draw(ground: &WorldGround, node: u32, order: &Order) -> Self {
        let (mut random, now) = (ground.random(), ground.now());
        let random = &mut *random;
        let supervisor_dies = if ground.is_healed() { 0.0 } else { ground.plan.supervisor_dies };
        let never_ends = random.chance(0.08);
        let most = if random.chance(0.2) { 50e6 } else { 12e6 };
        let ends_at = now + random.log_uniform(ground.plan.program_micros_least, most) as u64;
        let exit = match random.pick_weighted(&[12, 3, 1]) {
            0 => Exit::Code(0),
            1 => Exit::Code(1 + random.below(3) as i32),
            _ => Exit::Signal(11),
        };
        let mut prints = Vec::new();
        for _ in 0..random.below(4) {
            let at = now + random.below(ends_at - now + 1);
            let stream = if random.chance(0.5) { OutputStream::Stdout } else { OutputStream::Stderr };
            prints.push((at, stream, Bytes::from(format!("line {}\n", random.below(100)))));
        }
        prints.sort_by_key(|(at, ..)| *at);
        Self {
            node,
            token: order.token,
            ends_at: (!never_ends).then_some(ends_at),
            exit,
            prints,
            says: program_lines::lines(random, order.attempt, now, ends_at),
            is_stubborn: random.chance(0.2),
            deadline: now + micros(order.timeout),
            grace: micros(order.grace),
            told: None,
            killed_at: None,
            lost_at: random.chance(supervisor_dies).then(|| now + random.below(8_000_000)),
        }
    }

    /// Returns when and how it ends, and who ends it.
    pub(super) fn end(&self) -> (u64, Exit, Option<EndedBy>) {
        let stopped = |asked: u64, grace: u64| {
            if self.is_stubborn { (asked + grace, Exit::Signal(9)) } else { (asked + HEEDS_MICROS.min(grace), Exit::Signal(15)) }
        };
        let mut end = {
            let (at, exit) = stopped(self.deadline, self.grace);
            (at, exit, Some(EndedBy::Deadline))
        };
        if let Some((asked, grace)) = self.told {
            let (at, exit) = stopped(asked, grace);
            if at < end.0 {
                end = (at, exit, Some(EndedBy::Told));
            }
        }
        if let Some(at) = self.killed_at.filter(|at| *at < end.0) {
            end = (at, Exit::Signal(9), Some(EndedBy::Told));
        }
        if let Some(at) = self.ends_at.filter(|at| *at < end.0) {
            end = (at, self.exit, None);
        }
        end
    }

    /// Returns when it has ended completely if nobody intervenes.
    pub(super) fn over_at(&self) -> u64 {
        self.lost_at.unwrap_or(u64::MAX).min(self.end().0)
    }

    pub(super) fn is_lost(&self, now: u64) -> bool {
        self.lost_at.is_some_and(|lost| lost <= now && lost < self.end().0)
    }

    /// Returns when a listener has something to receive, given that it sends nothing before `at`: the end of
    /// its supervisor is noticed at once.
    pub(super) fn news_at(&self, at: u64, now: u64) -> u64 {
        self.lost_at.map_or(at, |lost| lost.max(now + 1).min(at))
    }

    pub(super) fn is_alive(&self, now: u64) -> bool {
        self.end().0 > now && !self.is_lost(now)
    }
}

/// Returns a duration in microseconds, limited so that sums do not overflow.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

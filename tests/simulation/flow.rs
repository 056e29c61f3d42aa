//! The flow control of a world's rules: dedupe, throttle, debounce, window, missing and concurrency, with
//! numbers small enough that they interact.
//!
//! Its random numbers are separate from the rest of the world's, so that a world without flow control is the
//! same with and without this file. `oracle/flow.rs` states again what each of them does, without the engine.

use std::collections::BTreeMap;
use std::fmt;

use crate::pack::{Doing, Edition};
use crate::random::Random;

/// Separates the random numbers of flow control from the world's own.
const APART: u64 = 0x666C_6F77_7275_6C65;
/// How often a rule that an edition does not change gets another flow control.
const CHANGES: f64 = 0.15;
/// The payload fields that serve as keys for matches.
const FIELDS: [&str; 3] = ["n", "text", "flag"];

/// The triggers of a window that waits for both of a rule's.
const OF_BOTH: &str = "of: both";
/// Separates the random numbers of retries from the others.
const RETRIES_APART: u64 = 0x7265_7472_6965_7321;

/// One flow control with its numbers. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// One match of a key in a period.
    Dedupe(u64),
    /// So many matches of a key in a period: how many, how long until one of them becomes available again,
    /// and whether further matches wait.
    Throttle(u64, u64, More),
    /// The last match of a key, or all of them, once there was none for so long, or so long after the first.
    Debounce(u64, Option<u64>, Acts),
    /// So many matches of a key together within a period.
    Window(u64, u64),
    /// So many matches of a key together within a period, with different values of a field.
    Distinct(u64, u64, &'static str),
    /// One match of each of two triggers together within a period.
    Each(u64),
    /// All matches of a key together, so long after the first, or once there are so many.
    Digest(u64, u64),
    /// A match of a key that was followed by no other for so long.
    Missing(u64),
    /// So many open executions of a key, and what happens to further ones.
    Concurrency(u64, &'static str),
}

/// What happens to matches over a throttle's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// They are dropped.
    Dropped,
    /// They are released later.
    Delayed,
}

/// Which matches of a debounce are acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acts {
    /// The last one.
    OnLast,
    /// All of them together.
    OnAll,
}

/// A flow control of a rule, and the field that serves as its key. Without a field all matches have the same
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The flow control.
    pub(crate) does: Does,
    /// The field.
    pub(crate) field: Option<&'static str>,
}

impl Does {
    /// Returns the YAML field of the flow control.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Dedupe(_) => "dedupe",
            Self::Throttle(..) => "throttle",
            Self::Debounce(..) => "debounce",
            Self::Window(..) | Self::Distinct(..) | Self::Each(_) | Self::Digest(..) => "window",
            Self::Missing(_) => "missing",
            Self::Concurrency(..) => "concurrency",
        }
    }

    /// Returns true if matches are acted on together.
    pub(crate) fn gathers(self) -> bool {
        match self {
            Self::Window(..) | Self::Distinct(..) | Self::Each(_) | Self::Digest(..) | Self::Debounce(_, _, Acts::OnAll) => true,
            Self::Debounce(_, _, Acts::OnLast) | Self::Dedupe(_) | Self::Throttle(..) | Self::Missing(_) | Self::Concurrency(..) => false,
        }
    }

    /// Returns true if a due match is acted on together with the others of its row.
    pub(crate) fn has_rows(self) -> bool {
        matches!(self, Self::Digest(..) | Self::Debounce(_, _, Acts::OnAll))
    }
}

impl Stage {
    /// Returns the stage as it is written in a rule on these triggers.
    pub(crate) fn yaml(&self, triggers: &[u64]) -> String {
        let triggers: Vec<String> = triggers.iter().map(|trigger| format!("sim.t{trigger}")).collect();
        self.to_string().replace(OF_BOTH, &format!("of: [{}]", triggers.join(", ")))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {{ ", self.does.word())?;
        if let Some(field) = self.field {
            write!(f, "key: event.payload.{field}, ")?;
        }
        match self.does {
            Does::Dedupe(millis) => write!(f, "within: {millis}ms")?,
            Does::Throttle(limit, each, more) => {
                let excess = if more == More::Delayed { "delay" } else { "drop" };
                write!(f, "limit: {limit}, per: {}ms, excess: {excess}", limit * each)?;
            }
            Does::Debounce(millis, most, acts) => {
                write!(f, "quiet: {millis}ms")?;
                if let Some(most) = most {
                    write!(f, ", most: {most}ms")?;
                }
                if acts == Acts::OnAll {
                    f.write_str(", events: all")?;
                }
            }
            Does::Window(count, millis) => write!(f, "count: {count}, within: {millis}ms")?,
            Does::Distinct(count, millis, field) => write!(f, "count: {count}, within: {millis}ms, distinct: event.payload.{field}")?,
            Does::Each(millis) => write!(f, "{OF_BOTH}, within: {millis}ms")?,
            Does::Digest(count, millis) => write!(f, "count: {count}, until: {millis}ms")?,
            Does::Missing(millis) => write!(f, "for: {millis}ms")?,
            Does::Concurrency(limit, conflict) => write!(f, "limit: {limit}, conflict: {conflict}")?,
        }
        f.write_str(" }")
    }
}

/// Assigns flow control to the rules of a world.
pub(crate) struct Flows {
    random: Random,
    /// The probability that a rule has flow control, if rules of this world have any.
    often: f64,
    /// The `concurrency` of each rule name: a lock outlives the edition that defined it.
    locks: BTreeMap<String, Stage>,
    /// For the retries of rules.
    retries: Random,
}

impl Flows {
    /// Starts from the world's seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.6) { random.log_uniform(0.2, 1.0) } else { 0.0 };
        Self { random, often, locks: BTreeMap::new(), retries: Random::new(seed ^ RETRIES_APART) }
    }

    /// Assigns flow control to the rules of an edition. Unchanged rules mostly keep theirs.
    pub(crate) fn give(&mut self, edition: &mut Edition, before: Option<&Edition>) {
        for rule in &mut edition.rules {
            let stays = before.is_some_and(|before| before.rules.iter().any(|old| old == rule));
            if !stays || self.random.chance(CHANGES) {
                rule.flow = if self.random.chance(self.often) { self.draw(&rule.name, &rule.doing) } else { Vec::new() };
                let may_retry = matches!(rule.doing, Doing::Start(_)) && self.retries.chance(0.4);
                rule.attempts = may_retry.then(|| self.retries.between(2, 4));
            }
        }
    }

    /// Draws one or two flow controls, in their order.
    fn draw(&mut self, rule: &str, doing: &Doing) -> Vec<Stage> {
        let mut wanted = [false; 6];
        for _ in 0..=self.random.pick_weighted(&[5, 4, 2]) {
            wanted[self.random.pick_weighted(&[4, 4, 3, 4, 3, 3])] = true;
        }
        let places = (0..wanted.len()).filter(|place| wanted[*place]);
        let stages: Vec<Option<Stage>> = places.map(|place| self.stage(place, rule, doing)).collect();
        let mut stages: Vec<Stage> = stages.into_iter().flatten().collect();
        // A rule gathers by one flow control.
        let has_window = stages.iter().any(|stage| stage.does.word() == "window");
        for stage in stages.iter_mut().filter(|_| has_window) {
            if let Does::Debounce(millis, most, Acts::OnAll) = stage.does {
                stage.does = Does::Debounce(millis, most, Acts::OnLast);
            }
        }
        stages
    }

    fn stage(&mut self, place: usize, rule: &str, doing: &Doing) -> Option<Stage> {
        let field = if self.random.chance(0.3) { None } else { self.random.pick(&FIELDS).copied() };
        let millis = self.random.log_uniform(100.0, 60_000.0) as u64;
        let few = self.random.between(1, 3);
        let does = match place {
            0 => Does::Dedupe(millis),
            1 => Does::Throttle(few, millis, if self.random.chance(0.5) { More::Delayed } else { More::Dropped }),
            2 => {
                let most = self.random.chance(0.5).then(|| millis + 1 + self.random.log_uniform(100.0, 60_000.0) as u64);
                Does::Debounce(millis, most, if self.random.chance(0.4) { Acts::OnAll } else { Acts::OnLast })
            }
            3 => match self.random.pick_weighted(&[4, 3, 4, 3]) {
                0 => Does::Window(few + 1, millis),
                1 => Does::Distinct(few + 1, millis, self.random.pick(&FIELDS).copied()?),
                // A chain of events has one path, so a rule that emits one listens to one trigger.
                3 if !matches!(doing, Doing::Again(_)) => Does::Each(millis),
                _ => Does::Digest(few + 1 + self.random.between(0, 8), millis),
            },
            4 => Does::Missing(millis),
            _ => {
                // An action with a lock of its own, in addition to its rule's, is covered elsewhere: an
                // execution of a world waits for only one.
                let has_own = matches!(doing, Doing::Flow(name) if *name != "steps");
                let conflict = self.random.pick(&["queue", "skip", "cancel_running"]).copied()?;
                // With several, the rule would also have to say which of them to cancel.
                let limit = if conflict == "cancel_running" { 1 } else { few };
                let lock = Stage { does: Does::Concurrency(limit, conflict), field };
                return (!has_own).then(|| *self.locks.entry(rule.to_owned()).or_insert(lock));
            }
        };
        Some(Stage { does, field })
    }
}

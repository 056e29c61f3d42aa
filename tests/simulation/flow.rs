//! The flow control of a world's rules: dedupe, throttle, debounce, window, missing and concurrency, with small numbers so that they meet.
//!
//! Chance is drawn apart from the rest of the world: one whose rules have none is as it would be without this. What each does is said again
//! in `oracle/flow.rs`, without the engine.

use std::collections::BTreeMap;
use std::fmt;

use crate::pack::{Doing, Edition};
use crate::random::Random;

/// What tells the chance of flow control from the world's own.
const APART: u64 = 0x666C_6F77_7275_6C65;
/// How often a rule that an edition leaves as it is gets another flow control.
const CHANGES: f64 = 0.15;
/// The fields of payloads by which matches are told apart.
const FIELDS: [&str; 3] = ["n", "text", "flag"];

/// One flow control, with its numbers; times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// One match of a key within a while.
    Dedupe(u64),
    /// So many matches of a key in a while: how many, how long one of them takes to be there again, and whether more wait.
    Throttle(u64, u64, More),
    /// The last match of a key, once it is quiet for so long.
    Debounce(u64),
    /// So many matches of a key together within a while.
    Window(u64, u64),
    /// A match of a key after which none came for so long.
    Missing(u64),
    /// So many open executions of a key, and what becomes of more.
    Concurrency(u64, &'static str),
}

/// What becomes of matches that are more than a throttle lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// They are not acted on.
    Dropped,
    /// They are acted on later.
    Delayed,
}

/// A flow control of a rule, and the field by which it tells matches apart; without one all are of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// What it does.
    pub(crate) does: Does,
    /// The field.
    pub(crate) field: Option<&'static str>,
}

impl Does {
    /// Gives the field in which authors write it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Dedupe(_) => "dedupe",
            Self::Throttle(..) => "throttle",
            Self::Debounce(_) => "debounce",
            Self::Window(..) => "window",
            Self::Missing(_) => "missing",
            Self::Concurrency(..) => "concurrency",
        }
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
            Does::Debounce(millis) => write!(f, "quiet: {millis}ms")?,
            Does::Window(count, millis) => write!(f, "count: {count}, within: {millis}ms")?,
            Does::Missing(millis) => write!(f, "for: {millis}ms")?,
            Does::Concurrency(limit, conflict) => write!(f, "limit: {limit}, conflict: {conflict}")?,
        }
        f.write_str(" }")
    }
}

/// Gives the rules of a world their flow control.
pub(crate) struct Flows {
    random: Random,
    /// How often a rule has flow control, if at all.
    often: f64,
    /// What `concurrency` says in the rules of a name: a lock outlives the edition that asked for it.
    locks: BTreeMap<String, Stage>,
}

impl Flows {
    /// Begins with the world's seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.6) { random.log_uniform(0.2, 1.0) } else { 0.0 };
        Self { random, often, locks: BTreeMap::new() }
    }

    /// Gives the rules of an edition their flow control: those that stay as they are mostly keep theirs.
    pub(crate) fn give(&mut self, edition: &mut Edition, before: Option<&Edition>) {
        for rule in &mut edition.rules {
            let stays = before.is_some_and(|before| before.rules.iter().any(|old| old == rule));
            if !stays || self.random.chance(CHANGES) {
                rule.flow = if self.random.chance(self.often) { self.draw(&rule.name, &rule.doing) } else { Vec::new() };
            }
        }
    }

    /// Draws one or two of them, in their order.
    fn draw(&mut self, rule: &str, doing: &Doing) -> Vec<Stage> {
        let mut wanted = [false; 6];
        for _ in 0..=self.random.weighted(&[5, 4, 2]) {
            wanted[self.random.weighted(&[4, 4, 3, 4, 3, 3])] = true;
        }
        let places = (0..wanted.len()).filter(|place| wanted[*place]);
        let stages: Vec<Option<Stage>> = places.map(|place| self.stage(place, rule, doing)).collect();
        stages.into_iter().flatten().collect()
    }

    fn stage(&mut self, place: usize, rule: &str, doing: &Doing) -> Option<Stage> {
        let field = if self.random.chance(0.3) { None } else { self.random.pick(&FIELDS).copied() };
        let millis = self.random.log_uniform(100.0, 60_000.0) as u64;
        let few = self.random.between(1, 3);
        let does = match place {
            0 => Does::Dedupe(millis),
            1 => Does::Throttle(few, millis, if self.random.chance(0.5) { More::Delayed } else { More::Dropped }),
            2 => Does::Debounce(millis),
            3 => Does::Window(few + 1, millis),
            4 => Does::Missing(millis),
            _ => {
                // What has a lock of its own beside its rule's is looked at elsewhere: an execution of a world waits for one.
                let has_own = matches!(doing, Doing::Flow(name) if *name != "steps");
                let conflict = self.random.pick(&["queue", "skip", "cancel_running"]).copied()?;
                // Of several it would be said which of them are to end.
                let limit = if conflict == "cancel_running" { 1 } else { few };
                let lock = Stage { does: Does::Concurrency(limit, conflict), field };
                return (!has_own).then(|| *self.locks.entry(rule.to_owned()).or_insert(lock));
            }
        };
        Some(Stage { does, field })
    }
}

//! The person who reruns executions that have ended: from the start, from the failed steps or from a step;
//! often twice with one key.
//!
//! The random numbers are separate from the rest of the world's, so that a world without reruns is the same
//! with and without this file.

use ensue_engine::executions::state::Execution;
use ensue_engine::ids::ExecutionId;

use super::World;
use crate::pack::{CHOICE, FLOWS, NUMBER_MAX, VARY, steps_of};
use crate::random::Random;
use crate::traffic::{Transport, Wish};

/// Separates the random numbers of reruns from the world's own.
const APART: u64 = 0x7265_7275_6E73_7765;
/// The maximum number of executions to remember.
const REMEMBERED_MAX: usize = 40;
/// The client that requests reruns.
const CLIENT: usize = 0;

/// The state of the person who reruns executions.
pub(super) struct Again {
    random: Random,
    /// The probability of a rerun each time the person looks.
    often: f64,
    /// The executions outside of any workflow that were seen open.
    seen: Vec<ExecutionId>,
    /// The number of keys used.
    keys: u64,
    /// The last request with its key.
    last: Option<(Wish, String)>,
}

impl Again {
    /// Starts from the world's seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.5) { random.log_uniform(0.05, 0.9) } else { 0.0 };
        Self { random, often, seen: Vec::new(), keys: 0, last: None }
    }

    /// Remembers the open executions.
    fn see(&mut self, open: Vec<ExecutionId>) {
        for execution in open {
            if !self.seen.contains(&execution) {
                self.seen.push(execution);
            }
        }
        let over = self.seen.len().saturating_sub(REMEMBERED_MAX);
        self.seen.drain(..over);
    }

    /// Chooses the next request and its key.
    fn wish(&mut self) -> Option<(Wish, Option<String>)> {
        if !self.random.chance(self.often) {
            return None;
        }
        if self.random.chance(0.2)
            && let Some((wish, key)) = self.last.clone()
        {
            return Some((wish, Some(key)));
        }
        let execution = *self.random.pick(&self.seen)?;
        let (from, n) = match self.random.pick_weighted(&[2, 3, 5, 3]) {
            0 => (None, None),
            1 => (None, Some(self.random.below(NUMBER_MAX))),
            2 => (Some("failed"), None),
            _ => {
                let workflow = if self.random.chance(0.8) { FLOWS[0].0 } else { VARY };
                (self.random.pick(steps_of(&format!("sim.{workflow}"))).map(|(step, _)| *step), None)
            }
        };
        let wish = Wish::Rerun { execution, from, n };
        if self.random.chance(0.3) {
            return Some((wish, None));
        }
        self.keys += 1;
        let key = format!("again-{}", self.keys);
        self.last = Some((wish.clone(), key.clone()));
        Some((wish, Some(key)))
    }
}

impl World {
    /// Requests a rerun.
    pub(super) fn run_again(&mut self) {
        if self.again.often == 0.0 || self.ground.is_healed() {
            return;
        }
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let open = node.look(|engine| {
            // What a rerun of a choice takes over depends on what was chosen.
            let is_wished = |open: &Execution| open.part_of.is_none() && open.action.name() != CHOICE;
            let open = engine.executions().iter().filter(|(_, open)| is_wished(open));
            open.map(|(id, _)| *id).collect::<Vec<_>>()
        });
        self.again.see(open.unwrap_or_default());
        let Some((wish, under)) = self.again.wish() else { return };
        let is_doubled = under.is_some() && self.again.random.chance(0.3);
        self.ask(CLIENT, wish.clone(), Transport::Http, under.clone());
        if is_doubled {
            self.ask(CLIENT, wish, Transport::Http, under);
        }
    }
}

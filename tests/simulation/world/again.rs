//! Who looks on and has executions run again that have ended: all of them, from what failed, or from a step; often twice under one key.
//!
//! Chance is drawn apart from the rest of the world: one in which nobody does is as it would be without this.

use ensue_engine::ids::ExecutionId;

use super::World;
use crate::pack::{FLOWS, NUMBER_MAX, VARY, steps_of};
use crate::random::Random;
use crate::traffic::{By, Wish};

/// What tells the chance of reruns from the world's own.
const APART: u64 = 0x7265_7275_6E73_7765;
/// The most executions that are remembered.
const REMEMBERED_MAX: usize = 40;
/// The client in whose name executions are run again.
const CLIENT: usize = 0;

/// Who has executions run again.
pub(super) struct Again {
    random: Random,
    /// How often, each time that somebody looks.
    often: f64,
    /// The executions that were seen open and stand in no workflow.
    seen: Vec<ExecutionId>,
    /// How many keys were used.
    keys: u64,
    /// What was asked for last, under its key.
    last: Option<(Wish, String)>,
}

impl Again {
    /// Begins with the world's seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.5) { random.log_uniform(0.05, 0.9) } else { 0.0 };
        Self { random, often, seen: Vec::new(), keys: 0, last: None }
    }

    /// Remembers what is open.
    fn see(&mut self, open: Vec<ExecutionId>) {
        for execution in open {
            if !self.seen.contains(&execution) {
                self.seen.push(execution);
            }
        }
        let over = self.seen.len().saturating_sub(REMEMBERED_MAX);
        self.seen.drain(..over);
    }

    /// Says what is asked for now, and under which key.
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
        let (from, n) = match self.random.weighted(&[2, 3, 5, 3]) {
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
    /// Somebody has something run again.
    pub(super) fn run_again(&mut self) {
        if self.again.often == 0.0 || self.ground.is_healed() {
            return;
        }
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let open = node.look(|engine| {
            let open = engine.executions().iter().filter(|(_, open)| open.part_of.is_none());
            open.map(|(id, _)| *id).collect::<Vec<_>>()
        });
        self.again.see(open.unwrap_or_default());
        let Some((wish, under)) = self.again.wish() else { return };
        let is_doubled = under.is_some() && self.again.random.chance(0.3);
        self.ask(CLIENT, wish.clone(), By::Http, under.clone());
        if is_doubled {
            self.ask(CLIENT, wish, By::Http, under);
        }
    }
}

//! The person who sets vars by reading first and writing then, and who runs the workflow that sets one.
//!
//! The random numbers are separate from the rest of the world's, so that a world without vars is the same
//! with and without this file.

use ensue_engine::command::{Ask, Command, SeenVar};
use ensue_engine::record::{Actor, Body, Position};
use serde_json::{Value, json};

use super::World;
use crate::pack::{Doing, Edition, VARS, VARY};
use crate::random::Random;
use crate::sometimes;
use crate::traffic::{Transport, Wish};

/// Separates the random numbers of vars from the world's own.
const APART: u64 = 0x7661_7273_7761_7273;
/// How often a rule with a trivial action reports a var instead.
const TELLS: f64 = 0.6;
/// The client that runs the workflow.
const CLIENT: usize = 0;

/// The state of the person who sets vars.
pub(super) struct Vars {
    random: Random,
    /// The probability of a change each time the person looks.
    often: f64,
    /// The positions of values that were read before, with the index of the var.
    seen: Vec<(usize, Position)>,
    marks: u64,
}

impl Vars {
    /// Starts from the world's seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.5) { random.log_uniform(0.1, 1.0) } else { 0.0 };
        Self { random, often, seen: Vec::new(), marks: 0 }
    }

    /// Makes some of the new rules of an edition report a var.
    pub(super) fn give(&mut self, edition: &mut Edition, before: Option<&Edition>) {
        for rule in &mut edition.rules {
            let stays = before.is_some_and(|before| before.rules.iter().any(|old| old == rule));
            let does_little = matches!(rule.doing, Doing::Echo | Doing::Wait(_));
            if !stays && does_little && self.often > 0.0 && self.random.chance(TELLS) {
                rule.doing = Doing::Tell(self.random.pick(&VARS).copied().unwrap_or_default());
            }
        }
    }

    /// Chooses the condition of a write, and encodes it in the new value: most often the current state,
    /// sometimes an outdated one.
    fn choose_condition(&mut self, var: usize, now: Option<Position>) -> (SeenVar, Value) {
        let before: Vec<Position> = self.seen.iter().filter(|(of, _)| *of == var).map(|(_, at)| *at).collect();
        let old = self.random.pick(&before).copied();
        if let Some(now) = now.filter(|now| !before.contains(now)) {
            self.seen.push((var, now));
        }
        match (self.random.pick_weighted(&[2, 1, 1, 4, 2]), now, old) {
            (1, _, _) => (SeenVar::There, json!("there")),
            (2, _, _) => (SeenVar::NotThere, json!("nowhere")),
            (3, Some(at), _) | (4, _, Some(at)) => (SeenVar::At(at), json!(at.0)),
            _ => (SeenVar::Anyhow, json!("anyhow")),
        }
    }
}

impl World {
    /// Sets vars, or runs the workflow that does.
    pub(super) fn change_vars(&mut self) {
        if self.vars.often == 0.0 || self.ground.is_healed() || !self.vars.random.chance(self.vars.often) {
            return;
        }
        let Some(node) = self.node.as_ref().filter(|node| node.accepts()) else { return };
        let Vars { random, .. } = &mut self.vars;
        let place = random.below(VARS.len() as u64) as usize;
        let name: ensue_engine::names::VarName = VARS[place].parse().expect("it is a var's name");
        match random.pick_weighted(&[6, 1, 4]) {
            0 => {
                let now = node.look(|engine| engine.vars().get(&name).map(|value| value.at)).flatten();
                let (seen, told) = self.vars.choose_condition(place, now);
                let is_old = now.is_some() && matches!(seen, SeenVar::At(at) if Some(at) != now);
                sometimes!(is_old, "a caller with an older value tried to set a var");
                self.vars.marks += 1;
                let value = Body::json(json!({ "mark": self.vars.marks, "seen": told }).to_string());
                self.ground.trace("attendant", format!("sets {name}, seen as {seen:?}"));
                node.submit(command(Ask::SetVar { name, value, seen }));
            }
            1 => {
                self.ground.trace("attendant", format!("takes {name} away"));
                node.submit(command(Ask::RemoveVar { name, seen: SeenVar::Anyhow }));
            }
            _ => {
                let wish = Wish::Run { action: format!("sim.{VARY}"), params: json!({ "name": VARS[place] }).to_string() };
                self.ask(CLIENT, wish, Transport::Http, None);
            }
        }
    }
}

fn command(ask: Ask) -> Command {
    Command { actor: Actor::Token("attendant".to_owned()), trace: None, ask }
}

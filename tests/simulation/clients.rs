//! The clients, and what each does next. They know only what the node answered them.

use ensue_engine::executions::facts::Settlement;
use ensue_engine::ids::ExecutionId;
use serde_json::{Map, Value, json};

use crate::keyring::Keyring;
use crate::pack::{NUMBER_MAX, POSTS, PROGRAMS, TEXTS, TRIGGERS, WrittenMode, in_first_version};
use crate::random::Random;
use crate::traffic::{Signature, Wish};

/// The number of keys that a client reuses.
const KEYS: u64 = 6;
/// The default weights of the wishes, in the order of [`Client::wish`], for seeds that do not set them.
pub(crate) const WISHES: [u64; 10] = [40, 10, 6, 3, 6, 2, 1, 2, 10, 12];
/// How many things a client remembers at most for later requests.
const REMEMBERED_MAX: usize = 30;

/// One client.
pub(crate) struct Client {
    /// Its name.
    pub(crate) name: String,
    /// The executions that it knows.
    executions: Vec<ExecutionId>,
    /// The events that it wrote, with their positions.
    events: Vec<(String, u64)>,
    /// What it sent with each key.
    keyed: Vec<(String, u64, String)>,
    /// What it delivered with each id.
    delivered: Vec<(String, String)>,
    marks: u64,
    /// The requests that it sent with idempotency keys.
    pub(crate) keyring: Keyring,
}

impl Client {
    /// Creates a client.
    pub(crate) fn new(number: usize, keyring: Keyring) -> Self {
        Self {
            name: format!("client{number}"),
            executions: Vec::new(),
            events: Vec::new(),
            keyed: Vec::new(),
            delivered: Vec::new(),
            marks: 0,
            keyring,
        }
    }

    /// Remembers an execution from an answer.
    pub(crate) fn remember_execution(&mut self, execution: ExecutionId) {
        if self.executions.len() >= REMEMBERED_MAX {
            self.executions.remove(0);
        }
        self.executions.push(execution);
    }

    /// Remembers an event that it wrote.
    pub(crate) fn remember_event(&mut self, event: String, position: u64) {
        if self.events.len() >= REMEMBERED_MAX {
            self.events.remove(0);
        }
        self.events.push((event, position));
    }

    /// Draws the next wish by the weights.
    pub(crate) fn wish(&mut self, random: &mut Random, wishes: &[u64]) -> Wish {
        match random.pick_weighted(wishes) {
            9 => self.deliver(random),
            0 => self.send(random),
            1 => run(random),
            2 => match random.pick(&self.executions) {
                Some(execution) => Wish::Cancel(*execution),
                None => self.send(random),
            },
            3 => match random.pick(&self.executions) {
                Some(execution) => Wish::Settle(*execution, settlement(random)),
                None => run(random),
            },
            4 => {
                let mode = [WrittenMode::Enabled, WrittenMode::Disabled, WrittenMode::Shadow][random.pick_weighted(&[5, 2, 2])];
                Wish::SetMode(format!("sim.r{}", random.below(8)), mode)
            }
            5 => Wish::SetKey(random.next()),
            6 => Wish::RemoveKey,
            7 => Wish::TakeInPacks,
            _ => match random.pick(&self.events) {
                Some((event, position)) => Wish::See { event: event.clone(), position: *position },
                None => self.send(random),
            },
        }
    }

    fn send(&mut self, random: &mut Random) -> Wish {
        if random.chance(0.3) {
            let name = format!("k{}", random.below(KEYS));
            if let Some((key, trigger, payload)) = self.keyed.iter().find(|(key, _, _)| *key == name)
                && random.chance(0.8)
            {
                return Wish::Send { trigger: *trigger, payload: payload.clone(), key: Some(key.clone()) };
            }
            let (trigger, payload) = self.event(random, Some(&name));
            if !self.keyed.iter().any(|(key, _, _)| *key == name) {
                self.keyed.push((name.clone(), trigger, payload.clone()));
            }
            return Wish::Send { trigger, payload, key: Some(name) };
        }
        let (trigger, payload) = self.event(random, None);
        Wish::Send { trigger, payload, key: None }
    }

    /// Draws a trigger and a payload, in the first version of the trigger or the newest.
    fn event(&mut self, random: &mut Random, key: Option<&str>) -> (u64, String) {
        let (trigger, payload) = (random.below(TRIGGERS), self.payload(random, key));
        if random.chance(0.3) { (trigger, in_first_version(trigger, payload)) } else { (trigger, payload) }
    }

    fn deliver(&mut self, random: &mut Random) -> Wish {
        let signature = match random.pick_weighted(&[16, 1, 1, 1]) {
            0 => Signature::Right,
            1 => Signature::OfAnotherKey,
            2 => Signature::OfAnotherBody,
            _ => Signature::None,
        };
        if random.chance(0.05) {
            self.marks += 1;
            return Wish::Deliver { payload: format!("{{\"mark\": \"{}-{}\"", self.name, self.marks), delivery: None, signature };
        }
        if random.chance(0.2) {
            return Wish::Deliver { payload: self.payload(random, None), delivery: None, signature };
        }
        let id = format!("{}-d{}", self.name, random.below(KEYS));
        if let Some((_, payload)) = self.delivered.iter().find(|(known, _)| *known == id) {
            return Wish::Deliver { payload: payload.clone(), delivery: Some(id), signature };
        }
        // A key that is not one of the client's own. Its name is in the payload, so that the oracle can tell
        // the two apart.
        let payload = self.payload(random, Some(&id));
        self.delivered.push((id.clone(), payload.clone()));
        Wish::Deliver { payload, delivery: Some(id), signature }
    }

    /// Creates a payload with a unique mark, so that each event can be distinguished from all others.
    fn payload(&mut self, random: &mut Random, key: Option<&str>) -> String {
        self.marks += 1;
        let mut fields = Map::new();
        fields.insert("mark".into(), json!(format!("{}-{}", self.name, self.marks)));
        if let Some(key) = key {
            fields.insert("key".into(), json!(format!("{}-{key}", self.name)));
        }
        if random.chance(0.85) {
            let number = if random.chance(0.9) { json!(random.below(NUMBER_MAX + 1)) } else { json!("many") };
            fields.insert("n".into(), number);
        }
        if random.chance(0.85) {
            let text = if random.chance(0.9) { json!(random.pick(&TEXTS)) } else { json!(7) };
            fields.insert("text".into(), text);
        }
        if random.chance(0.85) {
            let flag = if random.chance(0.9) { json!(random.chance(0.5)) } else { Value::Null };
            fields.insert("flag".into(), flag);
        }
        if random.chance(0.05) {
            fields.insert("ballast".into(), json!("x".repeat(random.between(1_000, 20_000) as usize)));
        }
        Value::Object(fields).to_string()
    }
}

fn run(random: &mut Random) -> Wish {
    let (action, params) = match random.pick_weighted(&[4, 6, 2, 1, 8, 5]) {
        5 => (format!("sim.{}", random.pick(&POSTS).map_or("post_ask", |(name, _)| name)), json!({ "n": random.below(NUMBER_MAX) })),
        4 => (format!("sim.{}", random.pick(&PROGRAMS).map_or("ask", |(name, _)| name)), json!({ "n": random.below(NUMBER_MAX) })),
        0 => ("core.echo".to_owned(), json!({ "message": random.below(NUMBER_MAX) })),
        1 => ("core.noop".to_owned(), json!({ "seconds": random.between(0, 5_000) as f64 / 1e3 })),
        2 => (format!("sim.again{}", random.below(TRIGGERS)), json!({ "n": random.below(NUMBER_MAX) })),
        _ => ("core.emit".to_owned(), json!({ "trigger": format!("sim.t{}", random.below(TRIGGERS + 1)), "payload": { "n": 2 } })),
    };
    Wish::Run { action, params: params.to_string() }
}

/// Draws a person's decision about an indeterminate execution.
pub(crate) fn settlement(random: &mut Random) -> Settlement {
    match random.below(3) {
        0 => Settlement::Succeeded,
        1 => Settlement::Failed { error: "it did not happen".to_owned() },
        _ => Settlement::Retry,
    }
}

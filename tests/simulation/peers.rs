//! The other sides of the pulling sensors: a tape, which is read by a cursor, and a queue, which delivers
//! again what was not settled. Each breaks connections, loses what it receives, and takes its time.
//!
//! Half of the worlds have them. Their plan is drawn separately from the rest of the world, so that a world
//! without them is the same with and without this file.

mod source;

pub(crate) use source::{NodePeers, PeerWorlds};

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::catalog::{Catalog, Sensor, Source};
use ensue_engine::engine::Engine;
use ensue_engine::names::SensorRef;
use ensue_engine::sensors::cursor::StoredCursor;
use tokio::sync::Notify;

use crate::ground::WorldGround;
use crate::random::Random;
use crate::sometimes;

/// Separates the random numbers of peers from the world's own.
const APART: u64 = 0x7065_6572_7065_6572;
/// The sensor that reads the tape.
pub(crate) const TAPE: &str = "sim.tape";
/// The sensor that reads the queue.
pub(crate) const QUEUE: &str = "sim.queue";
/// The most messages that the peers get in a world.
const MESSAGES_MAX: u64 = 120;
/// The most messages that cannot be read: fewer than a sensor refuses in a minute before it fails.
const POISON_MAX: u64 = 30;

/// What a message becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An event.
    Item,
    /// Two events.
    Pair,
    /// Nothing: no `emits` matches it.
    Passed,
    /// A dead letter.
    Poison,
}

impl Sort {
    fn as_str(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Pair => "pair",
            Self::Passed => "passed",
            Self::Poison => "poison",
        }
    }

    /// Returns how many events it makes.
    pub(crate) fn events(self) -> usize {
        match self {
            Self::Item => 1,
            Self::Pair => 2,
            Self::Passed | Self::Poison => 0,
        }
    }
}

/// A message of a peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerMessage {
    /// What it becomes.
    pub(crate) sort: Sort,
    /// Its bytes.
    pub(crate) body: String,
}

/// Where a message is: on a tape of a generation, or in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MessagePlace {
    /// On the tape of this generation, as the message of this number from 0.
    Tape(usize, usize),
    /// In the queue, as the message of this number from 0.
    Queue(usize),
}

impl MessagePlace {
    /// Returns the mark that its events carry.
    pub(crate) fn mark(self) -> String {
        match self {
            Self::Tape(generation, number) => format!("tape/{generation}/{number}"),
            Self::Queue(number) => format!("queue/{number}"),
        }
    }
}

/// How the peers of a world behave. Faults are probabilities per occasion.
#[derive(Debug)]
struct Habits {
    /// How many times per minute messages come.
    comes: f64,
    /// The longest duration of an answer of a peer, in microseconds.
    micros_max: u64,
    /// The peer cannot be reached.
    open_fails: f64,
    /// The connection breaks while messages are read.
    breaks: f64,
    /// The peer does not hear that messages are settled.
    settle_lost: f64,
    /// The peer hears it, and the connection breaks before the sensor knows.
    settle_unheard: f64,
    /// The queue delivers a message again that was settled.
    again: f64,
    /// A person disables, enables, restarts or rewinds a sensor, for each time a person looks.
    meddles: f64,
    /// The tape's sensor reads another tape in the next edition of the pack.
    other_tape: f64,
    /// The tape's sensor is not in the next edition of the pack.
    no_tape: f64,
}

impl Habits {
    fn draw(random: &mut Random) -> Self {
        let mut rare = |most: f64| if random.chance(0.5) { random.log_uniform(0.01, most) } else { 0.0 };
        Self {
            open_fails: rare(0.6),
            breaks: rare(0.3),
            settle_lost: rare(0.4),
            settle_unheard: rare(0.4),
            again: rare(0.5),
            meddles: rare(0.5),
            other_tape: rare(0.6),
            no_tape: rare(0.3),
            comes: random.log_uniform(1.0, 20.0),
            micros_max: random.log_uniform(1_000.0, 5e6) as u64,
        }
    }
}

/// The peers of a world.
pub(crate) struct Peers {
    ground: Arc<WorldGround>,
    /// `None` if the world has no peers.
    habits: Option<Habits>,
    inner: Mutex<Inner>,
    /// Tells sources that there may be something to read.
    told: Notify,
}

struct Inner {
    random: Random,
    /// The tapes by generation; the last is the one that grows.
    tapes: Vec<Vec<PeerMessage>>,
    /// The generation of the tape that each edition of the pack reads; none if it has no such sensor.
    editions: Vec<Option<usize>>,
    /// The messages of the queue.
    queued: Vec<PeerMessage>,
    /// What the queue delivers next, by number.
    waiting: VecDeque<usize>,
    /// What it has delivered and does not know to be settled.
    held: BTreeMap<usize, ()>,
    settled: Vec<(u64, MessagePlace)>,
    given: u64,
    poisons: u64,
}

impl Peers {
    /// Creates the peers of a world.
    pub(crate) fn new(seed: u64, ground: Arc<WorldGround>) -> Arc<Self> {
        let mut random = Random::new(seed ^ APART);
        let habits = random.chance(0.5).then(|| Habits::draw(&mut random));
        ground.trace("peers", format!("{habits:?}"));
        let inner = Inner {
            random,
            tapes: vec![Vec::new()],
            editions: Vec::new(),
            queued: Vec::new(),
            waiting: VecDeque::new(),
            held: BTreeMap::new(),
            settled: Vec::new(),
            given: 0,
            poisons: 0,
        };
        Arc::new(Self { ground, habits, inner: Mutex::new(inner), told: Notify::new() })
    }

    /// Returns true if the world has peers.
    pub(crate) fn are_there(&self) -> bool {
        self.habits.is_some()
    }

    /// Adds the sensors to the next edition of the pack.
    pub(crate) fn write(&self, packs: &Path) -> std::io::Result<()> {
        let Some(habits) = &self.habits else { return Ok(()) };
        let mut inner = self.lock();
        if !inner.editions.is_empty() && inner.random.chance(habits.other_tape) {
            inner.tapes.push(Vec::new());
        }
        let has_tape = inner.editions.is_empty() || !inner.random.chance(habits.no_tape);
        let generation = has_tape.then(|| inner.tapes.len() - 1);
        inner.editions.push(generation);
        drop(inner);
        let folder = packs.join("sim/sensors");
        let emits =
            "emits:\n  - { trigger: sim.t2, when: 'line.sort != \"passed\"' }\n  - { trigger: sim.t0, when: 'line.sort == \"pair\"' }\n";
        if let Some(generation) = generation {
            let process = format!("description: A tape.\nprocess: {{ command: [tape, \"{generation}\"] }}\n{emits}");
            std::fs::write(folder.join("tape.yaml"), process)?;
        }
        std::fs::write(folder.join("queue.yaml"), format!("description: A queue.\nprocess: {{ command: [queue] }}\n{emits}"))
    }

    /// Returns the microseconds until messages come, or `None` if none come any longer.
    pub(crate) fn until_next(&self) -> Option<u64> {
        let habits = self.habits.as_ref()?;
        let mut inner = self.lock();
        let is_over = inner.given >= MESSAGES_MAX || self.ground.is_healed();
        (!is_over).then(|| inner.random.until_next(habits.comes))
    }

    /// Gives messages to the peers.
    pub(crate) fn give(&self) {
        let Some(habits) = &self.habits else { return };
        let mut inner = self.lock();
        for _ in 0..inner.random.between(1, 8) {
            let sort = [Sort::Item, Sort::Pair, Sort::Passed, Sort::Poison][inner.random.pick_weighted(&[12, 3, 3, 2])];
            let sort = if sort == Sort::Poison && inner.poisons >= POISON_MAX { Sort::Item } else { sort };
            inner.given += 1;
            inner.poisons += u64::from(sort == Sort::Poison);
            let place = if inner.random.chance(0.5) {
                MessagePlace::Tape(inner.tapes.len() - 1, inner.tapes.last().map_or(0, Vec::len))
            } else {
                MessagePlace::Queue(inner.queued.len())
            };
            let said = PeerMessage { sort, body: body(sort, &place.mark(), &mut inner.random) };
            self.ground.trace("peers", format!("{} comes: {}", place.mark(), said.body));
            match place {
                MessagePlace::Tape(generation, _) => inner.tapes[generation].push(said),
                MessagePlace::Queue(number) => {
                    inner.queued.push(said);
                    inner.waiting.push_back(number);
                }
            }
        }
        if !inner.queued.is_empty() && self.ground.strikes(habits.again) {
            let end = inner.queued.len() as u64;
            let number = usize::try_from(inner.random.below(end)).unwrap_or(0);
            if !inner.waiting.contains(&number) && !inner.held.contains_key(&number) {
                sometimes!("a queue delivered a settled message again");
                inner.waiting.push_back(number);
            }
        }
        drop(inner);
        self.told.notify_waiters();
    }

    /// Draws whether a person does something to a sensor now.
    pub(crate) fn meddle(&self) -> Option<Random> {
        let habits = self.habits.as_ref()?;
        let strikes = self.ground.strikes(habits.meddles);
        strikes.then(|| self.lock().random.fork())
    }

    /// Returns true if nothing is left at the peers that a sensor of the log would read.
    pub(crate) fn are_drained(&self, engine: &Engine, catalog: &Catalog) -> bool {
        let inner = self.lock();
        engine.sensors().iter().all(|(_, pulling)| match catalog.sensors().get(&pulling.sensor).and_then(|sensor| generation_of(sensor)) {
            Some(generation) => read_of(pulling.cursor.as_ref()) >= inner.tapes.get(generation).map_or(0, Vec::len),
            None => inner.waiting.is_empty() && inner.held.is_empty(),
        })
    }

    /// Returns a message.
    pub(crate) fn message(&self, place: MessagePlace) -> Option<PeerMessage> {
        let inner = self.lock();
        match place {
            MessagePlace::Tape(generation, number) => inner.tapes.get(generation)?.get(number).cloned(),
            MessagePlace::Queue(number) => inner.queued.get(number).cloned(),
        }
    }

    /// Returns what sensors settled, and when.
    pub(crate) fn settled_messages(&self) -> Vec<(u64, MessagePlace)> {
        self.lock().settled.clone()
    }

    /// Returns the generation of the tape that an edition of the pack reads.
    pub(crate) fn generation(&self, edition: usize) -> Option<usize> {
        self.lock().editions.get(edition).copied().flatten()
    }

    /// Returns the number of messages of the queue.
    pub(crate) fn queue_length(&self) -> usize {
        self.lock().queued.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the generation of the tape that a sensor reads; none if it reads the queue.
fn generation_of(sensor: &Sensor) -> Option<usize> {
    match &sensor.source {
        Source::Process(process) => process.command.get(1).and_then(|generation| generation.parse().ok()),
        _ => None,
    }
}

/// Returns the number of messages before a cursor.
pub(crate) fn read_of(cursor: Option<&StoredCursor>) -> usize {
    match cursor.and_then(StoredCursor::short) {
        Some(cursor) => cursor.ok().and_then(|cursor| cursor.as_str().parse().ok()).unwrap_or(usize::MAX),
        None => 0,
    }
}

/// Returns the refs of the sensors that read the peers.
pub(crate) fn sensors() -> [SensorRef; 2] {
    [TAPE, QUEUE].map(|name| name.parse().expect("it is a ref"))
}

fn body(sort: Sort, mark: &str, random: &mut Random) -> String {
    if sort == Sort::Poison {
        return format!("?{mark}");
    }
    let number = random.below(crate::pack::NUMBER_MAX);
    let text = random.pick(&crate::pack::TEXTS).copied().unwrap_or_default();
    serde_json::json!({ "n": number, "text": text, "flag": random.chance(0.5), "mark": mark, "sort": sort.as_str() }).to_string()
}

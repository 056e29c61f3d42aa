//! The sources of the peers, behind the trait of connectors, and what they reach of the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::world::{
    self, ActionAnswer, ActionOrder, Actions, LineSink, Parts, Program, ProgramOrder, Programs, SourcePurpose, Web, WebAnswer, WebRequest,
};
use ensue_connectors::{
    Body, Connect, Guarantee, Lag, Message, MessageSource, Pending, PullOutcome, Room, SensorErrorKind, SourceError, Token, World,
};
use ensue_engine::catalog::Sensor;
use ensue_engine::names::{ConnectionName, KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_executor::Clock as _;
use ensue_expression::Document;
use ensue_node::parts::{SensorWorlds, SteppedClock};

use super::{Habits, MessagePlace, Peers, generation_of};
use crate::clock::WorkerClock;
use crate::life::Life;
use crate::sometimes;

/// The most messages that a peer gives at once.
const AT_ONCE_MAX: u64 = 12;
/// How often a queue is told that messages are worked on.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// Connects the sensors of a node to the peers.
pub(crate) struct NodePeers {
    pub(crate) peers: Arc<Peers>,
    pub(crate) life: Arc<Life>,
}

impl Connect for NodePeers {
    fn open(
        &self,
        sensor: Arc<Sensor>,
        world: Arc<World>,
        cursor: Option<Document>,
    ) -> Pending<'_, Result<Box<dyn MessageSource>, SourceError>> {
        Box::pin(async move {
            let peers = self.peers.clone();
            let Some(habits) = &peers.habits else { return Err(away("there is no peer")) };
            peers.takes_time(&world, habits).await;
            if peers.ground.strikes(habits.open_fails) {
                sometimes!("a peer of a sensor was away");
                return Err(away("the peer is away"));
            }
            let generation = generation_of(&sensor);
            let from = match cursor {
                Some(cursor) => {
                    serde_json::from_slice(cursor.bytes()).map_err(|_| SourceError::new(SensorErrorKind::Protocol, "no number"))?
                }
                None => 0,
            };
            if generation.is_none() {
                peers.take_back();
            }
            peers.ground.trace("peers", format!("{} is opened at {from}", sensor.name));
            let life = self.life.clone();
            Ok(Box::new(PeerSource { peers, world, life, generation, from, given: BTreeMap::new(), tokens: 0 }) as Box<dyn MessageSource>)
        })
    }
}

impl Peers {
    /// Gives everything that was delivered and not settled to the next reader of the queue.
    fn take_back(&self) {
        let mut inner = self.lock();
        let mut held: Vec<usize> = std::mem::take(&mut inner.held).into_keys().collect();
        sometimes!(!held.is_empty(), "a queue delivered again what was not settled");
        // In any order, and before or after what has come since.
        while !held.is_empty() {
            let place = inner.random.below(held.len() as u64) as usize;
            let number = held.swap_remove(place);
            if inner.random.chance(0.5) { inner.waiting.push_back(number) } else { inner.waiting.push_front(number) }
        }
    }

    async fn takes_time(&self, world: &World, habits: &Habits) {
        let micros = self.ground.random().log_uniform(100.0, habits.micros_max as f64) as u64;
        world.clock.sleep(Duration::from_micros(micros)).await;
    }

    /// Returns the next messages after those that were read from a tape, or from the queue.
    fn next(&self, generation: Option<usize>, from: usize, most: usize) -> Vec<(MessagePlace, String)> {
        let mut inner = self.lock();
        if let Some(generation) = generation {
            let tape = inner.tapes.get(generation).map(Vec::as_slice).unwrap_or_default();
            let next = tape.iter().enumerate().skip(from).take(most);
            return next.map(|(number, said)| (MessagePlace::Tape(generation, number), said.body.clone())).collect();
        }
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(number) = inner.waiting.pop_front()
        {
            inner.held.insert(number, ());
            taken.push((MessagePlace::Queue(number), inner.queued[number].body.clone()));
        }
        taken
    }

    fn settle(&self, place: MessagePlace) {
        let mut inner = self.lock();
        if let MessagePlace::Queue(number) = place {
            inner.held.remove(&number);
            inner.waiting.retain(|waiting| *waiting != number);
        }
        inner.settled.push((self.ground.now(), place));
    }
}

/// A source of the tape, or of the queue.
struct PeerSource {
    peers: Arc<Peers>,
    world: Arc<World>,
    life: Arc<Life>,
    generation: Option<usize>,
    /// How many messages of the tape were read.
    from: usize,
    given: BTreeMap<Token, MessagePlace>,
    tokens: u64,
}

impl PeerSource {
    fn message(&mut self, place: MessagePlace, body: String) -> Message {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.given.insert(token, place);
        let key = matches!(place, MessagePlace::Queue(_)).then(|| place.mark());
        Message { token, body: Body::Bytes(Bytes::from(body)), about: serde_json::Map::new(), key, time: None }
    }
}

impl MessageSource for PeerSource {
    fn guarantee(&self) -> Guarantee {
        if self.generation.is_some() { Guarantee::ExactByCursor } else { Guarantee::ExactByKey }
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(async move {
            let peers = self.peers.clone();
            let Some(habits) = &peers.habits else { return Ok(PullOutcome::Done) };
            loop {
                let told = peers.told.notified();
                if peers.ground.strikes(habits.breaks) {
                    sometimes!("the connection of a sensor broke");
                    return Err(away("the connection broke"));
                }
                let most = usize::try_from(peers.ground.random().between(1, AT_ONCE_MAX)).unwrap_or(1).min(room.messages);
                let taken = peers.next(self.generation, self.from, most);
                if !taken.is_empty() {
                    self.from += taken.len();
                    return Ok(PullOutcome::Messages(taken.into_iter().map(|(place, body)| self.message(place, body)).collect()));
                }
                told.await;
            }
        })
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        match self.given.get(&last)? {
            MessagePlace::Tape(_, number) => Some(Document::from_value(&serde_json::json!(number + 1))),
            MessagePlace::Queue(_) => None,
        }
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let done = done.to_vec();
        Box::pin(async move {
            let peers = self.peers.clone();
            let Some(habits) = &peers.habits else { return Ok(()) };
            peers.takes_time(&self.world, habits).await;
            // A dead node sends nothing.
            if self.life.is_over() || peers.ground.strikes(habits.settle_lost) {
                sometimes!("a peer did not hear that messages are settled");
                return Err(away("the connection broke while settling"));
            }
            for place in done.iter().filter_map(|token| self.given.remove(token)) {
                peers.settle(place);
            }
            if peers.ground.strikes(habits.settle_unheard) {
                return Err(away("the connection broke after settling"));
            }
            Ok(())
        })
    }

    fn keep_every(&self) -> Option<Duration> {
        self.generation.is_none().then_some(KEEP_EVERY)
    }

    fn lag(&self) -> Lag {
        Lag::Unknown
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn away(why: &str) -> SourceError {
    SourceError::new(SensorErrorKind::Connect, why)
}

/// What the sources of a node reach: its clocks, and nothing else.
pub(crate) struct PeerWorlds {
    pub(crate) clock: Arc<dyn SteppedClock>,
    pub(crate) worker: Arc<WorkerClock>,
}

impl SensorWorlds for PeerWorlds {
    fn world(&self, _: &SensorRef, seed: u64, lines: Arc<dyn LineSink>, parts: Arc<dyn Parts>) -> World {
        let clock = Arc::new(SourceClock { clock: self.clock.clone(), worker: self.worker.clone() });
        World {
            purpose: SourcePurpose::Run,
            seed,
            clock,
            web: Arc::new(Nowhere),
            programs: Arc::new(Nowhere),
            actions: Arc::new(Nowhere),
            keys: Arc::new(Nowhere),
            folders: Arc::default(),
            lines,
            parts,
        }
    }

    fn connections_with(&self, _: &KeyRef) -> Vec<ConnectionName> {
        Vec::new()
    }
}

struct SourceClock {
    clock: Arc<dyn SteppedClock>,
    worker: Arc<WorkerClock>,
}

impl world::Clock for SourceClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        self.worker.until(self.worker.now().saturating_add(long))
    }
}

/// The peers are in memory: nothing else can be reached.
struct Nowhere;

fn nowhere<T>() -> Result<T, SourceError> {
    Err(SourceError::new(SensorErrorKind::NotFound, "the peers are in memory"))
}

impl Web for Nowhere {
    fn fetch(&self, _: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl Actions for Nowhere {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl Programs for Nowhere {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        Box::pin(std::future::ready(nowhere()))
    }
}

impl world::Keys for Nowhere {
    fn open(&self, _: &KeyRef, _: &SensorRef) -> Result<Secret, SourceError> {
        nowhere()
    }

    fn listed_keys(&self, _: &PackName) -> Vec<KeyRef> {
        Vec::new()
    }

    fn lists_connection(&self, _: &PackName, _: &str) -> bool {
        false
    }
}

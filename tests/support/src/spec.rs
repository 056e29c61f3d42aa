//! The given / when / then test harness: scenarios over records, without a store, a clock or a thread.
//!
//! Tests of the core and of its neighbors use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use ensue_engine::batch::{BatchInputs, OfferOutcome, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::{Answer, Bodies, Command, DedupeEntry, DedupeKey, Moment, Refusal, SeenKeys, Settings};
use ensue_engine::effect::Effect;
use ensue_engine::engine::Engine;
use ensue_engine::fact::Fact;
use ensue_engine::health::state::OwedReaction;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest, Epoch, Head, Position, Record};
use ensue_engine::time::Timestamp;

use crate::NOON;

/// The maximum number of owed pieces that a scenario serves in one go. A scenario with more would never end.
const PIECES_MAX: usize = 1_000;

/// The core of a log, with the environment of a scenario.
#[derive(Debug)]
pub struct Spec {
    sequencing: Sequencing,
    world: World,
    records: Vec<Record>,
    effects: Vec<Effect>,
    now: Timestamp,
    moments: u128,
    /// The chain that was served last; the other chains come first.
    served: Option<Id>,
}

/// The environment of the core in a scenario.
#[derive(Clone, Debug, Default)]
struct World {
    catalogs: BTreeMap<CatalogRevision, Arc<Catalog>>,
    health: CatalogsHealth,
    seen: BTreeMap<DedupeKey, DedupeEntry>,
    /// The bodies that can be read from the log.
    bodies: BTreeMap<Digest, Bytes>,
    settings: Settings,
}

/// Whether the scenario's catalogs can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatalogsHealth {
    /// They can be used.
    #[default]
    Whole,
    /// Using them panics.
    Broken,
    /// None of them can be built.
    Gone,
}

impl Catalogs for World {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        match self.health {
            CatalogsHealth::Whole => self.catalogs.get(&revision).cloned(),
            CatalogsHealth::Broken => panic!("the scenario broke its catalogs"),
            CatalogsHealth::Gone => None,
        }
    }
}

impl SeenKeys for World {
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry> {
        self.seen.get(key).copied()
    }
}

impl Bodies for World {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        self.bodies.get(&body.digest).cloned()
    }
}

/// The result of a command in a scenario.
#[derive(Debug)]
pub struct Outcome {
    result: Result<Answer, Refusal>,
    records: Vec<Record>,
    effects: Vec<Effect>,
}

impl Default for Spec {
    fn default() -> Self {
        let log = LogId(Id::root(NOON, 1));
        Self {
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            world: World::default(),
            records: Vec::new(),
            effects: Vec::new(),
            now: NOON,
            moments: 0,
            served: None,
        }
    }
}

impl Spec {
    /// Adds a catalog to the environment. This does not install its revision; [`given`](Self::given) does.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        self.build(catalog);
        self
    }

    /// Replaces the operator's settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.set(settings);
        self
    }

    /// Carries out these commands first; none of them may be refused.
    #[must_use]
    #[track_caller]
    pub fn given_commands(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        for command in commands {
            let outcome = self.when(command);
            assert!(outcome.result.is_ok(), "a given command was refused: {:?}", outcome.result);
        }
        self
    }

    /// Adds another catalog to the environment, like [`with_catalog`](Self::with_catalog).
    pub fn build(&mut self, catalog: Catalog) {
        self.world.catalogs.insert(catalog.revision(), Arc::new(catalog));
    }

    /// Returns the operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// Replaces the operator's settings.
    pub fn set(&mut self, settings: Settings) {
        self.world.settings = settings;
    }

    /// Breaks or repairs the catalogs.
    pub fn set_catalogs(&mut self, health: CatalogsHealth) {
        self.world.health = health;
    }

    /// Advances the time.
    pub fn later(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Steps the clock, as if somebody set it. The log learns about it only by a command.
    pub fn step_clock(&mut self, to: Timestamp) {
        self.now = to;
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Offers a command, and commits its records, including the owed ones.
    pub fn when(&mut self, command: Command) -> Outcome {
        let mut outcome = self.turn(command);
        let rest = self.serve_all();
        outcome.records.extend(rest.records);
        outcome.effects.extend(rest.effects);
        outcome
    }

    /// Offers a command, and commits its own turn; owed reactions stay owed.
    #[allow(clippy::needless_pass_by_value, reason = "a scenario makes each command for one use")]
    pub fn turn(&mut self, command: Command) -> Outcome {
        let result = self.offer(&command);
        Outcome { result, ..self.commit() }
    }

    /// Computes and commits one owed piece, of the chain after the last one served. Returns `None` if nothing
    /// is owed.
    pub fn serve(&mut self) -> Option<Outcome> {
        let owed = self.sequencing.next_owed(self.served)?;
        self.served = Some(owed.root);
        let record = self.record_at(owed.of);
        let at = self.moment();
        loop {
            match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
                OfferOutcome::Taken { .. } => return Some(self.commit()),
                OfferOutcome::Needs(bodies) => self.fetch(&bodies),
                OfferOutcome::Refused(refusal) => panic!("an owed reaction was refused: {refusal}"),
            }
        }
    }

    /// Computes everything that is owed, piece by piece.
    #[track_caller]
    pub fn serve_all(&mut self) -> Outcome {
        let mut all = Outcome { result: Ok(Answer::Done), records: Vec::new(), effects: Vec::new() };
        for _ in 0..PIECES_MAX {
            let Some(piece) = self.serve() else { return all };
            all.records.extend(piece.records);
            all.effects.extend(piece.effects);
        }
        panic!("{PIECES_MAX} owed pieces were served, and still something is owed");
    }

    /// Parks the next owed piece, as a node does if it cannot fetch a body, and commits that.
    #[track_caller]
    pub fn park(&mut self, error: &str) -> Outcome {
        let owed: OwedReaction = self.sequencing.next_owed(self.served).expect("something is owed");
        let record = self.record_at(owed.of);
        let at = self.moment();
        self.sequencing.park(&record, owed, error.to_owned(), &at, &self.world.beside());
        self.commit()
    }

    /// Offers a command to the current batch, without committing.
    pub fn offer(&mut self, command: &Command) -> Result<Answer, Refusal> {
        let at = self.moment();
        loop {
            match self.sequencing.offer(command, &at, &self.world.beside()) {
                OfferOutcome::Taken { answer, .. } => return Ok(answer),
                OfferOutcome::Refused(refusal) => return Err(refusal),
                OfferOutcome::Needs(bodies) => self.fetch(&bodies),
            }
        }
    }

    /// Commits the current batch.
    pub fn commit(&mut self) -> Outcome {
        for (key, seen) in &self.sequencing.batch().seen {
            self.world.seen.insert(key.clone(), *seen);
        }
        let committed = self.sequencing.mark_committed();
        let bodies = committed.records.iter().filter_map(|record| record.body.as_ref());
        self.world.bodies.extend(bodies.filter_map(|body| Some((body.digest, body.content.clone()?))));
        self.records.extend(committed.records.iter().cloned());
        self.effects.extend(committed.effects.iter().cloned());
        Outcome { result: Ok(Answer::Done), records: committed.records, effects: committed.effects }
    }

    /// Undoes the current batch, as if the store had refused it.
    pub fn undo(&mut self) {
        self.sequencing.undo();
    }

    /// Returns all records so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns all effects so far.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Returns the core's state.
    pub fn engine(&self) -> &Engine {
        self.sequencing.engine()
    }

    /// Returns the newest position and the chain's hash there.
    pub fn head(&self) -> Head {
        self.sequencing.committed_head()
    }

    /// Saves and restores the state, as a restart does; what was not committed is lost.
    #[track_caller]
    pub fn restart(&mut self) {
        self.sequencing.undo();
        let engine = self.engine();
        let loaded = Engine::load(engine.log(), &engine.save()).expect("a state that was just saved loads");
        self.sequencing = Sequencing::new(loaded, self.head(), self.sequencing.epoch().next());
    }

    /// Fetches bodies from the log, as a node does between two batches.
    #[track_caller]
    fn fetch(&mut self, bodies: &[BodyHandle]) {
        for handle in bodies {
            let body = self.record_at(handle.at).body.filter(|body| body.digest == handle.digest);
            let content = body.and_then(|body| body.content).expect("a body that is needed is in the log");
            self.world.bodies.insert(handle.digest, content);
        }
    }

    #[track_caller]
    fn record_at(&self, position: Position) -> Record {
        // Positions have no gaps.
        let place = usize::try_from(position.0).ok().and_then(|position| position.checked_sub(1));
        let found = place.and_then(|place| self.records.get(place));
        found.cloned().expect("the log has the record of each owed reaction")
    }

    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { time: self.now, entropy: self.moments }
    }
}

impl World {
    fn beside(&self) -> BatchInputs<'_> {
        BatchInputs { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }
}

impl Outcome {
    /// Asserts that exactly these kinds of fact were recorded, in this order.
    #[track_caller]
    pub fn then(self, kinds: &[&str]) -> Self {
        assert_eq!(self.result.as_ref().err(), None, "the command was refused");
        assert_eq!(self.kinds(), kinds);
        self
    }

    /// Asserts that the command was refused for this reason, and that nothing was recorded.
    #[track_caller]
    pub fn then_refused(self, refusal: &Refusal) -> Self {
        assert_eq!(self.result.as_ref().err(), Some(refusal));
        assert!(self.records.is_empty(), "a refused command recorded {:?}", self.records);
        self
    }

    /// Returns the answer to the caller, or the refusal.
    pub fn result(&self) -> &Result<Answer, Refusal> {
        &self.result
    }

    /// Returns the answer to the caller.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        self.result.clone().expect("the command was taken")
    }

    /// Returns the kinds of the facts that were recorded.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.records.iter().map(Record::kind).collect()
    }

    /// Returns the facts that were recorded.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.records.iter().map(|record| &record.fact)
    }

    /// Returns the records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the effects.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }
}

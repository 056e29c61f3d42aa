//! The given / when / then harness: scenarios over records, without a store, a clock or a thread.
//!
//! It is for tests of the core and of whoever stands beside it, and rehearsals of packs go by it. Nothing of a running node uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Beside, Offered, Sequencing};
use crate::catalog::{Catalog, Catalogs};
use crate::command::{Answer, Bodies, Command, DedupeKey, Moment, Refusal, Seen, SeenKeys, Settings};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::Fact;
use crate::health::state::Owed;
use crate::ids::{Id, LogId};
use crate::record::{BodyHandle, CatalogRevision, Digest, Epoch, Head, Position, Record};
use crate::time::Timestamp;

/// 28 March 2026, noon in UTC: when scenarios begin.
pub const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

/// The most owed pieces that a scenario serves at once: more do not come to an end.
const PIECES_MAX: usize = 1_000;

/// A log's core with the world that a scenario gives it.
#[derive(Debug)]
pub struct Spec {
    sequencing: Sequencing,
    world: World,
    records: Vec<Record>,
    effects: Vec<Effect>,
    now: Timestamp,
    moments: u128,
    /// The chain that was served last: the others come before it.
    served: Option<Id>,
}

/// What stands beside the core in a scenario.
#[derive(Clone, Debug, Default)]
struct World {
    catalogs: BTreeMap<CatalogRevision, Arc<Catalog>>,
    health: CatalogsHealth,
    seen: BTreeMap<DedupeKey, Seen>,
    /// What can be read in the log.
    bodies: BTreeMap<Digest, Bytes>,
    settings: Settings,
}

/// Whether the scenario's catalogs can be looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatalogsHealth {
    /// They can.
    #[default]
    Whole,
    /// Looking into them meets a bug: a panic.
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
    fn seen(&self, key: &DedupeKey) -> Option<Seen> {
        self.seen.get(key).copied()
    }
}

impl Bodies for World {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        self.bodies.get(&body.digest).cloned()
    }
}

/// What a command led to in a scenario.
#[derive(Debug)]
pub struct Outcome {
    told: Result<Answer, Refusal>,
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
    /// Gives the world a catalog; the newest revision is not installed by that, [`given`](Self::given) does.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        self.build(catalog);
        self
    }

    /// Sets what the operator sets.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.set(settings);
        self
    }

    /// Brings the log to where these commands led it; each must be taken.
    #[must_use]
    #[track_caller]
    pub fn given(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        for command in commands {
            let outcome = self.when(command);
            assert!(outcome.told.is_ok(), "a given command was refused: {:?}", outcome.told);
        }
        self
    }

    /// Gives the world another catalog, as [`with_catalog`](Self::with_catalog) does.
    pub fn build(&mut self, catalog: Catalog) {
        self.world.catalogs.insert(catalog.revision(), Arc::new(catalog));
    }

    /// Gives what the operator set.
    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// Sets anew what the operator sets.
    pub fn set(&mut self, settings: Settings) {
        self.world.settings = settings;
    }

    /// Breaks the catalogs, or mends them.
    pub fn set_catalogs(&mut self, health: CatalogsHealth) {
        self.world.health = health;
    }

    /// Lets time pass.
    pub fn later(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Steps the clock, as when somebody sets it; the log hears of it by a command.
    pub fn step_clock(&mut self, to: Timestamp) {
        self.now = to;
    }

    /// Gives the time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Offers a command, and commits what it leads to, what is owed included.
    pub fn when(&mut self, command: Command) -> Outcome {
        let mut outcome = self.turn(command);
        let rest = self.serve_all();
        outcome.records.extend(rest.records);
        outcome.effects.extend(rest.effects);
        outcome
    }

    /// Offers a command, and commits its own turn; what is owed stays owed.
    #[allow(clippy::needless_pass_by_value, reason = "a scenario makes each command for one use")]
    pub fn turn(&mut self, command: Command) -> Outcome {
        let told = self.offer(&command);
        Outcome { told, ..self.commit() }
    }

    /// Works out one owed piece, the next chain's after the one before, and commits it; none where nothing is owed.
    pub fn serve(&mut self) -> Option<Outcome> {
        let owed = self.sequencing.next_owed(self.served)?;
        self.served = Some(owed.root);
        let record = self.record_at(owed.of);
        let at = self.moment();
        loop {
            match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
                Offered::Taken { .. } => return Some(self.commit()),
                Offered::Needs(bodies) => self.fetch(&bodies),
                Offered::Refused(refusal) => panic!("an owed reaction was refused: {refusal}"),
            }
        }
    }

    /// Works out all that is owed, piece by piece.
    #[track_caller]
    pub fn serve_all(&mut self) -> Outcome {
        let mut all = Outcome { told: Ok(Answer::Done), records: Vec::new(), effects: Vec::new() };
        for _ in 0..PIECES_MAX {
            let Some(piece) = self.serve() else { return all };
            all.records.extend(piece.records);
            all.effects.extend(piece.effects);
        }
        panic!("{PIECES_MAX} owed pieces were served, and still something is owed");
    }

    /// Puts the next owed piece aside, as a node does that cannot fetch what it needs, and commits that.
    #[track_caller]
    pub fn park(&mut self, error: &str) -> Outcome {
        let owed: Owed = self.sequencing.next_owed(self.served).expect("something is owed");
        let record = self.record_at(owed.of);
        let at = self.moment();
        self.sequencing.park(&record, owed, error.to_owned(), &at, &self.world.beside());
        self.commit()
    }

    /// Offers a command to the batch that is being made, and commits nothing.
    pub fn offer(&mut self, command: &Command) -> Result<Answer, Refusal> {
        let at = self.moment();
        loop {
            match self.sequencing.offer(command, &at, &self.world.beside()) {
                Offered::Taken { answer, .. } => return Ok(answer),
                Offered::Refused(refusal) => return Err(refusal),
                Offered::Needs(bodies) => self.fetch(&bodies),
            }
        }
    }

    /// Commits the batch that is being made.
    pub fn commit(&mut self) -> Outcome {
        for (key, seen) in &self.sequencing.batch().seen {
            self.world.seen.insert(key.clone(), *seen);
        }
        let committed = self.sequencing.committed();
        let bodies = committed.records.iter().filter_map(|record| record.body.as_ref());
        self.world.bodies.extend(bodies.filter_map(|body| Some((body.digest, body.content.clone()?))));
        self.records.extend(committed.records.iter().cloned());
        self.effects.extend(committed.effects.iter().cloned());
        Outcome { told: Ok(Answer::Done), records: committed.records, effects: committed.effects }
    }

    /// Takes the batch that is being made back, as when the store refused it.
    pub fn undo(&mut self) {
        self.sequencing.undo();
    }

    /// Gives all records so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Gives all effects so far.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Gives the core's state.
    pub fn engine(&self) -> &Engine {
        self.sequencing.engine()
    }

    /// Gives the newest position and the chain's hash there.
    pub fn head(&self) -> Head {
        self.sequencing.committed_head()
    }

    /// Replaces the state by one that was saved, as a restart does; what was not committed is gone.
    #[track_caller]
    pub fn restart(&mut self) {
        self.sequencing.undo();
        let engine = self.engine();
        let loaded = Engine::load(engine.log(), &engine.save()).expect("a state that was just saved loads");
        self.sequencing = Sequencing::new(loaded, self.head(), self.sequencing.epoch().next());
    }

    /// Fetches bodies out of the log, as a node does between two batches.
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
        // Positions have no gap.
        let place = usize::try_from(position.0).ok().and_then(|position| position.checked_sub(1));
        let found = place.and_then(|place| self.records.get(place));
        found.cloned().expect("what is owed is owed to a record of the log")
    }

    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { time: self.now, entropy: self.moments }
    }
}

impl World {
    fn beside(&self) -> Beside<'_> {
        Beside { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }
}

impl Outcome {
    /// Demands that these kinds of fact were recorded, in this order, and nothing else.
    #[track_caller]
    pub fn then(self, kinds: &[&str]) -> Self {
        assert_eq!(self.told.as_ref().err(), None, "the command was refused");
        assert_eq!(self.kinds(), kinds);
        self
    }

    /// Demands that the command was refused so, and that nothing was recorded.
    #[track_caller]
    pub fn then_refused(self, refusal: &Refusal) -> Self {
        assert_eq!(self.told.as_ref().err(), Some(refusal));
        assert!(self.records.is_empty(), "a refused command recorded {:?}", self.records);
        self
    }

    /// Gives what the caller is told, or why not.
    pub fn told(&self) -> &Result<Answer, Refusal> {
        &self.told
    }

    /// Gives what the caller is told.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        self.told.clone().expect("the command was taken")
    }

    /// Gives the kinds of the facts that were recorded.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.records.iter().map(Record::kind).collect()
    }

    /// Gives the facts that were recorded.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.records.iter().map(|record| &record.fact)
    }

    /// Gives the records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Gives the effects.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }
}

//! The given / when / then harness: scenarios over records, without a store, a clock or a thread.
//!
//! It is for tests of the core and of whoever stands beside it. Nothing of a running node uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Beside, Offered, Sequencing};
use crate::catalog::{Catalog, Catalogs};
use crate::command::{Answer, Bodies, Command, DedupeKey, Moment, Refusal, Seen, SeenKeys, Settings};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::Fact;
use crate::ids::{Id, LogId};
use crate::record::{CatalogRevision, Digest, Epoch, Head, Record};
use crate::time::Timestamp;

/// 28 March 2026, noon in UTC: when scenarios begin.
pub const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

/// A log's core with the world that a scenario gives it.
#[derive(Debug)]
pub struct Spec {
    sequencing: Sequencing,
    world: World,
    records: Vec<Record>,
    effects: Vec<Effect>,
    now: Timestamp,
    commands: u128,
}

/// What stands beside the core in a scenario.
#[derive(Clone, Debug, Default)]
struct World {
    catalogs: BTreeMap<CatalogRevision, Arc<Catalog>>,
    seen: BTreeMap<DedupeKey, Seen>,
    bodies: BTreeMap<Digest, Bytes>,
    settings: Settings,
}

impl Catalogs for World {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        self.catalogs.get(&revision).cloned()
    }
}

impl SeenKeys for World {
    fn seen(&self, key: &DedupeKey) -> Option<Seen> {
        self.seen.get(key).copied()
    }
}

impl Bodies for World {
    fn plain(&self, digest: &Digest) -> Option<Bytes> {
        self.bodies.get(digest).cloned()
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
            commands: 0,
        }
    }
}

impl Spec {
    /// Gives the world a catalog; the newest revision is not installed by that, [`given`](Self::given) does.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        self.world.catalogs.insert(catalog.revision(), Arc::new(catalog));
        self
    }

    /// Sets what the operator sets.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.world.settings = settings;
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

    /// Lets time pass.
    pub fn later(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Offers a command, and commits what it leads to, what is owed included.
    pub fn when(&mut self, command: Command) -> Outcome {
        let at = self.moment();
        let told = match self.sequencing.offer(&command, &at, &self.world.beside()) {
            Offered::Taken { answer, .. } => Ok(answer),
            Offered::Refused(refusal) => Err(refusal),
            Offered::Needs(digests) => panic!("a scenario has no bodies to fetch: {digests:?}"),
        };
        let (mut records, mut effects) = self.commit();
        while let Some(owed) = self.sequencing.next_owed(None) {
            let record = self.record_at(owed.of.0);
            let at = self.moment();
            match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
                Offered::Taken { .. } => {}
                other => panic!("an owed reaction was not served: {other:?}"),
            }
            let (more_records, more_effects) = self.commit();
            records.extend(more_records);
            effects.extend(more_effects);
        }
        Outcome { told, records, effects }
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

    /// Replaces the state by one that was saved, as a restart does.
    #[track_caller]
    pub fn restart(&mut self) {
        let engine = self.engine();
        let loaded = Engine::load(engine.log(), &engine.save()).expect("a state that was just saved loads");
        let head = self.sequencing.committed_head();
        self.sequencing = Sequencing::new(loaded, head, self.sequencing.epoch().next());
    }

    fn commit(&mut self) -> (Vec<Record>, Vec<Effect>) {
        for (key, seen) in &self.sequencing.batch().seen {
            self.world.seen.insert(key.clone(), *seen);
        }
        let committed = self.sequencing.committed();
        for body in committed.records.iter().filter_map(|record| record.body.as_ref()) {
            if let Some(content) = &body.content {
                self.world.bodies.insert(body.digest, content.clone());
            }
        }
        self.records.extend(committed.records.iter().cloned());
        self.effects.extend(committed.effects.iter().cloned());
        (committed.records, committed.effects)
    }

    #[track_caller]
    fn record_at(&self, position: u64) -> Record {
        let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        index.and_then(|index| self.records.get(index)).cloned().expect("what is owed is owed to a record of the log")
    }

    fn moment(&mut self) -> Moment {
        self.commands += 1;
        Moment { time: self.now, entropy: self.commands }
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
        let recorded: Vec<&str> = self.records.iter().map(Record::kind).collect();
        assert_eq!(self.told.as_ref().err(), None, "the command was refused");
        assert_eq!(recorded, kinds);
        self
    }

    /// Demands that the command was refused so, and that nothing was recorded.
    #[track_caller]
    pub fn then_refused(self, refusal: &Refusal) -> Self {
        assert_eq!(self.told.as_ref().err(), Some(refusal));
        assert!(self.records.is_empty(), "a refused command recorded {:?}", self.records);
        self
    }

    /// Gives what the caller is told.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        self.told.clone().expect("the command was taken")
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

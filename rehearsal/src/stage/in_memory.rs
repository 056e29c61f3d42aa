//! The core in memory: it commits each command at once, without a store, a clock or a thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::batch::{BatchInputs, CommittedBatch, OfferOutcome, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::{Answer, Bodies, Command, DedupeEntry, DedupeKey, Moment, Refusal, SeenKeys, Settings};
use ensue_engine::engine::Engine;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest, Epoch, Head, Position, Record};
use ensue_engine::time::Timestamp;

/// 28 March 2026, noon in UTC: the time at which a rehearsal begins.
const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

/// The core of a log, with everything that it asks for.
pub(super) struct Core {
    sequencing: Sequencing,
    world: StageWorld,
    records: Vec<Record>,
    now: Timestamp,
    moments: u128,
    /// The chain that was served last; the other chains come first.
    served: Option<Id>,
}

/// What the core asks for.
struct StageWorld {
    catalog: Arc<Catalog>,
    seen: BTreeMap<DedupeKey, DedupeEntry>,
    /// The bodies that can be read from the log.
    bodies: BTreeMap<Digest, Bytes>,
    settings: Settings,
}

impl Catalogs for StageWorld {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (self.catalog.revision() == revision).then(|| self.catalog.clone())
    }
}

impl SeenKeys for StageWorld {
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry> {
        self.seen.get(key).copied()
    }
}

impl Bodies for StageWorld {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        self.bodies.get(&body.digest).cloned()
    }
}

impl StageWorld {
    fn beside(&self) -> BatchInputs<'_> {
        BatchInputs { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }
}

impl Core {
    /// Creates the core of an empty log. The catalog is known, but nothing is installed.
    pub(super) fn new(catalog: Catalog, settings: Settings) -> Self {
        let log = LogId(Id::root(NOON, 1));
        Self {
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            world: StageWorld { catalog: Arc::new(catalog), seen: BTreeMap::new(), bodies: BTreeMap::new(), settings },
            records: Vec::new(),
            now: NOON,
            moments: 0,
            served: None,
        }
    }

    /// Returns the core's state.
    pub(super) fn engine(&self) -> &Engine {
        self.sequencing.engine()
    }

    /// Returns all records so far.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the clock.
    pub(super) fn step_clock(&mut self, to: Timestamp) {
        self.now = to;
    }

    /// Offers a command, and commits its own turn; owed reactions stay owed.
    pub(super) fn turn(&mut self, command: &Command) -> (Result<Answer, Refusal>, CommittedBatch) {
        let at = self.moment();
        let told = loop {
            match self.sequencing.offer(command, &at, &self.world.beside()) {
                OfferOutcome::Taken { answer, .. } => break Ok(answer),
                OfferOutcome::Refused(refusal) => break Err(refusal),
                OfferOutcome::Needs(bodies) => self.fetch(&bodies),
            }
        };
        (told, self.commit())
    }

    /// Computes and commits one owed piece, of the chain after the last one served. Returns `None` if nothing
    /// is owed.
    pub(super) fn serve(&mut self) -> Option<CommittedBatch> {
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

    fn commit(&mut self) -> CommittedBatch {
        for (key, seen) in &self.sequencing.batch().seen {
            self.world.seen.insert(key.clone(), *seen);
        }
        let committed = self.sequencing.mark_committed();
        let bodies = committed.records.iter().filter_map(|record| record.body.as_ref());
        self.world.bodies.extend(bodies.filter_map(|body| Some((body.digest, body.content.clone()?))));
        self.records.extend(committed.records.iter().cloned());
        committed
    }

    /// Fetches bodies from the log, as a node does between two batches.
    fn fetch(&mut self, bodies: &[BodyHandle]) {
        for handle in bodies {
            let body = self.record_at(handle.at).body.filter(|body| body.digest == handle.digest);
            let content = body.and_then(|body| body.content).expect("a body that is needed is in the log");
            self.world.bodies.insert(handle.digest, content);
        }
    }

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

//! Records as an engine would make them: in order, with their chain, and together with every part that a
//! record can have.

use std::collections::BTreeMap;

use bytes::Bytes;
use ensue_engine::access::facts::KeySet;
use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id, LogId, Role};
use ensue_engine::ports::{AppendError, Batch, Log, LogReader, ReadLimit};
use ensue_engine::record::{Actor, Body, CatalogRevision, Cause, Chain, Digest, Epoch, Head, Position, Record, Revision, StreamId};

use crate::NOON;

/// The log of these tests.
pub const LOG: LogId = LogId(Id::from_bytes([0x01, 0x9D, 0x34, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]));

/// Another one.
pub const OTHER_LOG: LogId = LogId(Id::from_bytes([0x01, 0x9D, 0x34, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 2]));

/// A day, in milliseconds.
pub const DAY: u64 = 24 * 60 * 60 * 1000;

/// The content of a record to be made.
#[derive(Clone)]
pub struct Sketch {
    /// Its stream.
    pub stream: StreamId,
    /// Its id, if it begins something.
    pub begins: Option<Id>,
    /// Its actor.
    pub actor: Actor,
    /// Its cause; a new chain by default.
    pub cause: Option<Cause>,
    /// Its fact.
    pub fact: Fact,
    /// Its body.
    pub body: Option<Body>,
}

impl Sketch {
    /// Adds a body.
    #[must_use]
    pub fn with_body(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Replaces the actor.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// Sets the cause.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// Returns the id of event `number`.
pub fn event_id(number: u64) -> EventId {
    EventId(Id::root(NOON, u128::from(number)))
}

/// Sketches event `number`.
pub fn event(number: u64) -> Sketch {
    let fact = EventReceived {
        rule: None,
        trigger: "github.push".parse().unwrap(),
        version: TriggerVersion::FIRST,
        source: "github.webhook".to_owned(),
        sensor: Some("github.webhook".parse().unwrap()),
        occurred_at: NOON.plus_millis(number),
        catalog: CatalogRevision(3),
        undecided: 0,
        matched: 1,
        erred: 0,
        again: Vec::new(),
        dedupe: Some(Digest::of(&number.to_le_bytes())),
        internal_above: std::collections::BTreeSet::new(),
    };
    Sketch {
        stream: StreamId::Event(event_id(number)),
        begins: Some(event_id(number).0),
        actor: Actor::Sensor("github.webhook".parse().unwrap()),
        cause: None,
        fact: fact.into(),
        body: None,
    }
}

/// Sketches one more version of a key: the next record of one stream.
pub fn key_set(name: &str, version: u32) -> Sketch {
    let key: ensue_engine::names::KeyRef = name.parse().unwrap();
    Sketch {
        stream: StreamId::Key(key.clone()),
        begins: None,
        actor: Actor::Token("ada".to_owned()),
        cause: None,
        fact: KeySet { key, version }.into(),
        body: None,
    }
}

/// A stream to which nothing here writes.
pub fn strange_stream() -> StreamId {
    StreamId::Execution(ExecutionId(Id::root(NOON, u128::MAX)))
}

/// Writes to one log as a sequencer does. It knows the head and the revisions of the streams.
pub struct Writer {
    log: LogId,
    epoch: Epoch,
    head: Head,
    streams: BTreeMap<StreamId, Revision>,
    batches: u128,
}

impl Writer {
    /// Continues at the head of a log.
    pub fn of(log: &dyn Log) -> Self {
        let mut writer = Self { log: log.id(), epoch: log.epoch(), head: log.head().unwrap(), streams: BTreeMap::new(), batches: 0 };
        for record in read_all(&*log.reader().unwrap()) {
            writer.streams.insert(record.stream, record.revision);
        }
        writer
    }

    /// Continues after known records, under the epoch of a log that holds them.
    pub fn behind(log: &dyn Log, records: &[Record]) -> Self {
        let mut writer = Self { log: log.id(), epoch: log.epoch(), head: Head::default(), streams: BTreeMap::new(), batches: 0 };
        for record in records {
            writer.streams.insert(record.stream.clone(), record.revision);
            writer.head = Head { position: record.position, chain: record.chain };
        }
        writer
    }

    /// Returns the position and the chain of the newest record that was stored.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the epoch under which it writes.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Makes the next batch without noting it.
    pub fn batch(&mut self, sketches: impl IntoIterator<Item = Sketch>) -> Batch {
        self.batches += 1;
        let id = Id::root(NOON, u128::from(self.head.position.0) << 40 | u128::from(self.epoch.0) << 20 | self.batches);
        let (mut head, mut streams) = (self.head, self.streams.clone());
        let records = sketches.into_iter().map(|sketch| {
            let revision = streams.entry(sketch.stream.clone()).or_default();
            *revision = revision.next();
            let record = self.record(sketch, *revision, head, id);
            head = Head { position: record.position, chain: record.chain };
            record
        });
        Batch { id: Some(id), records: records.collect(), seen: Vec::new() }
    }

    fn record(&self, sketch: Sketch, revision: Revision, head: Head, batch: Id) -> Record {
        let position = head.position.next();
        let thing = Id::root(NOON, u128::from_le_bytes(first_16(&sketch.stream.to_string())));
        let id = sketch.begins.unwrap_or_else(|| Id::derive(self.log, thing, Role::Revision(revision.0)));
        let record = Record {
            position,
            log: self.log,
            epoch: self.epoch,
            batch,
            stream: sketch.stream,
            revision,
            schema: sketch.fact.schema(),
            id,
            time: NOON.plus_millis(position.0),
            actor: sketch.actor,
            cause: sketch.cause.unwrap_or_else(|| Cause::root(id, None)),
            fact_json: sketch.fact.to_json().unwrap(),
            fact: sketch.fact,
            body: sketch.body,
            chain: Chain::default(),
        };
        Record { chain: head.chain.over(&record), ..record }
    }

    /// Notes that a batch was stored.
    pub fn note_stored(&mut self, batch: &Batch) {
        for record in &batch.records {
            self.streams.insert(record.stream.clone(), record.revision);
            self.head = Head { position: record.position, chain: record.chain };
        }
    }

    /// Appends a batch, and notes it if it was stored.
    pub fn write(&mut self, log: &mut dyn Log, batch: &Batch) -> Result<Position, AppendError> {
        let position = log.append(batch, self.head.position, self.epoch)?;
        self.note_stored(batch);
        Ok(position)
    }

    /// Appends the next `count` events as one batch.
    pub fn append(&mut self, log: &mut dyn Log, count: u64) -> Result<Position, AppendError> {
        let next = self.head.position.0 + 1;
        let batch = self.batch((next..next + count).map(event));
        self.write(log, &batch)
    }
}

/// Recomputes the chain after records were changed by hand, so that only the change is wrong.
pub fn reseal(batch: &mut Batch, head: Head) {
    let mut chain = head.chain;
    for record in &mut batch.records {
        record.chain = chain.over(record);
        chain = record.chain;
    }
}

/// Returns a dedupe key.
pub fn dedupe_key(scope: &str, number: u64) -> DedupeKey {
    DedupeKey { scope: scope.to_owned(), hash: Digest::of(&number.to_le_bytes()) }
}

/// Returns where event `number` was seen, valid until so many milliseconds after noon.
pub fn seen_at(number: u64, for_millis: u64) -> DedupeEntry {
    DedupeEntry {
        position: Position(number),
        event: event_id(number),
        content: Digest::of(format!("content {number}").as_bytes()),
        until: NOON.plus_millis(for_millis),
    }
}

/// Reads a whole log at once.
pub fn read_all(reader: &dyn LogReader) -> Vec<Record> {
    reader.read(Position(0), EVERYTHING).unwrap()
}

/// A limit that these tests never reach.
pub const EVERYTHING: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// Returns JSON of about this many bytes, which compresses as well as that of webhooks.
pub fn long_json(bytes: usize) -> Bytes {
    let items: Vec<String> =
        (0..=bytes / 80).map(|i| format!("{{\"number\":{i},\"digest\":\"{}\"}}", Digest::of(&i.to_le_bytes()))).collect();
    Bytes::from(format!("[{}]", items.join(",")))
}

fn first_16(text: &str) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
    first
}

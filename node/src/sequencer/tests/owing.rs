//! A batch whose consequences are owed.

use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::ReactionDeferred;
use ensue_engine::ids::EventId;
use ensue_engine::ports::Batch;
use ensue_engine::record::{Cause, Epoch, Revision, StreamId};

use super::*;

/// Returns a batch with the event, and with a note that its consequences are owed.
pub(super) fn owing(log: LogId, epoch: Epoch) -> Batch {
    let event = EventId(Id::root(NOON, 7));
    let received = EventReceived {
        trigger: "demo.hello".parse().unwrap(),
        version: TriggerVersion::FIRST,
        source: "api".into(),
        sensor: None,
        rule: None,
        occurred_at: NOON,
        catalog: CatalogRevision(1),
        undecided: 0,
        matched: 1,
        erred: 0,
        again: Vec::new(),
        dedupe: None,
        internal_above: std::collections::BTreeSet::new(),
    };
    let batch = Id::root(NOON, 8);
    let mut head = Head::default();
    let mut record = |stream: StreamId, id: Id, fact: Fact, body: Option<Body>| {
        let fact_json = fact.to_json().unwrap();
        let mut record = Record {
            position: head.position.next(),
            log,
            epoch,
            batch,
            stream,
            revision: Revision(1),
            schema: fact.schema(),
            id,
            time: NOON,
            actor: Actor::Engine,
            cause: Cause::root(event.0, None),
            fact,
            fact_json,
            body,
            chain: head.chain,
        };
        record.chain = head.chain.over(&record);
        head = Head { position: record.position, chain: record.chain };
        record
    };
    let received = record(StreamId::Event(event), event.0, received.into(), Some(Body::json(r#"{"name":"ana"}"#)));
    let deferred = ReactionDeferred { of: received.position, next: 0 };
    let deferred = record(StreamId::Log(log), Id::root(NOON, 9), deferred.into(), None);
    Batch { id: Some(batch), records: vec![received, deferred], seen: Vec::new() }
}

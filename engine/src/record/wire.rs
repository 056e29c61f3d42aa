//! The only JSON form of a record, shown by the API and `ensue log`.
//!
//! It is a view of a record; a log stores records in another form.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ids::{Id, LogId};
use crate::record::{Chain, Digest, Encoding, Epoch, Position, Record, Revision};
use crate::time::Timestamp;

/// A record as JSON.
#[derive(Serialize)]
pub struct WireRecord<'a> {
    position: Position,
    log: LogId,
    epoch: Epoch,
    batch: Id,
    stream: String,
    revision: Revision,
    kind: &'static str,
    schema: u16,
    id: Id,
    time: Timestamp,
    actor: String,
    cause: WireCause<'a>,
    fact: &'a RawValue,
    body: Option<WireBody<'a>>,
    chain: Chain,
}

#[derive(Serialize)]
struct WireCause<'a> {
    parent: Option<Id>,
    root: Id,
    depth: u32,
    trace: Option<&'a str>,
}

#[derive(Serialize)]
struct WireBody<'a> {
    digest: Digest,
    bytes: u64,
    encoding: Encoding,
    key: Option<&'a str>,
}

impl<'a> From<&'a Record> for WireRecord<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            position: record.position,
            log: record.log,
            epoch: record.epoch,
            batch: record.batch,
            stream: record.stream.to_string(),
            revision: record.revision,
            kind: record.kind(),
            schema: record.schema,
            id: record.id,
            time: record.time,
            actor: record.actor.to_string(),
            cause: WireCause {
                parent: record.cause.parent,
                root: record.cause.root,
                depth: record.cause.depth,
                trace: record.cause.trace.as_deref(),
            },
            fact: serde_json::from_slice(&record.fact_json).unwrap_or(RawValue::NULL),
            body: record.body.as_ref().map(|body| WireBody {
                digest: body.digest,
                bytes: body.bytes,
                encoding: body.encoding,
                key: body.key.as_deref(),
            }),
            chain: record.chain,
        }
    }
}

//! The contents of a batch's records, compressed together: kind, schema, time, actor, cause and fact of each.
//!
//! The columns that identify a record, its body and its place in the chain are in a separate row (`row`).
//!
//! Uncompressed contents are fields in that order, one record after the other. A field is its length as u32
//! little-endian and its bytes; an absent field has the length 0xFFFFFFFF and no bytes. Integers and times
//! are 8 bytes little-endian. Ids are text, as they are in facts, so that compression finds the repetition.

use std::ops::Range;

use bytes::Bytes;
use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::record::{Actor, Cause, Record};
use ensue_engine::time::Timestamp;

use crate::encode;

const ABSENT: u32 = u32::MAX;

/// The part of a record that is not in its row.
pub(crate) struct RecordContents {
    pub(crate) schema: u16,
    pub(crate) time: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) cause: Cause,
    pub(crate) fact: Fact,
    pub(crate) fact_json: Bytes,
}

/// Compresses the contents of one batch's records, which the row of the batch holds.
pub fn write(records: &[Record]) -> Result<Vec<u8>, String> {
    let mut fields = FieldWriter(Vec::with_capacity(512 * records.len()));
    for record in records {
        fields.bytes(record.kind().as_bytes());
        fields.bytes(&u64::from(record.schema).to_le_bytes());
        fields.bytes(&record.time.micros().to_le_bytes());
        fields.text_or_none((record.actor != Actor::Engine).then_some(&record.actor));
        fields.text_or_none(record.cause.parent.as_ref());
        // The root is nearly always the parent, or the record itself.
        fields.text_or_none((record.cause.root != implied_root(record.cause.parent, record.id)).then_some(&record.cause.root));
        fields.bytes(&u64::from(record.cause.depth).to_le_bytes());
        fields.text_or_none(record.cause.trace.as_ref());
        fields.bytes(&record.fact_json);
    }
    if fields.0.len() as u64 > encode::PLAIN_BYTES_MAX {
        return Err(format!("its batch is {} bytes; the limit is {}", fields.0.len(), encode::PLAIN_BYTES_MAX));
    }
    encode::squeeze(&fields.0).map_err(|error| format!("its batch cannot be compressed: {error}"))
}

fn implied_root(parent: Option<Id>, id: Id) -> Id {
    parent.unwrap_or(id)
}

struct FieldWriter(Vec<u8>);

impl FieldWriter {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text_or_none(&mut self, text: Option<&impl ToString>) {
        match text {
            Some(text) => self.bytes(text.to_string().as_bytes()),
            None => self.0.extend_from_slice(&ABSENT.to_le_bytes()),
        }
    }
}

const FIELDS: usize = 9;

/// The contents of one batch, ready to be read.
pub(crate) struct Contents {
    plain: Vec<u8>,
    entries: Vec<[Option<Range<usize>>; FIELDS]>,
}

impl Contents {
    /// Opens the output of [`write`].
    pub(crate) fn open(compressed: &[u8]) -> Result<Self, String> {
        let plain = encode::expand(compressed).map_err(|error| format!("the contents of its batch are damaged: {error}"))?;
        let mut entries = Vec::new();
        let mut at = 0;
        while at < plain.len() {
            let mut entry = [const { None }; FIELDS];
            for field in &mut entry {
                *field = next_field(&plain, &mut at).ok_or("the contents of its batch end too early")?;
            }
            entries.push(entry);
        }
        Ok(Self { plain, entries })
    }

    /// Lists the kind and the schema of each record's fact, even of those that this release does not know.
    pub(crate) fn kinds(&self) -> Result<Vec<(&str, u16)>, String> {
        let of = |[kind, schema, ..]: &[Option<Range<usize>>; FIELDS]| {
            Ok((text(self.bytes(kind).ok_or("it has no kind")?)?, schema_of(self.bytes(schema))?))
        };
        self.entries.iter().map(of).collect()
    }

    /// Reads the contents of record `step`, whose id is `id`.
    pub(crate) fn entry(&self, step: usize, id: Id) -> Result<RecordContents, String> {
        let entry = self.entries.get(step).ok_or("the contents of its batch do not have it")?;
        let [kind, schema, time, actor, parent, root, depth, trace, fact] = entry.each_ref().map(|field| self.bytes(field));
        let schema = schema_of(schema)?;
        let fact_json = fact.ok_or("it has no fact")?;
        let parent = parent.map(parse).transpose()?;
        Ok(RecordContents {
            schema,
            time: Timestamp::from_micros(integer(time)?.cast_signed()),
            actor: actor.map(parse).transpose()?.unwrap_or(Actor::Engine),
            cause: Cause {
                parent,
                root: root.map(parse).transpose()?.unwrap_or(implied_root(parent, id)),
                depth: u32::try_from(integer(depth)?).map_err(|_| "its depth is too large".to_owned())?,
                trace: trace.map(text).transpose()?.map(str::to_owned),
            },
            fact: Fact::parse(text(kind.ok_or("it has no kind")?)?, schema, fact_json).map_err(|error| error.to_string())?,
            fact_json: Bytes::copy_from_slice(fact_json),
        })
    }

    fn bytes(&self, field: &Option<Range<usize>>) -> Option<&[u8]> {
        field.clone().map(|range| &self.plain[range])
    }
}

/// Returns the field at `at` and moves past it. The outer option is `None` if there is no complete field.
fn next_field(plain: &[u8], at: &mut usize) -> Option<Option<Range<usize>>> {
    let start = at.checked_add(4)?;
    let length = u32::from_le_bytes(plain.get(*at..start)?.try_into().ok()?);
    if length == ABSENT {
        *at = start;
        return Some(None);
    }
    let end = start.checked_add(length as usize).filter(|end| *end <= plain.len())?;
    *at = end;
    Some(Some(start..end))
}

fn integer(bytes: Option<&[u8]>) -> Result<u64, String> {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or("an integer of it is damaged")?;
    Ok(u64::from_le_bytes(bytes))
}

fn schema_of(bytes: Option<&[u8]>) -> Result<u16, String> {
    u16::try_from(integer(bytes)?).map_err(|_| "its schema is too large".to_owned())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a text of it is not UTF-8".to_owned())
}

fn parse<T: std::str::FromStr<Err = String>>(bytes: &[u8]) -> Result<T, String> {
    text(bytes)?.parse()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryLog;
    use ensue_test_support::records::{LOG, Writer, event, key_set};

    fn records() -> Vec<Record> {
        Writer::of(&MemoryLog::new(LOG)).batch([event(1), key_set("core.k", 1), event(2)]).records
    }

    #[test]
    fn every_entry_round_trips() {
        let contents = Contents::open(&write(&records()).unwrap()).unwrap();
        for (step, record) in records().into_iter().enumerate() {
            let entry = contents.entry(step, record.id).unwrap();
            assert_eq!((entry.fact, entry.fact_json, entry.schema), (record.fact, record.fact_json, record.schema));
            assert_eq!((entry.time, entry.actor, entry.cause), (record.time, record.actor, record.cause));
        }
        assert!(contents.entry(3, records()[0].id).is_err());
    }

    #[test]
    fn kinds_are_listed_even_if_this_release_does_not_know_them() {
        let mut plain = encode::expand(&write(&records()[..2]).unwrap()).unwrap();
        let at = plain.windows(7).position(|bytes| bytes == b"key.set").unwrap();
        plain[at..at + 7].copy_from_slice(b"key.sat");
        let contents = Contents::open(&encode::squeeze(&plain).unwrap()).unwrap();
        let received = records()[0].schema;
        assert_eq!(contents.kinds().unwrap(), [("event.received", received), ("key.sat", 1)]);
    }

    #[test]
    fn fact_of_a_newer_release_is_an_error_with_advice() {
        let mut plain = encode::expand(&write(&records()[1..2]).unwrap()).unwrap();
        plain[4..11].copy_from_slice(b"key.sat");
        let contents = Contents::open(&encode::squeeze(&plain).unwrap()).unwrap();
        let Err(why) = contents.entry(0, records()[1].id) else { panic!("an unknown fact was read") };
        assert!(why.contains("key.sat") && why.contains("newer release"), "{why}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_cause_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 0usize..4) {
            let id = records()[0].id;
            let _ = Contents::open(&bytes).map(|contents| contents.entry(step, id).map(|_| ()));
            let _ = Contents::open(&encode::squeeze(&bytes).unwrap()).map(|contents| contents.entry(step, id).map(|_| ()));
        }
    }
}

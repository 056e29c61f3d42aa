//! A batch as the arrays that the function `append` takes, and the row of a key.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{EventId, Id, LogId};
use ensue_engine::ports::{AppendError, Batch};
use ensue_engine::record::{Digest, Epoch, Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_store::row::{StoredRow, Sum, array, batch_sum, count, integer};
use ensue_store::{batch, contents};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// The most bytes of a batch. The server takes messages and arrays of up to 1 GiB.
const BATCH_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The arguments, column by column.
#[derive(Default)]
pub(crate) struct Wire {
    epoch: i64,
    before: i64,
    batch: Option<Uuid>,
    chain: Option<Vec<u8>>,
    sum: i64,
    contents: Option<Vec<u8>>,
    streams: Vec<Vec<u8>>,
    revisions: Vec<i64>,
    ids: Vec<Uuid>,
    digests: Vec<Option<Vec<u8>>>,
    sizes: Vec<Option<i64>>,
    encodings: Vec<Option<i16>>,
    seals: Vec<Option<Vec<u8>>>,
    chains: Vec<Vec<u8>>,
    sums: Vec<i64>,
    bodies: Vec<Option<Vec<u8>>>,
    stream_steps: Vec<i32>,
    scope_names: Vec<Vec<u8>>,
    seen_scopes: Vec<Vec<u8>>,
    seen_prefixes: Vec<i64>,
    seen_hashes: Vec<Vec<u8>>,
    seen_positions: Vec<i64>,
    seen_events: Vec<Uuid>,
    seen_contents: Vec<Vec<u8>>,
    seen_untils: Vec<i64>,
    seen_sums: Vec<i64>,
}

impl Wire {
    /// The number of arguments.
    pub(crate) const COUNT: usize = 26;

    /// Returns the arguments that append nothing, for the checks of the epoch and the head.
    pub(crate) fn check(head: Position, epoch: Epoch) -> Self {
        Self { epoch: epoch.0.cast_signed(), before: head.0.cast_signed(), ..Self::default() }
    }

    /// Converts a batch. Fails for a reason that can be seen without the log.
    pub(crate) fn of(from: &Batch, log: LogId, head: Position, epoch: Epoch) -> Result<Self, AppendError> {
        let mut wire = Self::check(head, epoch);
        if !from.records.is_empty() {
            let id = batch::check(from, log, head, epoch)?;
            wire.add_records(from, id)?;
        }
        wire.add_keys(&from.seen).map_err(|why| AppendError::Refused { record: from.records.len().saturating_sub(1), why })?;
        Ok(wire)
    }

    fn add_records(&mut self, from: &Batch, id: Id) -> Result<(), AppendError> {
        let refused = |record: usize, why: String| AppendError::Refused { record, why };
        let first = integer("position", from.records[0].position.0).map_err(|why| refused(0, why))?;
        let mut newest: BTreeMap<&StreamId, u64> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut bytes = 0usize;
        for (step, record) in from.records.iter().enumerate() {
            let step_number = step as i64;
            let stored = StoredRow::of(record, 0, first + step_number, step_number).map_err(|why| refused(step, why))?;
            match newest.insert(&record.stream, record.revision.0) {
                Some(before) if before.checked_add(1) != Some(record.revision.0) => {
                    return Err(batch::revision_refused(step, record, before));
                }
                Some(_) => {}
                None => self.stream_steps.push(step as i32),
            }
            if !ids.insert(record.id) {
                return Err(batch::id_refused(step, record.id));
            }
            bytes = bytes.saturating_add(record.fact_json.len());
            let body = stored.body.as_ref();
            bytes = bytes.saturating_add(body.and_then(|body| body.content).map_or(0, <[u8]>::len));
            if bytes > BATCH_BYTES_MAX {
                return Err(refused(step, format!("with it, the batch is larger than {BATCH_BYTES_MAX} bytes, the most for PostgreSQL")));
            }
            self.sums.push(stored.sum());
            self.streams.push(stored.stream.to_vec());
            self.revisions.push(stored.revision);
            self.ids.push(uuid_of(record.id));
            self.digests.push(body.map(|body| body.digest.to_vec()));
            self.sizes.push(body.map(|body| body.bytes));
            self.encodings.push(body.map(|body| body.encoding as i16));
            self.seals.push(body.and_then(|body| body.key).map(|key| key.as_bytes().to_vec()));
            self.chains.push(stored.chain.to_vec());
            self.bodies.push(body.and_then(|body| body.content).map(<[u8]>::to_vec));
        }
        let contents = contents::write(&from.records).map_err(|why| refused(0, why))?;
        self.sum = batch_sum(first, id.as_bytes(), self.epoch, &contents);
        self.batch = Some(uuid_of(id));
        self.chain = self.chains.last().cloned();
        self.contents = Some(contents);
        Ok(())
    }

    fn add_keys(&mut self, keys: &[(DedupeKey, DedupeEntry)]) -> Result<(), String> {
        let scopes: BTreeSet<&str> = keys.iter().map(|(key, _)| key.scope.as_str()).collect();
        self.scope_names = scopes.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        for (key, seen) in keys {
            self.seen_scopes.push(key.scope.as_bytes().to_vec());
            self.seen_prefixes.push(prefix(key));
            self.seen_hashes.push(key.hash.as_bytes().to_vec());
            self.seen_positions.push(integer("position", seen.position.0)?);
            self.seen_events.push(uuid_of(seen.event.0));
            self.seen_contents.push(seen.content.as_bytes().to_vec());
            self.seen_untils.push(seen.until.micros());
            self.seen_sums.push(seen_sum(key, seen));
        }
        Ok(())
    }

    /// Returns true if there are records, so that the outcome can be looked up.
    pub(crate) fn has_records(&self) -> bool {
        self.batch.is_some()
    }

    /// Returns true if it appends nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_none() && self.seen_hashes.is_empty()
    }

    /// Returns the ids of the records.
    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// Returns the arguments in the order of the function's parameters.
    pub(crate) fn arguments(&self) -> [&(dyn ToSql + Sync); Self::COUNT] {
        [
            &self.epoch,
            &self.before,
            &self.batch,
            &self.chain,
            &self.sum,
            &self.contents,
            &self.streams,
            &self.revisions,
            &self.ids,
            &self.digests,
            &self.sizes,
            &self.encodings,
            &self.seals,
            &self.chains,
            &self.sums,
            &self.bodies,
            &self.stream_steps,
            &self.scope_names,
            &self.seen_scopes,
            &self.seen_prefixes,
            &self.seen_hashes,
            &self.seen_positions,
            &self.seen_events,
            &self.seen_contents,
            &self.seen_untils,
            &self.seen_sums,
        ]
    }
}

/// Returns an id as the database holds it.
pub(crate) fn uuid_of(id: Id) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Returns the beginning of a key's hash, by which it is found.
pub(crate) fn prefix(key: &DedupeKey) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.hash.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Returns the sum over the row of a key. Its scope is in it by name.
pub(crate) fn seen_sum(key: &DedupeKey, seen: &DedupeEntry) -> i64 {
    let mut sum = Sum::default();
    sum.bytes(key.scope.as_bytes()).bytes(key.hash.as_bytes()).integer(seen.position.0.cast_signed());
    sum.bytes(seen.event.0.as_bytes()).bytes(seen.content.as_bytes()).integer(seen.until.micros()).finish()
}

/// Reads the row of a key, and compares it with its sum.
pub(crate) fn seen_of(row: &Row, key: &DedupeKey) -> Result<DedupeEntry, String> {
    let seen = DedupeEntry {
        position: Position(count(row.get(1), "position")?),
        event: EventId(Id::from_bytes(*row.get::<_, Uuid>(2).as_bytes())),
        content: Digest::from_bytes(array(row.get::<_, &[u8]>(3), "content")?),
        until: Timestamp::from_micros(row.get(4)),
    };
    if seen_sum(key, &seen) != row.get::<_, i64>(5) {
        return Err("the checksum does not match".to_owned());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use ensue_store::memory::MemoryLog;
    use ensue_test_support::records::{DAY, LOG, Writer, dedupe_key, event, seen_at};
    use tokio_postgres::types::{Format, Type};

    use super::*;

    #[test]
    fn prefix_of_a_key_is_that_of_earlier_releases() {
        let hash = Digest::from_bytes(std::array::from_fn(|at| at as u8 + 1));
        assert_eq!(prefix(&DedupeKey { scope: "hooks".to_owned(), hash }), 0x0807_0605_0403_0201);
    }

    #[test]
    fn every_argument_is_sent_in_binary() {
        let mut batch = Writer::of(&MemoryLog::new(LOG)).batch([event(1)]);
        batch.seen.push((dedupe_key("hooks", 1), seen_at(1, DAY)));
        let wire = Wire::of(&batch, LOG, Position(0), Epoch(1)).unwrap();
        for argument in wire.arguments() {
            // Arrays of texts would cost the server three times as much.
            assert!(matches!(argument.encode_format(&Type::BYTEA_ARRAY), Format::Binary));
        }
    }
}

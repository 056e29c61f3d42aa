//! Logs in memory: vectors and maps under one lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;

use crate::batch::{self, SEEN_KEYS_MAX};

/// A place in memory that holds logs; a clone is the same place.
#[derive(Clone, Default)]
pub struct MemoryLogs(Arc<Mutex<BTreeMap<LogId, MemoryLogState>>>);

#[derive(Clone, Default)]
struct MemoryLogState {
    head: Head,
    epoch: Epoch,
    records: Vec<Record>,
    streams: BTreeMap<StreamId, Vec<Position>>,
    ids: BTreeMap<Id, Position>,
    seen: BTreeMap<DedupeKey, DedupeEntry>,
}

impl MemoryLogs {
    /// Opens the log `id` for writing, under the next epoch, creating it if necessary.
    pub fn open(&self, id: LogId) -> MemoryLog {
        let epoch = {
            let mut logs = self.lock();
            let kept = logs.entry(id).or_default();
            kept.epoch = kept.epoch.next();
            kept.epoch
        };
        MemoryLog { logs: self.clone(), id, epoch, seen_keys_max: SEEN_KEYS_MAX }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogId, MemoryLogState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, id: LogId, job: impl FnOnce(&mut MemoryLogState) -> T) -> T {
        job(self.lock().entry(id).or_default())
    }
}

/// A log in memory, held by its one writer.
pub struct MemoryLog {
    logs: MemoryLogs,
    id: LogId,
    epoch: Epoch,
    seen_keys_max: u64,
}

impl MemoryLog {
    /// Opens a new log in its own place.
    pub fn new(id: LogId) -> Self {
        MemoryLogs::default().open(id)
    }

    /// Returns the place that holds the log, to open it again.
    pub fn logs(&self) -> MemoryLogs {
        self.logs.clone()
    }

    /// Returns a copy of the log in its own place, under the same epoch.
    #[must_use]
    pub fn fork(&self) -> Self {
        let logs = MemoryLogs::default();
        let kept = self.logs.with(self.id, |kept| kept.clone());
        logs.lock().insert(self.id, kept);
        Self { logs, ..*self }
    }

    /// Limits the number of remembered keys in each scope.
    #[must_use]
    pub fn with_seen_keys_max(self, seen_keys_max: u64) -> Self {
        Self { seen_keys_max, ..self }
    }
}

impl Log for MemoryLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn head(&self) -> Result<Head, LogError> {
        Ok(self.logs.with(self.id, |kept| kept.head))
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        self.logs.with(self.id, |kept| kept.append(self.id, batch, head, epoch, self.seen_keys_max))
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        Ok(self.logs.with(self.id, |kept| keys.iter().map(|key| kept.seen.get(key).copied()).collect()))
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(MemoryLogReader { logs: self.logs.clone(), id: self.id }))
    }

    fn release_caches(&mut self) {}
}

impl MemoryLogState {
    fn append(&mut self, log: LogId, batch: &Batch, head: Position, epoch: Epoch, keys_max: u64) -> Result<Position, AppendError> {
        if epoch != self.epoch {
            return Err(AppendError::Deposed(self.epoch));
        }
        if head != self.head.position {
            return Err(AppendError::Behind(self.head));
        }
        let Some(now) = batch::time_of(batch) else { return Ok(head) };
        let Some(last) = batch.records.last() else {
            self.remember(&batch.seen, now, keys_max);
            return Ok(head);
        };
        batch::check(batch, log, head, epoch)?;
        self.check(batch)?;
        for record in &batch.records {
            self.streams.entry(record.stream.clone()).or_default().push(record.position);
            self.ids.insert(record.id, record.position);
            self.records.push(record.clone());
        }
        self.head = Head { position: last.position, chain: last.chain };
        self.remember(&batch.seen, now, keys_max);
        Ok(last.position)
    }

    fn check(&self, batch: &Batch) -> Result<(), AppendError> {
        let mut newest: BTreeMap<&StreamId, u64> = BTreeMap::new();
        for (index, record) in batch.records.iter().enumerate() {
            let kept = self.streams.get(&record.stream).map_or(0, Vec::len) as u64;
            let newest = newest.entry(&record.stream).or_insert(kept);
            if record.revision.0 != *newest + 1 {
                return Err(batch::revision_refused(index, record, *newest));
            }
            *newest += 1;
            let is_twin = batch.records[..index].iter().any(|other| other.id == record.id);
            if is_twin || self.ids.contains_key(&record.id) {
                return Err(batch::id_refused(index, record.id));
            }
        }
        Ok(())
    }

    fn remember(&mut self, keys: &[(DedupeKey, DedupeEntry)], now: Timestamp, keys_max: u64) {
        self.seen.extend(keys.iter().cloned());
        self.seen.retain(|_, seen| seen.until > now);
        for (key, _) in keys {
            loop {
                let of_scope = || self.seen.iter().filter(|(other, _)| other.scope == key.scope);
                if of_scope().count() as u64 <= keys_max {
                    break;
                }
                let oldest = of_scope().min_by_key(|(_, seen)| (seen.until, seen.position)).map(|(oldest, _)| oldest.clone());
                oldest.map(|oldest| self.seen.remove(&oldest));
            }
        }
    }

    fn record(&self, position: Position) -> Option<&Record> {
        let index = usize::try_from(position.0.checked_sub(1)?).ok()?;
        self.records.get(index)
    }
}

/// A reader of a log in memory.
pub struct MemoryLogReader {
    logs: MemoryLogs,
    id: LogId,
}

impl LogReader for MemoryLogReader {
    fn head(&self) -> Result<Head, LogError> {
        Ok(self.logs.with(self.id, |kept| kept.head))
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        Ok(self.logs.with(self.id, |kept| within(limit, kept.records.iter().skip(after))))
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        Ok(self.logs.with(self.id, |kept| {
            let positions = kept.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
            within(limit, positions.iter().skip(after).filter_map(|position| kept.record(*position)))
        }))
    }

    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError> {
        Ok(self.logs.with(self.id, |kept| kept.ids.get(&id).and_then(|position| kept.record(*position)).cloned()))
    }

    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError> {
        Ok(self.logs.with(self.id, |kept| kept.record(position).and_then(|record| record.body.clone())))
    }

    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError> {
        Ok(self.logs.with(self.id, |kept| kept.record(position).map(|record| record.batch)))
    }

    fn check_indexes(&self) -> Result<(), LogError> {
        // A map holds its keys together with their values, so one cannot be damaged without the other.
        Ok(())
    }

    fn release_caches(&self) {}
}

fn within<'a>(limit: ReadLimit, records: impl Iterator<Item = &'a Record>) -> Vec<Record> {
    let mut given: Vec<Record> = Vec::new();
    let mut bytes = 0usize;
    for record in records.take(limit.records.max(1)) {
        let body = record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, bytes::Bytes::len);
        bytes = bytes.saturating_add(record.fact_json.len()).saturating_add(body);
        if bytes > limit.bytes && !given.is_empty() {
            break;
        }
        given.push(record.clone());
    }
    given
}

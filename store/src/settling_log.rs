//! A log that looks up each commit whose outcome is unknown, so that its writer rarely hears of one.

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::LogId;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader};
use ensue_engine::record::{Epoch, Head, Position};

/// How often a batch with an unknown outcome is looked up. It is usually known after the first time, unless the disk
/// fails for good.
const LOOKS_MAX: usize = 3;

/// A log that settles unknown outcomes. [`AppendError::Unknown`] from it means that looking up did not help either.
pub struct SettlingLog<L>(L);

impl<L: Log> SettlingLog<L> {
    /// Wraps a log whose appends may end with [`AppendError::Unknown`].
    pub fn of(log: L) -> Self {
        Self(log)
    }

    /// Returns the newest position of the batch if it is in the log after all, or `None` if no part of it is.
    fn looked_up(&self, batch: &Batch, before: Position) -> Result<Option<Position>, AppendError> {
        let dead = |error: LogError| AppendError::Dead(error.to_string());
        let reader = self.0.reader().map_err(dead)?;
        match reader.batch_at(before.next()).map_err(dead)? {
            Some(found) if Some(found) == batch.id => Ok(Some(Position(before.0 + batch.records.len() as u64))),
            Some(_) => Err(AppendError::Behind(reader.head().map_err(dead)?)),
            None => Ok(None),
        }
    }
}

impl<L: Log> Log for SettlingLog<L> {
    fn id(&self) -> LogId {
        self.0.id()
    }

    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn head(&self) -> Result<Head, LogError> {
        self.0.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let mut appended = self.0.append(batch, head, epoch);
        for _ in 0..LOOKS_MAX {
            let Err(AppendError::Unknown) = appended else { break };
            appended = match self.looked_up(batch, head) {
                Ok(Some(position)) => Ok(position),
                Ok(None) => self.0.append(batch, head, epoch),
                Err(error) => Err(error),
            };
        }
        appended
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.0.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.0.reader()
    }

    fn release_caches(&mut self) {
        self.0.release_caches();
    }
}

//! A log on a disk that is slower than the machine's, for measurements.

use std::time::Duration;

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::LogId;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader};
use ensue_engine::record::{Epoch, Head, Position};

/// A log of which each append takes longer.
pub(crate) struct SlowLog {
    log: Box<dyn Log>,
    delay: Duration,
}

impl SlowLog {
    /// Has each append to a log take so much longer.
    pub(crate) fn over(log: Box<dyn Log>, delay: Duration) -> Box<dyn Log> {
        Box::new(Self { log, delay })
    }
}

impl Log for SlowLog {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn head(&self) -> Result<Head, LogError> {
        self.log.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        std::thread::sleep(self.delay);
        self.log.append(batch, head, epoch)
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.log.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }

    fn release_caches(&mut self) {
        self.log.release_caches();
    }
}

//! Readers of the log: opened when they are needed, and kept for the next caller.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ensue_api::ports::LogAccess;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{BodyHandle, Digest, Head, Position, Record, Revision, StreamId};
use ensue_executor::ports::BodyError;

use crate::bodies::BodyCache;
use crate::plain_body::body_at;

/// The most idle readers that are kept.
const READERS_KEPT_MAX: usize = 8;

/// Opens a reader of the log.
pub type OpenReader = dyn Fn() -> Result<Box<dyn LogReader>, LogError> + Send + Sync;

/// The log, for any number of readers at once.
pub struct LogReaders {
    open: Box<OpenReader>,
    kept: Mutex<Vec<Box<dyn LogReader>>>,
}

impl LogReaders {
    /// Creates readers that `open` opens.
    pub fn new(open: Box<OpenReader>) -> Self {
        Self { open, kept: Mutex::default() }
    }

    /// Closes the readers that are not in use. The next callers open new ones.
    pub(crate) fn close_unused(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    pub(crate) fn with_reader<T>(&self, read: impl FnOnce(&dyn LogReader) -> Result<T, LogError>) -> Result<T, LogError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => (self.open)()?,
        };
        let read = read(&*reader);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < READERS_KEPT_MAX {
            kept.push(reader);
        }
        read
    }
}

impl LogAccess for LogReaders {
    fn head(&self) -> Result<Head, LogError> {
        self.with_reader(|reader| reader.head())
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.with_reader(|reader| reader.read(after, limit))
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.with_reader(|reader| reader.read_stream(stream, after, limit))
    }

    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError> {
        self.with_reader(|reader| body_at(reader, at))
    }
}

/// The bodies of the log, with a cache of those just committed.
pub struct NodeBodies {
    /// The cached bodies.
    pub cache: Arc<BodyCache>,
    /// The readers of all other bodies.
    pub log: Arc<LogReaders>,
}

impl ensue_executor::ports::Bodies for NodeBodies {
    fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        self.cache.get(digest)
    }

    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
        match self.log.body(handle.at) {
            Ok(Some(plain)) => Ok(plain),
            Ok(None) => Err(BodyError::Erased(handle.digest)),
            Err(error) => Err(BodyError::Store { digest: handle.digest, why: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use ensue_engine::ports::Log as _;
    use ensue_store::memory::MemoryLog;
    use ensue_test_support::records::{EVERYTHING, LOG, Writer};

    use super::*;

    #[test]
    fn closed_readers_are_opened_again_and_read_the_same() {
        let mut log = MemoryLog::new(LOG);
        Writer::of(&log).append(&mut log, 3).unwrap();
        let opened = Arc::new(AtomicU32::new(0));
        let count = opened.clone();
        let readers = LogReaders::new(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            log.reader()
        }));
        let read = || readers.read(Position(0), EVERYTHING).unwrap();
        let before = read();
        assert_eq!((read(), readers.kept.lock().unwrap().len()), (before.clone(), 1));
        readers.close_unused();
        assert!(readers.kept.lock().unwrap().is_empty());
        assert_eq!((read(), opened.load(Ordering::Relaxed)), (before, 2));
    }
}

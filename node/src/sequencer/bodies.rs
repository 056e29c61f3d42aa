//! The bodies of the log, for the core's work between events: they are read when requested, one record each.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use ensue_engine::command::Bodies;
use ensue_engine::ports::{Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, BodyHandle, Position, Record};

/// Access to the bodies that are in the log, and to those that were just accepted.
pub(super) struct LoggedBodies<'a> {
    log: &'a dyn Log,
    /// Opened when the first body is asked for.
    reader: &'a RefCell<Option<Box<dyn LogReader>>>,
    plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    /// Why the log could not be read, the first time. Code that requests a body only learns that it is not available:
    /// reactions that need it are owed.
    failed: Cell<Option<LogError>>,
}

impl<'a> LoggedBodies<'a> {
    pub(super) fn of(
        log: &'a dyn Log,
        reader: &'a RefCell<Option<Box<dyn LogReader>>>,
        plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    ) -> Self {
        Self { log, reader, plain, failed: Cell::new(None) }
    }

    /// Returns the record at a position, or `None` if the log ends before it. A reader that fails is not used again.
    pub(super) fn record_at(&self, position: Position) -> Result<Option<Record>, LogError> {
        let mut reader = self.reader.borrow_mut();
        let open = match reader.take() {
            Some(open) => open,
            None => self.log.reader()?,
        };
        let before = Position(position.0.saturating_sub(1));
        let read = open.read(before, ReadLimit { records: 1, ..ReadLimit::default() })?;
        *reader = Some(open);
        Ok(read.into_iter().next().filter(|record| record.position == position))
    }

    /// Returns a body, or `None` if it was erased or is not in the log.
    fn read(&self, handle: &BodyHandle) -> Result<Option<Bytes>, LogError> {
        let record = self.record_at(handle.at)?;
        let body = record.and_then(|record| record.body).filter(|body| body.digest == handle.digest);
        body.map_or(Ok(None), |body| (self.plain)(&body))
    }

    /// Returns the error of a failed read of the log: a body that seemed erased may exist.
    pub(super) fn failure(&self) -> Option<LogError> {
        self.failed.take()
    }
}

impl Bodies for LoggedBodies<'_> {
    fn plain(&self, handle: &BodyHandle) -> Option<Bytes> {
        self.read(handle).unwrap_or_else(|error| {
            let first = self.failed.take().unwrap_or(error);
            self.failed.set(Some(first));
            None
        })
    }

    fn decoded_bytes(&self, body: &Body) -> Option<Bytes> {
        (self.plain)(body).ok().flatten()
    }
}

//! The bodies of the log, for what the core works out between events: read where they are asked for, one record each.

use std::cell::RefCell;

use bytes::Bytes;
use ensue_engine::command::Bodies;
use ensue_engine::ports::{Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, BodyHandle, Position, Record};

/// The way to the bodies that are in the log, and to those that were just taken.
pub(super) struct LoggedBodies<'a> {
    pub(super) log: &'a dyn Log,
    /// Opened when the first body is asked for.
    pub(super) reader: &'a RefCell<Option<Box<dyn LogReader>>>,
    pub(super) plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
}

impl LoggedBodies<'_> {
    /// Gives the record at a position; none where the log ends before it.
    pub(super) fn record_at(&self, position: Position) -> Result<Option<Record>, LogError> {
        let mut reader = self.reader.borrow_mut();
        let reader = match &mut *reader {
            Some(reader) => reader,
            none => none.insert(self.log.reader()?),
        };
        let before = Position(position.0.saturating_sub(1));
        let read = reader.read(before, ReadLimit { records: 1, ..ReadLimit::default() })?;
        Ok(read.into_iter().next().filter(|record| record.position == position))
    }
}

impl Bodies for LoggedBodies<'_> {
    fn plain(&self, handle: &BodyHandle) -> Option<Bytes> {
        // What cannot be read now is deferred, and told of when it is tried again.
        let record = self.record_at(handle.at).ok().flatten()?;
        let body = record.body.as_ref().filter(|body| body.digest == handle.digest)?;
        (self.plain)(body).ok().flatten()
    }

    fn decoded(&self, body: &Body) -> Option<Bytes> {
        (self.plain)(body).ok().flatten()
    }
}

//! Bodies of records as they were before compression.

use bytes::Bytes;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Position};

/// Returns the decoded bytes of the body of the record at a position, or none if there is no body.
pub(crate) fn body_at(reader: &dyn LogReader, at: Position) -> Result<Option<Bytes>, LogError> {
    let before = Position(at.0.saturating_sub(1));
    let record = reader.read(before, ReadLimit { records: 1, ..ReadLimit::default() })?.into_iter().next();
    match record.filter(|record| record.position == at).and_then(|record| record.body) {
        Some(body) => plain(&body),
        None => Ok(None),
    }
}

/// Returns the decoded bytes of a body, or none if they were erased.
pub fn plain(body: &Body) -> Result<Option<Bytes>, LogError> {
    ensue_store::encode::plain(body).map_err(|error| LogError::Store(error.to_string()))
}

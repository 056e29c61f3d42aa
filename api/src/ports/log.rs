//! Reading the log.

use bytes::Bytes;
use ensue_engine::names::VarName;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Head, Position, Record, Revision, StreamId};

/// Reads the log. Every method blocks.
pub trait LogAccess: Send + Sync {
    /// Returns the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Returns the records after a position, in order.
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Returns the records of a stream after a revision, in order.
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Returns the record of a var's newest change up to a position; none if it has not been changed by then.
    fn var_at(&self, name: &VarName, at: Position) -> Result<Option<Record>, LogError> {
        self.newest_until(&StreamId::Var(name.clone()), at)
    }
    /// Returns the newest record of a stream up to a position; none if the stream begins later.
    fn newest_until(&self, stream: &StreamId, at: Position) -> Result<Option<Record>, LogError> {
        // Its revisions have no gaps and are ordered by position: this searches for the last one in range.
        let behind = |revision: u64| -> Result<Option<Record>, LogError> {
            let next = self.read_stream(stream, Revision(revision), ReadLimit { records: 1, ..ReadLimit::default() })?;
            Ok(next.into_iter().next().filter(|record| record.position <= at))
        };
        let Some(mut found) = behind(0)? else { return Ok(None) };
        let mut step = 1;
        while step > 0 {
            match behind(found.revision.0 + step - 1)? {
                Some(later) => {
                    found = later;
                    step = step.saturating_mul(2);
                }
                None => step /= 2,
            }
        }
        Ok(Some(found))
    }
    /// Returns the decoded body of the record at a position; none if there is no such record, if it has no
    /// body, or if the body was erased.
    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError>;
}

//! The log, to be read.

use bytes::Bytes;
use ensue_engine::names::VarName;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Head, Position, Record, Revision, StreamId};

/// Readers of the log. All of it is blocking.
pub trait LogAccess: Send + Sync {
    /// Gives the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Gives the records after a position, in order.
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the records of a stream after a revision, in order.
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the record of a var's newest change up to a position; none where there was none yet.
    fn var_at(&self, name: &VarName, at: Position) -> Result<Option<Record>, LogError> {
        let stream = StreamId::Var(name.clone());
        // Its revisions have no gap and are in the order of their positions: the last that counts is searched for.
        let behind = |revision: u64| -> Result<Option<Record>, LogError> {
            let next = self.read_stream(&stream, Revision(revision), ReadLimit { records: 1, ..ReadLimit::default() })?;
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
    /// Gives the plain bytes of the body of the record at a position; none where there is no such record, where it has no body,
    /// or where the body was erased.
    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError>;
}

//! What every log demands of a batch before it keeps any of it.
//!
//! What depends on the records already kept — revisions, ids — each log checks itself.

use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch};
use ensue_engine::record::{Epoch, Position};
use ensue_engine::time::Timestamp;

/// The highest position that a log can have: at 100,000 records a second it lasts 89 years.
pub const POSITION_MAX: u64 = (1 << 48) - 1;

/// The most keys that are remembered in a scope; the oldest go first.
pub(crate) const SEEN_KEYS_MAX: u64 = 10_000_000;

/// The fewest forgotten keys that an append cleans up in a scope, where there are so many.
pub(crate) const SWEEP_KEYS_MIN: usize = 64;

/// When a batch was made; none of one that has nothing.
pub(crate) fn time_of(batch: &Batch) -> Option<Timestamp> {
    let of_key = || batch.seen.first().map(|(_, seen)| seen.seen_at());
    batch.records.last().map(|record| record.time).or_else(of_key)
}

/// Says whether the batch is one that follows `head` in `log`, and gives its id.
pub(crate) fn check(batch: &Batch, log: LogId, head: Position, epoch: Epoch) -> Result<Id, AppendError> {
    let refused = |record: usize, why: String| Err(AppendError::Refused { record, why });
    let Some(id) = batch.id else {
        return refused(0, "its batch has no id".to_owned());
    };
    let mut expected = head;
    for (index, record) in batch.records.iter().enumerate() {
        if expected.0 >= POSITION_MAX {
            return refused(index, format!("position {POSITION_MAX} is the last one that a log can have"));
        }
        expected = expected.next();
        if record.position != expected {
            return refused(index, format!("it has position {}, but the next position is {expected}", record.position));
        }
        if record.log != log {
            return refused(index, format!("it belongs to log {}, but this is log {log}", record.log));
        }
        if record.epoch != epoch {
            return refused(index, format!("it has epoch {}, but the current epoch is {epoch}", record.epoch));
        }
        if record.batch != id {
            return refused(index, format!("it belongs to batch {}, but this is batch {id}", record.batch));
        }
    }
    Ok(id)
}

/// Says that a record would be the second with its revision, or leave one out.
pub(crate) fn revision_refused(index: usize, record: &ensue_engine::record::Record, newest: u64) -> AppendError {
    let why = format!("{} is at revision {newest}, but the record has revision {}", record.stream, record.revision);
    AppendError::Refused { record: index, why }
}

/// Says that the log holds a record with this id.
pub(crate) fn id_refused(index: usize, id: Id) -> AppendError {
    AppendError::Refused { record: index, why: format!("a record with the id {id} already exists") }
}

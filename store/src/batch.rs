//! The checks that every log makes on a batch before it stores any of it.
//!
//! Checks that depend on the stored records, such as revisions and ids, are left to each log.

use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch};
use ensue_engine::record::{Epoch, Position};
use ensue_engine::time::Timestamp;

/// The highest possible position of a log. At 100,000 records a second it lasts 89 years.
pub const POSITION_MAX: u64 = (1 << 48) - 1;

/// The maximum number of keys that are remembered in a scope. The oldest are dropped first.
pub const SEEN_KEYS_MAX: u64 = 10_000_000;

/// The minimum number of forgotten keys that an append cleans up in a scope, if there are that many.
pub const SWEEP_KEYS_MIN: usize = 64;

/// Returns the time of a batch, or `None` for an empty one.
pub fn time_of(batch: &Batch) -> Option<Timestamp> {
    let of_key = || batch.seen.first().map(|(_, seen)| seen.seen_at());
    batch.records.last().map(|record| record.time).or_else(of_key)
}

/// Checks that the batch follows `head` in `log`, and returns its id.
pub fn check(batch: &Batch, log: LogId, head: Position, epoch: Epoch) -> Result<Id, AppendError> {
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

/// Returns the error for a record whose revision is taken or leaves a gap.
pub fn revision_refused(index: usize, record: &ensue_engine::record::Record, newest: u64) -> AppendError {
    let why = format!("{} is at revision {newest}, but the record has revision {}", record.stream, record.revision);
    AppendError::Refused { record: index, why }
}

/// Returns the error for a record whose id is already in the log.
pub fn id_refused(index: usize, id: Id) -> AppendError {
    AppendError::Refused { record: index, why: format!("a record with the id {id} already exists") }
}

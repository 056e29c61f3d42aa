//! Transfers a log from one store to another, record by record: with its batches, epochs and remembered keys, and with
//! the same chain.

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::explain::Explain;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Epoch, Head, Position, Record};
use thiserror::Error;

/// The number of keys that are transferred together.
const KEYS_AT_ONCE: usize = 1_000;

/// A log that is read for a transfer.
pub trait Source: LogReader {
    /// Returns the newest epoch.
    fn epoch(&self) -> Result<Epoch, LogError>;
    /// Returns remembered keys in the order in which they were accepted: those after a number, each with its own number.
    fn keys(&self, after: i64, limit: usize) -> Result<Vec<(i64, DedupeKey, DedupeEntry)>, LogError>;
}

/// A new log that a transfer fills.
pub trait Target: Log {
    /// Sets the epoch under which the next batches are written. A log that is in use must never do this.
    fn set_epoch(&mut self, epoch: Epoch) -> Result<(), LogError>;
}

/// Why a log was not transferred.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum TransferError {
    /// The log cannot be read.
    #[error(transparent)]
    #[explain(transparent)]
    Read(#[from] LogError),
    /// The target did not accept a batch.
    #[error("the record at position {at} was not accepted: {why}")]
    #[explain(slug = "log-refused", fault = World, hint = "run `ensue log verify` on the source")]
    Append {
        /// The position of the first record of the batch.
        at: Position,
        /// The reason.
        why: AppendError,
    },
}

/// Copies all records and keys. `progress` receives the number of records that are done.
pub fn transfer(from: &dyn Source, to: &mut dyn Target, mut progress: impl FnMut(u64)) -> Result<Head, TransferError> {
    let end = from.head()?.position;
    let (mut at, mut batch): (Position, Vec<Record>) = (Position(0), Vec::new());
    while at < end {
        let records = from.read(at, ReadLimit::default())?;
        if records.is_empty() {
            break;
        }
        // A batch that is appended during the copy is not part of it.
        for record in records.into_iter().take_while(|record| record.position <= end) {
            at = record.position;
            if batch.first().is_some_and(|first| first.batch != record.batch) {
                append(to, std::mem::take(&mut batch))?;
            }
            batch.push(record);
        }
        progress(at.0);
    }
    append(to, batch)?;
    to.set_epoch(from.epoch()?)?;
    let head = to.head()?;
    let mut after = i64::MIN;
    loop {
        let keys = from.keys(after, KEYS_AT_ONCE)?;
        let Some((last, ..)) = keys.last() else { break };
        after = *last;
        let batch = Batch { seen: keys.into_iter().map(|(_, key, seen)| (key, seen)).collect(), ..Batch::default() };
        to.append(&batch, head.position, to.epoch()).map_err(|why| TransferError::Append { at: head.position, why })?;
    }
    Ok(head)
}

/// Appends the records of one batch under the epoch in which they were written.
fn append(to: &mut dyn Target, records: Vec<Record>) -> Result<(), TransferError> {
    let Some(first) = records.first() else { return Ok(()) };
    let (before, epoch, id) = (Position(first.position.0 - 1), first.epoch, first.batch);
    if to.epoch() != epoch {
        to.set_epoch(epoch)?;
    }
    let batch = Batch { id: Some(id), records, seen: Vec::new() };
    to.append(&batch, before, epoch).map_err(|why| TransferError::Append { at: before.next(), why })?;
    Ok(())
}

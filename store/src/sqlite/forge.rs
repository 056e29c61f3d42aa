//! Modifies the file of a log directly, as someone could who can write the file and knows its format: every
//! checksum is correct again.
//!
//! For tests only.

use std::path::Path;

use ensue_engine::record::{Head, Record};
use rusqlite::{Connection, params};

use super::row::{self, StoredBatch, StoredRow};
use crate::contents;

/// Replaces all records of a file's first log with these, and writes its head.
pub(crate) fn replace_records(path: &Path, records: &[Record], head: Head) {
    let file = Connection::open(path).unwrap();
    file.execute_batch("BEGIN; DELETE FROM records; DELETE FROM batches;").unwrap();
    let mut insert = file.prepare(row::INSERT).unwrap();
    for batch in records.chunk_by(|one, next| one.batch == next.batch && one.position.next() == next.position) {
        let first = batch[0].position.0.cast_signed();
        let (epoch, contents) = (batch[0].epoch.0.cast_signed(), contents::write(batch).unwrap());
        StoredBatch::insert(&mut file.prepare(StoredBatch::INSERT).unwrap(), first, batch[0].batch, epoch, &contents).unwrap();
        for (step, record) in (0..).zip(batch) {
            StoredRow::of(record, 0, first + step, step).unwrap().insert(&mut insert).unwrap();
        }
    }
    drop(insert);
    file.execute("UPDATE logs SET position = ?1, chain = ?2", params![head.position.0.cast_signed(), head.chain.as_bytes()]).unwrap();
    file.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}

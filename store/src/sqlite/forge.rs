//! Changing a log behind its back, as someone would who can write the file and knows its form: every sum is right again.
//!
//! For tests only.

use std::path::Path;

use ensue_engine::record::{Head, Record};
use rusqlite::{Connection, params};

use super::row::{self, Stored};

/// Puts these records in the place of all the records of a file's first log, and writes its head.
pub(crate) fn replace_records(path: &Path, records: &[Record], head: Head) {
    let file = Connection::open(path).unwrap();
    file.execute_batch("BEGIN; DELETE FROM records; DELETE FROM batches;").unwrap();
    let mut insert = file.prepare(row::INSERT).unwrap();
    let mut first: Option<&Record> = None;
    for record in records {
        if first.is_none_or(|first| first.batch != record.batch || first.position >= record.position) {
            first = Some(record);
            file.execute(
                "INSERT INTO batches (place, id, epoch) VALUES (?1, ?2, ?3)",
                params![record.position.0.cast_signed(), record.batch.as_bytes(), record.epoch.0.cast_signed()],
            )
            .unwrap();
        }
        let step = record.position.0 - first.unwrap().position.0;
        Stored::of(record, 0, record.position.0.cast_signed(), step.cast_signed()).unwrap().insert(&mut insert).unwrap();
    }
    drop(insert);
    file.execute("UPDATE logs SET position = ?1, chain = ?2", params![head.position.0.cast_signed(), head.chain.as_bytes()]).unwrap();
    file.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}

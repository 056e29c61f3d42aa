//! Measures the best insert rate of SQLite on a disk: plain rows, with the same durability as the log.
//!
//! It is not part of a running node.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{OpenError, PageSize, Schema, SqliteFile, open_to_write};

pub(super) const SCHEMA: Schema = Schema {
    name: "rows",
    migrations: &["CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT"],
    definitions: "275a01eddd11eb0c1e6fb8f397b28fd89130c82e18ca7e0e124a715a5f49bcc7",
    page: PageSize::Kib16,
};

/// The maximum number of inserted bytes, because a folder may be in memory.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Inserts `row` repeatedly into a file of a folder, `rows_per_commit` in each transaction, for `duration`
/// and up to half a gigabyte. Returns how many rows were stored and how long that took. Rows already in a
/// file of that name stay. Fails if the disk does not accept them.
pub fn inserts(folder: &Path, row: &[u8], rows_per_commit: u32, duration: Duration) -> Result<(u64, Duration), OpenError> {
    let path = folder.join(format!("rows-{rows_per_commit}.sqlite"));
    let failed = |error: rusqlite::Error| OpenError::of(&path, &error);
    let mut connection = open_to_write(&SqliteFile::from(path.as_path()), &SCHEMA)?;
    let begin = Instant::now();
    let mut rows = 0;
    let rows_max = BYTES_MAX / (row.len() as u64).max(1);
    while begin.elapsed() < duration && rows < rows_max {
        let transaction = connection.transaction().map_err(failed)?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO row (bytes) VALUES (?1)").map_err(failed)?;
            for _ in 0..rows_per_commit {
                insert.execute([row]).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        rows += u64::from(rows_per_commit);
    }
    Ok((rows, begin.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_inserts_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let (rows, took) = inserts(folder.path(), b"row", 10, Duration::from_millis(20)).unwrap();
        assert!(rows >= 10 && rows.is_multiple_of(10) && took >= Duration::from_millis(20), "{rows} {took:?}");
        let connection = rusqlite::Connection::open(folder.path().join("rows-10.sqlite")).unwrap();
        let kept: i64 = connection.query_row("SELECT count(*) FROM row", [], |row| row.get(0)).unwrap();
        assert_eq!(u64::try_from(kept).unwrap(), rows);
    }
}

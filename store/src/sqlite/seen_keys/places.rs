//! The places of the rows of keys: the index of `seen`, which is written after the rows.
//!
//! A hash is a random place, so an index that SQLite keeps with the rows would write a separate page for each
//! key of a commit. Here the places of the newest rows are in memory. Once enough of them are collected, each
//! commit writes a run of neighbors to the table `seen_places`, and neighbors share pages. `logs.keys_placed`
//! is the number of a row: the places of this row and of all older rows are in the table. Later rows are read
//! when the log is opened; their number is bounded by how many are collected.

use std::collections::BTreeSet;

use ensue_engine::record::Epoch;
use rusqlite::{Connection, params};

/// The minimum number of places that are written to the table together.
const RUN_MIN: usize = 64;
/// The maximum number of places that are collected before they are written.
const GATHERED_MAX: usize = 8_192;
/// Places are written once there is one for this many rows. A page of the table holds about 400 of them, so a
/// run among so many rows writes about one page for 25 places.
const ROWS_PER_GATHERED: i64 = 16;

/// Writes the places of all keys to the table of a file in which no log is open.
pub(in crate::sqlite) fn place_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE; \
         INSERT INTO seen_places (scope, prefix, number) SELECT scope, prefix, number FROM seen ORDER BY scope, prefix, number; \
         UPDATE logs SET keys_placed = coalesce((SELECT max(number) FROM seen), 0); \
         COMMIT",
    )
}

/// The scope of a key, the beginning of its hash and the number of its row.
type KeyPlace = (i64, i64, i64);

/// The places of a log's keys.
///
/// A place may belong to a row that was not committed or is gone. Therefore every row found by its place must
/// be compared with the key.
#[derive(Default)]
pub(in crate::sqlite) struct Places {
    /// Places that are only in memory.
    gathered: BTreeSet<KeyPlace>,
    /// Places that are being written, in the table's order.
    moving: BTreeSet<KeyPlace>,
    /// The newest row at the time when writing them began.
    moving_up_to: i64,
    /// The newest row that was ever numbered.
    newest: i64,
}

/// The run of places that a transaction writes. It has no effect if the transaction fails.
#[must_use]
pub(in crate::sqlite) struct PlaceRun {
    through: Option<KeyPlace>,
}

impl Places {
    /// Reads the places that are not in the table.
    pub(in crate::sqlite) fn open(connection: &Connection, log: i64) -> rusqlite::Result<Self> {
        let placed: i64 = connection.query_row("SELECT keys_placed FROM logs WHERE number = ?1", [log], |row| row.get(0))?;
        let gathered: BTreeSet<KeyPlace> = connection
            .prepare(
                "SELECT scope, prefix, number FROM seen \
                 WHERE number > ?2 AND scope IN (SELECT number FROM scopes WHERE log = ?1)",
            )?
            .query_map([log, placed], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let newest = gathered.iter().map(|(.., number)| *number).fold(placed, i64::max);
        Ok(Self { gathered, newest, ..Self::default() })
    }

    /// Returns the number of the next row, larger than all before, including those of removed rows, whose
    /// numbers SQLite would reuse.
    pub(super) fn next_number(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let newest: Option<i64> = connection.prepare_cached("SELECT max(number) FROM seen")?.query_row([], |row| row.get(0))?;
        Ok(newest.unwrap_or(0).max(self.newest) + 1)
    }

    /// Adds the place of a row.
    pub(super) fn hold(&mut self, scope: i64, prefix: i64, number: i64) {
        self.gathered.insert((scope, prefix, number));
        self.newest = self.newest.max(number);
    }

    /// Returns the numbers of the rows that may have a key, newest first.
    pub(super) fn find(&self, connection: &Connection, scope: i64, prefix: i64) -> rusqlite::Result<Vec<i64>> {
        let mut numbers: Vec<i64> = connection
            .prepare_cached("SELECT number FROM seen_places WHERE scope = ?1 AND prefix = ?2")?
            .query_map([scope, prefix], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let here = (scope, prefix, i64::MIN)..=(scope, prefix, i64::MAX);
        numbers.extend(self.moving.range(here.clone()).chain(self.gathered.range(here)).map(|(.., number)| number));
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.dedup();
        Ok(numbers)
    }

    /// Writes the next run to the table: twice as many places as this commit added, so that all runs are
    /// written before the next series begins.
    pub(super) fn write_run(&mut self, connection: &Connection, log: i64, new: usize) -> rusqlite::Result<PlaceRun> {
        if self.moving.is_empty() {
            let rows = usize::try_from(self.newest / ROWS_PER_GATHERED).unwrap_or(GATHERED_MAX);
            if self.gathered.len() < rows.clamp(RUN_MIN, GATHERED_MAX) {
                return Ok(PlaceRun { through: None });
            }
            self.move_all();
        }
        self.write(connection, log, RUN_MIN.max(2 * new))
    }

    /// Notes that the transaction that wrote the run was committed.
    pub(in crate::sqlite) fn note_committed(&mut self, run: &PlaceRun) {
        while self.moving.first().copied() <= run.through && !self.moving.is_empty() {
            self.moving.pop_first();
        }
    }

    /// Writes all places to the table, in a separate transaction, so that the next start finds them there.
    /// Does nothing if the log has another writer by now.
    pub(in crate::sqlite) fn write_all(&mut self, connection: &mut Connection, log: i64, epoch: Epoch) -> rusqlite::Result<()> {
        let write = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let now: i64 = write.query_row("SELECT epoch FROM logs WHERE number = ?1", [log], |row| row.get(0))?;
        if now.unsigned_abs() != epoch.0 || self.gathered.is_empty() && self.moving.is_empty() {
            return Ok(());
        }
        self.move_all();
        let run = self.write(&write, log, usize::MAX)?;
        write.commit()?;
        self.note_committed(&run);
        Ok(())
    }

    fn move_all(&mut self) {
        self.moving.append(&mut self.gathered);
        self.moving_up_to = self.newest;
    }

    fn write(&self, connection: &Connection, log: i64, most: usize) -> rusqlite::Result<PlaceRun> {
        // A removed row has no place, and a row that was not committed never had one.
        let mut write = connection.prepare_cached(
            "INSERT OR IGNORE INTO seen_places (scope, prefix, number) \
             SELECT scope, prefix, number FROM seen WHERE number = ?3 AND scope = ?1 AND prefix = ?2",
        )?;
        let mut through = None;
        for place in self.moving.iter().take(most) {
            write.execute(params![place.0, place.1, place.2])?;
            through = Some(*place);
        }
        if through == self.moving.last().copied() {
            connection
                .prepare_cached("UPDATE logs SET keys_placed = max(keys_placed, ?2) WHERE number = ?1")?
                .execute([log, self.moving_up_to])?;
        }
        Ok(PlaceRun { through })
    }
}

/// Removes the place of a removed row from the table.
pub(super) fn forget(connection: &Connection, scope: i64, prefix: i64, number: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM seen_places WHERE scope = ?1 AND prefix = ?2 AND number = ?3")?
        .execute([scope, prefix, number])?;
    Ok(())
}

#[cfg(test)]
mod tests;

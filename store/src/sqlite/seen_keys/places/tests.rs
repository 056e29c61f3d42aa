//! Tests that the index written after the rows finds them, however a log ended and whatever was rejected.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::command::DedupeEntry;
use ensue_engine::ports::{AppendError, Log};
use ensue_engine::record::{Body, Digest, Position};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{GATHERED_MAX, RUN_MIN};
use crate::sqlite::log::SqliteLog;
use ensue_test_support::records::{LOG, OTHER_LOG, Writer, dedupe_key, event, key_set, seen_at};

/// Longer than the log of any test, in milliseconds.
const FOR_EVER: u64 = 1_000_000_000;

/// A log with the expected state of its keys.
struct World {
    folder: TempDir,
    log: SqliteLog,
    writer: Writer,
    /// Each key that never expires, with the position at which it was last seen.
    known: BTreeMap<u64, u64>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder);
        let writer = Writer::of(&log);
        Self { folder, log, writer, known: BTreeMap::new() }
    }

    /// Appends one event with these keys, which are valid for `millis` milliseconds.
    fn append(&mut self, keys: impl IntoIterator<Item = u64>, millis: u64) {
        let position = self.writer.head().position.0 + 1;
        let mut batch = self.writer.batch([event(position)]);
        for key in keys {
            batch.seen.push((dedupe_key("hooks", key), seen_at(position, position + millis)));
            if millis == FOR_EVER {
                self.known.insert(key, position);
            }
        }
        self.writer.write(&mut self.log, &batch).unwrap();
    }

    /// Appends a batch with these keys that is rejected because the disk is full.
    fn fail(&mut self, keys: impl IntoIterator<Item = u64>) {
        let position = self.writer.head().position.0 + 1;
        let noise: Vec<u8> = (0..20_000u32).flat_map(|i| *Digest::of(&i.to_le_bytes()).as_bytes()).collect();
        let mut batch = self.writer.batch([key_set("core.k", 1), event(position).with_body(Body::raw(noise))]);
        batch.seen.extend(keys.into_iter().map(|key| (dedupe_key("hooks", key), seen_at(position, FOR_EVER))));
        let pragma = |name: &str| self.log.connection().pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        let (pages, most) = (pragma("page_count"), pragma("max_page_count"));
        let limit =
            |log: &SqliteLog, pages: i64| log.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        limit(&self.log, pages);
        assert!(matches!(self.writer.write(&mut self.log, &batch), Err(AppendError::Full)));
        limit(&self.log, most);
    }

    /// Stops the log, and opens it again.
    fn stop(self) -> Self {
        let Self { folder, log, known, .. } = self;
        drop(log);
        let log = open(&folder);
        Self { writer: Writer::of(&log), folder, log, known }
    }

    /// Continues with the files as they are now, as after a kill.
    fn kill(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let file = file.unwrap();
            // SQLite creates the shared memory again.
            if !file.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        let log = open(&copy);
        Self { writer: Writer::of(&log), folder: copy, log, known: self.known }
    }

    fn find_key(&self, key: u64) -> Option<DedupeEntry> {
        self.log.find_keys(&[dedupe_key("hooks", key)]).unwrap().remove(0)
    }

    /// Checks that each key is found, that each place in the table leads to a row, and that each row has its
    /// place in the table or in memory.
    fn check(&self) {
        for (key, position) in &self.known {
            assert_eq!(self.find_key(*key).map(|seen| seen.position), Some(Position(*position)), "the key {key}");
        }
        assert_eq!(self.count("SELECT count(*) FROM seen_places WHERE number NOT IN (SELECT number FROM seen)"), 0);
        assert_eq!(self.count("SELECT count(*) FROM seen"), self.count("SELECT sum(keys) FROM scopes"));
        self.log.reader().unwrap().check_indexes().unwrap();
    }

    fn count(&self, sql: &str) -> i64 {
        self.log.connection().query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap().unwrap_or(0)
    }
}

fn open(folder: &TempDir) -> SqliteLog {
    SqliteLog::open(&folder.path().join("log.sqlite"), LOG).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Append(BTreeSet<u64>, u64),
    Fail(BTreeSet<u64>),
    Stop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || prop::collection::btree_set(0u64..600, 1..90);
    prop_oneof![
        8 => (keys(), prop_oneof![Just(FOR_EVER), 1u64..4]).prop_map(|(keys, millis)| Step::Append(keys, millis)),
        1 => keys().prop_map(Step::Fail),
        1 => Just(Step::Stop),
        2 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_key_is_found_after_any_sequence_of_events(steps in prop::collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in steps {
            match step {
                // A key that is accepted again is valid from then on, for the new duration.
                Step::Append(keys, FOR_EVER) => world.append(keys, FOR_EVER),
                Step::Append(keys, millis) => {
                    let keys: Vec<u64> = keys.into_iter().filter(|key| !world.known.contains_key(key)).collect();
                    world.append(keys, millis);
                }
                Step::Fail(keys) => world.fail(keys),
                Step::Stop => world = world.stop(),
                Step::Kill => world = world.kill(),
            }
        }
        world.check();
        prop_assert!(world.find_key(1_000).is_none());
    }
}

#[test]
fn places_are_written_in_runs_and_the_newest_stay_in_memory() {
    let mut world = World::new();
    for first in (0..4_000).step_by(20) {
        world.append(first..first + 20, FOR_EVER);
    }
    let (rows, placed) = (world.count("SELECT count(*) FROM seen"), world.count("SELECT count(*) FROM seen_places"));
    assert_eq!(rows, 4_000);
    assert!(placed > 3_000 && placed < rows, "{placed} of {rows} are in the table");
    world.check();
    let world = world.kill();
    world.check();
    let world = world.stop();
    assert_eq!(world.count("SELECT count(*) FROM seen_places"), rows, "a log that is stopped has all of them in the table");
    world.check();
}

#[test]
fn batch_may_have_more_keys_than_the_buffer() {
    let mut world = World::new();
    world.append(0..GATHERED_MAX as u64 + 100, FOR_EVER);
    world.append([20_000], FOR_EVER);
    world.kill().check();
}

#[test]
fn row_number_is_not_reused_after_its_row_is_removed() {
    let mut world = World::new();
    world.append(0..RUN_MIN as u64, 1);
    let mut world = world.stop();
    for _ in 0..4 {
        world.append([], 1);
    }
    assert_eq!(world.count("SELECT count(*) FROM seen"), 0, "all were forgotten");
    world.append([7], FOR_EVER);
    assert!(world.count("SELECT min(number) FROM seen") > RUN_MIN as i64);
    // After a kill, rows up to the recorded number are not read again.
    world.kill().check();
}

#[test]
fn replaced_writer_writes_no_places() {
    let mut world = World::new();
    world.append(0..10, FOR_EVER);
    let newer = open(&world.folder);
    let path = world.folder.path().join("log.sqlite");
    let World { folder, log, .. } = world;
    drop(log);
    let placed: i64 = Connection::open(&path).unwrap().query_row("SELECT keys_placed FROM logs", [], |row| row.get(0)).unwrap();
    assert_eq!(placed, 0);
    drop((newer, folder));
}

#[test]
fn two_logs_of_one_file_have_separate_places() {
    let mut world = World::new();
    let mut other = SqliteLog::open(&world.folder.path().join("log.sqlite"), OTHER_LOG).unwrap();
    let mut writer = Writer::of(&other);
    for first in (0..400).step_by(20) {
        world.append(first..first + 20, FOR_EVER);
        let position = writer.head().position.0 + 1;
        let mut batch = writer.batch([event(position)]);
        batch.seen.extend((first..first + 20).map(|key| (dedupe_key("hooks", key), seen_at(position, FOR_EVER))));
        writer.write(&mut other, &batch).unwrap();
    }
    let world = world.kill();
    world.check();
    let other = SqliteLog::open(&world.folder.path().join("log.sqlite"), OTHER_LOG).unwrap();
    for key in 0..400 {
        assert_eq!(other.find_keys(&[dedupe_key("hooks", key)]).unwrap()[0].as_ref().map(|seen| seen.position.0), Some(key / 20 + 1));
    }
}

#[test]
fn missing_place_is_found_by_a_check_and_can_be_restored() {
    let mut world = World::new();
    world.append(0..10, FOR_EVER);
    let world = world.stop();
    let connection = Connection::open(world.folder.path().join("log.sqlite")).unwrap();
    connection.execute_batch("DELETE FROM seen_places WHERE number = 3").unwrap();
    let error = world.log.reader().unwrap().check_indexes().unwrap_err().to_string();
    assert!(error.contains("1 known keys are missing"), "{error}");
    // As docs/errors/log-index-damaged.md says.
    connection.execute_batch("REINDEX; INSERT OR IGNORE INTO seen_places SELECT scope, prefix, number FROM seen").unwrap();
    world.check();
}

#[test]
fn log_of_the_first_version_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    let mut world = World::new();
    world.append(0..10, FOR_EVER);
    let world = world.stop();
    // Undoes the second migration.
    let connection = Connection::open(world.folder.path().join("log.sqlite")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE seen_places; CREATE INDEX seen_by_prefix ON seen (scope, prefix); ALTER TABLE logs DROP COLUMN keys_placed; \
             PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
    std::fs::copy(world.folder.path().join("log.sqlite"), &path).unwrap();
    let log = open(&folder);
    World { writer: Writer::of(&log), folder, log, known: world.known }.check();
}

//! Tests of what is specific to a log on SQLite: full disks, failed stores, and the size of rows.

use ensue_engine::ids::Id;
use ensue_engine::record::{Body, Digest};

use super::*;
use ensue_test_support::NOON;
use ensue_test_support::records::{LOG, OTHER_LOG, Writer, dedupe_key, event, key_set, read_all, seen_at};

fn open(folder: &tempfile::TempDir) -> SqliteLog {
    SqliteLog::open(&folder.path().join("log.sqlite"), LOG).unwrap()
}

/// Returns bytes that cannot be compressed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 32 + 1).flat_map(|i| *Digest::of(&(seed << 32 | i).to_le_bytes()).as_bytes()).take(bytes).collect()
}

#[test]
fn full_disk_rejects_whole_batches_and_accepts_them_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(&folder);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 3).unwrap();
    let (pages, most): (i64, i64) = (
        log.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap(),
        log.connection.pragma_query_value(None, "max_page_count", |row| row.get(0)).unwrap(),
    );
    log.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let batch = writer.batch([event(4).with_body(Body::raw(noise(4, 100_000))), key_set("core.k", 1)]);
    for _ in 0..3 {
        assert!(matches!(writer.write(&mut log, &batch), Err(AppendError::Full)));
        assert_eq!((log.head().unwrap(), read_all(&*log.reader().unwrap()).len()), (writer.head(), 3));
    }
    log.connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(())).unwrap();
    assert_eq!(writer.write(&mut log, &batch).unwrap(), Position(5));
}

#[test]
fn dead_store_rejects_everything_even_after_its_fault_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(&folder);
    let mut writer = Writer::of(&log);
    log.connection.pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Dead(_))));
    log.connection.pragma_update(None, "query_only", false).unwrap();
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Dead(_))));
    drop(log);
    let mut log = open(&folder);
    assert_eq!(Writer::of(&log).append(&mut log, 1).unwrap(), Position(1));
}

#[test]
fn write_ahead_log_is_freed_with_the_caches_once_no_reader_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(&folder);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 3).unwrap();
    let bytes = || std::fs::metadata(folder.path().join("log.sqlite-wal")).unwrap().len();
    let in_use = bytes();
    assert!(in_use > 0);
    let reader = Connection::open(folder.path().join("log.sqlite")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records;").unwrap();
    log.release_caches();
    assert_eq!(bytes(), in_use, "a reader is in it");
    reader.execute_batch("COMMIT").unwrap();
    log.release_caches();
    assert_eq!(bytes(), 0);
    assert_eq!((writer.append(&mut log, 1).unwrap(), read_all(&*log.reader().unwrap()).len()), (Position(4), 4));
}

#[test]
fn full_disk_is_reported_as_such_and_the_store_stays_usable() {
    assert_eq!(failure(Some(ErrorCode::DiskFull), CommitStage::Open), Failure::Full);
    assert_eq!(failure(Some(ErrorCode::DiskFull), CommitStage::Ended), Failure::Full);
}

#[test]
fn io_error_ends_the_store() {
    assert_eq!(failure(Some(ErrorCode::SystemIoFailure), CommitStage::Ended), Failure::Dead);
    assert_eq!(failure(Some(ErrorCode::SystemIoFailure), CommitStage::Open), Failure::Dead);
}

#[test]
fn commit_with_another_error_is_unknown() {
    assert_eq!(failure(Some(ErrorCode::DatabaseCorrupt), CommitStage::Ended), Failure::Unknown);
    assert_eq!(failure(Some(ErrorCode::DatabaseCorrupt), CommitStage::Open), Failure::Dead);
}

#[test]
fn row_key_encodes_its_log_and_position() {
    for (number, at) in [(0, 1), (0, POSITION_MAX), (7, 42), (LOGS_MAX - 1, POSITION_MAX)] {
        let place = place(number, Position(at));
        assert!(place >= 0);
        assert_eq!((place >> POSITION_BITS, position(place)), (number, Position(at)));
    }
}

#[test]
fn logs_of_a_file_are_listed_in_creation_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    assert_eq!(logs(&path).unwrap(), []);
    assert!(!path.exists(), "asking makes no file");
    for id in [OTHER_LOG, LOG, OTHER_LOG] {
        SqliteLog::open(&path, id).unwrap();
    }
    assert_eq!(logs(&path).unwrap(), [OTHER_LOG, LOG]);
}

#[test]
fn reader_of_a_missing_log_is_rejected_and_creates_none() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let path = folder.path().join("log.sqlite");
    assert!(matches!(SqliteLogReader::open(&path, OTHER_LOG), Err(OpenError::Unusable { .. })));
    assert_eq!(logs(&path).unwrap(), [LOG]);
}

#[test]
fn stopped_log_is_a_single_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(&folder);
    Writer::of(&log).append(&mut log, 3).unwrap();
    drop(log);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["log.sqlite"]);
}

#[test]
fn damaged_key_row_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(&folder);
    let mut writer = Writer::of(&log);
    let mut batch = writer.batch([event(1)]);
    batch.seen.push((dedupe_key("hooks", 1), seen_at(1, 1_000)));
    writer.write(&mut log, &batch).unwrap();
    for edit in ["position = 7", "until = until + 1", "event = zeroblob(16)", "event = x'00'", "content = zeroblob(32)", "sum = 0"] {
        log.connection.execute_batch(&format!("SAVEPOINT edit; UPDATE seen SET {edit}")).unwrap();
        assert!(matches!(log.find_keys(&[dedupe_key("hooks", 1)]), Err(LogError::Store(_))), "{edit}");
        log.connection.execute_batch("ROLLBACK TO edit; RELEASE edit").unwrap();
    }
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [Some(seen_at(1, 1_000))]);
}

/// Returns by how many bytes an event with a key makes the file longer besides its body, in batches of `group`
/// events. Each event has five more records, like an event that one rule matches.
fn overhead(events: u64, group: u64) -> u64 {
    const BODY_BYTES: u64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let bytes = || std::fs::metadata(folder.path().join("log.sqlite")).unwrap().len();
    drop(open(&folder));
    let empty = bytes();
    let mut log = open(&folder);
    let mut writer = Writer::of(&log);
    for first in (0..events).step_by(group as usize) {
        let numbers = first..(first + group).min(events);
        let sketches = numbers.clone().flat_map(|number| {
            let received = event(number).with_body(Body::raw(noise(number, BODY_BYTES as usize)));
            let name = format!("core.k{number}");
            [received].into_iter().chain((1..=5).map(move |version| key_set(&name, version)))
        });
        let mut batch = writer.batch(sketches);
        batch.id = Some(Id::root(NOON.plus_millis(first), u128::from(first)));
        for record in &mut batch.records {
            record.batch = batch.id.unwrap();
        }
        batch.seen.extend(numbers.map(|number| (dedupe_key("hooks", number), seen_at(number, 1_000_000_000))));
        writer.write(&mut log, &batch).unwrap();
    }
    drop(log);
    (bytes() - empty) / events - BODY_BYTES
}

#[test]
fn event_with_its_records_takes_at_most_2_kb_besides_its_body() {
    let (alone, together) = (overhead(400, 1), overhead(1_280, 64));
    assert!(alone < 2_000, "{alone} bytes an event alone");
    assert!(together < 1_500, "{together} bytes an event in groups of 64");
}

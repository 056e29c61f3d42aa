//! Tests that any manipulation of a log's file is found, however careful it is.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::record::{Actor, Chain, Position};
use ensue_engine::time::Timestamp;
use rusqlite::Connection;

use super::*;
use crate::encode::compress;
use crate::memory::MemoryLog;
use crate::sqlite::forge::replace_records;
use crate::sqlite::log::{SqliteLog, SqliteLogReader};
use ensue_engine::ports::Log;
use ensue_test_support::NOON;
use ensue_test_support::records::{LOG, Writer, event, key_set, long_json, read_all};

/// A log of twelve records in a file that is not open anywhere.
struct Fixture {
    folder: tempfile::TempDir,
    records: Vec<Record>,
    head: Head,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SqliteLog::open(&folder.path().join("log.sqlite"), LOG).unwrap();
        let head = fill(&mut log);
        let records = read_all(&*log.reader().unwrap());
        drop(log);
        Self { folder, records, head }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.sqlite")
    }

    /// Replaces the records and leaves the head.
    fn forge(&self, records: &[Record]) {
        replace_records(&self.path(), records, self.head);
    }

    fn verify(&self, seen: Option<Head>) -> Result<VerifySummary, VerifyError> {
        // Not through `SqliteLogReader::open`, which compares with the head itself: that has its own tests.
        verify(&SqliteLogReader::open_unchecked(&self.path().as_path().into(), LOG).unwrap(), seen, |_| ())
    }
}

/// Appends six batches of an event with a body and a key's next version.
fn fill(log: &mut dyn Log) -> Head {
    let mut writer = Writer::of(log);
    for number in 1..=6 {
        let body = compress(Body::json(long_json(400 * number as usize)));
        let batch = writer.batch([event(number).with_body(body), key_set("core.k", number as u32)]);
        writer.write(log, &batch).unwrap();
    }
    writer.head()
}

fn renumber(records: &mut [Record]) {
    for (index, record) in records.iter_mut().enumerate() {
        record.position = Position(index as u64 + 1);
    }
}

/// Recomputes the chain from the beginning, and returns the head.
fn rechain(records: &mut [Record]) -> Head {
    let mut head = Head::default();
    for record in records {
        record.chain = head.chain.over(record);
        head = Head { position: record.position, chain: record.chain };
    }
    head
}

fn broken_at(outcome: Result<VerifySummary, VerifyError>) -> u64 {
    match outcome {
        Err(VerifyError::Chain(ChainError::Broken { at })) => at.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn untouched_log_verifies() {
    let fixture = Fixture::new();
    let verified = fixture.verify(Some(fixture.head)).unwrap();
    assert_eq!(verified, VerifySummary { head: fixture.head, records: 12, bodies: 6 });
}

#[test]
fn empty_log_verifies() {
    let log = MemoryLog::new(LOG);
    let verified = verify(&*log.reader().unwrap(), None, |_| ()).unwrap();
    assert_eq!(verified, VerifySummary { head: Head::default(), records: 0, bodies: 0 });
}

#[test]
fn outside_head_that_lags_behind_is_accepted() {
    let fixture = Fixture::new();
    let older = Head { position: Position(5), chain: fixture.records[4].chain };
    assert!(fixture.verify(Some(older)).is_ok());
    assert!(fixture.verify(Some(Head::default())).is_ok());
}

#[test]
fn progress_is_reported_up_to_the_head() {
    let mut log = MemoryLog::new(LOG);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 2_500).unwrap();
    let mut positions = Vec::new();
    verify(&*log.reader().unwrap(), None, |position| positions.push(position.0)).unwrap();
    assert_eq!(positions, [1_000, 2_000, 2_500]);
}

#[test]
fn edit_of_any_part_of_a_record_is_found_at_its_position() {
    type Edit = fn(&mut Record);
    let edits: [(&str, Edit); 12] = [
        ("epoch", |record| record.epoch = record.epoch.next()),
        ("batch", |record| record.batch = Id::root(NOON, 99)),
        ("stream", |record| record.stream = event(99).stream),
        ("schema", |record| record.schema = 0),
        ("id", |record| record.id = Id::root(NOON, 99)),
        ("time", |record| record.time = Timestamp::from_micros(record.time.micros() + 1)),
        ("actor", |record| record.actor = Actor::Operator),
        ("parent", |record| record.cause.parent = Some(Id::root(NOON, 99))),
        ("root", |record| record.cause.root = Id::root(NOON, 99)),
        ("depth", |record| record.cause.depth += 1),
        ("trace", |record| record.cause.trace = Some(String::new())),
        ("body", |record| record.body = None),
    ];
    for (part, edit) in edits {
        let mut log = MemoryLog::new(LOG);
        fill(&mut log);
        let records = read_all(&*log.reader().unwrap());
        let mut head = Head { position: Position(6), chain: records[5].chain };
        let mut edited = records[6].clone();
        edit(&mut edited);
        assert_eq!(verify_link(head, &edited), Err(ChainError::Broken { at: Position(7) }), "{part}");
        head = verify_link(head, &records[6]).unwrap();
        assert_eq!(head.position, Position(7));
    }
}

#[test]
fn edited_fact_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    let Fact::KeySet(fact) = &mut records[7].fact else { panic!("the eighth record sets a key") };
    fact.version += 100;
    records[7].fact_json = records[7].fact.to_json().unwrap();
    fixture.forge(&records);
    assert_eq!(broken_at(fixture.verify(None)), 8);
}

#[test]
fn edited_time_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records[4].time = records[4].time.plus_millis(1);
    fixture.forge(&records);
    assert_eq!(broken_at(fixture.verify(None)), 5);
}

#[test]
fn edited_body_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    let original = records[2].body.clone().unwrap();
    let other = compress(Body::json(long_json(2_000)));
    records[2].body = Some(Body { digest: original.digest, ..other });
    fixture.forge(&records);
    assert!(matches!(fixture.verify(None), Err(VerifyError::Chain(ChainError::Body { at: Position(3) }))));
}

#[test]
fn undecodable_body_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    let body = records[2].body.as_mut().unwrap();
    body.content = body.content.as_ref().map(|content| content.slice(..content.len() / 2));
    fixture.forge(&records);
    assert!(matches!(fixture.verify(None), Err(VerifyError::Body { at: Position(3), .. })));
}

#[test]
fn erased_body_is_accepted() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records[2].body.as_mut().unwrap().content = None;
    fixture.forge(&records);
    assert_eq!(fixture.verify(Some(fixture.head)).unwrap().bodies, 5);
}

#[test]
fn inserted_record_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    let mut inserted = records[3].clone();
    inserted.stream = event(99).stream;
    inserted.revision = Revision(1);
    inserted.id = Id::root(NOON, 99);
    records.insert(5, inserted);
    renumber(&mut records);
    fixture.forge(&records);
    assert_eq!(broken_at(fixture.verify(None)), 6);
}

#[test]
fn deleted_record_is_found_at_its_position() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records.remove(5);
    fixture.forge(&records);
    match fixture.verify(None) {
        Err(VerifyError::Log(LogError::Unreadable { position, .. })) => assert_eq!(position, Position(6)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn deleted_record_is_found_even_if_the_others_were_renumbered() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records.remove(4);
    renumber(&mut records);
    fixture.forge(&records);
    assert_eq!(broken_at(fixture.verify(None)), 5);
}

#[test]
fn swapped_records_are_found() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records.swap(3, 6);
    renumber(&mut records);
    fixture.forge(&records);
    assert_eq!(broken_at(fixture.verify(None)), 4);
}

#[test]
fn missing_tail_is_found_by_the_head_row() {
    let fixture = Fixture::new();
    fixture.forge(&fixture.records[..9]);
    match fixture.verify(None) {
        Err(VerifyError::Log(LogError::Unreadable { position, .. })) => assert_eq!(position, Position(10)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_tail_and_head_row_are_found_by_the_outside_head() {
    let fixture = Fixture::new();
    let shorter = Head { position: Position(9), chain: fixture.records[8].chain };
    replace_records(&fixture.path(), &fixture.records[..9], shorter);
    assert!(fixture.verify(None).is_ok(), "nothing in the file itself can tell");
    match fixture.verify(Some(fixture.head)) {
        Err(VerifyError::Cut { seen, found }) => assert_eq!((seen, found), (fixture.head, Position(9))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rewritten_log_with_a_valid_chain_is_found_by_the_outside_head() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    records[4].time = records[4].time.plus_millis(1);
    let head = rechain(&mut records);
    replace_records(&fixture.path(), &records, head);
    assert!(fixture.verify(None).is_ok(), "nothing in the file itself can tell");
    assert!(matches!(fixture.verify(Some(fixture.head)), Err(VerifyError::Rewritten { at: Position(12) })));
}

#[test]
fn head_row_with_another_hash_is_found() {
    let fixture = Fixture::new();
    let head = Head { chain: Chain::from_bytes([7; 32]), ..fixture.head };
    replace_records(&fixture.path(), &fixture.records, head);
    assert!(matches!(fixture.verify(None), Err(VerifyError::Head { .. })));
}

#[test]
fn gap_in_a_stream_is_found_even_with_a_valid_chain() {
    let fixture = Fixture::new();
    let mut records = fixture.records.clone();
    for record in records.iter_mut().skip(6).filter(|record| record.stream == key_set("core.k", 1).stream) {
        record.revision = record.revision.next();
    }
    let head = rechain(&mut records);
    replace_records(&fixture.path(), &records, head);
    match fixture.verify(None) {
        Err(VerifyError::Revision { at, expected, found, .. }) => {
            assert_eq!((at, expected, found), (Position(8), Revision(4), Revision(5)))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn predecessor_of_an_uncached_stream_is_looked_up() {
    let fixture = Fixture::new();
    let reader = SqliteLogReader::open(&fixture.path(), LOG).unwrap();
    for (record, expected) in [(&fixture.records[3], 1), (&fixture.records[11], 5)] {
        assert_eq!(predecessor(&reader, record).unwrap(), Revision(expected));
    }
    let first_twice = Record { revision: Revision(9), ..fixture.records[3].clone() };
    assert_eq!(predecessor(&reader, &first_twice).unwrap(), Revision(0));
}

/// Returns the range in the file of an index's only page.
fn page_of(path: &Path, index: &str) -> Range<usize> {
    let connection = Connection::open(path).unwrap();
    let page: u32 = connection.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [index], |row| row.get(0)).unwrap();
    let bytes: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    ((page - 1) * bytes) as usize..(page * bytes) as usize
}

#[test]
fn stream_hidden_by_a_damaged_index_is_found_by_a_scan_or_reported() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path()).unwrap();
    let page = page_of(&fixture.path(), "records_by_stream");
    let (mut hidden, mut reported) = (0, 0);
    for at in page.filter(|at| whole[*at] != 0) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(fixture.path(), damaged).unwrap();
        let Ok(reader) = SqliteLogReader::open_unchecked(&fixture.path().as_path().into(), LOG) else { continue };
        let found = fixture.verify(Some(fixture.head));
        for record in &fixture.records {
            let written: Vec<Record> = fixture.records.iter().filter(|other| other.stream == record.stream).cloned().collect();
            match reader.read_stream(&record.stream, Revision(0), ReadLimit::default()) {
                Ok(read) if read.len() == written.len() => assert!(read == written, "byte {at}: other records"),
                Ok(read) => {
                    hidden += 1;
                    assert!(read == written[..read.len()], "byte {at}: the returned records are the beginning, as it was written");
                    assert!(matches!(found, Err(VerifyError::Index(_))), "byte {at} hides records, and the walk finds {found:?}");
                }
                Err(LogError::Index(_)) => reported += 1,
                Err(error) => panic!("byte {at}: the records are intact, but this is reported: {error}"),
            }
        }
    }
    assert!(hidden > 20 && reported > 20, "{hidden} streams were hidden, {reported} were reported");
}

#[test]
fn damaged_index_is_rebuilt_from_the_records() {
    let fixture = Fixture::new();
    let mut bytes = fs::read(fixture.path()).unwrap();
    let page = page_of(&fixture.path(), "records_by_stream");
    // The last entry of a page is the row that was inserted first: its stream.
    bytes[page.end - 12] ^= 1;
    fs::write(fixture.path(), bytes).unwrap();
    assert!(matches!(fixture.verify(Some(fixture.head)), Err(VerifyError::Index(_))));
    Connection::open(fixture.path()).unwrap().execute_batch("REINDEX").unwrap();
    assert!(fixture.verify(Some(fixture.head)).is_ok());
}

#[test]
fn truncated_or_extended_log_is_not_opened() {
    let fixture = Fixture::new();
    fixture.forge(&fixture.records[..9]);
    assert!(SqliteLog::open(&fixture.path(), LOG).is_err() && SqliteLogReader::open(&fixture.path(), LOG).is_err());
    let shorter = Head { position: Position(9), chain: fixture.records[8].chain };
    replace_records(&fixture.path(), &fixture.records, shorter);
    assert!(SqliteLog::open(&fixture.path(), LOG).is_err() && SqliteLogReader::open(&fixture.path(), LOG).is_err());
    fixture.forge(&fixture.records);
    assert!(SqliteLog::open(&fixture.path(), LOG).is_ok());
}

#[test]
fn edit_by_sql_is_found_when_it_is_read() {
    let edits = [
        "UPDATE records SET encoding = 0 WHERE place = 5",
        "UPDATE records SET bytes = bytes + 1 WHERE place = 5",
        "UPDATE records SET key = 'k' WHERE place = 5",
        "UPDATE records SET content = x'00' WHERE place = 5",
        "UPDATE records SET digest = NULL WHERE place = 5",
        "UPDATE records SET digest = x'00' WHERE place = 5",
        "UPDATE records SET id = x'00' WHERE place = 5",
        "UPDATE records SET stream = x'' WHERE place = 5",
        "UPDATE records SET stream = x'63' WHERE place = 5",
        "UPDATE records SET revision = 7 WHERE place = 5",
        "UPDATE records SET chain = zeroblob(32) WHERE place = 5",
        "UPDATE records SET chain = x'' WHERE place = 5",
        "UPDATE records SET sum = sum + 1 WHERE place = 5",
        "UPDATE records SET log = 1 WHERE place = 5",
        "UPDATE batches SET id = zeroblob(16) WHERE place = 5",
        "UPDATE records SET step = 1 WHERE place = 5",
        "UPDATE batches SET epoch = 9 WHERE place = 5",
        "UPDATE batches SET sum = sum + 1 WHERE place = 5",
        "UPDATE batches SET contents = x'' WHERE place = 5",
        "UPDATE batches SET contents = zeroblob(100) WHERE place = 5",
        "UPDATE batches SET contents = (SELECT contents FROM batches WHERE place = 3) WHERE place = 5",
        "DELETE FROM batches WHERE place = 5",
        "DELETE FROM records WHERE place = 5",
    ];
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path()).unwrap();
    for edit in edits {
        fs::write(fixture.path(), &whole).unwrap();
        Connection::open(fixture.path()).unwrap().execute_batch(edit).unwrap();
        match fixture.verify(None) {
            Err(VerifyError::Log(LogError::Unreadable { position: Position(5), .. })) => {}
            other => panic!("{edit}: {other:?}"),
        }
    }
}

/// Opens the file as a node would. Returns all its records, or an error that describes the problem.
fn whole_or_error(fixture: &Fixture) -> Result<Vec<Record>, String> {
    let mut log = SqliteLog::open(&fixture.path(), LOG).map_err(|error| error.to_string())?;
    let reader = log.reader().map_err(|error| error.to_string())?;
    verify(&*reader, Some(fixture.head), |_| ()).map_err(|error| error.to_string())?;
    let records = reader.read(Position(0), ensue_test_support::records::EVERYTHING).map_err(|error| error.to_string())?;
    // Damage that has not been read yet must not cause a panic either.
    let batch = Writer::of(&log).batch([event(99)]);
    let _ = log.append(&batch, fixture.head.position, log.epoch());
    Ok(records)
}

fn assert_identical_or_refused(fixture: &Fixture, damage: &str) -> bool {
    match whole_or_error(fixture) {
        Ok(records) => {
            assert_eq!(records, fixture.records, "{damage}");
            false
        }
        Err(why) => {
            assert!(!why.is_empty(), "{damage}");
            true
        }
    }
}

/// Writes the files of a stopped log, and no others.
fn put_back(fixture: &Fixture, main: &[u8], wal: Option<&[u8]>) {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(fixture.folder.path().join(format!("log.sqlite{suffix}")));
    }
    fs::write(fixture.path(), main).unwrap();
    if let Some(wal) = wal {
        fs::write(fixture.folder.path().join("log.sqlite-wal"), wal).unwrap();
    }
}

#[test]
fn flipped_bit_leaves_the_same_data_or_an_error() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path()).unwrap();
    let mut refused = 0;
    // All bytes are equally likely; a prime step covers every kind of place.
    for (turn, at) in (0..whole.len()).step_by(311).enumerate() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (turn % 8);
        put_back(&fixture, &damaged, None);
        refused += u32::from(assert_identical_or_refused(&fixture, &format!("byte {at}")));
    }
    assert!(refused > 30, "only {refused} flips were found");
}

#[test]
fn zeroed_page_leaves_the_same_data_or_an_error() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path()).unwrap();
    for at in (0..whole.len()).step_by(4096) {
        let mut damaged = whole.clone();
        damaged[at..at + 4096].fill(0);
        put_back(&fixture, &damaged, None);
        assert_identical_or_refused(&fixture, &format!("zeros from {at}"));
    }
}

#[test]
fn truncated_file_leaves_the_same_data_or_an_error() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path()).unwrap();
    for length in (1..whole.len()).step_by(4099) {
        put_back(&fixture, &whole[..length], None);
        assert_identical_or_refused(&fixture, &format!("{length} bytes"));
    }
}

/// A log that was killed, whose newest batches are only in the write-ahead log.
fn make_killed_log() -> (Fixture, Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    let mut log = SqliteLog::open(&path, LOG).unwrap();
    let head = fill(&mut log);
    let records = read_all(&*log.reader().unwrap());
    let (main, wal) = (fs::read(&path).unwrap(), fs::read(folder.path().join("log.sqlite-wal")).unwrap());
    drop(log);
    (Fixture { folder, records, head }, main, wal)
}

#[test]
fn killed_log_has_everything_when_reopened() {
    let (fixture, main, wal) = make_killed_log();
    put_back(&fixture, &main, Some(&wal));
    assert_eq!(whole_or_error(&fixture).unwrap(), fixture.records);
}

#[test]
fn opening_a_killed_log_checkpoints_its_tail_first() {
    let (fixture, main, wal) = make_killed_log();
    put_back(&fixture, &main, Some(&wal));
    let log = SqliteLog::open(&fixture.path(), LOG).unwrap();
    // Apart from the transaction that took the epoch, nothing is left in the write-ahead log.
    let left = fs::metadata(fixture.folder.path().join("log.sqlite-wal")).unwrap().len();
    assert!(left < wal.len() as u64 / 2, "{left} bytes are left");
    assert_eq!(log.head().unwrap(), fixture.head);
}

#[test]
fn flipped_wal_bit_leaves_the_same_data_or_an_error() {
    let (fixture, main, wal) = make_killed_log();
    let mut refused = 0;
    for (turn, at) in (0..wal.len()).step_by(997).enumerate() {
        let mut damaged = wal.clone();
        damaged[at] ^= 1 << (turn % 8);
        put_back(&fixture, &main, Some(&damaged));
        refused += u32::from(assert_identical_or_refused(&fixture, &format!("byte {at} of the write-ahead log")));
    }
    assert!(refused > 30, "only {refused} flips were found");
}

#[test]
fn truncated_wal_leaves_the_same_data_or_an_error() {
    let (fixture, main, wal) = make_killed_log();
    for length in (0..wal.len()).step_by(8191) {
        put_back(&fixture, &main, Some(&wal[..length]));
        assert!(assert_identical_or_refused(&fixture, &format!("{length} bytes of the write-ahead log")), "{length} bytes are not all");
    }
}

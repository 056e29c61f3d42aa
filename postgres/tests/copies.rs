//! A log that is copied from SQLite to PostgreSQL and back is the same log.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::explain::Explain;
use ensue_engine::ids::Id;
use ensue_engine::ports::{Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_postgres::{CopyIntoError, DatabaseError, IfLed, PostgresLogReader};
use ensue_store::sqlite::log::{SqliteLog, SqliteLogReader};
use ensue_store::transfer::{Source, transfer};
use ensue_store::verify::verify;
use ensue_test_support::records::{DAY, LOG, Writer, dedupe_key, event, read_all, seen_at};
use tempfile::TempDir;

use crate::nodes::node;
use crate::server::{Server, is_missing};

/// Writes a log of three epochs with batches of several sizes and keys. Returns its folder and its head.
fn sqlite_log() -> (TempDir, Head) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    let mut head = Head::default();
    for size in [1, 40, 1_200] {
        let mut log = SqliteLog::open(&path, LOG).unwrap();
        let mut writer = Writer::of(&log);
        let next = writer.head().position.0 + 1;
        let mut batch = writer.batch((next..next + size).map(event));
        batch.seen = (next..next + size).map(|number| (dedupe_key("hooks", number), seen_at(number, DAY))).collect();
        writer.write(&mut log, &batch).unwrap();
        head = writer.head();
    }
    (folder, head)
}

fn open(folder: &TempDir) -> SqliteLogReader {
    SqliteLogReader::open(&folder.path().join("log.sqlite"), LOG).unwrap()
}

#[test]
fn copied_log_has_the_same_records_chain_epochs_and_keys() {
    if is_missing() {
        return;
    }
    let (folder, head) = sqlite_log();
    let (_, database) = Server::instance().database();
    let verified = database.copy_from(LOG, &open(&folder), |_, _| (), |_, _| Ok(())).unwrap();
    assert_eq!(verified.head, head);
    let copy = PostgresLogReader::open(&database, LOG).unwrap();
    assert_eq!(read_all(&copy), read_all(&open(&folder)));
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    assert_eq!(log.epoch(), Epoch(4), "after the three of the source");
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 41)]).unwrap(), [Some(seen_at(41, DAY))]);
    Writer::of(&log).append(&mut log, 1).unwrap();

    let back = tempfile::tempdir().unwrap();
    let mut target = SqliteLog::open(&back.path().join("log.sqlite"), LOG).unwrap();
    let copied = transfer(&copy, &mut target, |_| ()).unwrap();
    assert_eq!(copied, log.head().unwrap());
    drop(target);
    let reader = open(&back);
    assert_eq!(verify(&reader, Some(copied), |_| ()).unwrap().records, head.position.0 + 1);
    assert_eq!(read_all(&reader), read_all(&copy));
    assert_eq!(reader.epoch().unwrap(), Epoch(4));
    let keys =
        |source: &dyn Source| source.keys(i64::MIN, 10_000).unwrap().into_iter().map(|(_, key, seen)| (key, seen)).collect::<Vec<_>>();
    assert_eq!(keys(&reader), keys(&copy));
    assert_eq!(keys(&reader).len(), 1_241);
}

#[test]
fn existing_log_is_not_overwritten() {
    if is_missing() {
        return;
    }
    let (folder, _) = sqlite_log();
    let (_, database) = Server::instance().database();
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    let error = database.copy_from(LOG, &open(&folder), |_, _| (), |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, CopyIntoError::Database(DatabaseError::Exists { .. })), "{error}");
    assert_eq!(error.slug(), "copy-target-not-empty");
}

#[test]
fn log_of_a_node_is_not_copied_unless_the_node_is_gone() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let (tell, told) = mpsc::sync_channel(1);
    let asked = database.clone();
    thread::spawn(move || tell.send(asked.demand_no_leader(LOG)).unwrap());
    let refused = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(&refused, Err(DatabaseError::InUse { leader, .. }) if leader == "node-1"), "{refused:?}");
    // A stopped node sends no beats.
    let gone = "00000000-0000-0000-0000-0000000000ff";
    server.psql(&name, &format!("UPDATE ensue.nodes SET id = '{gone}'; UPDATE ensue.logs SET leader = '{gone}'"));
    database.demand_no_leader(LOG).unwrap();
    drop(log);
}

/// A source whose records end too early.
struct TruncatedSource(SqliteLogReader);

impl LogReader for TruncatedSource {
    fn head(&self) -> Result<Head, LogError> {
        self.0.head()
    }
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        match after {
            Position(0) => self.0.read(after, ReadLimit { records: 1, ..limit }),
            _ => Err(LogError::Unreadable { position: after.next(), why: "it is damaged".to_owned() }),
        }
    }
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.0.read_stream(stream, after, limit)
    }
    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError> {
        self.0.record_by_id(id)
    }
    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError> {
        self.0.body_at(position)
    }
    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError> {
        self.0.batch_at(position)
    }
    fn check_indexes(&self) -> Result<(), LogError> {
        self.0.check_indexes()
    }
    fn release_caches(&self) {
        self.0.release_caches();
    }
}

impl Source for TruncatedSource {
    fn epoch(&self) -> Result<Epoch, LogError> {
        self.0.epoch()
    }
    fn keys(&self, after: i64, limit: usize) -> Result<Vec<(i64, DedupeKey, DedupeEntry)>, LogError> {
        self.0.keys(after, limit)
    }
}

#[test]
fn interrupted_copy_cannot_be_opened_and_is_replaced() {
    if is_missing() {
        return;
    }
    let (folder, head) = sqlite_log();
    let (_, database) = Server::instance().database();
    assert!(database.copy_from(LOG, &TruncatedSource(open(&folder)), |_, _| (), |_, _| Ok(())).is_err());
    let Err(error) = database.lead(LOG, &node(1), IfLed::Fail) else { panic!("half a log was opened") };
    assert_eq!(error.slug(), "log-copy-unfinished");
    assert_eq!(database.copy_from(LOG, &open(&folder), |_, _| (), |_, _| Ok(())).unwrap().head, head);
}

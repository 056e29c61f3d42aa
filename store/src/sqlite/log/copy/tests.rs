//! Tests of copies of a log: there and back, the exact tables of version 1, and what is refused.

use ensue_engine::health::facts::LogRestored;
use ensue_engine::ports::Log;
use ensue_engine::record::{Chain, Encoding, Head, Record, StreamId};
use ensue_test_support::records::{DAY, LOG, OTHER_LOG, Sketch, Writer, dedupe_key, event, key_set, read_all, seen_at};
use tempfile::TempDir;

use super::*;
use crate::encode::{compress, plain};
use crate::sqlite::log::{FIRST_MIGRATION, SqliteLog};

const EVENTS: u64 = 40;

/// A folder with logs, each under its name.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self, name: &str) -> SqliteLog {
        SqliteLog::open(&self.path(name), LOG).unwrap()
    }

    fn copy(&self, from: &str, to: &str, format: Format) -> Result<Vec<CopiedLog>, CopyLogError> {
        let source = LogSource::open(&self.path(from).as_path().into(), format, &mut |_, _, _| ())?;
        source.copy_to(&self.path(to).as_path().into(), &mut |_, _, _| ())
    }

    fn query<T: rusqlite::types::FromSql>(&self, name: &str, sql: &str) -> Vec<T> {
        let connection = Connection::open(self.path(name)).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn definitions(&self, name: &str) -> Vec<String> {
        self.query(name, "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
    }
}

fn large_json(number: u64) -> Body {
    let text = format!("{{\"number\":{number},\"list\":[{}]}}", vec![r#"{"name":"ada"}"#; 100].join(","));
    compress(Body::json(text))
}

/// Fills a log with bodies in each encoding, keys that were seen, and several records of a stream.
fn fill(log: &mut SqliteLog) -> Head {
    let mut writer = Writer::of(log);
    for number in 1..=EVENTS {
        let body = match number % 4 {
            0 => Body::json("{}"),
            1 => Body::raw(vec![7; 3_000]),
            2 | 3 => large_json(number),
            _ => unreachable!(),
        };
        let mut batch = writer.batch([event(number).with_body(body), key_set("core.k", number as u32)]);
        batch.seen.push((dedupe_key("hooks", number), seen_at(number, DAY)));
        writer.write(log, &batch).unwrap();
    }
    log.head().unwrap()
}

fn encodings(files: &Files, name: &str) -> Vec<i64> {
    files.query(name, "SELECT DISTINCT encoding FROM records WHERE encoding IS NOT NULL ORDER BY encoding")
}

/// Returns the records with their bodies decoded.
fn decode_bodies(records: Vec<Record>) -> Vec<Record> {
    let decoded = |body: Body| Body { content: plain(&body).unwrap(), encoding: Encoding::Raw, ..body };
    records.into_iter().map(|record| Record { body: record.body.map(decoded), ..record }).collect()
}

#[test]
fn copy_to_the_first_format_and_back_has_the_same_records_and_chain() {
    let files = Files::new();
    let mut log = files.log("new");
    let head = fill(&mut log);
    let records = read_all(&*log.reader().unwrap());
    drop(log);
    let there = files.copy("new", "old", Format::V0_1).unwrap();
    let back = files.copy("old", "back", Format::Current).unwrap();
    for copied in [&there, &back] {
        assert_eq!(copied.len(), 1);
        assert_eq!((copied[0].id, copied[0].verified.head, copied[0].verified.records), (LOG, head, 2 * EVENTS));
    }
    assert_eq!(
        (encodings(&files, "new"), encodings(&files, "old"), encodings(&files, "back")),
        (vec![0, 1, 3], vec![0, 1, 2], vec![0, 1, 3])
    );

    let back = decode_bodies(read_all(&*files.log("back").reader().unwrap()));
    let old = SqliteLogReader::open_in_format(&files.path("old").as_path().into(), LOG, Format::V0_1).unwrap();
    let (old, new) = (decode_bodies(read_all(&old)), decode_bodies(records));
    assert!(old == new && back == new);
}

#[test]
fn copy_in_the_first_format_is_exactly_what_release_0_1_creates() {
    let files = Files::new();
    fill(&mut files.log("new"));
    files.copy("new", "old", Format::V0_1).unwrap();
    let created = Connection::open(files.path("created")).unwrap();
    created.execute_batch(FIRST_MIGRATION).unwrap();
    assert_eq!(files.definitions("old"), files.definitions("created"));
    let number = |pragma: &str| files.query::<i64>("old", &format!("PRAGMA {pragma}"))[0];
    assert_eq!((number("user_version"), number("page_size")), (1, 8_192));
    assert_eq!(number("application_id"), i64::from(i32::from_be_bytes(*b"Ensu")));
    assert_eq!(files.query::<String>("old", "PRAGMA journal_mode"), ["wal"]);
}

#[test]
fn copy_without_a_format_has_the_tables_and_pages_of_this_release() {
    let files = Files::new();
    fill(&mut files.log("new"));
    files.copy("new", "old", Format::V0_1).unwrap();
    files.copy("old", "back", Format::Current).unwrap();
    assert_eq!(files.definitions("back"), files.definitions("new"));
    assert_eq!(files.query::<i64>("back", "PRAGMA page_size"), [16_384]);
}

#[test]
fn source_of_the_first_format_stays_in_it() {
    let files = Files::new();
    fill(&mut files.log("new"));
    files.copy("new", "old", Format::V0_1).unwrap();
    let before = std::fs::read(files.path("old")).unwrap();
    files.copy("old", "back", Format::Current).unwrap();
    files.copy("old", "again", Format::V0_1).unwrap();
    assert!(std::fs::read(files.path("old")).unwrap() == before);
}

#[test]
fn copied_log_knows_its_keys_and_continues() {
    let files = Files::new();
    fill(&mut files.log("new"));
    files.copy("new", "old", Format::V0_1).unwrap();
    files.copy("old", "back", Format::Current).unwrap();
    // The first one is migrated here, as at the first start of this release.
    for name in ["old", "back"] {
        let mut log = files.log(name);
        let keys: Vec<_> = (1..=EVENTS).map(|number| dedupe_key("hooks", number)).collect();
        let seen: Vec<_> = (1..=EVENTS).map(|number| Some(seen_at(number, DAY))).collect();
        assert_eq!(log.find_keys(&keys).unwrap(), seen);
        Writer::of(&log).append(&mut log, 1).unwrap();
        log.reader().unwrap().check_indexes().unwrap();
    }
}

#[test]
fn fact_that_the_format_does_not_know_is_refused_at_its_position() {
    let files = Files::new();
    let mut log = files.log("new");
    fill(&mut log);
    let mut writer = Writer::of(&log);
    let restored = Sketch {
        stream: StreamId::Log(LOG),
        fact: LogRestored { known: Position(0), chain: Chain::default() }.into(),
        ..key_set("core.k", 1)
    };
    let batch = writer.batch([key_set("core.other", 1), restored]);
    writer.write(&mut log, &batch).unwrap();
    drop(log);
    let refused = LogSource::open(&files.path("new").as_path().into(), Format::V0_1, &mut |_, _, _| ()).err().unwrap();
    let said = refused.to_string();
    assert!(matches!(refused, CopyLogError::UnknownFact { at: Position(82), schema: 1, .. }), "{said}");
    assert!(said.contains("`log.restored`") && said.contains("release 0.1") && said.contains("nothing was written"), "{said}");
    files.copy("new", "copy", Format::Current).unwrap();
}

#[test]
fn all_logs_of_a_file_are_copied() {
    let files = Files::new();
    fill(&mut files.log("new"));
    let mut other = SqliteLog::open(&files.path("new"), OTHER_LOG).unwrap();
    Writer::of(&other).append(&mut other, 3).unwrap();
    drop(other);
    for format in Format::ALL {
        let name = format!("{format}");
        let copied = files.copy("new", &name, format).unwrap();
        let records: Vec<_> = copied.iter().map(|log| (log.id, log.verified.records)).collect();
        assert_eq!(records, [(LOG, 2 * EVENTS), (OTHER_LOG, 3)]);
    }
}

#[test]
fn erased_body_is_copied_as_erased() {
    let files = Files::new();
    let mut log = files.log("new");
    let mut writer = Writer::of(&log);
    let batch = writer.batch([event(1).with_body(Body { content: None, ..large_json(1) })]);
    writer.write(&mut log, &batch).unwrap();
    drop(log);
    files.copy("new", "old", Format::V0_1).unwrap();
    let old = SqliteLogReader::open_in_format(&files.path("old").as_path().into(), LOG, Format::V0_1).unwrap();
    let body = read_all(&old)[0].body.clone().unwrap();
    assert_eq!((body.encoding, body.content), (Encoding::JsonZstd, None));
}

#[test]
fn log_without_its_newest_record_is_not_copied_as_intact() {
    let files = Files::new();
    fill(&mut files.log("new"));
    let connection = Connection::open(files.path("new")).unwrap();
    connection.execute_batch("DELETE FROM records WHERE place = (SELECT max(place) FROM records)").unwrap();
    drop(connection);
    let refused = files.copy("new", "copy", Format::Current);
    assert!(matches!(refused, Err(CopyLogError::Verify(_))), "{refused:?}");
}

#[test]
fn file_without_a_log_is_refused() {
    let files = Files::new();
    std::fs::write(files.path("new"), "").unwrap();
    let refused = files.copy("new", "copy", Format::Current);
    assert!(matches!(&refused, Err(CopyLogError::Open(OpenError::Unusable { why, .. })) if why == NO_LOG), "{refused:?}");
}

//! Reading: all records as they were written, in order, up to the requested amount.

use bytes::Bytes;
use ensue_engine::ids::Id;
use ensue_engine::ports::{Batch, Log, ReadLimit};
use ensue_engine::record::{Actor, Body, Cause, Head, Position, Record, Revision, verify_link};

use super::Logs;
use ensue_store::encode::{compress, plain};
use ensue_test_support::NOON;
use ensue_test_support::records::{
    EVERYTHING, LOG, OTHER_LOG, Sketch, Writer, event, event_id, key_set, long_json, read_all, strange_stream,
};

on_every_log! {
    records_are_read_as_they_were_written
    hash_chain_of_read_records_verifies
    read_continues_after_a_position
    read_after_the_head_returns_nothing
    read_after_the_maximum_position_returns_nothing
    record_limit_is_honored
    byte_limit_is_honored
    byte_limit_counts_facts_and_bodies
    record_over_every_limit_is_returned_alone
    zero_record_limit_still_returns_one
    reading_in_small_steps_equals_reading_at_once
    stream_returns_only_its_own_records
    stream_read_continues_after_a_revision
    stream_read_honors_the_limits
    unknown_stream_is_empty
    stream_after_the_highest_revision_is_empty
    record_is_found_by_its_id
    unknown_id_finds_nothing
    id_of_another_log_finds_nothing
    body_is_found_by_its_position
    record_without_a_body_has_none_at_its_position
    body_of_arbitrary_bytes_round_trips
    empty_body_is_distinguished_from_an_absent_one
    body_of_four_mebibytes_round_trips
    compressed_body_is_returned_compressed
    erased_body_keeps_its_digest_and_size
    sealed_body_keeps_the_name_of_its_key
    text_of_any_language_round_trips
    every_actor_round_trips
    every_cause_round_trips
    batch_of_a_position_is_returned
    position_without_a_record_has_no_batch
    two_readers_read_the_same
    reader_sees_records_appended_after_it_was_opened
    reader_never_sees_half_a_batch
    released_caches_change_no_answer
}

/// Appends the sketches as one batch. Returns the batch, and the records as read back.
fn append_and_read(logs: &dyn Logs, sketches: impl IntoIterator<Item = Sketch>) -> (Batch, Vec<Record>) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let batch = writer.batch(sketches);
    writer.write(&mut *log, &batch).unwrap();
    (batch, read_all(&*log.reader().unwrap()))
}

fn kept_body(logs: &dyn Logs, body: Body) -> Body {
    let (_, read) = append_and_read(logs, [event(1).with_body(body)]);
    read[0].body.clone().unwrap()
}

fn log_of(logs: &dyn Logs, events: u64) -> Box<dyn Log> {
    let mut log = logs.open(LOG);
    Writer::of(&*log).append(&mut *log, events).unwrap();
    log
}

fn records_are_read_as_they_were_written(logs: &dyn Logs) {
    let body = Body::json(r#"{"a":1}"#);
    let (batch, read) = append_and_read(logs, [event(1).with_body(body), key_set("core.k", 1), key_set("core.k", 2)]);
    assert_eq!(read, batch.records);
}

fn hash_chain_of_read_records_verifies(logs: &dyn Logs) {
    let log = log_of(logs, 20);
    let mut head = Head::default();
    for record in read_all(&*log.reader().unwrap()) {
        head = verify_link(head, &record).unwrap();
    }
    assert_eq!(head, log.head().unwrap());
}

fn read_continues_after_a_position(logs: &dyn Logs) {
    let log = log_of(logs, 5);
    let read = log.reader().unwrap().read(Position(3), EVERYTHING).unwrap();
    assert_eq!(read.iter().map(|record| record.position.0).collect::<Vec<_>>(), [4, 5]);
}

fn read_after_the_head_returns_nothing(logs: &dyn Logs) {
    let log = log_of(logs, 5);
    for after in [5, 6, 1_000] {
        assert_eq!(log.reader().unwrap().read(Position(after), EVERYTHING).unwrap(), []);
    }
}

fn read_after_the_maximum_position_returns_nothing(logs: &dyn Logs) {
    let reader = log_of(logs, 2).reader().unwrap();
    for position in [ensue_store::POSITION_MAX, ensue_store::POSITION_MAX + 1, i64::MAX as u64, u64::MAX].map(Position) {
        assert_eq!(reader.read(position, EVERYTHING).unwrap(), []);
        assert_eq!((reader.batch_at(position).unwrap(), reader.body_at(position).unwrap()), (None, None));
    }
}

fn record_limit_is_honored(logs: &dyn Logs) {
    let read = log_of(logs, 5).reader().unwrap().read(Position(1), ReadLimit { records: 2, ..EVERYTHING }).unwrap();
    assert_eq!(read.iter().map(|record| record.position.0).collect::<Vec<_>>(), [2, 3]);
}

fn byte_limit_is_honored(logs: &dyn Logs) {
    let (batch, _) = append_and_read(logs, (1..=5).map(event));
    let three = batch.records[..3].iter().map(|record| record.fact_json.len()).sum();
    let read = |bytes| logs.open(LOG).reader().unwrap().read(Position(0), ReadLimit { bytes, ..EVERYTHING }).unwrap().len();
    assert_eq!((read(three), read(three - 1)), (3, 2));
}

fn byte_limit_counts_facts_and_bodies(logs: &dyn Logs) {
    let body = || Body::raw(vec![7; 1_000]);
    let (batch, _) = append_and_read(logs, (1..=5).map(|number| event(number).with_body(body())));
    let two = 2_000 + batch.records[..2].iter().map(|record| record.fact_json.len()).sum::<usize>();
    let read = |bytes| logs.open(LOG).reader().unwrap().read(Position(0), ReadLimit { bytes, ..EVERYTHING }).unwrap().len();
    assert_eq!((read(two), read(two - 1)), (2, 1));
}

fn record_over_every_limit_is_returned_alone(logs: &dyn Logs) {
    let (_, _) = append_and_read(logs, (1..=3).map(|number| event(number).with_body(Body::raw(vec![7; 10_000]))));
    let read = logs.open(LOG).reader().unwrap().read(Position(1), ReadLimit { records: 9, bytes: 0 }).unwrap();
    assert_eq!(read.iter().map(|record| record.position.0).collect::<Vec<_>>(), [2]);
}

fn zero_record_limit_still_returns_one(logs: &dyn Logs) {
    let read = log_of(logs, 3).reader().unwrap().read(Position(0), ReadLimit { records: 0, bytes: 0 }).unwrap();
    assert_eq!(read.len(), 1);
}

fn reading_in_small_steps_equals_reading_at_once(logs: &dyn Logs) {
    let reader = log_of(logs, 23).reader().unwrap();
    let mut read: Vec<Record> = Vec::new();
    loop {
        let after = read.last().map_or(Position(0), |record| record.position);
        match reader.read(after, ReadLimit { records: 4, ..EVERYTHING }).unwrap() {
            step if step.is_empty() => break,
            step => read.extend(step),
        }
    }
    assert_eq!(read, read_all(&*reader));
}

fn stream_returns_only_its_own_records(logs: &dyn Logs) {
    let (batch, _) =
        append_and_read(logs, [key_set("core.k", 1), event(1), key_set("core.k", 2), key_set("core.kk", 1), key_set("core.k", 3)]);
    let reader = logs.open(LOG).reader().unwrap();
    let read = reader.read_stream(&key_set("core.k", 1).stream, Revision(0), EVERYTHING).unwrap();
    assert_eq!(read, [&batch.records[0], &batch.records[2], &batch.records[4]].map(Clone::clone));
}

fn stream_read_continues_after_a_revision(logs: &dyn Logs) {
    let (batch, _) = append_and_read(logs, (1..=4).map(|version| key_set("core.k", version)));
    let reader = logs.open(LOG).reader().unwrap();
    let read = |after| reader.read_stream(&key_set("core.k", 1).stream, Revision(after), EVERYTHING).unwrap();
    assert_eq!(read(2), batch.records[2..]);
    assert_eq!(read(4), []);
}

fn stream_read_honors_the_limits(logs: &dyn Logs) {
    append_and_read(logs, (1..=4).map(|version| key_set("core.k", version)));
    let reader = logs.open(LOG).reader().unwrap();
    let read = |limit| reader.read_stream(&key_set("core.k", 1).stream, Revision(0), limit).unwrap().len();
    assert_eq!(read(ReadLimit { records: 3, ..EVERYTHING }), 3);
    assert_eq!(read(ReadLimit { bytes: 0, ..EVERYTHING }), 1);
}

fn unknown_stream_is_empty(logs: &dyn Logs) {
    let reader = log_of(logs, 3).reader().unwrap();
    assert_eq!(reader.read_stream(&strange_stream(), Revision(0), EVERYTHING).unwrap(), []);
}

fn stream_after_the_highest_revision_is_empty(logs: &dyn Logs) {
    let reader = log_of(logs, 3).reader().unwrap();
    for revision in [i64::MAX as u64, u64::MAX] {
        assert_eq!(reader.read_stream(&event(1).stream, Revision(revision), EVERYTHING).unwrap(), []);
    }
}

fn record_is_found_by_its_id(logs: &dyn Logs) {
    let (batch, _) = append_and_read(logs, [event(1), key_set("core.k", 1), event(2).with_body(Body::json("{}"))]);
    let reader = logs.open(LOG).reader().unwrap();
    for record in batch.records {
        assert_eq!(reader.record_by_id(record.id).unwrap(), Some(record));
    }
}

fn unknown_id_finds_nothing(logs: &dyn Logs) {
    assert_eq!(log_of(logs, 3).reader().unwrap().record_by_id(event_id(4).0).unwrap(), None);
}

fn id_of_another_log_finds_nothing(logs: &dyn Logs) {
    let mut other = logs.open(OTHER_LOG);
    Writer::of(&*other).append(&mut *other, 3).unwrap();
    assert_eq!(log_of(logs, 1).reader().unwrap().record_by_id(event_id(3).0).unwrap(), None);
}

fn body_is_found_by_its_position(logs: &dyn Logs) {
    let body = Body::json(r#"{"a":1}"#);
    append_and_read(logs, [event(1), event(2).with_body(body.clone())]);
    assert_eq!(logs.open(LOG).reader().unwrap().body_at(Position(2)).unwrap(), Some(body));
}

fn record_without_a_body_has_none_at_its_position(logs: &dyn Logs) {
    let reader = log_of(logs, 1).reader().unwrap();
    assert_eq!(reader.body_at(Position(1)).unwrap(), None);
    assert_eq!((reader.body_at(Position(0)).unwrap(), reader.body_at(Position(2)).unwrap()), (None, None));
}

fn body_of_arbitrary_bytes_round_trips(logs: &dyn Logs) {
    let every_byte: Vec<u8> = (0..=255).chain([0, 0, 0, 255, 254, 0]).collect();
    assert_eq!(kept_body(logs, Body::raw(every_byte.clone())), Body::raw(every_byte));
}

fn empty_body_is_distinguished_from_an_absent_one(logs: &dyn Logs) {
    assert_eq!(kept_body(logs, Body::raw("")).content, Some(Bytes::new()));
}

fn body_of_four_mebibytes_round_trips(logs: &dyn Logs) {
    let large: Vec<u8> = (0..4 * 1024 * 1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(kept_body(logs, Body::raw(large.clone())), Body::raw(large));
}

fn compressed_body_is_returned_compressed(logs: &dyn Logs) {
    let body = compress(Body::json(long_json(20_000)));
    let read = kept_body(logs, body.clone());
    assert_eq!(read, body);
    assert_eq!(plain(&read).unwrap().unwrap(), long_json(20_000));
}

fn erased_body_keeps_its_digest_and_size(logs: &dyn Logs) {
    let erased = Body { content: None, ..Body::json("[1,2,3]") };
    assert_eq!(kept_body(logs, erased.clone()), erased);
}

fn sealed_body_keeps_the_name_of_its_key(logs: &dyn Logs) {
    let sealed = Body { key: Some("root 0198".to_owned()), ..Body::raw("sealed") };
    assert_eq!(kept_body(logs, sealed.clone()), sealed);
}

fn text_of_any_language_round_trips(logs: &dyn Logs) {
    let name = "Ænsue\u{202e}\u{0} 日本語 e\u{301} \u{10ffff} \"'\\\n".to_owned();
    let trace = Some(format!("00-{name}"));
    let cause = Cause { trace, ..Cause::root(event_id(1).0, None) };
    let (batch, read) = append_and_read(logs, [event(1).by(Actor::Token(name.clone())).because(cause).with_body(Body::json(name))]);
    assert_eq!(read, batch.records);
}

fn every_actor_round_trips(logs: &dyn Logs) {
    let sensor = "github.webhook".parse().unwrap();
    let named = |name: &str| name.to_owned();
    let actors = [Actor::Engine, Actor::Operator, Actor::Sensor(sensor), Actor::Token(named("ada/eve")), Actor::Worker(named("local"))];
    let (_, read) = append_and_read(logs, (1..).zip(actors.clone()).map(|(number, actor)| event(number).by(actor)));
    assert_eq!(read.into_iter().map(|record| record.actor).collect::<Vec<_>>(), actors);
}

fn every_cause_round_trips(logs: &dyn Logs) {
    let (own, parent, root) = (|number| event_id(number).0, Id::root(NOON, 1 << 60), Id::root(NOON, 1 << 61));
    let causes = [
        Cause { parent: None, root: own(1), depth: 0, trace: None },
        Cause { parent: None, root: own(2), depth: 0, trace: Some("00-aa-bb-01".to_owned()) },
        Cause { parent: Some(root), root, depth: 0, trace: None },
        Cause { parent: Some(parent), root, depth: 16, trace: None },
        Cause { parent: Some(parent), root: own(5), depth: u32::MAX, trace: None },
        // No engine makes this one, but it must not be silently corrected.
        Cause { parent: None, root, depth: 1, trace: Some(String::new()) },
    ];
    let (_, read) = append_and_read(logs, (1..).zip(causes.clone()).map(|(number, cause)| event(number).because(cause)));
    assert_eq!(read.into_iter().map(|record| record.cause).collect::<Vec<_>>(), causes);
}

fn batch_of_a_position_is_returned(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let first = writer.batch([event(1), event(2)]);
    writer.write(&mut *log, &first).unwrap();
    let second = writer.batch([event(3), event(4)]);
    writer.write(&mut *log, &second).unwrap();
    let reader = log.reader().unwrap();
    let batches = [1, 2, 3, 4].map(|position| reader.batch_at(Position(position)).unwrap());
    assert_eq!(batches, [first.id, first.id, second.id, second.id]);
}

fn position_without_a_record_has_no_batch(logs: &dyn Logs) {
    let reader = log_of(logs, 2).reader().unwrap();
    assert_eq!([0, 3].map(|position| reader.batch_at(Position(position)).unwrap()), [None, None]);
}

fn two_readers_read_the_same(logs: &dyn Logs) {
    let log = log_of(logs, 9);
    let (one, other) = (log.reader().unwrap(), log.reader().unwrap());
    assert_eq!(read_all(&*one), read_all(&*other));
}

fn reader_sees_records_appended_after_it_was_opened(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let reader = log.reader().unwrap();
    for count in 1..=3 {
        writer.append(&mut *log, 1).unwrap();
        assert_eq!((reader.head().unwrap(), read_all(&*reader).len()), (writer.head(), count));
    }
}

fn reader_never_sees_half_a_batch(logs: &dyn Logs) {
    const BATCHES: u64 = 60;
    const SIZE: u64 = 7;
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let reader = log.reader().unwrap();
    let watcher = std::thread::spawn(move || {
        let mut read = Vec::new();
        while read.len() < (BATCHES * SIZE) as usize {
            assert_eq!(reader.head().unwrap().position.0 % SIZE, 0);
            read = read_all(&*reader);
            assert_eq!(read.len() as u64 % SIZE, 0);
        }
    });
    for _ in 0..BATCHES {
        writer.append(&mut *log, SIZE).unwrap();
    }
    watcher.join().unwrap();
}

fn released_caches_change_no_answer(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    writer.append(&mut *log, 5).unwrap();
    let reader = log.reader().unwrap();
    let answers = |reader: &dyn ensue_engine::ports::LogReader| {
        (read_all(reader), reader.head().unwrap(), reader.record_by_id(event_id(3).0).unwrap(), reader.batch_at(Position(2)).unwrap())
    };
    let before = answers(&*reader);
    reader.release_caches();
    log.release_caches();
    assert_eq!((answers(&*reader), log.head().unwrap()), (before, writer.head()));
    writer.append(&mut *log, 5).unwrap();
    assert_eq!(read_all(&*reader).len(), 10, "the writer continues");
}

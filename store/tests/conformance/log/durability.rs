//! Durability: appended records are there when the log is opened again, and each opening has a higher epoch.

use ensue_engine::record::{Body, Epoch, Position};

use super::Logs;
use ensue_store::encode::compress;
use ensue_store::verify::verify;
use ensue_test_support::records::{LOG, OTHER_LOG, Writer, event, key_set, long_json, read_all};

on_every_log! {
    first_epoch_is_one
    each_open_takes_the_next_epoch
    epochs_of_two_logs_are_independent
    reopening_keeps_every_record
    reopening_keeps_the_head
    reopened_log_continues_without_a_gap
    reopened_log_continues_its_streams
    records_keep_the_epoch_in_which_they_were_written
    reader_outlives_its_writer
    log_written_across_many_opens_verifies
}

fn first_epoch_is_one(logs: &dyn Logs) {
    assert_eq!(logs.open(LOG).epoch(), Epoch(1));
}

fn each_open_takes_the_next_epoch(logs: &dyn Logs) {
    let epochs = [(); 4].map(|()| logs.open(LOG).epoch());
    assert_eq!(epochs, [1, 2, 3, 4].map(Epoch));
}

fn epochs_of_two_logs_are_independent(logs: &dyn Logs) {
    logs.open(LOG);
    logs.open(LOG);
    assert_eq!((logs.open(OTHER_LOG).epoch(), logs.open(LOG).epoch()), (Epoch(1), Epoch(3)));
}

fn reopening_keeps_every_record(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let body = compress(Body::json(long_json(5_000)));
    let batch = writer.batch([event(1).with_body(body), key_set("core.k", 1), event(2)]);
    writer.write(&mut *log, &batch).unwrap();
    drop(log);
    assert_eq!(read_all(&*logs.open(LOG).reader().unwrap()), batch.records);
}

fn reopening_keeps_the_head(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    writer.append(&mut *log, 3).unwrap();
    drop(log);
    assert_eq!(logs.open(LOG).head().unwrap(), writer.head());
}

fn reopened_log_continues_without_a_gap(logs: &dyn Logs) {
    for opening in 1..=4 {
        let mut log = logs.open(LOG);
        assert_eq!(Writer::of(&*log).append(&mut *log, 2).unwrap(), Position(2 * opening));
    }
}

fn reopened_log_continues_its_streams(logs: &dyn Logs) {
    for version in 1..=4 {
        let mut log = logs.open(LOG);
        let mut writer = Writer::of(&*log);
        let batch = writer.batch([key_set("core.k", version)]);
        assert_eq!(batch.records[0].revision.0, u64::from(version));
        writer.write(&mut *log, &batch).unwrap();
    }
}

fn records_keep_the_epoch_in_which_they_were_written(logs: &dyn Logs) {
    for _ in 0..3 {
        let mut log = logs.open(LOG);
        Writer::of(&*log).append(&mut *log, 1).unwrap();
    }
    let epochs: Vec<Epoch> = read_all(&*logs.open(LOG).reader().unwrap()).iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [1, 2, 3].map(Epoch));
}

fn reader_outlives_its_writer(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    Writer::of(&*log).append(&mut *log, 3).unwrap();
    let reader = log.reader().unwrap();
    drop(log);
    assert_eq!(read_all(&*reader).len(), 3);
}

fn log_written_across_many_opens_verifies(logs: &dyn Logs) {
    for opening in 1..=5 {
        let mut log = logs.open(LOG);
        let mut writer = Writer::of(&*log);
        let body = compress(Body::json(long_json(1_000)));
        let next = event(writer.head().position.0 + 1).with_body(body);
        let batch = writer.batch([next, key_set("core.k", opening)]);
        writer.write(&mut *log, &batch).unwrap();
    }
    let log = logs.open(LOG);
    let verified = verify(&*log.reader().unwrap(), Some(log.head().unwrap()), |_| ()).unwrap();
    assert_eq!((verified.head, verified.records, verified.bodies), (log.head().unwrap(), 10, 5));
}

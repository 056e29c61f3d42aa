//! Appending: in order, without gaps, whole or not at all, by the one writer that has the right.

use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch, Log};
use ensue_engine::record::{Epoch, Head, Position, Revision};

use super::Logs;
use ensue_test_support::NOON;
use ensue_test_support::records::{LOG, OTHER_LOG, Writer, dedupe_key, event, event_id, key_set, read_all, reseal, seen_at};

on_every_log! {
    new_log_is_empty
    append_returns_the_position_of_its_last_record
    positions_have_no_gap_across_batches
    head_is_that_of_the_last_record
    batch_of_a_thousand_records_is_one_commit
    empty_batch_changes_nothing
    empty_batch_still_requires_the_current_epoch
    batch_for_an_older_head_is_rejected_with_the_newer_head
    batch_for_a_future_head_is_rejected_with_the_current_head
    batch_for_the_maximum_position_does_not_overflow
    repeated_batch_is_stored_once
    newer_writer_deposes_the_older_one
    deposed_writer_gets_the_current_epoch
    being_deposed_is_reported_before_being_behind
    unassigned_epoch_cannot_write
    deposed_writer_leaves_nothing
    batch_without_an_id_is_rejected
    record_with_a_wrong_position_is_rejected
    record_of_another_log_is_rejected
    record_of_another_epoch_is_rejected
    record_of_another_batch_is_rejected
    duplicate_first_revision_is_rejected
    duplicate_revision_is_rejected
    revision_after_a_gap_is_rejected
    revision_zero_is_rejected
    maximum_revision_is_rejected_without_overflow
    duplicate_id_is_rejected
    duplicate_id_in_one_batch_is_rejected
    rejection_names_the_record
    rejected_batch_leaves_nothing
    rejected_batch_leaves_no_key
    log_continues_after_a_rejected_batch
    revisions_continue_within_and_across_batches
    two_logs_may_have_the_same_ids_and_streams
}

fn refused_record(outcome: Result<Position, AppendError>) -> usize {
    match outcome {
        Err(AppendError::Refused { record, .. }) => record,
        other => panic!("{other:?} is not a refusal"),
    }
}

/// Appends a batch of three events after two stored ones, modified by `change`. Returns the outcome, and
/// checks that a failed append leaves nothing.
fn append_changed(logs: &dyn Logs, change: impl FnOnce(&mut Batch, Head)) -> Result<Position, AppendError> {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    writer.append(&mut *log, 2).unwrap();
    let before = writer.head();
    let mut batch = writer.batch([event(3), event(4), event(5)]);
    change(&mut batch, before);
    let outcome = log.append(&batch, before.position, writer.epoch());
    if outcome.is_err() {
        assert_eq!(log.head().unwrap(), before);
        assert_eq!(read_all(&*log.reader().unwrap()).len(), 2);
    }
    outcome
}

fn new_log_is_empty(logs: &dyn Logs) {
    let log = logs.open(LOG);
    assert_eq!((log.id(), log.head().unwrap()), (LOG, Head::default()));
    assert_eq!(read_all(&*log.reader().unwrap()), []);
}

fn append_returns_the_position_of_its_last_record(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    assert_eq!(writer.append(&mut *log, 3).unwrap(), Position(3));
    assert_eq!(writer.append(&mut *log, 1).unwrap(), Position(4));
}

fn positions_have_no_gap_across_batches(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    for count in [1, 5, 2, 9, 1, 1] {
        writer.append(&mut *log, count).unwrap();
    }
    let positions: Vec<u64> = read_all(&*log.reader().unwrap()).iter().map(|record| record.position.0).collect();
    assert_eq!(positions, (1..=19).collect::<Vec<_>>());
}

fn head_is_that_of_the_last_record(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    writer.append(&mut *log, 3).unwrap();
    let last = read_all(&*log.reader().unwrap()).pop().unwrap();
    assert_eq!(log.head().unwrap(), Head { position: last.position, chain: last.chain });
    assert_eq!(log.reader().unwrap().head().unwrap(), log.head().unwrap());
}

fn batch_of_a_thousand_records_is_one_commit(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    assert_eq!(writer.append(&mut *log, 1_000).unwrap(), Position(1_000));
    let records = read_all(&*log.reader().unwrap());
    assert!(records.iter().all(|record| record.batch == records[0].batch));
}

fn empty_batch_changes_nothing(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    writer.append(&mut *log, 2).unwrap();
    assert_eq!(log.append(&Batch::default(), Position(2), log.epoch()).unwrap(), Position(2));
    assert_eq!(log.head().unwrap(), writer.head());
}

fn empty_batch_still_requires_the_current_epoch(logs: &dyn Logs) {
    let mut older = logs.open(LOG);
    let epoch = older.epoch();
    let _newer = logs.open(LOG);
    assert!(matches!(older.append(&Batch::default(), Position(0), epoch), Err(AppendError::Deposed(_))));
}

fn batch_for_an_older_head_is_rejected_with_the_newer_head(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let late = writer.batch([event(9)]);
    writer.append(&mut *log, 2).unwrap();
    match log.append(&late, Position(0), writer.epoch()) {
        Err(AppendError::Behind(head)) => assert_eq!(head, writer.head()),
        other => panic!("{other:?}"),
    }
}

fn batch_for_a_future_head_is_rejected_with_the_current_head(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let batch = writer.batch([event(1)]);
    assert!(matches!(log.append(&batch, Position(7), writer.epoch()), Err(AppendError::Behind(head)) if head == Head::default()));
}

fn batch_for_the_maximum_position_does_not_overflow(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let batch = writer.batch([event(1)]);
    for position in [ensue_store::POSITION_MAX, i64::MAX as u64, u64::MAX] {
        assert!(matches!(log.append(&batch, Position(position), writer.epoch()), Err(AppendError::Behind(_))));
    }
}

fn repeated_batch_is_stored_once(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let batch = writer.batch([event(1)]);
    log.append(&batch, Position(0), writer.epoch()).unwrap();
    assert!(matches!(log.append(&batch, Position(0), writer.epoch()), Err(AppendError::Behind(_))));
    assert_eq!(log.head().unwrap().position, Position(1));
}

fn newer_writer_deposes_the_older_one(logs: &dyn Logs) {
    let mut older = logs.open(LOG);
    let mut writer = Writer::of(&*older);
    let mut newer = logs.open(LOG);
    assert!(matches!(writer.append(&mut *older, 1), Err(AppendError::Deposed(_))));
    Writer::of(&*newer).append(&mut *newer, 1).unwrap();
}

fn deposed_writer_gets_the_current_epoch(logs: &dyn Logs) {
    let mut older = logs.open(LOG);
    let mut writer = Writer::of(&*older);
    let newer = logs.open(LOG);
    match writer.append(&mut *older, 1) {
        Err(AppendError::Deposed(epoch)) => assert_eq!(epoch, newer.epoch()),
        other => panic!("{other:?}"),
    }
}

fn being_deposed_is_reported_before_being_behind(logs: &dyn Logs) {
    let mut older = logs.open(LOG);
    let mut writer = Writer::of(&*older);
    let mut newer = logs.open(LOG);
    Writer::of(&*newer).append(&mut *newer, 1).unwrap();
    assert!(matches!(writer.append(&mut *older, 1), Err(AppendError::Deposed(_))));
}

fn unassigned_epoch_cannot_write(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let batch = writer.batch([event(1)]);
    for epoch in [Epoch(0), log.epoch().next(), Epoch(u64::MAX)] {
        assert!(matches!(log.append(&batch, Position(0), epoch), Err(AppendError::Deposed(now)) if now == log.epoch()));
    }
}

fn deposed_writer_leaves_nothing(logs: &dyn Logs) {
    let mut older = logs.open(LOG);
    let mut writer = Writer::of(&*older);
    let newer = logs.open(LOG);
    let mut batch = writer.batch([event(1)]);
    batch.seen.push((dedupe_key("hooks", 1), seen_at(1, 1_000)));
    assert!(older.append(&batch, Position(0), writer.epoch()).is_err());
    assert_eq!(newer.head().unwrap(), Head::default());
    assert_eq!(newer.find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [None]);
}

fn batch_without_an_id_is_rejected(logs: &dyn Logs) {
    assert_eq!(refused_record(append_changed(logs, |batch, _| batch.id = None)), 0);
}

fn record_with_a_wrong_position_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, _| batch.records[1].position = Position(5);
    assert_eq!(refused_record(append_changed(logs, change)), 1);
}

fn record_of_another_log_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, _| batch.records[1].log = OTHER_LOG;
    assert_eq!(refused_record(append_changed(logs, change)), 1);
}

fn record_of_another_epoch_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, _| batch.records[2].epoch = Epoch(77);
    assert_eq!(refused_record(append_changed(logs, change)), 2);
}

fn record_of_another_batch_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, _| batch.records[2].batch = Id::root(NOON, 77);
    assert_eq!(refused_record(append_changed(logs, change)), 2);
}

fn duplicate_first_revision_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[1].stream = event(2).stream;
        reseal(batch, head);
    };
    assert_eq!(refused_record(append_changed(logs, change)), 1);
}

fn duplicate_revision_is_rejected(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let first = writer.batch([key_set("core.k", 1), key_set("core.k", 2)]);
    writer.write(&mut *log, &first).unwrap();
    let mut batch = writer.batch([key_set("core.k", 3)]);
    batch.records[0].revision = Revision(2);
    reseal(&mut batch, writer.head());
    assert_eq!(refused_record(log.append(&batch, Position(2), writer.epoch())), 0);
}

fn revision_after_a_gap_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[1].revision = Revision(2);
        reseal(batch, head);
    };
    assert_eq!(refused_record(append_changed(logs, change)), 1);
}

fn revision_zero_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[0].revision = Revision(0);
        reseal(batch, head);
    };
    assert_eq!(refused_record(append_changed(logs, change)), 0);
}

fn maximum_revision_is_rejected_without_overflow(logs: &dyn Logs) {
    for revision in [i64::MAX as u64, u64::MAX] {
        let change = |batch: &mut Batch, head| {
            batch.records[2].revision = Revision(revision);
            reseal(batch, head);
        };
        let mut log = logs.open(LOG);
        let mut writer = Writer::of(&*log);
        let before = writer.head();
        let next = before.position.0 + 1;
        let mut batch = writer.batch((next..next + 3).map(event));
        change(&mut batch, before);
        assert_eq!(refused_record(log.append(&batch, before.position, writer.epoch())), 2);
    }
}

fn duplicate_id_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[1].id = event_id(1).0;
        reseal(batch, head);
    };
    assert_eq!(refused_record(append_changed(logs, change)), 1);
}

fn duplicate_id_in_one_batch_is_rejected(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[2].id = event_id(3).0;
        reseal(batch, head);
    };
    assert_eq!(refused_record(append_changed(logs, change)), 2);
}

fn rejection_names_the_record(logs: &dyn Logs) {
    let change = |batch: &mut Batch, head| {
        batch.records[1].id = event_id(1).0;
        reseal(batch, head);
    };
    let refusal = append_changed(logs, change).unwrap_err().to_string();
    assert!(refusal.starts_with("record 1 of the batch cannot be stored:") && refusal.contains(&event_id(1).to_string()), "{refusal}");
}

fn rejected_batch_leaves_nothing(logs: &dyn Logs) {
    let outcome = append_changed(logs, |batch, head| {
        batch.records[2].stream = event(1).stream;
        reseal(batch, head);
    });
    assert_eq!(refused_record(outcome), 2);
    let log = logs.open(LOG);
    let reader = log.reader().unwrap();
    assert_eq!(reader.record_by_id(event_id(3).0).unwrap(), None);
    assert_eq!(reader.batch_at(Position(3)).unwrap(), None);
    assert_eq!(reader.body_at(Position(3)).unwrap(), None);
}

fn rejected_batch_leaves_no_key(logs: &dyn Logs) {
    let outcome = append_changed(logs, |batch, head| {
        batch.seen.push((dedupe_key("hooks", 3), seen_at(3, 1_000)));
        batch.records[2].revision = Revision(9);
        reseal(batch, head);
    });
    assert_eq!(refused_record(outcome), 2);
    assert_eq!(logs.open(LOG).find_keys(&[dedupe_key("hooks", 3)]).unwrap(), [None]);
}

fn log_continues_after_a_rejected_batch(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let mut bad = writer.batch([event(1), event(2)]);
    bad.records[1].revision = Revision(9);
    reseal(&mut bad, Head::default());
    assert_eq!(refused_record(log.append(&bad, Position(0), writer.epoch())), 1);
    assert_eq!(writer.append(&mut *log, 2).unwrap(), Position(2));
}

fn revisions_continue_within_and_across_batches(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    for versions in [1..=1, 2..=4, 5..=5] {
        let batch = writer.batch(versions.map(|version| key_set("core.k", version)));
        writer.write(&mut *log, &batch).unwrap();
    }
    let revisions: Vec<u64> = read_all(&*log.reader().unwrap()).iter().map(|record| record.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3, 4, 5]);
}

fn two_logs_may_have_the_same_ids_and_streams(logs: &dyn Logs) {
    let (mut one, mut other) = (logs.open(LOG), logs.open(OTHER_LOG));
    let append = |log: &mut dyn Log, events: u64| Writer::of(log).append(log, events).unwrap();
    append(&mut *one, 2);
    append(&mut *other, 3);
    let records = |id: LogId| read_all(&*logs.open(id).reader().unwrap());
    assert!(records(LOG).len() == 2 && records(LOG).iter().all(|record| record.log == LOG));
    assert!(records(OTHER_LOG).len() == 3 && records(OTHER_LOG).iter().all(|record| record.log == OTHER_LOG));
}

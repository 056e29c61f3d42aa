//! Deduplication: which keys were seen, and where, exactly as long as they are valid.

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ports::{Batch, Log};
use ensue_engine::record::{Digest, Position};

use super::Logs;
use ensue_test_support::records::{DAY, LOG, OTHER_LOG, Writer, dedupe_key, event, seen_at};

on_every_log! {
    unseen_key_is_unknown
    seen_key_is_returned_with_all_its_details
    keys_are_returned_in_the_order_of_the_query
    key_counts_only_in_its_scope
    key_counts_only_in_its_log
    keys_are_stored_with_their_batch
    keys_may_be_stored_without_records
    all_of_many_keys_in_one_batch_are_remembered
    hashes_with_a_common_prefix_are_different_keys
    key_accepted_again_has_its_newest_position
    keys_outlive_the_writer
    scope_may_have_any_name
    key_is_remembered_until_it_expires
    unexpired_key_is_never_forgotten
    unused_scope_is_forgotten_too
    full_scope_forgets_its_oldest_keys
    full_scope_evicts_nothing_from_another
    swept_scope_has_space_for_as_many_new_keys
}

/// Appends one event with these keys.
fn remember(log: &mut dyn Log, writer: &mut Writer, keys: impl IntoIterator<Item = (DedupeKey, DedupeEntry)>) {
    let mut batch = writer.batch([event(writer.head().position.0 + 1)]);
    batch.seen.extend(keys);
    writer.write(log, &batch).unwrap();
}

fn check_known(log: &dyn Log, scope: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<bool> {
    let keys: Vec<DedupeKey> = numbers.into_iter().map(|number| dedupe_key(scope, number)).collect();
    log.find_keys(&keys).unwrap().iter().map(Option::is_some).collect()
}

fn keys_may_be_stored_without_records(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    let (head, epoch) = (log.head().unwrap(), log.epoch());
    let alone = Batch { seen: vec![(dedupe_key("hooks", 2), seen_at(1, DAY))], ..Batch::default() };
    assert_eq!(log.append(&alone, head.position, epoch).unwrap(), head.position);
    drop(log);
    let log = logs.open(LOG);
    assert_eq!(log.head().unwrap(), head, "they take no place");
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 2)]).unwrap(), [Some(seen_at(1, DAY))]);
}

fn unseen_key_is_unknown(logs: &dyn Logs) {
    assert_eq!(logs.open(LOG).find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [None]);
    assert_eq!(logs.open(LOG).find_keys(&[]).unwrap(), []);
}

fn seen_key_is_returned_with_all_its_details(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [Some(seen_at(1, DAY))]);
}

fn keys_are_returned_in_the_order_of_the_query(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [1, 2].map(|number| (dedupe_key("hooks", number), seen_at(number, DAY))));
    let answers = log.find_keys(&[dedupe_key("hooks", 2), dedupe_key("hooks", 9), dedupe_key("hooks", 1)]).unwrap();
    assert_eq!(answers, [Some(seen_at(2, DAY)), None, Some(seen_at(1, DAY))]);
}

fn key_counts_only_in_its_scope(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    assert_eq!(check_known(&*log, "api", [1]), [false]);
    remember(&mut *log, &mut writer, [(dedupe_key("api", 1), seen_at(2, DAY))]);
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 1), dedupe_key("api", 1)]).unwrap(), [Some(seen_at(1, DAY)), Some(seen_at(2, DAY))]);
}

fn key_counts_only_in_its_log(logs: &dyn Logs) {
    let (mut log, other) = (logs.open(LOG), logs.open(OTHER_LOG));
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    assert_eq!(check_known(&*other, "hooks", [1]), [false]);
}

fn keys_are_stored_with_their_batch(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let mut batch = writer.batch([event(1)]);
    batch.seen.push((dedupe_key("hooks", 1), seen_at(1, DAY)));
    assert!(log.append(&batch, Position(5), writer.epoch()).is_err());
    assert_eq!(check_known(&*log, "hooks", [1]), [false]);
    writer.write(&mut *log, &batch).unwrap();
    assert_eq!(check_known(&*log, "hooks", [1]), [true]);
}

fn all_of_many_keys_in_one_batch_are_remembered(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, (0..500).map(|number| (dedupe_key("hooks", number), seen_at(1, DAY))));
    assert!(check_known(&*log, "hooks", 0..500).into_iter().all(|is_known| is_known));
}

fn hashes_with_a_common_prefix_are_different_keys(logs: &dyn Logs) {
    let key = |last: u8| {
        let mut hash = [7; 32];
        hash[31] = last;
        DedupeKey { scope: "hooks".to_owned(), hash: Digest::from_bytes(hash) }
    };
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(key(1), seen_at(1, DAY)), (key(2), seen_at(2, DAY))]);
    assert_eq!(log.find_keys(&[key(1), key(2), key(3)]).unwrap(), [Some(seen_at(1, DAY)), Some(seen_at(2, DAY)), None]);
}

fn key_accepted_again_has_its_newest_position(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(2, 2 * DAY))]);
    assert_eq!(log.find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [Some(seen_at(2, 2 * DAY))]);
}

fn keys_outlive_the_writer(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, DAY))]);
    drop(log);
    assert_eq!(logs.open(LOG).find_keys(&[dedupe_key("hooks", 1)]).unwrap(), [Some(seen_at(1, DAY))]);
}

fn scope_may_have_any_name(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    let scopes = ["", " ", "a/b", "A", "a", "日本語", "\u{0}", "'; DROP TABLE seen; --"];
    for scope in scopes {
        remember(&mut *log, &mut writer, [(dedupe_key(scope, 1), seen_at(1, DAY))]);
    }
    for scope in scopes {
        assert_eq!(check_known(&*log, scope, [1, 2]), [true, false], "{scope:?}");
    }
}

fn key_is_remembered_until_it_expires(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    // In these tests, record n is taken n milliseconds after noon.
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 1), seen_at(1, 3))]);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 2), seen_at(2, DAY))]);
    assert_eq!(check_known(&*log, "hooks", [1, 2]), [true, true]);
    remember(&mut *log, &mut writer, [(dedupe_key("hooks", 3), seen_at(3, DAY))]);
    assert_eq!(check_known(&*log, "hooks", [1, 2, 3]), [false, true, true]);
}

fn unexpired_key_is_never_forgotten(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    // Older keys with later times, as after the clock was set back.
    remember(&mut *log, &mut writer, (0..50).map(|number| (dedupe_key("hooks", number), seen_at(1, DAY - number))));
    remember(&mut *log, &mut writer, (50..100).map(|number| (dedupe_key("hooks", number), seen_at(1, 2))));
    for number in 100..110 {
        remember(&mut *log, &mut writer, [(dedupe_key("hooks", number), seen_at(1, DAY))]);
    }
    assert!(check_known(&*log, "hooks", 0..50).into_iter().all(|is_known| is_known));
    assert!(check_known(&*log, "hooks", 50..100).into_iter().all(|is_known| !is_known));
}

fn unused_scope_is_forgotten_too(logs: &dyn Logs) {
    let mut log = logs.open(LOG);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, (0..10).map(|number| (dedupe_key("gone", number), seen_at(1, 2))));
    for number in 0..10 {
        remember(&mut *log, &mut writer, [(dedupe_key("hooks", number), seen_at(1, DAY))]);
    }
    assert!(check_known(&*log, "gone", 0..10).into_iter().all(|is_known| !is_known));
}

fn full_scope_forgets_its_oldest_keys(logs: &dyn Logs) {
    let mut log = logs.open_with_seen_keys_max(LOG, 10);
    let mut writer = Writer::of(&*log);
    for number in 0..15 {
        remember(&mut *log, &mut writer, [(dedupe_key("hooks", number), seen_at(number, DAY + number))]);
    }
    assert!(check_known(&*log, "hooks", 0..5).into_iter().all(|is_known| !is_known));
    assert!(check_known(&*log, "hooks", 5..15).into_iter().all(|is_known| is_known));
}

fn full_scope_evicts_nothing_from_another(logs: &dyn Logs) {
    let mut log = logs.open_with_seen_keys_max(LOG, 10);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, (0..10).map(|number| (dedupe_key("api", number), seen_at(1, DAY))));
    remember(&mut *log, &mut writer, (0..30).map(|number| (dedupe_key("hooks", number), seen_at(1, DAY + number))));
    assert!(check_known(&*log, "api", 0..10).into_iter().all(|is_known| is_known));
    assert_eq!(check_known(&*log, "hooks", 0..30).into_iter().filter(|is_known| *is_known).count(), 10);
}

fn swept_scope_has_space_for_as_many_new_keys(logs: &dyn Logs) {
    let mut log = logs.open_with_seen_keys_max(LOG, 10);
    let mut writer = Writer::of(&*log);
    remember(&mut *log, &mut writer, (0..10).map(|number| (dedupe_key("gone", number), seen_at(1, 2))));
    for number in 0..10 {
        remember(&mut *log, &mut writer, [(dedupe_key("hooks", number), seen_at(1, DAY))]);
    }
    remember(&mut *log, &mut writer, (10..20).map(|number| (dedupe_key("gone", number), seen_at(1, DAY))));
    assert!(check_known(&*log, "gone", 10..20).into_iter().all(|is_known| is_known));
}

//! A log that fails as planned does so, and keeps what it says that it keeps.

use ensue_engine::ports::{AppendError, Log as _};
use ensue_engine::record::Position;
use ensue_store::memory::MemoryLog;
use ensue_store::settling_log::SettlingLog;
use ensue_test_support::faulty_log::{AppendFault, Fate, FaultyLog};
use ensue_test_support::records::{LOG, Writer};

#[test]
fn planned_append_fails_and_others_succeed() {
    let mut log = FaultyLog::of(MemoryLog::new(LOG));
    log.faults().fail_append_at(2, AppendFault::Full);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 3).unwrap();
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Full)));
    assert_eq!(log.head().unwrap().position, Position(3));
    writer.append(&mut log, 1).unwrap();
    assert_eq!((log.head().unwrap().position, log.faults().appends()), (Position(4), 3));
}

#[test]
fn unknown_append_is_stored_or_lost_as_planned() {
    for (fate, position) in [(Fate::Kept, 1), (Fate::Lost, 0)] {
        let mut log = FaultyLog::of(MemoryLog::new(LOG));
        log.faults().fail_next_append(AppendFault::Unknown(fate));
        let mut writer = Writer::of(&log);
        assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Unknown)));
        assert_eq!(log.head().unwrap().position, Position(position));
    }
}

#[test]
fn dead_store_stays_dead() {
    let mut log = FaultyLog::of(MemoryLog::new(LOG));
    log.faults().fail_next_append(AppendFault::Dead);
    let mut writer = Writer::of(&log);
    for _ in 0..3 {
        assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Dead(_))));
    }
    assert_eq!(log.head().unwrap().position, Position(0));
}

#[test]
fn rejected_batch_leaves_nothing() {
    let mut log = FaultyLog::of(MemoryLog::new(LOG));
    log.faults().fail_next_append(AppendFault::Refused);
    let mut writer = Writer::of(&log);
    assert!(matches!(writer.append(&mut log, 2), Err(AppendError::Refused { record: 0, .. })));
    assert_eq!(log.head().unwrap().position, Position(0));
}

#[test]
fn unknown_append_is_settled_by_looking_it_up() {
    for fate in [Fate::Kept, Fate::Lost] {
        let faulty = FaultyLog::of(MemoryLog::new(LOG));
        faulty.faults().fail_next_append(AppendFault::Unknown(fate));
        let mut log = SettlingLog::of(faulty);
        let mut writer = Writer::of(&log);
        assert_eq!(writer.append(&mut log, 2).unwrap(), Position(2), "{fate:?}");
        assert_eq!(log.head().unwrap().position, Position(2), "{fate:?}");
    }
}

#[test]
fn append_that_stays_unknown_is_reported_as_unknown() {
    let faulty = FaultyLog::of(MemoryLog::new(LOG));
    let faults = faulty.faults();
    for append in 1..=4 {
        faults.fail_append_at(append, AppendFault::Unknown(Fate::Lost));
    }
    let mut log = SettlingLog::of(faulty);
    let mut writer = Writer::of(&log);
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Unknown)));
    assert_eq!((log.head().unwrap().position, faults.appends()), (Position(0), 4));
}

//! A disk that becomes full, at any byte: reads continue, rejected records are not there, and appends
//! continue once there is space.

use super::*;

/// The number of batches that a story appends: more than until the first checkpoint that SQLite makes by
/// itself.
const BATCHES: u64 = 60;

fn bytes_of_a_story() -> (u64, u64) {
    let disk = Disk::new("full-bytes", 0, Sectors::Bytes512);
    let mut story = Story::on(&disk);
    assert_eq!(story.live(0), LifeEnd::WithAll);
    let before = disk.used_bytes();
    let log = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG).unwrap();
    drop(log);
    story.live(BATCHES);
    (before, disk.used_bytes())
}

#[test]
fn disk_full_at_any_byte_loses_nothing_and_appends_resume_with_space() {
    let (least, most) = bytes_of_a_story();
    let mut found_full = 0;
    for space in (least..most).step_by(1_501) {
        let disk = Disk::new("full", space, sectors(space));
        let mut story = Story::on(&disk);
        assert_eq!(story.live(1), LifeEnd::WithAll);
        disk.set_space(Some(space.max(disk.used_bytes())));
        let ended = story.live(BATCHES);
        found_full += u64::from(story.full > 0);
        if ended == LifeEnd::WithFailure {
            // A full disk must be distinguished from a broken one: only an opening may fail, and the next one
            // with space does not.
            assert!(story.said.iter().all(|why| why.contains("full")), "{space} bytes: {:?}", story.said);
        }
        disk.cut_power();
        story.check();
    }
    assert!(found_full > 20, "{found_full} stories found the disk full");
}

#[test]
fn writer_on_a_full_disk_keeps_reading_and_writes_again_with_space() {
    let disk = Disk::new("full-then-not", 1, Sectors::Bytes512);
    let mut log = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 3).unwrap();
    disk.set_space(Some(disk.used_bytes()));
    for _ in 0..3 {
        let batch = next_batch(&mut writer);
        assert!(matches!(log.append(&batch, writer.head().position, writer.epoch()), Err(AppendError::Full)));
        assert_eq!((log.head().unwrap(), log.reader().unwrap().head().unwrap()), (writer.head(), writer.head()));
        assert_eq!(log.find_keys(&[dedupe_key("github", 4)]).unwrap(), [None]);
    }
    disk.set_space(None);
    writer.append(&mut log, 3).unwrap();
    assert_eq!(log.head().unwrap().position, Position(6));
}

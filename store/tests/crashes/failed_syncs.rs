//! A `sync` that fails: the system marks pages as clean that are not on the disk, and no later
//! acknowledgement may rely on them.

use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_disk::trace::{Kind, Outcome};

use super::*;

const BATCHES: u64 = 20;

fn failing(kind: Kind, nth: u64) -> Fault {
    Fault { nth, of: Some(kind), failure: Failure::Io, lasting: Lasting::Once }
}

fn syncs_of_a_story() -> u64 {
    let disk = Disk::new("lies-count", 0, Sectors::Bytes512);
    let mut story = Story::on(&disk);
    story.live(BATCHES);
    story.live(BATCHES);
    disk.trace().iter().filter(|operation| operation.kind == Kind::Sync).count() as u64
}

#[test]
fn failed_sync_acknowledges_nothing_that_a_power_cut_removes() {
    let syncs = syncs_of_a_story();
    assert!(syncs > 2 * BATCHES, "{syncs} syncs are fewer than commits");
    for nth in 1..=syncs {
        let disk = Disk::new("lies", nth, sectors(nth));
        let mut story = Story::on(&disk).ending(ending(nth));
        disk.fail(failing(Kind::Sync, nth));
        if story.live(BATCHES) == LifeEnd::WithAll {
            story.live(BATCHES);
        }
        disk.cut_power();
        story.check();
    }
}

#[test]
fn store_accepts_nothing_after_a_failed_sync() {
    let disk = Disk::new("lies-dead", 1, Sectors::Bytes512);
    let mut log = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 1).unwrap();
    disk.fail(failing(Kind::Sync, 1));
    for _ in 0..3 {
        assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Dead(_))));
    }
    assert_eq!(disk.trace().iter().filter(|operation| operation.outcome == Outcome::Failed).count(), 1, "nothing was tried again");
}

/// The process comes back without a reboot, so data lost by the failed sync is still read as if it were on
/// the disk. Then the power fails at each operation of its recovery. If recovery trusted what it reads, half
/// of it would overwrite the tables.
#[test]
fn recovery_after_a_failed_sync_survives_a_power_cut_at_each_operation() {
    for sync in 3..=5 {
        for nth in 1..=recovery_operations(sync) {
            let disk = Disk::new("lies-recovery", sync * 1_000 + nth, sectors(nth));
            let mut story = failed_at(&disk, sync);
            disk.mend();
            disk.fail(Fault { nth, of: None, failure: Failure::Io, lasting: Lasting::ForEver });
            story.live(1);
            disk.cut_power();
            story.check();
        }
    }
}

fn failed_at(disk: &Disk, sync: u64) -> Story {
    let mut story = Story::on(disk).ending(Ending::AtOnce);
    // After a clean stop the first commits change pages that the write-ahead log does not have yet. Those are
    // at risk.
    assert_eq!(story.live(BATCHES), LifeEnd::WithAll);
    disk.fail(failing(Kind::Sync, sync));
    assert_eq!(story.live(BATCHES), LifeEnd::WithFailure);
    story
}

fn recovery_operations(sync: u64) -> u64 {
    let disk = Disk::new("lies-recovery-count", sync, Sectors::Bytes512);
    let mut story = failed_at(&disk, sync);
    let before = disk.operations();
    assert_eq!(story.live(1), LifeEnd::WithAll);
    disk.operations() - before
}

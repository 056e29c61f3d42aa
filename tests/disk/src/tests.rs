//! The disk's own behavior, shown with SQLite where that matters.

use rusqlite::{Connection, OpenFlags};

use super::*;
use crate::fault::{Failure, Fault, Lasting};
use crate::trace::{Kind, Outcome};

fn open(disk: &Disk, name: &str) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(disk.path(name), flags, VFS).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM cats", [], |row| row.get(0)).unwrap()
}

fn io_error(nth: u64, of: Kind) -> Fault {
    Fault { nth, of: Some(of), failure: Failure::Io, lasting: Lasting::Once }
}

#[test]
fn commit_of_one_connection_is_visible_to_another_at_once() {
    let disk = Disk::new("two-connections", 1, Sectors::Bytes512);
    let (one, other) = (open(&disk, "cats"), open(&disk, "cats"));
    one.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    for number in 1..=50 {
        let writer = if number % 2 == 0 { &one } else { &other };
        writer.execute("INSERT INTO cats VALUES ('tom')", []).unwrap();
        assert_eq!((count(&one), count(&other)), (number, number));
    }
    assert_eq!(one.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
}

#[test]
fn commit_during_another_connection_s_read_is_durable() {
    const ROWS: i64 = 200;
    for seed in 1..=20 {
        let disk = Disk::new(&format!("side-by-side-{seed}"), seed, Sectors::Bytes512);
        let writer = open(&disk, "cats");
        writer.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
        let reader = open(&disk, "cats");
        let reading = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < ROWS {
                let now = count(&reader);
                assert!(now >= seen, "{now} rows after {seen}");
                seen = now;
            }
        });
        for number in 1..=ROWS {
            writer.execute("INSERT INTO cats VALUES ('tom')", []).unwrap();
            assert_eq!(count(&writer), number, "seed {seed}");
        }
        reading.join().unwrap();
    }
}

#[test]
fn two_connections_cannot_write_at_once() {
    let disk = Disk::new("two-writers", 1, Sectors::Bytes512);
    let (one, other) = (open(&disk, "cats"), open(&disk, "cats"));
    one.execute_batch("CREATE TABLE cats (name TEXT); BEGIN IMMEDIATE; INSERT INTO cats VALUES ('tom')").unwrap();
    let refusal = other.execute_batch("BEGIN IMMEDIATE").unwrap_err();
    assert_eq!(refusal.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    assert_eq!(count(&other), 0);
    one.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&other), 1);
}

#[test]
fn wal_index_forgets_frames_of_a_failed_sync_once_connections_close() {
    for seed in 1..=40 {
        let disk = Disk::new(&format!("stale-index-{seed}"), seed, Sectors::Bytes4096);
        let connection = open(&disk, "cats");
        connection.execute_batch("CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('tom')").unwrap();
        connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
        connection.execute_batch("INSERT INTO cats VALUES ('tim')").unwrap();
        // The write-ahead log is checkpointed at the end; that is the sync that fails here.
        disk.fail(io_error(1, Kind::Sync));
        drop(connection);
        let there = count(&open(&disk, "cats"));
        assert!((1..=2).contains(&there), "seed {seed}: {there}");
    }
}

#[test]
fn killed_process_leaves_its_writes_and_its_handles_fail() {
    let disk = Disk::new("kill", 1, Sectors::Bytes512);
    let old = open(&disk, "cats");
    old.execute_batch("CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('tom')").unwrap();
    disk.kill();
    assert!(old.execute_batch("INSERT INTO cats VALUES ('ghost')").is_err());
    drop(old);
    assert_eq!(count(&open(&disk, "cats")), 1);
}

#[test]
fn power_cut_keeps_synced_data_and_any_part_of_the_rest() {
    let (mut lost, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..200 {
        let sectors = if seed % 2 == 0 { Sectors::Bytes512 } else { Sectors::Bytes4096 };
        let disk = Disk::new("power-cut", seed, sectors);
        create(&disk.path("cats")).unwrap();
        sync_folder(&disk.path("")).unwrap();
        let connection = open(&disk, "cats");
        connection.execute_batch("CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('tom'); PRAGMA synchronous = NORMAL").unwrap();
        connection.execute_batch("INSERT INTO cats VALUES ('tip')").unwrap();
        let cut = disk.cut_power();
        drop(connection);
        (lost, torn, kept) = (lost + cut.lost, torn + cut.torn, kept + cut.kept);
        let left = count(&open(&disk, "cats"));
        assert!(left == 1 || left == 2, "seed {seed}: {left}");
    }
    assert!(lost > 100 && torn > 50 && kept > 100, "{lost} lost, {torn} torn, {kept} kept");
}

#[test]
fn unsynced_name_may_be_lost() {
    let there = (0..100).filter(|seed| {
        let disk = Disk::new("names", *seed, Sectors::Bytes512);
        create(&disk.path("cats")).unwrap();
        disk.cut_power();
        exists(&disk.path("cats"))
    });
    let there = there.count();
    assert!((20..80).contains(&there), "{there} of 100");
}

#[test]
fn later_sync_does_not_restore_data_lost_by_a_failed_one() {
    let outcomes: Vec<_> = (0..100)
        .map(|seed| {
            let disk = Disk::new("failed-sync", seed, Sectors::Bytes512);
            create(&disk.path("cats")).unwrap();
            sync_folder(&disk.path("")).unwrap();
            let connection = open(&disk, "cats");
            connection.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
            disk.fail(io_error(1, Kind::Sync));
            assert!(connection.execute_batch("INSERT INTO cats VALUES ('tom')").is_err());
            disk.cut_power();
            drop(connection);
            count(&open(&disk, "cats"))
        })
        .collect();
    assert!(outcomes.contains(&0) && outcomes.contains(&1), "{outcomes:?}");
}

#[test]
fn full_disk_rejects_writes_and_accepts_them_once_there_is_space() {
    let disk = Disk::new("full", 1, Sectors::Bytes512);
    let connection = open(&disk, "cats");
    connection.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    disk.set_space(Some(disk.used_bytes() + 1000));
    let refusal = connection.execute("INSERT INTO cats VALUES ('tom')", []).unwrap_err();
    assert_eq!(refusal.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    assert_eq!(count(&connection), 0);
    disk.mend();
    connection.execute("INSERT INTO cats VALUES ('tom')", []).unwrap();
    assert_eq!(count(&connection), 1);
}

#[test]
fn planned_operation_fails_once_or_permanently() {
    for (lasting, second) in [(Lasting::Once, true), (Lasting::ForEver, false)] {
        let disk = Disk::new("faults", 1, Sectors::Bytes512);
        let connection = open(&disk, "cats");
        connection.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
        disk.fail(Fault { lasting, ..io_error(1, Kind::Write) });
        assert!(connection.execute("INSERT INTO cats VALUES ('tom')", []).is_err());
        assert_eq!(connection.execute("INSERT INTO cats VALUES ('tom')", []).is_ok(), second);
        let failed = disk.trace().iter().filter(|operation| operation.outcome == Outcome::Failed).count();
        assert_eq!(failed == 1, second);
    }
}

#[test]
fn equal_seeds_and_operations_leave_equal_traces() {
    let run = |seed| {
        let disk = Disk::new("traces", seed, Sectors::Bytes4096);
        for _ in 0..5 {
            let connection = open(&disk, "cats");
            connection.execute_batch("CREATE TABLE IF NOT EXISTS cats (name TEXT); INSERT INTO cats VALUES ('tom')").unwrap();
            disk.fail(io_error(2, Kind::Sync));
            let _ = connection.execute_batch("INSERT INTO cats VALUES ('tip')");
            let _ = connection.execute_batch("INSERT INTO cats VALUES ('top')");
            disk.mend();
            disk.cut_power();
        }
        (disk.operations(), disk.sum(), disk.trace())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
}

//! Released caches: what was cached is gone, and is read from the disk when it is needed again.

use ensue_disk::Disk;
use ensue_disk::trace::Kind;
use ensue_engine::ports::Log;
use ensue_store::sqlite::log::SqliteLog;
use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::records::{LOG, Writer, read_all};
use ensue_test_support::story::Story;
use ensue_views::{Projector, ViewName, ViewReader, ViewStore};

use crate::conformance::crash_disk::{disk_of_this_test, place};

/// Returns how many reads an action takes from the disk.
fn reads(disk: &Disk, action: impl FnOnce()) -> usize {
    let before = disk.operations();
    action();
    disk.trace().iter().filter(|operation| operation.number > before && operation.kind == Kind::Read).count()
}

#[test]
fn released_pages_of_a_log_are_read_again() {
    let disk = disk_of_this_test(1);
    let mut log = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG).unwrap();
    Writer::of(&log).append(&mut log, 20).unwrap();
    let reader = log.reader().unwrap();
    let read = || drop(read_all(&*reader));
    read();
    let cached = reads(&disk, read);
    reader.release_caches();
    assert!(reads(&disk, read) > cached, "{cached} reads of cached pages");

    let head = |log: &SqliteLog| assert_eq!(log.head().unwrap().position.0, 20);
    head(&log);
    let cached = reads(&disk, || head(&log));
    log.release_caches();
    assert!(reads(&disk, || head(&log)) > cached, "{cached} reads of cached pages");
}

#[test]
fn released_pages_of_views_are_read_again() {
    let (disk, story) = (disk_of_this_test(1), Story::of_everything());
    let mut views = SqliteViews::open_at(&place(&disk, "views.sqlite"), story.log()).unwrap();
    Projector::new().advance(&mut views, story.records()).unwrap();
    let reader = views.reader();
    let mut rows = Vec::new();
    reader.dump(&mut |view, row| rows.push((view, row.clone()))).unwrap();
    let keys: Vec<_> = rows.iter().filter(|(view, _)| *view == ViewName::Executions).filter_map(|(view, row)| view.key(&row.key)).collect();
    let load = |views: &SqliteViews| views.load(ViewName::Executions, &keys).unwrap();
    let before = load(&views);
    assert!(!before.is_empty());
    let cached = reads(&disk, || drop(load(&views)));
    views.release_caches();
    assert!(reads(&disk, || assert_eq!(load(&views), before)) > cached, "{cached} reads of cached pages");
}

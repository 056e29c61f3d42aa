//! The behavior that every log must have.

use ensue_disk::Disk;
use ensue_engine::ids::LogId;
use ensue_engine::ports::Log;

use super::crash_disk::place;
use ensue_store::memory::MemoryLogs;
use ensue_store::sqlite::log::SqliteLog;

/// Runs each case with every kind of log, each time empty.
macro_rules! on_every_log {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(&ensue_store::memory::MemoryLogs::default()); })*
        }
        mod on_sqlite {
            $(#[test] fn $case() { super::$case(&crate::conformance::log::SqliteLogs::new()); })*
        }
        mod on_a_crash_disk {
            $(#[test] fn $case() { super::$case(&crate::conformance::crash_disk::disk_of_this_test(1)); })*
        }
    };
}

mod appending;
mod deduplication;
mod durability;
mod reading;

/// A place that holds logs, and keeps them while none is open.
trait Logs {
    fn open(&self, id: LogId) -> Box<dyn Log>;
    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log>;
}

impl Logs for MemoryLogs {
    fn open(&self, id: LogId) -> Box<dyn Log> {
        Box::new(Self::open(self, id))
    }

    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log> {
        Box::new(Self::open(self, id).with_seen_keys_max(keys_max))
    }
}

struct SqliteLogs(tempfile::TempDir);

impl SqliteLogs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, id: LogId) -> SqliteLog {
        SqliteLog::open(&self.0.path().join("log.sqlite"), id).unwrap()
    }
}

impl Logs for SqliteLogs {
    fn open(&self, id: LogId) -> Box<dyn Log> {
        Box::new(Self::open(self, id))
    }

    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log> {
        Box::new(Self::open(self, id).with_seen_keys_max(keys_max))
    }
}

impl Logs for Disk {
    fn open(&self, id: LogId) -> Box<dyn Log> {
        Box::new(SqliteLog::open_at(place(self, "log.sqlite"), id).unwrap())
    }

    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log> {
        Box::new(SqliteLog::open_at(place(self, "log.sqlite"), id).unwrap().with_seen_keys_max(keys_max))
    }
}

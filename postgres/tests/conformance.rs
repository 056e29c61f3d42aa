//! The behavior that every log must have: the cases of `ensue-store`, each on a database of its own.

use std::time::Duration;

use ensue_engine::ids::LogId;
use ensue_engine::ports::Log;
use ensue_postgres::{Database, IfLed};

use crate::nodes::node;
use crate::server::Server;

/// Runs each case on PostgreSQL, each time empty.
macro_rules! on_every_log {
    ($($case:ident)*) => {
        mod on_postgres {
            $(#[test] fn $case() {
                if crate::server::is_missing() {
                    return;
                }
                super::$case(&crate::conformance::PostgresLogs::new());
            })*
        }
    };
}

#[path = "../../store/tests/conformance/log/appending.rs"]
mod appending;
#[path = "../../store/tests/conformance/log/deduplication.rs"]
mod deduplication;
#[path = "../../store/tests/conformance/log/durability.rs"]
mod durability;
#[path = "../../store/tests/conformance/log/reading.rs"]
mod reading;

/// A place that holds logs, and keeps them while none is open.
trait Logs {
    fn open(&self, id: LogId) -> Box<dyn Log>;
    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log>;
}

pub(crate) struct PostgresLogs(Database);

impl PostgresLogs {
    fn new() -> Self {
        // Parts so small that the cases fill several.
        Self(Server::instance().database().1.with_part_positions(16))
    }
}

impl Logs for PostgresLogs {
    fn open(&self, id: LogId) -> Box<dyn Log> {
        Box::new(self.0.lead(id, &node(1), IfLed::Fail).unwrap())
    }

    fn open_with_seen_keys_max(&self, id: LogId, keys_max: u64) -> Box<dyn Log> {
        Box::new(self.0.lead(id, &node(1), IfLed::Fail).unwrap().with_seen_keys_max(keys_max, Duration::ZERO))
    }
}

//! Facts about this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use ensue_engine::time::Timestamp;

/// Returns its time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

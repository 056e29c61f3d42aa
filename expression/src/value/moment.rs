//! The range of timestamps.

use chrono::{DateTime, Utc};

/// The first and last timestamps, in seconds: years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Returns the timestamp, if it is in the years 1 to 9999.
pub(crate) fn in_range(moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
    TIMESTAMP_SECONDS.contains(&moment.timestamp()).then_some(moment)
}

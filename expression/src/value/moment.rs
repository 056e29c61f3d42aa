//! The moments that a value can be.

use chrono::{DateTime, Utc};

/// The first and last moments, in seconds: years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The moment, if it is in the years 1 to 9999.
pub(crate) fn in_range(moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
    TIMESTAMP_SECONDS.contains(&moment.timestamp()).then_some(moment)
}

//! When something is due again, and the schedules of rules and sensors.
//!
//! A cron expression in a time zone is a pure function of a moment, and has no clock: its caller asks for the
//! next time. `docs/reference/schedules.md` describes its syntax, and its meaning when clocks change. Read
//! the files for the log in this order: plan, facts, state, react.

mod cron;
mod emits;
mod error;
pub mod facts;
mod fields;
pub mod plan;
pub mod react;
pub mod state;
mod zone;

pub use self::cron::{Cron, Firing, Occasion};
pub use self::emits::SCHEDULE_TRIGGER;
pub use self::error::{EXPRESSION_BYTES_MAX, PartFault, ScheduleError, YEAR_LAST};
pub use self::fields::Field;
pub use self::zone::Zone;
use crate::time::Timestamp;

/// Parses a moment in RFC 3339, from which schedules are asked for their times.
///
/// Fails if it is invalid, or outside the years 1 to [`YEAR_LAST`] in UTC, in which schedules can be due.
pub fn moment(text: &str) -> Result<Timestamp, ScheduleError> {
    let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| ScheduleError::NoMoment { text: error::excerpt(text) })?;
    let is_in_range = (1..=YEAR_LAST).contains(&chrono::Datelike::year(&time.to_utc()));
    if is_in_range {
        Ok(Timestamp::from_micros(time.timestamp_micros()))
    } else {
        Err(ScheduleError::OutOfTime { text: error::excerpt(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_rfc_3339_and_within_time() {
        for text in ["", "noon", "2026-03-28", "2026-03-28T12:00:00", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"] {
            assert!(matches!(moment(text), Err(ScheduleError::NoMoment { .. })), "{text}");
        }
        for text in ["5000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0000-12-31T23:59:59Z", "0001-01-01T00:30:00+01:00"] {
            assert!(matches!(moment(text), Err(ScheduleError::OutOfTime { .. })), "{text}");
        }
        assert!(moment("4999-12-31T23:59:59Z").is_ok());
    }
}

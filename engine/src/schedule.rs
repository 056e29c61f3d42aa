//! When something is to happen, again or once: a cron expression on the clocks of a zone, every so often, or at one moment.
//!
//! It is a pure function of a moment, and has no clock: whoever waits for a schedule asks it what comes next. How it is written, and what it
//! means where clocks change, stands in `docs/reference/schedules.md`.

mod cron;
mod error;
mod fields;
mod zone;

use std::time::Duration;

pub use self::cron::{Cron, Firing, Occasion};
pub use self::error::{PartFault, ScheduleError};
pub use self::fields::Field;
pub use self::zone::Zone;
use crate::time::Timestamp;

/// The last year in which a schedule can be due: croner, which reads the calendar, goes no further.
pub const YEAR_LAST: i32 = 4999;
/// The most bytes of a cron expression.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// The shortest time between two firings of `every`.
pub const EVERY_MIN: Duration = Duration::from_secs(1);

/// When something is to happen, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// When the clocks of a zone show what a cron expression says.
    Cron(Box<Cron>),
    /// Every so often, whatever the clocks show.
    Every(Every),
    /// At one moment.
    At(Timestamp),
}

impl Schedule {
    /// Reads a cron expression, for the clocks of the zone with this name.
    ///
    /// Fails where the expression cannot be understood or is never due, and where there is no such zone.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        Ok(Self::Cron(Box::new(Cron::parse(expression, zone.parse()?)?)))
    }

    /// Makes a schedule that is due each time when so much has gone by since a moment.
    ///
    /// Fails where that is less than [`EVERY_MIN`], and where it is more than there is of time.
    pub fn every(period: Duration, since: Timestamp) -> Result<Self, ScheduleError> {
        Every::new(period, since).map(Self::Every)
    }

    /// Reads the one moment of a schedule, in RFC 3339.
    ///
    /// Fails as [`moment`] does.
    pub fn at(text: &str) -> Result<Self, ScheduleError> {
        moment(text).map(Self::At)
    }

    /// Gives the first moment after this one at which it is due; none where it never is again.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(moment),
            Self::Every(every) => every.next_after(moment),
            Self::At(at) => Some(*at).filter(|at| *at > moment),
        }
    }
}

/// Every so often, counted from a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    period_micros: i64,
    since: Timestamp,
}

impl Every {
    fn new(period: Duration, since: Timestamp) -> Result<Self, ScheduleError> {
        if period < EVERY_MIN {
            return Err(ScheduleError::TooOften { period });
        }
        let every = i64::try_from(period.as_micros()).ok().map(|period_micros| Self { period_micros, since });
        every.filter(|every| every.next_after(since).is_some()).ok_or(ScheduleError::TooSeldom { period })
    }

    fn next_after(self, moment: Timestamp) -> Option<Timestamp> {
        let gone_by = moment.micros_since(self.since).max(0);
        let nth = gone_by / self.period_micros + 1;
        let micros = self.since.micros().checked_add(nth.checked_mul(self.period_micros)?)?;
        // What lies behind the end of time would be moved to it.
        Some(Timestamp::from_micros(micros)).filter(|due| due.micros() == micros)
    }
}

/// Reads a moment in RFC 3339.
///
/// Fails where it is none, and where it lies outside the years 1 to [`YEAR_LAST`] in UTC, in which schedules are due.
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

    const NOON: &str = "2026-03-28T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        moment(text).unwrap()
    }

    #[test]
    fn every_counts_from_its_moment_whenever_it_is_asked() {
        let every = Schedule::every(Duration::from_secs(90), at(NOON)).unwrap();
        let next = |text: &str| every.next_after(at(text)).unwrap();
        assert_eq!(next("2020-01-01T00:00:00Z"), at("2026-03-28T12:01:30Z"), "not before a period has gone by");
        assert_eq!(next(NOON), at("2026-03-28T12:01:30Z"));
        assert_eq!(next("2026-03-28T12:01:29.999999Z"), at("2026-03-28T12:01:30Z"));
        assert_eq!(next("2026-03-28T12:01:30Z"), at("2026-03-28T12:03:00Z"));
        assert_eq!(next("2026-03-29T12:00:01Z"), at("2026-03-29T12:01:30Z"), "clocks that change between do not count");
    }

    #[test]
    fn every_less_than_a_second_and_more_than_there_is_of_time_is_refused() {
        let every = |period| Schedule::every(period, at(NOON));
        assert!(matches!(every(Duration::from_millis(999)), Err(ScheduleError::TooOften { .. })));
        assert!(matches!(every(Duration::ZERO), Err(ScheduleError::TooOften { .. })));
        assert!(matches!(every(Duration::MAX), Err(ScheduleError::TooSeldom { .. })));
        assert!(matches!(every(Duration::from_secs(9_000 * 366 * 86_400)), Err(ScheduleError::TooSeldom { .. })));
        assert!(every(EVERY_MIN).is_ok());
    }

    #[test]
    fn every_ends_with_time() {
        let every = Schedule::every(Duration::from_secs(86_400), at(NOON)).unwrap();
        assert_eq!(every.next_after(Timestamp::from_micros(i64::MAX)), None);
        assert_eq!(every.next_after(Timestamp::from_micros(i64::MIN)), Some(at("2026-03-29T12:00:00Z")));
    }

    #[test]
    fn one_moment_is_due_once() {
        let once = Schedule::at("2026-03-28T13:00:00+01:00").unwrap();
        assert_eq!(once.next_after(at("2026-03-28T11:59:59Z")), Some(at(NOON)));
        assert_eq!(once.next_after(at(NOON)), None);
    }

    #[test]
    fn a_moment_is_rfc_3339_and_within_time() {
        for text in ["", "noon", "2026-03-28", "2026-03-28T12:00:00", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"] {
            assert!(matches!(moment(text), Err(ScheduleError::NoMoment { .. })), "{text}");
        }
        for text in ["5000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0000-12-31T23:59:59Z", "0001-01-01T00:30:00+01:00"] {
            assert!(matches!(moment(text), Err(ScheduleError::OutOfTime { .. })), "{text}");
        }
        assert!(moment("4999-12-31T23:59:59Z").is_ok());
    }
}

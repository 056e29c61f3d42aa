//! The clocks of a time zone: the local time at a moment, and the moments of a local time.
//!
//! It knows nothing about schedules.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::ScheduleError;
use super::error::excerpt;

/// More than the offset of any clock from UTC, in seconds.
const OFFSET_MAX: i64 = 24 * 3_600;

/// A time zone of the IANA database: `UTC`, `Europe/Berlin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// UTC, whose clocks never change.
    pub const UTC: Self = Self(Tz::UTC);
}

impl FromStr for Zone {
    type Err = ScheduleError;

    /// Parses the name of a zone, spelled as in the database.
    fn from_str(name: &str) -> Result<Self, ScheduleError> {
        name.parse().map(Self).map_err(|_| ScheduleError::NoZone { near: nearest(name), name: excerpt(name) })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Returns the zone that was probably meant: one with this name in another case or spacing, one of that city,
/// or one with a similar name.
fn nearest(name: &str) -> Option<&'static str> {
    let written = excerpt(&name.trim().replace(' ', "_"));
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let of_city = |known: &&str| known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&written));
    names().find(|known| known.eq_ignore_ascii_case(&written)).or_else(|| names().find(of_city)).or_else(|| {
        let city = written.rsplit('/').next().filter(|city| city.len() > 3)?;
        ensue_expression::nearest(&written, names())
            .or_else(|| names().find(|known| known.rsplit('/').next().is_some_and(|known| known.eq_ignore_ascii_case(city))))
    })
}

/// The moments of a local time, in seconds of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalMoments {
    Once(i64),
    /// The clocks went back over it.
    Twice {
        first: i64,
        second: i64,
    },
    /// The clocks went forward over it at this moment.
    Never {
        skipped_at: i64,
    },
}

impl Zone {
    /// Returns the offset of the local time from UTC at a moment, in seconds.
    pub(super) fn offset(self, moment: i64) -> i64 {
        self.0.offset_from_utc_datetime(&naive(moment)).fix().local_minus_utc().into()
    }

    /// Returns the local time at a moment.
    pub(super) fn reading(self, moment: i64) -> NaiveDateTime {
        naive(moment.saturating_add(self.offset(moment)))
    }

    /// Returns the moments of a local time.
    pub(super) fn moments_of(self, reading: NaiveDateTime) -> LocalMoments {
        match self.0.offset_from_local_datetime(&reading) {
            LocalResult::Single(offset) => LocalMoments::Once(seconds(reading) - i64::from(offset.fix().local_minus_utc())),
            LocalResult::Ambiguous(one, other) => {
                let [one, other] = [one, other].map(|offset| seconds(reading) - i64::from(offset.fix().local_minus_utc()));
                LocalMoments::Twice { first: one.min(other), second: one.max(other) }
            }
            LocalResult::None => {
                let at = seconds(reading);
                // In this interval the clocks jump over the local time once, and never show it.
                let is_past = |moment: i64| moment + self.offset(moment) > at;
                LocalMoments::Never { skipped_at: first_where(at - OFFSET_MAX, at + OFFSET_MAX, is_past) }
            }
        }
    }

    /// Returns when the clocks went back, between the two moments of the same local time.
    pub(super) fn went_back(self, first: i64, second: i64) -> i64 {
        let before = self.offset(first);
        first_where(first, second, |moment| self.offset(moment) != before)
    }
}

/// Returns the first moment after `before` and up to `after` at which `is_so` is true. It must be false at
/// `before`, true at `after`, and change once.
fn first_where(mut before: i64, mut after: i64, is_so: impl Fn(i64) -> bool) -> i64 {
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if is_so(middle) { after = middle } else { before = middle }
    }
    after
}

/// Returns seconds since 1970 as a date and time. Those of a [`Timestamp`](crate::time::Timestamp) are always
/// in range.
pub(super) fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()
}

fn seconds(reading: NaiveDateTime) -> i64 {
    reading.and_utc().timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_time_zone_gets_a_suggestion() {
        let near = |name: &str| match name.parse::<Zone>() {
            Err(ScheduleError::NoZone { near, .. }) => near,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(near("Europe/Berlni"), Some("Europe/Berlin"));
        assert_eq!(near("europe/berlin"), Some("Europe/Berlin"));
        assert_eq!(near("Berlin"), Some("Europe/Berlin"));
        assert_eq!(near("America/New York"), Some("America/New_York"));
        assert_eq!(near("US/New_York"), Some("America/New_York"));
        assert_eq!(near("utc "), Some("UTC"));
        assert_eq!(near(""), None);
        assert_eq!(near("Mars/Olympus_Mons"), None);
    }
}

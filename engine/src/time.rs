//! Points in time as the log stores them: microseconds of UTC.
//!
//! It has no clock: time enters the core with a [`Moment`](crate::command::Moment).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// The maximum duration: a year.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses a duration that is written in a field: `250ms`, `90s`, `1h30m`, `2d`, `PT1H`. It has the grammar of the function
/// `duration` of expressions. Returns `None` if the text has another form, has a sign, is not in whole milliseconds, or is
/// over a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse_unsigned(text).filter(|duration| *duration <= DURATION_MAX)
}

/// Parses a duration of any length that has no sign.
fn parse_unsigned(text: &str) -> Option<Duration> {
    // An expression accepts `0` without a unit. A field does not.
    let has_form = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '.' | 'P')) && text != "0";
    let nanoseconds = has_form.then(|| ensue_expression::parse_duration(text).ok()).flatten()?;
    let duration = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    duration.subsec_nanos().is_multiple_of(1_000_000).then_some(duration)
}

/// The maximum period: ten years of 365 days.
const PERIOD_MAX: Duration = Duration::from_secs(3_650 * 24 * 3600);

/// Parses a period of validity, such as `90d`: what [`parse_duration`] reads, but longer. Returns `None` if the text has
/// another form, or the period is empty or over ten years.
pub fn parse_period(text: &str) -> Option<Duration> {
    parse_unsigned(text).filter(|period| !period.is_zero() && *period <= PERIOD_MAX)
}

/// The maximum age: a hundred years of 365 days.
const AGE_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Parses how long ago something was, such as `90d`: what [`parse_duration`] reads, but longer. Returns `None` if the text
/// has another form, or the age is over a hundred years.
pub fn parse_age(text: &str) -> Option<Duration> {
    parse_unsigned(text).filter(|age| *age <= AGE_MAX)
}

/// The shortest duration that an expression may compute.
pub const COMPUTED_MIN: Duration = Duration::from_secs(1);

/// The longest duration that an expression may compute: 400 days.
pub const COMPUTED_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Parses a duration that an expression returned as text, such as `90s`, `1h30m` or `30d`. Returns `None` if the text has
/// another form, or the duration is not from [`COMPUTED_MIN`] to [`COMPUTED_MAX`].
pub fn parse_computed(text: &str) -> Option<Duration> {
    parse_period(text).filter(is_computed)
}

/// Returns a duration that an expression returned as a number of seconds, with the bounds of [`parse_computed`].
pub fn computed_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(is_computed)
}

fn is_computed(duration: &Duration) -> bool {
    (COMPUTED_MIN..=COMPUTED_MAX).contains(duration)
}

/// Writes a duration of whole milliseconds in the form that [`parse_duration`] reads, in the largest unit
/// without a remainder.
pub fn duration_text(millis: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = UNITS.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    const MIN: i64 = -62_167_219_200_000_000;
    const MAX: i64 = 253_402_300_799_999_999;

    /// Creates a point in time from microseconds since the Unix epoch. Times outside the years 0 to 9999 are
    /// clamped to them.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN {
            Self(Self::MIN)
        } else if micros > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(micros)
        }
    }

    /// Returns microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns milliseconds since the Unix epoch, as in UUIDs of version 7; 0 before 1970.
    pub const fn unix_millis(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0.unsigned_abs() / 1_000 }
    }

    /// Returns the point `millis` milliseconds later.
    pub const fn plus_millis(self, millis: u64) -> Self {
        let micros = if millis > i64::MAX as u64 / 1_000 { i64::MAX } else { millis as i64 * 1_000 };
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Returns the point `millis` milliseconds earlier.
    pub const fn minus_millis(self, millis: u64) -> Self {
        let micros = if millis > i64::MAX as u64 / 1_000 { i64::MAX } else { millis as i64 * 1_000 };
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// Returns the microseconds from `earlier` to this point, negative if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self::from_micros(time.timestamp_micros()))
            .map_err(|_| format!("`{text}` is not a valid time; use RFC 3339, for example 2026-03-28T09:00:00Z"))
    }
}

crate::as_text::as_text!(Timestamp);

/// Returns a duration in whole milliseconds, at most `u64::MAX`.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn period_may_be_in_days() {
        assert_eq!(parse_period("90d"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_period("24h"), Some(Duration::from_secs(86_400)));
        for bad in ["", "d", "-1d", "+1d", "0d", "0s", "3651d", "99999999999999999999d", "1w"] {
            assert_eq!(parse_period(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn duration_is_a_number_and_a_unit() {
        for (text, millis) in [("250ms", 250), ("90s", 90_000), ("10m", 600_000), ("24h", 86_400_000), ("0ms", 0), ("1500ms", 1_500)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)));
            assert_eq!(parse_duration(&duration_text(millis)), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!((duration_text(600_000), duration_text(90_000), duration_text(250)), ("10m".into(), "90s".into(), "250ms".into()));
        for bad in ["", "s", "0", "10", "10 m", "-1s", "+1s", "-PT1S", "0.0001s", "1us", "8761h", "366d", "99999999999999999999s", "P"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn duration_may_have_several_units_a_fraction_and_the_form_of_iso_8601() {
        for (text, millis) in
            [("1m30s", 90_000), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("1d12h", 129_600_000), ("PT1H", 3_600_000), ("P1D", 86_400_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(parse_computed(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn age_has_the_grammar_of_durations_and_may_be_a_hundred_years() {
        for (text, hours) in
            [("0s", 0), ("12h", 12), ("1.5d", 36), ("12h1d", 36), ("P1DT12H", 36), ("36500d", 876_000), ("876000h", 876_000)]
        {
            assert_eq!(parse_age(text), Some(Duration::from_secs(hours * 3_600)), "{text}");
        }
        for bad in ["", "d", "90", "+1d", "-1d", "90 d", "90D", "1w", "36501d", "876001h", "99999999999999999999d"] {
            assert_eq!(parse_age(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn field_takes_what_the_function_duration_takes(text in "(P|[0-9.]){0,3}[0-9.PTWDHMSdhmsuµ+-]{0,10}") {
            let given = ensue_expression::parse_duration(&text).ok().and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
            let fits = |given: &Duration| given.subsec_nanos().is_multiple_of(1_000_000) && *given <= DURATION_MAX;
            let expected = given.map(Duration::from_nanos).filter(fits).filter(|_| text != "0" && !text.starts_with(['+', '-']));
            prop_assert_eq!(parse_duration(&text), expected);
        }
    }

    #[test]
    fn time_is_written_in_utc_with_microseconds_and_read_back() {
        let time: Timestamp = "2026-03-28T10:00:00.25+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-03-28T09:00:00.250000Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
    }
}

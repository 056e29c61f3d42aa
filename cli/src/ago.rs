//! Parses times as people write them: a timestamp, a date, how long ago it was, or how long it is from now.

use ensue_engine::time::{Timestamp, parse_age, parse_period};

use crate::this_machine;

/// Parses a timestamp, or how long ago it was.
pub(crate) fn moment_of(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = parse_age(text).ok_or("write a time like 2026-03-28T12:00:00Z, or how long ago: 30d, 12h, 10m")?;
    let now = this_machine::now();
    Ok(Timestamp::from_micros(now.micros().saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX))))
}

/// Parses what `as_of` of the API can be: a position of the log, or a time. Also accepts how long ago it was.
pub(crate) fn earlier_of(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok() {
        return Ok(text.to_owned());
    }
    let why = "write a position of the log like 4711, a time like 2026-03-28T12:00:00Z, or how long ago: 30d, 12h, 10m";
    moment_of(text).map(|time| time.to_string()).map_err(|_| why.to_owned())
}

/// Parses a time in the future: a timestamp, a date, which means its first moment in UTC, or how long it is from now.
pub(crate) fn deadline_of(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()) {
        return Ok(time);
    }
    let period =
        parse_period(text).ok_or("write a time like 2027-01-01T12:00:00Z, a date like 2027-01-01, or how long from now: 90d, 12h")?;
    Ok(this_machine::now().plus_millis(u64::try_from(period.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_moment_is_a_position_a_time_or_a_period_until_now() {
        assert_eq!(earlier_of("4711"), Ok("4711".to_owned()));
        assert_eq!(earlier_of("2026-03-28T12:00:00Z"), Ok("2026-03-28T12:00:00.000000Z".to_owned()));
        for ago in ["2h", "1.5d", "12h1d", "P1DT12H", "3000d"] {
            assert!(earlier_of(ago).unwrap().parse::<Timestamp>().unwrap() < this_machine::now(), "{ago}");
        }
        for bad in ["", "-1", "+1", "+1d", "-1d", "36501d", "yesterday", "18446744073709551616"] {
            assert!(earlier_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deadline_is_a_time_a_date_or_a_period_from_now() {
        assert_eq!(deadline_of("2027-01-01").unwrap().to_string(), "2027-01-01T00:00:00.000000Z");
        assert_eq!(deadline_of("2027-01-01T12:00:00Z").unwrap().to_string(), "2027-01-01T12:00:00.000000Z");
        assert!(deadline_of("1h").unwrap() > this_machine::now());
        for bad in ["", "tomorrow", "2027-13-01", "-1h", "0s"] {
            assert!(deadline_of(bad).is_err(), "{bad}");
        }
    }
}

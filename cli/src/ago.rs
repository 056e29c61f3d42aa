//! Parses times as people write them: a timestamp, or how long ago it was, or how long it is until then.

use std::time::Duration;

use ensue_engine::time::{Timestamp, parse_duration};

use crate::this_machine;

/// Parses a timestamp, or how long ago it was.
pub(crate) fn moment_of(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = while_of(text).ok_or("write a time like 2026-03-28T12:00:00Z, or how long ago: 30d, 12h, 10m")?;
    let now = this_machine::now();
    Ok(Timestamp::from_micros(now.micros().saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX))))
}

/// Parses a timestamp, or how long it is until then.
pub(crate) fn moment_ahead(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ahead = while_of(text).ok_or("write a time like 2027-03-28T12:00:00Z, or how long until then: 90d, 12h, 10m")?;
    Ok(this_machine::now().plus_millis(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX)))
}

/// Parses a duration, also in days. Returns `None` if the text has another form.
pub(crate) fn while_of(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).filter(|days| *days <= 36_500);
    days.map(|days| Duration::from_secs(days * 86_400)).or_else(|| parse_duration(text))
}

//! Parses times as people write them: a timestamp, or how long ago it was.

use std::time::Duration;

use ensue_engine::time::{Timestamp, parse_duration};

use crate::this_machine;

/// Parses a timestamp, or how long ago it was.
pub(crate) fn moment_of(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).filter(|days| *days <= 36_500);
    let ago = days.map(|days| Duration::from_secs(days * 86_400)).or_else(|| parse_duration(text));
    let ago = ago.ok_or("write a time like 2026-03-28T12:00:00Z, or how long ago: 30d, 12h, 10m")?;
    let now = this_machine::now();
    Ok(Timestamp::from_micros(now.micros().saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX))))
}

//! `Retry-After`: how long a server asks to wait before the next request.
//!
//! The engine decides whether another attempt follows, and when.

use std::time::{Duration, SystemTime};

use ensue_engine::time::Timestamp;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// Returns how long the server asks to wait, or none if it does not ask or the header is not valid HTTP.
///
/// The header holds seconds or a date. A date is relative to the server's own `Date`, so that the two clocks
/// need not agree, or to `now` if the server sends none.
pub(crate) fn of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = text(headers, RETRY_AFTER)?;
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with more digits than fit is longer than any wait.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let sent = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let sent = sent.or_else(|| SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(now.micros()).ok()?)))?;
    Some(until.duration_since(sent).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z.
    const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);

    fn wait_seconds(lines: &[(HeaderName, &'static str)]) -> Option<u64> {
        let headers = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        of(&headers, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_in_seconds_is_used_as_the_delay() {
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "120")]), Some(120));
        assert_eq!(wait_seconds(&[(RETRY_AFTER, " 0 ")]), Some(0));
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "99999999999999999999999")]), Some(u64::MAX));
    }

    #[test]
    fn retry_after_as_a_date_counts_from_the_server_s_own_date() {
        let date = (DATE, "Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:01:30 GMT"), date]), Some(90));
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "Sunday, 06-Nov-94 08:50:37 GMT")]), Some(60));
        assert_eq!(wait_seconds(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
    }

    #[test]
    fn invalid_retry_after_is_ignored() {
        assert_eq!(wait_seconds(&[]), None);
        for text in ["", "soon", "-1", "1.5", "2026-03-28T12:00:00Z"] {
            assert_eq!(wait_seconds(&[(RETRY_AFTER, text)]), None, "{text}");
        }
    }
}

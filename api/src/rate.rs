//! A rate, such as the operator writes it: a number of requests in a period.
//!
//! `rates.rs` assigns and enforces rates.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// The maximum number of requests of a rate.
const REQUESTS_MAX: u32 = 1_000_000;
/// The maximum period of a rate.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A number of requests in a period: that many at once, and then each as it becomes available again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub(crate) requests: NonZeroU32,
    pub(crate) window: Duration,
}

/// An invalid rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("from 1 to {REQUESTS_MAX} requests in a period of whole seconds, at most a day: `600/1m`")]
pub struct RateInvalid;

impl FromStr for Rate {
    type Err = RateInvalid;

    fn from_str(text: &str) -> Result<Self, RateInvalid> {
        let (requests, window) = text.split_once('/').ok_or(RateInvalid)?;
        let is_plain = requests.bytes().all(|byte| byte.is_ascii_digit());
        let requests: NonZeroU32 = requests.parse().map_err(|_| RateInvalid)?;
        let window = ensue_packs::parse_duration(window).ok_or(RateInvalid)?;
        let is_whole = window.as_secs() > 0 && window.subsec_nanos() == 0;
        let is_one = is_plain && is_whole && requests.get() <= REQUESTS_MAX && window <= WINDOW_MAX;
        if is_one { Ok(Self { requests, window }) } else { Err(RateInvalid) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests in {} seconds", self.requests, self.window.as_secs())
    }
}

impl Rate {
    /// The attempts to log in from one address.
    pub(crate) const LOGINS: Self = Self { requests: NonZeroU32::new(20).expect("it is not 0"), window: Duration::from_secs(60) };

    /// Returns the number of requests per minute, rounded down, but at least 1, because senders cannot be
    /// given a lower rate.
    pub(crate) fn a_minute(self) -> u64 {
        (u64::from(self.requests.get()) * 60 / self.window.as_secs()).max(1)
    }

    /// Returns how long it takes until one more request is available.
    pub(crate) fn interval(self) -> Duration {
        self.window / self.requests.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn rate_is_a_number_of_requests_per_period() {
        assert_eq!(rate("600/1m"), Rate { requests: NonZeroU32::new(600).unwrap(), window: Duration::from_secs(60) });
        assert_eq!(rate("1/24h").to_string(), "1 requests in 86400 seconds");
        assert_eq!(rate("1/1d"), rate("1/24h"));
        for bad in
            ["", "600", "600/", "/1m", "0/1m", "-1/1m", "+1/1m", "600/m", "600/0s", "600/1500ms", "600/25h", "1000001/1s", "1 / 1s", "1/2d"]
        {
            assert_eq!(bad.parse::<Rate>(), Err(RateInvalid), "{bad:?}");
        }
    }

    #[test]
    fn rate_per_minute_is_computed_for_senders() {
        for (text, a_minute) in [("600/1m", 600), ("10/1s", 600), ("1/1h", 1), ("90/1h", 1)] {
            assert_eq!(rate(text).a_minute(), a_minute, "{text}");
        }
    }
}

//! The worker's time: a steady clock for leases and limits, the wall clock for what programs are told.
//!
//! It does not know what the time is needed for.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ensue_engine::time::Timestamp;
use tokio::time::Instant;

/// What gives the time, so that tests can hold it in their hand.
pub trait Clock: Send + Sync {
    /// Gives the time since some fixed moment; it never goes back.
    fn now(&self) -> Duration;
    /// Gives the wall time.
    fn wall(&self) -> Timestamp;
    /// Ends when [`now`](Self::now) has reached `moment`.
    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own clocks, as the tokio runtime sees them.
#[derive(Debug)]
pub struct SystemClock {
    begin: Instant,
}

impl SystemClock {
    /// Starts to count.
    pub fn new() -> Self {
        Self { begin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match self.begin.checked_add(moment) {
            Some(at) => Box::pin(tokio::time::sleep_until(at)),
            // Further off than the machine can count.
            None => Box::pin(std::future::pending()),
        }
    }
}

//! The worker's time: a steady clock that measures leases, timeouts and pauses.
//!
//! It is not a wall clock. The time that programs see comes from the log, and a jump of the wall clock ends
//! nothing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// A source of time, which tests can control.
pub trait Clock: Send + Sync {
    /// Returns the time since some fixed moment. It never goes back.
    fn now(&self) -> Duration;
    /// Completes when [`now`](Self::now) has reached `moment`.
    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own steady clock, as the tokio runtime sees it.
#[derive(Debug)]
pub struct SystemClock {
    begin: Instant,
}

impl SystemClock {
    /// Starts counting at zero.
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

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match self.begin.checked_add(moment) {
            Some(at) => Box::pin(tokio::time::sleep_until(at)),
            // Further away than the machine can count.
            None => Box::pin(std::future::pending()),
        }
    }
}

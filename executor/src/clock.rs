//! The worker's time: a steady clock, by which leases, timeouts and pauses last.
//!
//! It has no wall clock: what programs are told of the time comes from the log, and a wall clock that jumps ends nothing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// What gives the time, so that tests can hold it in their hand.
pub trait Clock: Send + Sync {
    /// Gives the time since some fixed moment; it never goes back.
    fn now(&self) -> Duration;
    /// Ends when [`now`](Self::now) has reached `moment`.
    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own steady clock, as the tokio runtime sees it.
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

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match self.begin.checked_add(moment) {
            Some(at) => Box::pin(tokio::time::sleep_until(at)),
            // Further off than the machine can count.
            None => Box::pin(std::future::pending()),
        }
    }
}

//! Leases: the right to an attempt, which the attempt's task must renew, so that a task that hangs or panics
//! is noticed.
//!
//! Renewing a lease writes no record. The end of a lease does: the worker reports it (`worker/watch.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A task's right to its attempt for a limited time.
#[derive(Debug)]
pub(crate) struct Lease {
    period: Duration,
    ends_at_micros: AtomicU64,
}

impl Lease {
    /// Begins a lease.
    pub(crate) fn begin(now: Duration, period: Duration) -> Self {
        let lease = Self { period, ends_at_micros: AtomicU64::new(0) };
        lease.renew(now);
        lease
    }

    /// Extends the lease to a whole period from now.
    pub(crate) fn renew(&self, now: Duration) {
        let ends_at = now.saturating_add(self.period);
        self.ends_at_micros.store(micros(ends_at), Ordering::Release);
    }

    /// Returns true if the lease has ended.
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        micros(now) >= self.ends_at_micros.load(Ordering::Acquire)
    }

    /// Returns the interval at which a lease is renewed and checked.
    pub(crate) fn beat(period: Duration) -> Duration {
        period / 3
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn lease_lasts_a_period_from_its_last_renewal() {
        let lease = Lease::begin(Duration::from_secs(100), PERIOD);
        assert!(!lease.has_ended(Duration::from_secs(129)));
        assert!(lease.has_ended(Duration::from_secs(130)));
        lease.renew(Duration::from_secs(129));
        assert!(!lease.has_ended(Duration::from_secs(158)));
        assert!(lease.has_ended(Duration::from_secs(159)));
    }

    #[test]
    fn lease_outlives_two_missed_beats() {
        assert!(Lease::beat(PERIOD) * 2 < PERIOD);
    }
}

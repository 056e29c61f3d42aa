//! Patience: how long long-running work continues, and for which caller.
//!
//! Work on a blocking thread cannot be aborted. It checks its patience from time to time, and stops by
//! itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ensue_engine::explain::Explain;
use thiserror::Error;

/// Whether a caller still waits for work, and until when the work can continue.
#[derive(Clone, Debug)]
pub struct Patience {
    is_gone: Arc<AtomicBool>,
    until: Instant,
    time: Duration,
}

/// Why work must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "takes-too-long", fault = Invalid, hint = "ask for less at once: fewer executions, or a shorter range of the log")]
pub enum Impatience {
    /// Its caller no longer waits.
    #[error("the caller no longer waits")]
    Gone,
    /// It took too long.
    #[error("the request takes longer than {} s", .0.as_secs())]
    TimeOver(Duration),
}

/// A waiting caller. Work for it stops soon after this is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Patience {
    /// Starts waiting for work that can take this long.
    pub fn of(time: Duration) -> (Self, Waiting) {
        let is_gone = Arc::new(AtomicBool::new(false));
        (Self { is_gone: is_gone.clone(), until: Instant::now() + time, time }, Waiting(is_gone))
    }

    /// Returns a check that returns true once the work must stop, for work that does not need the reason.
    pub fn stop_check(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let patience = self.clone();
        Arc::new(move || patience.demand().is_err())
    }

    /// Checks that the work can continue.
    ///
    /// # Errors
    ///
    /// If the caller is gone, or the time is over.
    pub fn demand(&self) -> Result<(), Impatience> {
        if self.is_gone.load(Ordering::Relaxed) {
            Err(Impatience::Gone)
        } else if Instant::now() >= self.until {
            Err(Impatience::TimeOver(self.time))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_continues_until_its_caller_leaves_or_its_time_is_over() {
        let (patience, waiting) = Patience::of(Duration::from_secs(3_600));
        assert_eq!(patience.demand(), Ok(()));
        drop(waiting);
        assert_eq!(patience.demand(), Err(Impatience::Gone));
        let (patience, _waiting) = Patience::of(Duration::ZERO);
        assert_eq!(patience.demand(), Err(Impatience::TimeOver(Duration::ZERO)));
    }
}

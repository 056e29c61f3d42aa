//! How far a backtest has come, and what it has found so far.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::BacktestResult;

/// How often a backtest reports what it has found so far, at most.
const REPORTED_EVERY: Duration = Duration::from_millis(400);
/// How much longer than a report takes a backtest works before the next one.
const WORK_PER_REPORT: u32 = 10;

/// Where a backtest reports how far it has come. Clones share the reports.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<Arc<Mutex<BacktestProgress>>>);

/// What a backtest has reported.
#[derive(Clone, Debug, Default)]
pub struct BacktestProgress {
    /// How much of the log it has read, from 0 to 1.
    pub done: f64,
    /// What it has found so far; none before its first report.
    pub so_far: Option<BacktestResult>,
    next_at: Option<Instant>,
}

impl Progress {
    /// Creates a place for reports that nobody reads, so that none are made.
    pub fn without_reader() -> Self {
        Self(None)
    }

    /// Creates a place for reports that somebody reads.
    pub fn with_reader() -> Self {
        Self(Some(Arc::default()))
    }

    /// Reports how much is done. Calls `so_far` for what was found if it is time for that.
    ///
    /// # Errors
    /// Those of `so_far`.
    pub fn report<E>(&self, done: f64, so_far: impl FnOnce() -> Result<BacktestResult, E>) -> Result<(), E> {
        let Some(reported) = &self.0 else { return Ok(()) };
        let is_due = {
            let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
            reported.done = done.clamp(0.0, 1.0);
            reported.next_at.is_none_or(|next| Instant::now() >= next)
        };
        if !is_due {
            return Ok(());
        }
        let began = Instant::now();
        let found = so_far()?;
        let pause = REPORTED_EVERY.max(began.elapsed().saturating_mul(WORK_PER_REPORT));
        let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.so_far = Some(found);
        reported.next_at = Some(Instant::now() + pause);
        Ok(())
    }

    /// Returns the latest report.
    pub fn latest(&self) -> BacktestProgress {
        let reported = self.0.as_ref().map(|reported| reported.lock().unwrap_or_else(PoisonError::into_inner).clone());
        reported.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_backtest(judged: u64) -> Result<BacktestResult, ()> {
        Ok(BacktestResult { judged, ..BacktestResult::default() })
    }

    #[test]
    fn first_report_has_what_was_found_and_the_next_ones_only_how_much_is_done() {
        let progress = Progress::with_reader();
        progress.report(0.25, || sample_backtest(3)).unwrap();
        progress.report(0.5, || -> Result<_, ()> { panic!("it is not due") }).unwrap();
        let latest = progress.latest();
        assert_eq!((latest.done, latest.so_far.unwrap().judged), (0.5, 3));
    }

    #[test]
    fn nothing_is_found_out_for_nobody() {
        let progress = Progress::without_reader();
        progress.report(0.5, || -> Result<_, ()> { panic!("nobody reads it") }).unwrap();
        assert!(progress.latest().so_far.is_none());
    }
}

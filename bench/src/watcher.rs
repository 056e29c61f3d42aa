//! The observer of a running measurement, which receives lines and progress bars. Callers define how these
//! look.

use std::time::{Duration, Instant};

/// How often a time-based bar advances.
const STEP: Duration = Duration::from_millis(500);

/// An observer of the progress of a measurement.
pub trait Watcher {
    /// Reports a line.
    fn report(&self, line: &str);

    /// Starts a bar, which is shown until it is dropped.
    fn bar(&self, what: &str, length: Length) -> Box<dyn Bar>;
}

/// The progress of work, drawn as a bar.
pub trait Bar {
    /// Returns true if the bar is visible.
    fn is_drawn(&self) -> bool;

    /// Draws the progress so far.
    fn at(&self, done: u64);
}

/// The end of a bar.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// A number of records.
    Records(u64),
    /// A number of seconds.
    Seconds(u64),
}

/// Advances a bar by the clock for this many seconds, alongside work that does not report its progress.
pub(crate) async fn beside<T>(bar: &dyn Bar, seconds: u64, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let mut steps = tokio::time::interval(STEP);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = steps.tick() => bar.at(begin.elapsed().as_secs().min(seconds)),
        }
    }
}

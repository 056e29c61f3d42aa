//! Whoever measures, while it goes on: told of it in lines and bars. How these look is the caller's.

use std::time::{Duration, Instant};

/// How often a bar that goes by time moves on.
const STEP: Duration = Duration::from_millis(500);

/// Who is told how far a measurement is.
pub trait Watcher {
    /// Tells a line.
    fn tell(&self, line: &str);

    /// Begins a bar, which is there until it is dropped.
    fn bar(&self, what: &str, length: Length) -> Box<dyn Bar>;
}

/// How far work is, drawn as a bar.
pub trait Bar {
    /// Returns whether somebody sees it.
    fn is_drawn(&self) -> bool;

    /// Draws it so far.
    fn at(&self, done: u64);
}

/// Where a bar ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// At so many records.
    Records(u64),
    /// At so many seconds.
    Seconds(u64),
}

/// Has a bar of so many seconds go by the clock beside work that does not say how far it is.
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

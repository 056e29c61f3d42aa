//! Detects a world that hangs: if a part of a node wakes itself in a loop, no simulated time passes, and no
//! limit of the world ends it.
//!
//! This is the only code here that uses real time; nothing in a world sees it.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long a world may take, about a thousand times as long as most take. A world of 150,000 records took 283 s on a
/// busy machine (seed 93272904).
pub const PATIENCE: Duration = Duration::from_secs(1_200);

/// Runs `work`. If it has not ended after `patience`, calls `give_up` on another thread, which can only end
/// the process.
pub fn run_watched<T>(patience: Duration, work: impl FnOnce() -> T, give_up: impl FnOnce() + Send) -> T {
    let (done, is_done) = sync_channel::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(patience) {
                give_up();
            }
        });
        let made = work();
        drop(done);
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_work_is_given_up() {
        let (given_up, is_given_up) = sync_channel(1);
        let heard = run_watched(Duration::from_millis(1), || is_given_up.recv(), move || given_up.send(7).unwrap());
        assert_eq!(heard, Ok(7));
    }

    #[test]
    fn work_that_ends_in_time_is_not_given_up() {
        let (given_up, is_given_up) = sync_channel::<()>(1);
        assert_eq!(run_watched(PATIENCE, || 7, move || given_up.send(()).unwrap()), 7);
        assert!(is_given_up.recv().is_err());
    }
}

//! A clock that a test moves itself, for code that waits for sockets.

use std::pin::pin;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far the clock moves at once.
const STEP: Duration = Duration::from_millis(100);
/// How long the machine has to react to a step. If that is too short, more steps follow before something happens.
const REACTION: Duration = Duration::from_millis(1);

/// The clock of Tokio. Only the test moves it, however slow the machine is. A paused clock alone would also move while data is
/// on its way between two sockets.
pub(crate) struct HeldClock {
    _hold: SyncSender<()>,
}

impl HeldClock {
    /// Holds the clock. After a minute it moves again by itself, so that other limits end a test that waits in vain.
    pub(crate) fn new() -> Self {
        tokio::time::pause();
        let (hold, held) = sync_channel(0);
        // A paused clock does not move by itself while blocking work is in progress.
        tokio::task::spawn_blocking(move || held.recv_timeout(PATIENCE));
        Self { _hold: hold }
    }

    /// Lets this time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            Self::step().await;
        }
    }

    /// Lets time pass until something has happened.
    pub(crate) async fn pass_until<T>(&self, happens: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let mut happens = pin!(happens);
        loop {
            tokio::select! {
                biased;
                happened = &mut happens => return happened,
                () = Self::step() => assert!(begin.elapsed() < PATIENCE, "it does not happen"),
            }
        }
    }

    async fn step() {
        tokio::task::spawn_blocking(|| std::thread::sleep(REACTION)).await.unwrap();
        tokio::time::advance(STEP).await;
    }
}

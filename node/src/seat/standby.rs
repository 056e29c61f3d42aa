//! A node that waits for its log because another node leads it, and the person or supervisor who watches it wait.

use std::sync::atomic::{AtomicBool, Ordering};

use ensue_postgres::{Waiting, WaitsFor};
use tokio::sync::watch;

/// What a node says while it waits for its log, and whether it should go on; shared by the thread that waits and the
/// one that hears signals.
#[derive(Debug)]
pub struct Standby {
    waits_for: watch::Sender<Option<String>>,
    has_given_up: AtomicBool,
    has_ended_the_wait: AtomicBool,
}

impl Default for Standby {
    fn default() -> Self {
        Self { waits_for: watch::Sender::new(None), has_given_up: AtomicBool::new(false), has_ended_the_wait: AtomicBool::new(false) }
    }
}

impl Standby {
    /// Returns one that does not wait: if another node leads the log, the start fails.
    pub fn impatient() -> Self {
        let standby = Self::default();
        standby.give_up();
        standby
    }

    /// Ends the wait. A node that does not wait continues.
    pub fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Relaxed);
    }

    /// Returns true if the wait was ended.
    pub fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// Returns true if the node ended without its log because its wait was ended.
    pub fn has_ended_the_wait(&self) -> bool {
        self.has_ended_the_wait.load(Ordering::Relaxed)
    }

    /// Returns a receiver of what the node waits for; `None` while it does not wait.
    pub fn waits_for(&self) -> watch::Receiver<Option<String>> {
        self.waits_for.subscribe()
    }

    /// Notes what the node waits for. Returns whether it continues to wait.
    pub(crate) fn wait(&self, waits_for: WaitsFor<'_>) -> Waiting {
        let text = match waits_for {
            WaitsFor::Leader(name) => format!("another node leads the log: {name}"),
            // Anybody may read it, so it does not have the error, which names the server.
            WaitsFor::Database(error) => {
                tracing::warn!(%error, "the node waits for its database");
                "the database cannot be used".to_owned()
            }
        };
        self.waits_for.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&*text);
            *known = Some(text);
            is_new
        });
        if self.has_given_up() {
            self.has_ended_the_wait.store(true, Ordering::Relaxed);
            return Waiting::GiveUp;
        }
        Waiting::GoOn
    }

    /// Notes that the node has its log.
    pub(crate) fn has_begun(&self) {
        self.waits_for.send_if_modified(|known| known.take().is_some());
    }
}

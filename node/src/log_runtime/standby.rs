//! A node that waits for its log because another node leads it, and the person or supervisor who watches it wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ensue_postgres::{LEASE, WaitDecision, WaitsFor};
use tokio::sync::watch;

/// How much longer than a lease a command waits for its end.
const LEASE_GRACE: Duration = Duration::from_secs(2);

/// What a node says while it waits for its log, and whether it should go on; shared by the thread that waits and the
/// one that hears signals.
#[derive(Debug)]
pub struct Standby {
    waits_for: watch::Sender<Option<String>>,
    has_given_up: AtomicBool,
    has_ended_the_wait: AtomicBool,
    knows_its_database: AtomicBool,
    waits_until: Option<Instant>,
}

impl Default for Standby {
    fn default() -> Self {
        Self {
            waits_for: watch::Sender::new(None),
            has_given_up: AtomicBool::new(false),
            has_ended_the_wait: AtomicBool::new(false),
            knows_its_database: AtomicBool::new(false),
            waits_until: None,
        }
    }
}

impl Standby {
    /// Returns one that does not wait: if another node leads the log, the start fails.
    pub fn impatient() -> Self {
        let standby = Self::default();
        standby.give_up();
        standby
    }

    /// Returns one that waits until the lease of a node that was killed is over.
    pub fn brief() -> Self {
        Self { waits_until: Some(Instant::now() + LEASE + LEASE_GRACE), ..Self::default() }
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

    /// Returns true once the database has answered. One that never did may have a wrong address.
    pub fn knows_its_database(&self) -> bool {
        self.knows_its_database.load(Ordering::Relaxed)
    }

    /// Notes that the database has answered.
    pub(crate) fn has_found_its_database(&self) {
        self.knows_its_database.store(true, Ordering::Relaxed);
    }

    /// Notes what the node waits for. Returns whether it continues to wait.
    pub(crate) fn wait(&self, waits_for: WaitsFor<'_>) -> WaitDecision {
        match waits_for {
            WaitsFor::Leader(name) => self.wait_until_over(format!("another node leads the log: {name}")),
            WaitsFor::Database(error) => self.wait_for_database(error),
        }
    }

    /// Notes that the node waits for the end of its own lease, which an earlier start in this process could not release.
    pub(crate) fn wait_for_own_lease(&self) -> WaitDecision {
        self.wait_until_over("the lease of this node's earlier run is not over yet".to_owned())
    }

    /// Notes that the node waits for its database. Returns whether it continues to wait.
    pub(crate) fn wait_for_database(&self, error: &dyn std::error::Error) -> WaitDecision {
        tracing::warn!(%error, "the node waits for its database");
        // Anybody may read it, so it does not have the error, which names the server.
        self.wait_until_over("the database cannot be used".to_owned())
    }

    fn wait_until_over(&self, text: String) -> WaitDecision {
        self.waits_for.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&*text);
            *known = Some(text);
            is_new
        });
        if self.has_given_up() || self.waits_until.is_some_and(|until| Instant::now() >= until) {
            self.has_ended_the_wait.store(true, Ordering::Relaxed);
            return WaitDecision::GiveUp;
        }
        WaitDecision::GoOn
    }

    /// Notes that the node has its log.
    pub(crate) fn has_begun(&self) {
        self.waits_for.send_if_modified(|known| known.take().is_some());
    }
}

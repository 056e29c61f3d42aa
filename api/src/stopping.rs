//! The signal that the node is stopping: sent once, and received by everything that waits or lasts.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the node is stopping. Clones share the signal.
#[derive(Clone)]
pub(crate) struct Stopping(Arc<watch::Sender<bool>>);

impl Stopping {
    /// Creates the signal of a node that is not stopping.
    pub(crate) fn not_yet() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Announces that the node is stopping: it is not ready, and long-lasting requests end.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Returns true once the node is stopping.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the node is stopping.
    pub(crate) async fn wait(&self) {
        // The sender is part of `self`, so it cannot be dropped while anybody waits here.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
    }
}

//! Whether the node stops: said once, and heard by all that waits or lasts.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the node stops. A clone tells of the same.
#[derive(Clone)]
pub(crate) struct Stopping(Arc<watch::Sender<bool>>);

impl Stopping {
    /// Returns one of a node that does not stop yet.
    pub(crate) fn not_yet() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Says from now on that the node stops: it is not ready, and nothing that lasts goes on.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Returns true once the node stops.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the node stops.
    pub(crate) async fn begun(&self) {
        // The sender lives in `self`: while anybody can wait here, it cannot be gone.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
    }
}

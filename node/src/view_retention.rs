//! Removes old rows from the views: in rounds between two batches of records, on the thread that folds them, so
//! that no round runs during a fold and the sequencer never waits.
//!
//! `ensue-views` decides which rows are removed. A round that a kill interrupts has no effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue_views::ViewError;
use ensue_views::view_retention::{RetainedViews, Round, ViewRetention, Walk};

/// The least rest after a round.
const ROUND_REST: Duration = Duration::from_millis(50);
/// How many times as long as a round took the rest after it is.
const RESTS_PER_ROUND: u32 = 4;
/// The rest once everything old has been removed.
const WALK_REST: Duration = Duration::from_secs(5);

/// The walks over old rows.
pub(crate) struct RetentionJob {
    retention: ViewRetention,
    walk: Walk,
    due: Instant,
    /// When a record was last folded, or the node started.
    newest: Instant,
    executions: Arc<AtomicU64>,
}

impl RetentionJob {
    /// Creates walks with the operator's limits; nothing was removed yet.
    pub(crate) fn new(retention: ViewRetention) -> Self {
        Self { retention, walk: Walk::default(), due: Instant::now(), newest: Instant::now(), executions: Arc::default() }
    }

    /// Returns the number of executions removed since the start, for callers that must not wait for a query of
    /// the store.
    pub(crate) fn executions(&self) -> Arc<AtomicU64> {
        self.executions.clone()
    }

    /// Notes that records were folded: the quiet time begins again.
    pub(crate) fn note_records(&mut self) {
        self.newest = Instant::now();
    }

    /// Runs a round if one is due.
    pub(crate) fn step<V: RetainedViews + ?Sized>(&mut self, views: &mut V) -> Result<(), ViewError> {
        let begun = Instant::now();
        if self.retention.executions.is_none() || begun < self.due {
            return Ok(());
        }
        // A round that panics is not repeated at once.
        self.due = begun + WALK_REST;
        let before = views.removal_counts().executions;
        let round = self.walk.round(views, self.retention, begun.duration_since(self.newest));
        let took = begun.elapsed();
        let rest = match round {
            Ok(Round::More) => (took * RESTS_PER_ROUND).max(ROUND_REST),
            Ok(Round::Over) | Err(_) => WALK_REST,
        };
        self.due = Instant::now() + rest;
        let executions = views.removal_counts().executions.saturating_sub(before);
        self.executions.fetch_add(executions, Ordering::Relaxed);
        if executions > 0 {
            tracing::debug!(executions, ?took, "old executions were removed from the read models");
        }
        round.map(|_| ())
    }

    /// Starts over, because the views were replaced.
    pub(crate) fn restart(&mut self) {
        self.walk = Walk::default();
    }
}

/// Removes everything old at once, from views that nobody uses yet.
pub(crate) fn take_all_out<V: RetainedViews + ?Sized>(views: &mut V, retention: ViewRetention) -> Result<(), ViewError> {
    // An execution that was rerun may be removed only after the rerun was: one walk later.
    loop {
        let before = views.removal_counts().rows;
        let mut walk = Walk::default();
        while walk.round(views, retention, Duration::ZERO)? == Round::More {}
        if views.removal_counts().rows == before {
            return Ok(());
        }
    }
}

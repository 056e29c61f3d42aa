//! When what is old leaves the views: in rounds between two batches of records, on the thread that folds them, so that nothing of it runs beside
//! a fold and the sequencer never waits.
//!
//! What goes is said by `ensue-views`. A round that a kill interrupts is as if it had not been.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue_views::ViewError;
use ensue_views::retention::{RetainedViews, Round, ViewRetention, Walk};

/// How long is rested after a round at the least.
const ROUND_REST: Duration = Duration::from_millis(50);
/// How much longer than a round took is rested after it.
const RESTS_PER_ROUND: u32 = 4;
/// How long is rested once all that may go has gone.
const WALK_REST: Duration = Duration::from_secs(5);

/// The walks over what is old.
pub(crate) struct Leaving {
    retention: ViewRetention,
    walk: Walk,
    due: Instant,
    /// When a record was folded last, or the node started.
    newest: Instant,
    executions: Arc<AtomicU64>,
}

impl Leaving {
    /// Walks as the operator says; nothing was taken out yet.
    pub(crate) fn new(retention: ViewRetention) -> Self {
        Self { retention, walk: Walk::default(), due: Instant::now(), newest: Instant::now(), executions: Arc::default() }
    }

    /// Gives how many executions were taken out since the start, for who is not to wait for a look into the store.
    pub(crate) fn executions(&self) -> Arc<AtomicU64> {
        self.executions.clone()
    }

    /// Notes that records were folded: from now on nothing is recorded until the next.
    pub(crate) fn note_records(&mut self) {
        self.newest = Instant::now();
    }

    /// Takes a round, where it is time for one.
    pub(crate) fn step<V: RetainedViews + ?Sized>(&mut self, views: &mut V) -> Result<(), ViewError> {
        let begun = Instant::now();
        if self.retention.executions.is_none() || begun < self.due {
            return Ok(());
        }
        // A round that ends in a panic is not begun again at once.
        self.due = begun + WALK_REST;
        let before = views.removed().executions;
        let round = self.walk.round(views, self.retention, begun.duration_since(self.newest));
        let took = begun.elapsed();
        let rest = match round {
            Ok(Round::More) => (took * RESTS_PER_ROUND).max(ROUND_REST),
            Ok(Round::Over) | Err(_) => WALK_REST,
        };
        self.due = Instant::now() + rest;
        let executions = views.removed().executions.saturating_sub(before);
        self.executions.fetch_add(executions, Ordering::Relaxed);
        if executions > 0 {
            tracing::debug!(executions, ?took, "old executions were removed from the read models");
        }
        round.map(|_| ())
    }

    /// Begins anew: others took the place of the views.
    pub(crate) fn begin_anew(&mut self) {
        self.walk = Walk::default();
    }
}

/// Takes all out at once that may go, of views that nobody uses yet.
pub(crate) fn take_all_out<V: RetainedViews + ?Sized>(views: &mut V, retention: ViewRetention) -> Result<(), ViewError> {
    // What was run again may go only once the rerun has gone: a walk later.
    loop {
        let before = views.removed().rows;
        let mut walk = Walk::default();
        while walk.round(views, retention, Duration::ZERO)? == Round::More {}
        if views.removed().rows == before {
            return Ok(());
        }
    }
}

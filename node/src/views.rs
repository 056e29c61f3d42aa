//! The follower that keeps the read models up to date, removes old rows, and has damaged read models rebuilt
//! next to the live ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue_api::RecentChanges;
use ensue_engine::record::{Position, Record};
use ensue_views::changed_rows::ChangedRows;
use ensue_views::onlooker::{Nobody, Onlooker};
use ensue_views::{Projector, ViewError, ViewRetention};
use tokio::sync::watch;

use crate::backend::Views;
use crate::followers::Follow;
use crate::jobs::Jobs;
use crate::log_access::LogReaders;
use crate::view_retention::RetentionJob;
use crate::whole_fold::{Rebuilt, WholeFold};

/// How long damaged read models are left alone after a rebuild was started.
const MEND_EVERY: Duration = Duration::from_secs(10);

/// Keeps a view store up to date with the log, reports its position to readers, and has it rebuilt if it is
/// damaged.
pub struct ViewFollower {
    store: Box<dyn Views>,
    projector: Projector,
    reached: watch::Sender<Position>,
    passed_over: Arc<AtomicU64>,
    rebuilt: Rebuilt,
    onlooker: Box<dyn Onlooker>,
    log: Arc<LogReaders>,
    jobs: Option<Arc<Jobs>>,
    leaving: RetentionJob,
    mended: Option<Instant>,
    /// Where callers learn which rows changed.
    told: Arc<RecentChanges>,
}

impl ViewFollower {
    /// Creates a follower of a store, from its position on.
    pub fn new(store: Box<dyn Views>, reached: watch::Sender<Position>, rebuilt: Rebuilt, log: Arc<LogReaders>) -> Self {
        reached.send_replace(store.position());
        let passed_over = Arc::new(AtomicU64::new(store.passed_over()));
        Self {
            store,
            projector: Projector::new(),
            reached,
            passed_over,
            rebuilt,
            onlooker: Box::new(Nobody),
            log,
            jobs: None,
            leaving: RetentionJob::new(ViewRetention::default()),
            mended: None,
            told: RecentChanges::after(Position(0)),
        }
    }

    /// Notes there which rows each batch changed; without it, nobody learns of it.
    #[must_use]
    pub fn with_changes(self, told: Arc<RecentChanges>) -> Self {
        Self { told, ..self }
    }

    /// Returns the number of records that the views skipped, for callers that must not wait for a query of the
    /// store.
    pub(crate) fn passed_over(&self) -> Arc<AtomicU64> {
        self.passed_over.clone()
    }

    /// Returns the number of executions removed since the start.
    pub(crate) fn removed_executions(&self) -> Arc<AtomicU64> {
        self.leaving.executions()
    }

    /// Removes old rows by these limits; without it, everything stays.
    #[must_use]
    pub(crate) fn keeping(self, retention: ViewRetention) -> Self {
        Self { leaving: RetentionJob::new(retention), ..self }
    }

    /// Has damaged views rebuilt by these jobs; without it, damage is only reported.
    #[must_use]
    pub(crate) fn mended_by(self, jobs: Arc<Jobs>) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// Sets an observer of each fold; without it there is none.
    #[must_use]
    pub fn under(self, onlooker: Box<dyn Onlooker>) -> Self {
        Self { onlooker, ..self }
    }

    fn mend(&mut self, why: &str) {
        let Some(jobs) = &self.jobs else { return };
        if self.mended.is_some_and(|mended| mended.elapsed() < MEND_EVERY) {
            return;
        }
        self.mended = Some(Instant::now());
        tracing::warn!(%why, "the read models are damaged and are rebuilt from the log");
        if let Err(error) = jobs.rebuild_views() {
            tracing::error!(%error, "the rebuild of the read models cannot be started");
        }
    }

    fn adopt(&mut self, mut views: Box<dyn Views>) -> Result<Position, String> {
        WholeFold { log: &self.log, onlooker: &mut *self.onlooker }.fold_into(&mut *views, self.store.position(), &mut |_| {})?;
        self.store.adopt(views).map_err(|error| error.to_string())?;
        self.projector = Projector::new();
        self.leaving.restart();
        self.passed_over.store(self.store.passed_over(), Ordering::Relaxed);
        Ok(self.store.position())
    }
}

impl Follow for ViewFollower {
    fn position(&self) -> Position {
        self.store.position()
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        let position = match self.projector.advance_telling(&mut *self.store, records, &mut *self.onlooker, &mut |after, changes| {
            self.told.note(ChangedRows::of(after, changes));
        }) {
            Ok(position) => position,
            Err(error @ (ViewError::Damaged { .. } | ViewError::NotWhole(_) | ViewError::Misfit { .. } | ViewError::Gap { .. })) => {
                self.mend(&error.to_string());
                return Err(error.to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        self.passed_over.store(self.store.passed_over(), Ordering::Relaxed);
        self.reached.send_replace(position);
        self.leaving.note_records();
        Ok(())
    }

    fn between(&mut self) {
        if self.store.is_damaged() {
            self.mend("the data that was read is not what was written");
        }
        if let Some(handover) = self.rebuilt.take() {
            let adopted = self.adopt(handover.views);
            (handover.tell)(adopted);
        }
        match self.leaving.step(&mut *self.store) {
            Ok(()) => {}
            Err(ViewError::Store(error)) => {
                tracing::warn!(%error, "old executions could not be removed from the read models; the node tries again")
            }
            Err(error) => self.mend(&error.to_string()),
        }
    }

    fn release_caches(&mut self) {
        self.projector = Projector::new();
        self.store.release_caches();
    }

    fn after_panic(&mut self) {
        // The store holds only whole batches; only what it caches may be partial.
        self.projector = Projector::new();
        self.store.forget_what_is_at_hand();
    }
}

//! The follower that keeps the read models up with the log, takes out of them what is old, and building them anew beside the live ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ensue_api::ports::{JobKind, LogAccess};
use ensue_engine::ids::LogId;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Position, Record};
use ensue_store::sqlite::Place;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::onlooker::{Nobody, Onlooker};
use ensue_views::{Projector, ViewError, ViewRetention, ViewStore};
use tokio::sync::watch;

use crate::followers::Follow;
use crate::jobs::Jobs;
use crate::log_access::LogReaders;
use crate::retention::Leaving;

/// How long the read models are left as they are after they were begun to be made anew because of damage.
const MEND_EVERY: Duration = Duration::from_secs(10);

/// Keeps a view store up with the log, tells readers how far it is, and has it made anew where it is damaged.
pub struct ViewFollower {
    store: SqliteViews,
    projector: Projector,
    reached: watch::Sender<Position>,
    passed_over: Arc<AtomicU64>,
    rebuilt: Rebuilt,
    onlooker: Box<dyn Onlooker>,
    log: Arc<LogReaders>,
    jobs: Option<Arc<Jobs>>,
    leaving: Leaving,
    mended: Option<Instant>,
}

/// Where views that were built anew wait for the follower to put them in the place of the live ones.
#[derive(Clone, Default)]
pub struct Rebuilt(Arc<Mutex<Option<Handover>>>);

/// Views that were built anew, and who is told how their adoption went.
struct Handover {
    views: SqliteViews,
    tell: Box<dyn FnOnce(Result<Position, String>) + Send>,
}

impl Rebuilt {
    /// Hands views over; `tell` is called once they are live, or cannot be.
    pub fn hand_over(&self, views: SqliteViews, tell: Box<dyn FnOnce(Result<Position, String>) + Send>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handover { views, tell });
    }

    fn take(&self) -> Option<Handover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ViewFollower {
    /// Takes a store where it stands.
    pub fn new(store: SqliteViews, reached: watch::Sender<Position>, rebuilt: Rebuilt, log: Arc<LogReaders>) -> Self {
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
            leaving: Leaving::new(ViewRetention::default()),
            mended: None,
        }
    }

    /// Gives how many records the views passed over, for who is not to wait for a look into the store.
    pub(crate) fn passed_over(&self) -> Arc<AtomicU64> {
        self.passed_over.clone()
    }

    /// Gives how many executions were taken out since the start.
    pub(crate) fn removed_executions(&self) -> Arc<AtomicU64> {
        self.leaving.executions()
    }

    /// Has what is old taken out; else all stays.
    #[must_use]
    pub(crate) fn keeping(self, retention: ViewRetention) -> Self {
        Self { leaving: Leaving::new(retention), ..self }
    }

    /// Has damaged views made anew by these jobs; else damage is only told.
    #[must_use]
    pub(crate) fn mended_by(self, jobs: Arc<Jobs>) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// Has somebody look on at each fold; else nobody does.
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
        tracing::warn!(%why, "the read models are damaged; they are made anew from the log");
        if let Err(error) = jobs.begin(JobKind::ViewsRebuild, None) {
            tracing::error!(%error, "making the read models anew cannot be begun");
        }
    }

    fn adopt(&mut self, mut views: SqliteViews) -> Result<Position, String> {
        WholeFold { log: &self.log, onlooker: &mut *self.onlooker }.fold_into(&mut views, self.store.position(), &mut |_| {})?;
        self.store.adopt(views).map_err(|error| error.to_string())?;
        self.projector = Projector::new();
        self.leaving.begin_anew();
        self.passed_over.store(self.store.passed_over(), Ordering::Relaxed);
        Ok(self.store.position())
    }
}

/// Folds the log from its beginning into views at `beside`, telling of each step; they are put in the place of the live ones by
/// [`Rebuilt::hand_over`].
pub fn rebuild(beside: &Place, id: LogId, log: &LogReaders, step: &mut dyn FnMut(Position)) -> Result<SqliteViews, String> {
    WholeFold { log, onlooker: &mut Nobody }.beside(beside, id, step)
}

/// A fold of the log from its beginning into views: what is folded, and who looks on.
pub(crate) struct WholeFold<'f> {
    /// The log.
    pub(crate) log: &'f LogReaders,
    /// Who looks on at each fold.
    pub(crate) onlooker: &'f mut dyn Onlooker,
}

impl WholeFold<'_> {
    /// Folds into new views at `beside`, as far as the log goes now, telling of each step.
    pub(crate) fn beside(self, beside: &Place, id: LogId, step: &mut dyn FnMut(Position)) -> Result<SqliteViews, String> {
        let mut views = SqliteViews::open_at(beside, id).map_err(|error| error.to_string())?;
        views.clear().map_err(|error| error.to_string())?;
        let head = self.log.head().map_err(|error| error.to_string())?;
        self.fold_into(&mut views, head.position, step)?;
        Ok(views)
    }

    /// Folds into views until they have come as far as `until`, telling of each step.
    fn fold_into(self, views: &mut SqliteViews, until: Position, step: &mut dyn FnMut(Position)) -> Result<(), String> {
        let Self { log, onlooker } = self;
        let mut projector = Projector::new();
        while views.position() < until {
            let records = log.read(views.position(), ReadLimit::default()).map_err(|error| error.to_string())?;
            if records.is_empty() {
                return Err(format!("the log ends at position {}, the views stand at {until}", views.position()));
            }
            projector.advance_under(views, &records, &mut *onlooker).map_err(|error| error.to_string())?;
            step(views.position());
        }
        Ok(())
    }
}

impl Follow for ViewFollower {
    fn position(&self) -> Position {
        self.store.position()
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        let position = match self.projector.advance_under(&mut self.store, records, &mut *self.onlooker) {
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
            self.mend("what was read is not what was written");
        }
        if let Some(handover) = self.rebuilt.take() {
            let adopted = self.adopt(handover.views);
            (handover.tell)(adopted);
        }
        match self.leaving.step(&mut self.store) {
            Ok(()) => {}
            Err(ViewError::Store(error)) => {
                tracing::warn!(%error, "what is old could not be taken out of the read models; it is tried again")
            }
            Err(error) => self.mend(&error.to_string()),
        }
    }

    fn after_panic(&mut self) {
        // What is kept is of whole batches; only what is at hand beside it may not be.
        self.projector = Projector::new();
        self.store.forget_what_is_at_hand();
    }
}

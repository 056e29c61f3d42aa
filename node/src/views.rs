//! The follower that keeps the read models up with the log, and building them anew beside the live ones.

use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::ports::LogAccess;
use ensue_engine::ids::LogId;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Position, Record};
use ensue_store::sqlite::Place;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::{Projector, ViewStore};
use tokio::sync::watch;

use crate::followers::Follow;
use crate::log_access::LogReaders;

/// Keeps a view store up with the log, and tells readers how far it is.
pub struct ViewFollower {
    store: SqliteViews,
    projector: Projector,
    reached: watch::Sender<Position>,
    rebuilt: Rebuilt,
    log: Arc<LogReaders>,
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
        Self { store, projector: Projector::new(), reached, rebuilt, log }
    }

    fn adopt(&mut self, mut views: SqliteViews) -> Result<Position, String> {
        build(&mut views, &self.log, self.store.position(), &mut |_| {})?;
        self.store.adopt(views).map_err(|error| error.to_string())?;
        self.projector = Projector::new();
        Ok(self.store.position())
    }
}

/// Folds the log from its beginning into views at `beside`, telling of each step; they are put in the place of the live ones by
/// [`Rebuilt::hand_over`].
pub fn rebuild(beside: &Place, id: LogId, log: &LogReaders, step: &mut dyn FnMut(Position)) -> Result<SqliteViews, String> {
    let mut views = SqliteViews::open_at(beside, id).map_err(|error| error.to_string())?;
    views.clear().map_err(|error| error.to_string())?;
    let head = log.head().map_err(|error| error.to_string())?;
    build(&mut views, log, head.position, step)?;
    Ok(views)
}

/// Folds the log into views until they have come as far as `until`, telling of each step.
pub(crate) fn build(views: &mut SqliteViews, log: &LogReaders, until: Position, step: &mut dyn FnMut(Position)) -> Result<(), String> {
    let mut projector = Projector::new();
    while views.position() < until {
        let records = log.read(views.position(), ReadLimit::default()).map_err(|error| error.to_string())?;
        if records.is_empty() {
            return Err(format!("the log ends at position {}, the views stand at {until}", views.position()));
        }
        projector.advance(views, &records).map_err(|error| error.to_string())?;
        step(views.position());
    }
    Ok(())
}

impl Follow for ViewFollower {
    fn position(&self) -> Position {
        self.store.position()
    }

    fn follow(&mut self, records: &[Record]) -> Result<(), String> {
        let position = self.projector.advance(&mut self.store, records).map_err(|error| error.to_string())?;
        self.reached.send_replace(position);
        Ok(())
    }

    fn between(&mut self) {
        if let Some(handover) = self.rebuilt.take() {
            let adopted = self.adopt(handover.views);
            (handover.tell)(adopted);
        }
    }
}

//! Rebuilds the read models from the whole log, next to the live ones, and hands them over.

use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::ports::LogAccess;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::Position;
use ensue_views::Projector;
use ensue_views::onlooker::{Nobody, Onlooker};

use crate::backend::{OpenBeside, Views};
use crate::log_access::LogReaders;

/// Where rebuilt views wait for the follower, which replaces the live ones with them.
#[derive(Clone, Default)]
pub struct Rebuilt(Arc<Mutex<Option<Handover>>>);

/// Rebuilt views, and the callback for the result of their adoption.
pub(crate) struct Handover {
    /// The views.
    pub(crate) views: Box<dyn Views>,
    /// Called once the views are live, or cannot be.
    pub(crate) tell: Box<dyn FnOnce(Result<Position, String>) + Send>,
}

impl Rebuilt {
    /// Hands views over; `tell` is called once they are live, or cannot be.
    pub fn hand_over(&self, views: Box<dyn Views>, tell: Box<dyn FnOnce(Result<Position, String>) + Send>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handover { views, tell });
    }

    /// Takes the waiting views.
    pub(crate) fn take(&self) -> Option<Handover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Folds the log from its beginning into views that `beside` opens, and reports each step;
/// [`Rebuilt::hand_over`] makes them replace the live ones.
pub fn rebuild(beside: &OpenBeside, log: &LogReaders, step: &mut dyn FnMut(Position)) -> Result<Box<dyn Views>, String> {
    WholeFold { log, onlooker: &mut Nobody }.beside(beside, step)
}

/// A fold of the log from its beginning into views: the log, and the observer of the fold.
pub(crate) struct WholeFold<'f> {
    /// The log.
    pub(crate) log: &'f LogReaders,
    /// The observer of each fold.
    pub(crate) onlooker: &'f mut dyn Onlooker,
}

impl WholeFold<'_> {
    /// Folds into new views that `beside` opens, up to the log's current end, and reports each step.
    pub(crate) fn beside(self, beside: &OpenBeside, step: &mut dyn FnMut(Position)) -> Result<Box<dyn Views>, String> {
        let mut views = beside().map_err(|error| error.to_string())?;
        views.clear().map_err(|error| error.to_string())?;
        let head = self.log.head().map_err(|error| error.to_string())?;
        self.fold_into(&mut *views, head.position, step)?;
        Ok(views)
    }

    /// Folds into views until they have reached `until`, and reports each step.
    pub(crate) fn fold_into(self, views: &mut dyn Views, until: Position, step: &mut dyn FnMut(Position)) -> Result<(), String> {
        let Self { log, onlooker } = self;
        let mut projector = Projector::new();
        while views.position() < until {
            let records = log.read(views.position(), ReadLimit::default()).map_err(|error| error.to_string())?;
            if records.is_empty() {
                return Err(format!("the log ends at position {}, but the views are at {until}", views.position()));
            }
            projector.advance_under(views, &records, &mut *onlooker).map_err(|error| error.to_string())?;
            step(views.position());
        }
        Ok(())
    }
}

//! What a node folds while it waits for its log, so that it serves soon after it leads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ensue_engine::ids::LogId;
use ensue_engine::ports::{LogReader, ReadLimit};
use ensue_store::checkpoints::Checkpoints;
use ensue_store::state_folder::{Durability, OutsideHead};
use ensue_views::Projector;

use super::open::{FoldedState, from_checkpoint};
use crate::backend::{Backend, Views};
use crate::start_error::StartError;

/// How long it rests when the log has nothing new.
const REST: Duration = Duration::from_millis(100);

/// How long it rests after an error.
const REST_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How often it notes the newest confirmed head outside the data directory.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// The state and the read models of a node that waits, folded from what its leader wrote for certain.
pub(crate) struct Warm<'w> {
    backend: &'w dyn Backend,
    log: LogId,
    checkpoints: &'w Checkpoints,
    reader: Option<Box<dyn LogReader>>,
    folded: Option<FoldedState>,
    views: WarmViews,
    rests_until: Option<Instant>,
    outside: &'w mut OutsideHead,
    noted_at: Option<Instant>,
}

/// The read models of a node that waits.
enum WarmViews {
    Unopened,
    Open(Box<dyn Views>, Box<Projector>),
    /// They could not be folded. The node does what is necessary once it leads.
    LeftAlone,
}

/// Whether a step found something to fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoldProgress {
    Folded,
    Nothing,
}

impl<'w> Warm<'w> {
    /// Begins; nothing is read yet.
    pub(crate) fn new(backend: &'w dyn Backend, log: LogId, checkpoints: &'w Checkpoints, outside: &'w mut OutsideHead) -> Self {
        let views = WarmViews::Unopened;
        Self { backend, log, checkpoints, reader: None, folded: None, views, rests_until: None, outside, noted_at: None }
    }

    /// Folds the next records, if there are any. An error does not end the wait: the same check runs again once the node
    /// leads.
    pub(crate) fn step(&mut self) {
        let now = Instant::now();
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        let rest = match catch_unwind(AssertUnwindSafe(|| self.try_to_step())) {
            Ok(Ok(FoldProgress::Folded)) => None,
            Ok(Ok(FoldProgress::Nothing)) => Some(REST),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the waiting node cannot fold the log; it tries again");
                self.reader = None;
                Some(REST_AFTER_ERROR)
            }
            Err(_) => {
                tracing::error!("folding stopped at an internal error; the waiting node begins again");
                (self.reader, self.folded) = (None, None);
                Some(REST_AFTER_ERROR)
            }
        };
        self.rests_until = rest.map(|rest| now + rest);
        if self.noted_at.is_none_or(|at| now >= at + NOTE_EVERY) {
            self.noted_at = Some(now);
            self.note_head();
        }
    }

    /// Notes the newest head that is folded outside the data directory, so that this node also notices after its own restart
    /// if the database lacks it.
    fn note_head(&mut self) {
        let Some(at) = self.folded.as_ref().map(|folded| folded.at) else { return };
        let noted = self.outside.read().and_then(|known| match known {
            // A leader on the same machine may write to the same file.
            Some(known) if known.position >= at.position => Ok(()),
            Some(_) | None => self.outside.write(at, Durability::Written),
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the head of the log cannot be saved outside the data directory");
        }
    }

    /// Returns the state and the read models; `None` for what was not folded.
    pub(crate) fn into_parts(self) -> (Option<FoldedState>, Option<Box<dyn Views>>) {
        let views = match self.views {
            WarmViews::Open(views, _) => Some(views),
            WarmViews::Unopened | WarmViews::LeftAlone => None,
        };
        (self.folded, views)
    }

    fn try_to_step(&mut self) -> Result<FoldProgress, StartError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => match self.backend.open_confirmed(self.log)? {
                Some(reader) => reader,
                None => return Ok(FoldProgress::Nothing),
            },
        };
        let folded = match &mut self.folded {
            Some(folded) => folded,
            None => self.folded.insert(from_checkpoint(self.log, &*reader, self.checkpoints)?),
        };
        let records = reader.read(folded.at.position, ReadLimit::default())?;
        let mut step = if records.is_empty() { FoldProgress::Nothing } else { FoldProgress::Folded };
        folded.fold_in(&records)?;
        if self.fold_views(&*reader) == FoldProgress::Folded {
            step = FoldProgress::Folded;
        }
        self.reader = Some(reader);
        Ok(step)
    }

    fn fold_views(&mut self, reader: &dyn LogReader) -> FoldProgress {
        let folded = catch_unwind(AssertUnwindSafe(|| self.try_to_fold_views(reader)));
        let why = match folded {
            Ok(Ok(step)) => return step,
            Ok(Err(error)) => error,
            Err(_) => "an internal error".to_owned(),
        };
        tracing::warn!(error = %why, "the waiting node leaves its read models as they are");
        self.views = WarmViews::LeftAlone;
        FoldProgress::Nothing
    }

    fn try_to_fold_views(&mut self, reader: &dyn LogReader) -> Result<FoldProgress, String> {
        if matches!(self.views, WarmViews::Unopened) {
            let views = self.backend.views(self.log).map_err(|error| error.to_string())?;
            self.views = WarmViews::Open(views, Box::new(Projector::new()));
        }
        let WarmViews::Open(views, projector) = &mut self.views else { return Ok(FoldProgress::Nothing) };
        let records = reader.read(views.position(), ReadLimit::default()).map_err(|error| error.to_string())?;
        if records.is_empty() {
            return Ok(FoldProgress::Nothing);
        }
        projector.advance(&mut **views, &records).map_err(|error| error.to_string())?;
        Ok(FoldProgress::Folded)
    }
}

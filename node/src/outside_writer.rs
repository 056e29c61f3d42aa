//! The head that is kept outside the data directory: written after each commit and flushed once a second and at
//! the stop, so that a truncated log is detected.

use std::sync::{Arc, Mutex, PoisonError};

use ensue_engine::record::Head;
use ensue_store::state_folder::{Durability, OutsideHead};

/// Writes the head; a clone writes the same file.
#[derive(Clone)]
pub struct OutsideWriter(Arc<Mutex<State>>);

struct State {
    file: OutsideHead,
    last: Option<Head>,
    flushed: Option<Head>,
}

impl OutsideWriter {
    /// Writes to an opened file.
    pub fn new(file: OutsideHead) -> Self {
        Self(Arc::new(Mutex::new(State { file, last: None, flushed: None })))
    }

    /// Notes the head after a commit.
    pub fn note(&self, head: Head) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Some(head);
        // The log has the records; without this note a truncation would only be detected by heads known
        // elsewhere.
        if let Err(error) = state.file.write(head, Durability::Written) {
            tracing::warn!(%error, "the head of the log cannot be saved outside the data directory");
        }
    }

    /// Makes sure that the newest head survives a power cut.
    pub fn flush(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(head) = state.last else { return };
        if state.flushed == Some(head) {
            return;
        }
        match state.file.write(head, Durability::Synced) {
            Ok(()) => state.flushed = Some(head),
            Err(error) => tracing::warn!(%error, "the head of the log cannot be flushed outside the data directory"),
        }
    }

    /// Returns the newest head that was noted since the start.
    pub(crate) fn last(&self) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last
    }
}

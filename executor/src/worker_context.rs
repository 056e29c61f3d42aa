//! What all attempts of a worker share: the node's ports, the settings, the reporter, and the state of the
//! worker's stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::ids::AttemptId;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::ports::ExecutorPorts;
use crate::programs::AtEnd;
use crate::report::Reporter;
use crate::settings::{AtStop, ExecutorSettings};

/// What all attempts of a worker share.
pub(crate) struct WorkerContext {
    pub(crate) ports: ExecutorPorts,
    pub(crate) settings: ExecutorSettings,
    pub(crate) reporter: Arc<Reporter>,
    /// The places for long answers: many requests wait at once, but few long answers are in memory.
    pub(crate) long_answers: Arc<Semaphore>,
    is_draining: watch::Sender<bool>,
    left_running: Mutex<Vec<AttemptId>>,
}

impl WorkerContext {
    /// Shares the ports and settings of a worker whose reports are sent from `runtime`.
    pub(crate) fn new(ports: ExecutorPorts, settings: ExecutorSettings, runtime: Handle) -> Self {
        let reporter = Reporter::new(Arc::clone(&ports.submit), Arc::clone(&ports.clock), runtime, settings.worker.clone());
        Self {
            ports,
            reporter: Arc::new(reporter),
            long_answers: Arc::new(Semaphore::new(settings.long_answers_max.max(1))),
            settings,
            is_draining: watch::Sender::new(false),
            left_running: Mutex::default(),
        }
    }

    /// Notes that the worker stops.
    pub(crate) fn drain(&self) {
        self.is_draining.send_replace(true);
    }

    /// Returns true if the worker is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        *self.is_draining.borrow()
    }

    /// Returns what happens to programs when the worker stops.
    pub(crate) fn at_stop(&self) -> AtEnd {
        match self.settings.at_stop {
            AtStop::GoOn => self.ports.programs.at_end(),
            AtStop::End => AtEnd::Ended,
        }
    }

    /// Records that an attempt's program was left to the next node.
    pub(crate) fn note_left_running(&self, attempt: AttemptId) {
        self.left_running().push(attempt);
    }

    /// Returns the attempts whose programs were left to the next node.
    pub(crate) fn left_running(&self) -> MutexGuard<'_, Vec<AttemptId>> {
        self.left_running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the worker stops.
    pub(crate) async fn draining(&self) {
        // The sender is in `self`, so it cannot be gone.
        let _ = self.is_draining.subscribe().wait_for(|is_draining| *is_draining).await;
    }
}

//! Measures how long programs take to start, as a wrapper around the component that runs them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ensue_api::metrics::Distribution;
use ensue_engine::ids::AttemptId;
use ensue_executor::programs::{AtEnd, AttemptRemains, FindError, Isolation, Order, Pending, Program, Programs, StartProgramError};

/// Programs with measured start times.
pub(crate) struct TimedPrograms {
    /// The component that runs them.
    programs: Arc<dyn Programs>,
    /// How long each program took to start, without those that could not be started.
    spawned: Distribution,
    reserved: Mutex<BTreeMap<AttemptId, Duration>>,
}

impl TimedPrograms {
    /// Measures programs.
    pub(crate) fn new(programs: Arc<dyn Programs>, spawned: Distribution) -> Self {
        Self { programs, spawned, reserved: Mutex::default() }
    }

    /// Returns how long each program that was not started yet has waited for what is to hold it.
    fn reserve_times(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Duration>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Programs for TimedPrograms {
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError> {
        self.programs.find(program, beside, path)
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.programs.directory(attempt)
    }

    fn reserve(&self, order: &Order) -> Pending<'_, Result<(), StartProgramError>> {
        let begin = Instant::now();
        let (reserving, attempt) = (self.programs.reserve(order), order.attempt);
        Box::pin(async move {
            reserving.await?;
            self.reserve_times().insert(attempt, begin.elapsed());
            Ok(())
        })
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let begin = Instant::now();
        let reserved = self.reserve_times().remove(&order.attempt).unwrap_or_default();
        let starting = self.programs.start(order);
        Box::pin(async move {
            let program = starting.await?;
            self.spawned.took(reserved + begin.elapsed());
            Ok(program)
        })
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        self.programs.find_left()
    }

    fn forget(&self, attempt: AttemptId) {
        self.reserve_times().remove(&attempt);
        self.programs.forget(attempt);
    }

    fn at_end(&self) -> AtEnd {
        self.programs.at_end()
    }

    fn isolation(&self) -> &Isolation {
        self.programs.isolation()
    }
}

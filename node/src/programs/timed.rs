//! Measures how long programs take to start, as a wrapper around the component that runs them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ensue_api::metrics::Distribution;
use ensue_engine::ids::AttemptId;
use ensue_executor::programs::{AtEnd, FindError, Isolation, Left, Order, Pending, Program, Programs, StartProgramError};

/// Programs with measured start times.
pub(crate) struct TimedPrograms {
    /// The component that runs them.
    pub(crate) programs: Arc<dyn Programs>,
    /// How long each program took to start, without those that could not be started.
    pub(crate) spawned: Distribution,
}

impl Programs for TimedPrograms {
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError> {
        self.programs.find(program, beside, path)
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.programs.directory(attempt)
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let begin = Instant::now();
        let starting = self.programs.start(order);
        Box::pin(async move {
            let program = starting.await?;
            self.spawned.took(begin.elapsed());
            Ok(program)
        })
    }

    fn left(&self) -> Pending<'_, Vec<Left>> {
        self.programs.left()
    }

    fn collected(&self, attempt: AttemptId) {
        self.programs.collected(attempt);
    }

    fn at_end(&self) -> AtEnd {
        self.programs.at_end()
    }

    fn isolation(&self) -> &Isolation {
        self.programs.isolation()
    }
}

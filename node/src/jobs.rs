//! The background jobs: verifying the log, rebuilding the read models, and rotating the master key.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::ports::{Job, JobKind, JobState, OnBehalf};
use ensue_engine::record::{Head, Position};
use ensue_store::verify::verify;
use ensue_views::ViewRetention;

use crate::backend::{OpenBeside, Views};
use crate::clock::SteppedClock;
use crate::fold_guard::AllLeftOut;
use crate::log_access::LogReaders;
use crate::master_key::MasterKeyRotation;
use crate::view_retention::take_all_out;
use crate::whole_fold::{Rebuilt, WholeFold};

/// The live read models, as far as rebuilding them needs them.
pub(crate) struct LiveViews {
    /// Opens new read models next to the live ones.
    pub(crate) beside: OpenBeside,
    /// Where rebuilt read models are handed over.
    pub(crate) rebuilt: Rebuilt,
    /// What the read models leave out.
    pub(crate) left_out: AllLeftOut,
    /// How long ended executions and other old rows stay in them.
    pub(crate) retention: ViewRetention,
}

/// The newest job of each kind.
pub(crate) struct Jobs {
    readers: Arc<LogReaders>,
    clock: Arc<dyn SteppedClock>,
    live: LiveViews,
    newest: Mutex<BTreeMap<JobKind, Job>>,
}

impl Jobs {
    /// Creates the registry of jobs; no job is started.
    pub(crate) fn new(readers: Arc<LogReaders>, clock: Arc<dyn SteppedClock>, live: LiveViews) -> Arc<Self> {
        Arc::new(Self { readers, clock, live, newest: Mutex::default() })
    }

    /// Returns the newest job of a kind.
    pub(crate) fn job(&self, kind: JobKind) -> Option<Job> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
    }

    /// Starts to verify the log, or returns the job that does. `seen` is the head as last seen outside the data
    /// directory.
    pub(crate) fn verify(self: &Arc<Self>, seen: Option<Head>) -> std::io::Result<Job> {
        self.begin(JobKind::LogVerify, move |jobs| jobs.run_verify(seen))
    }

    /// Starts to rebuild the read models, or returns the job that does.
    pub(crate) fn rebuild_views(self: &Arc<Self>) -> std::io::Result<Job> {
        self.begin(JobKind::ViewsRebuild, Self::run_rebuild)
    }

    /// Starts to rotate the master key, or returns the job that does.
    pub(crate) fn rotate_master_key(self: &Arc<Self>, rotation: MasterKeyRotation, by: OnBehalf) -> std::io::Result<Job> {
        self.begin(JobKind::MasterKeyRotate, move |jobs| jobs.note_end(JobKind::MasterKeyRotate, rotation.run(&by)))
    }

    fn begin(self: &Arc<Self>, kind: JobKind, work: impl FnOnce(&Arc<Self>) + Send + 'static) -> std::io::Result<Job> {
        self.begin_in(std::thread::Builder::new().name(name_of(kind).to_owned()), kind, work)
    }

    fn begin_in(
        self: &Arc<Self>,
        thread: std::thread::Builder,
        kind: JobKind,
        work: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> std::io::Result<Job> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = newest.get(&kind).filter(|job| job.state == JobState::Running) {
            return Ok(job.clone());
        }
        let job = Job { kind, began_at: self.clock.now(), position: Position(0), state: JobState::Running };
        let jobs = self.clone();
        // The thread reports nothing before the job is noted: reporting takes the lock.
        thread.spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| work(&jobs)));
            // Otherwise the job would count as running forever, and no other could start.
            if run.is_err() {
                jobs.note_end(kind, Err("the job stopped at an internal error; see the node's own log".to_owned()));
            }
        })?;
        newest.insert(kind, job.clone());
        Ok(job)
    }

    fn run_verify(&self, seen: Option<Head>) {
        let verified = self.readers.verify_log(seen, &mut |position| self.note_progress(JobKind::LogVerify, position));
        self.note_end(JobKind::LogVerify, verified.map(|head| head.position));
    }

    fn run_rebuild(self: &Arc<Self>) {
        match self.rebuild() {
            Ok(views) => {
                let jobs = self.clone();
                self.live.rebuilt.hand_over(views, Box::new(move |adopted| jobs.note_end(JobKind::ViewsRebuild, adopted)));
            }
            Err(why) => self.note_end(JobKind::ViewsRebuild, Err(why)),
        }
    }

    fn rebuild(&self) -> Result<Box<dyn Views>, String> {
        let mut left_out = self.live.left_out.clone();
        let step = &mut |position| self.note_progress(JobKind::ViewsRebuild, position);
        let mut views = WholeFold { log: &self.readers, onlooker: &mut left_out }.beside(&self.live.beside, step)?;
        // Rows that were already removed must not come back, not even for a moment.
        take_all_out(&mut *views, self.live.retention).map_err(|error| error.to_string())?;
        if views.removal_counts().rows > 0 {
            views.shrink().map_err(|error| error.to_string())?;
        }
        Ok(views)
    }

    fn note_progress(&self, kind: JobKind, position: Position) {
        if let Some(job) = self.newest.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&kind) {
            job.position = position;
        }
    }

    fn note_end(&self, kind: JobKind, outcome: Result<Position, String>) {
        let ended_at = self.clock.now();
        if let Some(job) = self.newest.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&kind) {
            job.state = match outcome {
                Ok(position) => {
                    job.position = position;
                    JobState::Succeeded { ended_at }
                }
                Err(why) => JobState::Failed { ended_at, why },
            };
        }
    }
}

fn name_of(kind: JobKind) -> &'static str {
    match kind {
        JobKind::LogVerify => "log-verify",
        JobKind::ViewsRebuild => "views-rebuild",
        JobKind::MasterKeyRotate => "rotate-master",
    }
}

impl LogReaders {
    /// Walks the log from its beginning. Returns its head, or where and how the log differs from what was
    /// written.
    pub(crate) fn verify_log(&self, seen: Option<Head>, step: &mut dyn FnMut(Position)) -> Result<Head, String> {
        let verified = self.with_reader(|reader| Ok(verify(reader, seen, step)));
        match verified {
            Ok(Ok(verified)) => Ok(verified.head),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::{Id, LogId};
    use ensue_engine::ports::Log as _;
    use ensue_engine::time::Timestamp;
    use ensue_store::memory::MemoryLog;

    use super::*;
    use crate::clock::SystemClock;

    /// More than a process can address.
    const NO_SUCH_STACK: usize = 1 << (usize::BITS - 8);

    #[test]
    fn failed_background_job_is_not_listed_as_running() {
        let id = LogId(Id::root(Timestamp::from_micros(1), 1));
        let log = MemoryLog::new(id);
        let readers = Arc::new(LogReaders::new(Box::new(move || log.reader())));
        let live = LiveViews {
            beside: Box::new(|| panic!("nothing is rebuilt")),
            rebuilt: Rebuilt::default(),
            left_out: AllLeftOut::default(),
            retention: ViewRetention::default(),
        };
        let jobs = Jobs::new(readers, Arc::new(SystemClock::default()), live);
        let thread = std::thread::Builder::new().stack_size(NO_SUCH_STACK);
        jobs.begin_in(thread, JobKind::LogVerify, |jobs| jobs.run_verify(None)).unwrap_err();
        assert_eq!(jobs.job(JobKind::LogVerify), None);
        assert_eq!(jobs.verify(None).unwrap().state, JobState::Running);
    }
}

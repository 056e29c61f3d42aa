//! The worker: takes attempts that the log has started, has them run, and sees to it that the log learns their end.
//!
//! It decides nothing: how many attempts run at once, which is tried again and what a loss means is the core's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Action, Pack, Run};
use ensue_engine::command::{Report, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_expression::Document;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::attempt::{Attempt, Broken, Cut, Ending, Given, LEAVING_GRACE_MAX, failed};
use crate::begun::Previous;
use crate::destinations::{Destinations, SystemNames};
use crate::egress::EgressPolicy;
use crate::lease::Lease;
use crate::ports::ExecutorPorts;
use crate::report::{Reporter, Told};
use crate::running::{Running, RunningAttempt, Signal};
use crate::{child, runners, sandbox};

/// What the operator, or the node for him, sets.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// The worker's name, as the log writes it.
    pub worker: String,
    /// How long its right to an attempt lasts without being renewed.
    pub lease: Duration,
    /// The folder for the private directories of attempts; what is in it is removed at the start.
    pub private_dir: PathBuf,
    /// The operator's `PATH`: where programs are looked up, and what they are given.
    pub path: OsString,
    /// Where requests may go.
    pub egress: EgressPolicy,
    /// How long an HTTP exchange may take.
    pub http_timeout: Duration,
    /// How long output is read on after a program has ended, where something outside its group holds its pipes.
    pub drain_patience: Duration,
}

impl ExecutorSettings {
    /// Sets what has a default: a lease of 30 s, public addresses only, 60 s for an HTTP exchange.
    pub fn new(private_dir: impl Into<PathBuf>, path: impl Into<OsString>) -> Self {
        Self {
            worker: "local".to_owned(),
            lease: Duration::from_secs(30),
            private_dir: private_dir.into(),
            path: path.into(),
            egress: EgressPolicy::default(),
            http_timeout: runners::HTTP_TIMEOUT,
            drain_patience: child::DRAIN_PATIENCE,
        }
    }
}

/// Why the worker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder for private directories cannot be used.
    #[error("cannot use {} for the private directories of attempts: {source}", path.display())]
    PrivateDirectories {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What could not be ended and told before a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Attempts that still ran when the patience was over. They were ended and not reported: the next start finds them open,
    /// and those that had begun are lost.
    pub ended: Vec<AttemptId>,
}

/// The worker of one log; a clone is the same worker.
#[derive(Clone)]
pub struct Executor {
    worker: Arc<Worker>,
}

/// What all attempts of a worker share.
pub(crate) struct Worker {
    pub(crate) ports: ExecutorPorts,
    pub(crate) settings: ExecutorSettings,
    pub(crate) destinations: Destinations,
    running: Running,
    reporter: Arc<Reporter>,
    runtime: Handle,
    is_draining: AtomicBool,
    task_deserted: Notify,
}

impl Executor {
    /// Starts on the current tokio runtime, whose timers and I/O must be on. Blocks while old private directories are removed.
    pub fn start(ports: ExecutorPorts, mut settings: ExecutorSettings) -> Result<Self, StartError> {
        let unusable = |source| StartError::PrivateDirectories { path: settings.private_dir.clone(), source };
        // Programs work elsewhere: there a relative path would name something else.
        let private_dir = std::path::absolute(&settings.private_dir).map_err(unusable)?;
        sandbox::prepare(&private_dir).map_err(unusable)?;
        settings.private_dir = private_dir;
        let runtime = Handle::current();
        let clock = Arc::clone(&ports.clock);
        let reporter = Reporter::new(Arc::clone(&ports.submit), Arc::clone(&clock), runtime.clone(), settings.worker.clone());
        let destinations = Destinations::new(settings.egress.clone(), clock, Box::new(SystemNames));
        let worker = Arc::new(Worker {
            ports,
            settings,
            destinations,
            running: Running::default(),
            reporter: Arc::new(reporter),
            runtime,
            is_draining: AtomicBool::new(false),
            task_deserted: Notify::new(),
        });
        worker.runtime.spawn(watch_leases(Arc::downgrade(&worker)));
        Ok(Self { worker })
    }

    /// Takes over what the log owes at the start of a node: each attempt that was running is reported as lost, with the
    /// evidence of the `begun` file, and the log decides what becomes of it. Never blocks.
    pub fn take_over(&self, owed: impl IntoIterator<Item = Effect>, previous: &Previous) {
        for effect in owed {
            // What is to be stopped or released ended with its process; its loss says so.
            if let Effect::Dispatch(dispatch) = effect {
                let Dispatch { execution, attempt, trace, .. } = *dispatch;
                let evidence = previous.evidence(attempt);
                let worker = Arc::clone(&self.worker);
                self.worker.runtime.spawn(async move {
                    let told = worker.reporter.lose(execution, attempt, evidence, trace).await;
                    worker.forget(attempt, &told);
                });
            }
        }
    }

    /// Carries an effect out. Never blocks; what takes no time (an echo, a no-op of 0 seconds) is run and reported on the
    /// caller's thread.
    pub fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => self.worker.dispatch(*dispatch),
            Effect::Stop { execution, attempt } => self.worker.stop(execution, attempt),
            Effect::Release { attempt, .. } => {
                if let Some(running) = self.worker.running.get(attempt) {
                    running.tell(Signal::Release);
                }
            }
        }
    }

    /// Gives how many attempts run, those whose end is being told included.
    pub fn running(&self) -> usize {
        self.worker.running.count()
    }

    /// Stops: no attempt is taken any more, and those that run may end and be reported while `patience` lasts. What runs then
    /// is ended like a cancel, within 5 s at most, but not reported, because it did not end by itself: the next start finds it
    /// open, and lost where it had begun. Attempts handed over since the call began stay open too; they have not begun.
    pub async fn stop(&self, patience: Duration) -> Stopped {
        let worker = &self.worker;
        worker.is_draining.store(true, Ordering::Release);
        let clock = &worker.ports.clock;
        tokio::select! {
            () = worker.running.emptied() => return Stopped::default(),
            () = clock.until(clock.now().saturating_add(patience)) => {}
        }
        let left = worker.running.all();
        for running in &left {
            running.tell(Signal::Leave);
        }
        worker.reporter.leave();
        // SIGTERM and the grace, SIGKILL, the end of reading, and the reaping.
        let most = LEAVING_GRACE_MAX + child::KILLED_PATIENCE * 2 + worker.settings.drain_patience;
        tokio::select! {
            () = worker.running.emptied() => {}
            () = clock.until(clock.now() + most) => {
                tracing::warn!(attempts = worker.running.count(), "attempts that did not end are left behind");
            }
        }
        Stopped { ended: left.iter().map(|running| running.attempt).collect() }
    }
}

impl Worker {
    fn dispatch(self: &Arc<Self>, dispatch: Dispatch) {
        if self.is_draining.load(Ordering::Acquire) {
            tracing::debug!(attempt = %dispatch.attempt, "the worker stops and takes no attempt; the next start finds it");
            return;
        }
        if let Some(given) = self.given_at_once(&dispatch) {
            let report = report(&dispatch, ReportOutcome::Succeeded, given);
            self.reporter.report_at_once(report, dispatch.trace);
            return;
        }
        let lease = Lease::begin(self.ports.clock.now(), self.settings.lease);
        let running = RunningAttempt::new(dispatch.execution, dispatch.attempt, dispatch.trace.clone(), lease);
        match self.running.take_in(running) {
            Some(running) => {
                self.runtime.spawn(Arc::clone(self).carry(dispatch, running));
            }
            None => tracing::warn!(attempt = %dispatch.attempt, "the attempt runs already"),
        }
    }

    /// Runs what takes no time; none where the attempt must go the long way.
    fn given_at_once(&self, dispatch: &Dispatch) -> Option<Given> {
        let catalog = self.ports.catalogs.at(dispatch.catalog)?;
        let action = catalog.actions().get(&dispatch.action)?;
        match (&action.run, &action.result) {
            (Run::Builtin(builtin), None) => runners::at_once(*builtin, &self.ports.bodies.at_hand(&dispatch.params.digest)?),
            _ => None,
        }
    }

    fn stop(self: &Arc<Self>, execution: ExecutionId, attempt: AttemptId) {
        if let Some(running) = self.running.get(attempt) {
            running.tell(Signal::Stop);
            return;
        }
        if self.is_draining.load(Ordering::Acquire) {
            return;
        }
        // Its report is on its way, and then this changes nothing; or it never came here, and then nothing began here.
        let evidence = self.ports.begun.evidence(attempt);
        let worker = Arc::clone(self);
        self.runtime.spawn(async move {
            let told = worker.reporter.lose(execution, attempt, evidence, None).await;
            worker.forget(attempt, &told);
        });
    }

    /// Carries one attempt to its reported end, and renews its lease meanwhile.
    async fn carry(self: Arc<Self>, dispatch: Dispatch, running: Arc<RunningAttempt>) {
        let clock = Arc::clone(&self.ports.clock);
        let beat = Lease::beat(self.settings.lease);
        let task = Task { worker: &self, running: &running };
        let work = self.run_and_report(&dispatch, &running);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = &mut work => break,
                () = clock.until(clock.now() + beat) => running.lease.renew(clock.now()),
            }
        }
        task.end();
    }

    async fn run_and_report(&self, dispatch: &Dispatch, running: &RunningAttempt) {
        let ending = self.run(dispatch, running).await;
        let (outcome, given) = match ending {
            Ok(given) => (ReportOutcome::Succeeded, given),
            Err(Broken::Failed(failed)) => (ReportOutcome::Failed(failed.failure), Given { body: failed.body, emitted: Vec::new() }),
            Err(Broken::Cut(cut)) => match failure_of(cut, dispatch) {
                Some(failure) => (ReportOutcome::Failed(failure), Given::default()),
                None => {
                    if cut == Cut::Released {
                        self.ports.begun.forget(dispatch.attempt);
                    }
                    return;
                }
            },
        };
        let told = self.reporter.report(report(dispatch, outcome, given), dispatch.trace.clone()).await;
        self.forget(dispatch.attempt, &told);
    }

    async fn run(&self, dispatch: &Dispatch, running: &RunningAttempt) -> Ending {
        // An attempt comes here as soon as it is started, so its time counts from now, by a clock that does not jump.
        let ends_at = self.ports.clock.now().saturating_add(Duration::from_millis(dispatch.timeout_millis));
        let (action, pack) = self.definition(dispatch)?;
        let params = self.params(dispatch).await?;
        let attempt = Attempt { worker: self, dispatch, action, pack, params, ends_at, running };
        runners::run(&attempt).await
    }

    fn definition(&self, dispatch: &Dispatch) -> Result<(Arc<Action>, Option<Arc<Pack>>), Broken> {
        let missing = || {
            let message = format!("the action `{}` is not in the catalog of revision {}", dispatch.action, dispatch.catalog);
            failed(FailureKind::Sandbox, message)
        };
        let catalog = self.ports.catalogs.at(dispatch.catalog).ok_or_else(missing)?;
        let action = catalog.actions().get(&dispatch.action).cloned().ok_or_else(missing)?;
        let pack = catalog.packs().get(&dispatch.action.pack()).cloned();
        Ok((action, pack))
    }

    async fn params(&self, dispatch: &Dispatch) -> Result<Document, Broken> {
        let invalid = |why: String| failed(FailureKind::ParametersInvalid, format!("the parameters cannot be read: {why}"));
        let bytes: Bytes = match self.ports.bodies.at_hand(&dispatch.params.digest) {
            Some(bytes) => bytes,
            None => {
                let (bodies, handle) = (Arc::clone(&self.ports.bodies), dispatch.params);
                let read = tokio::task::spawn_blocking(move || bodies.read(&handle)).await;
                let read = read.map_err(|error| invalid(error.to_string()))?;
                read.map_err(|error| invalid(error.to_string()))?
            }
        };
        Document::parse(bytes).map_err(|error| invalid(error.to_string()))
    }

    async fn tell_loss(self: Arc<Self>, running: Arc<RunningAttempt>, evidence: Evidence) {
        let attempt = running.attempt;
        let told = self.reporter.lose(running.execution, attempt, evidence, running.trace.clone()).await;
        self.forget(attempt, &told);
        if running.is_deserted() {
            self.running.let_go(attempt);
        }
    }

    fn forget(&self, attempt: AttemptId, told: &Told) {
        match told {
            Told::Settled => self.ports.begun.forget(attempt),
            // The next start must find what it has begun.
            Told::Left => {}
        }
    }
}

fn report(dispatch: &Dispatch, outcome: ReportOutcome, given: Given) -> Report {
    Report {
        execution: dispatch.execution,
        attempt: dispatch.attempt,
        token: dispatch.token,
        outcome,
        body: given.body,
        emitted: given.emitted,
    }
}

/// Gives what is reported of an attempt that was cut off; none where nothing is to be reported.
fn failure_of(cut: Cut, dispatch: &Dispatch) -> Option<Failure> {
    match cut {
        Cut::TimedOut => {
            let seconds = Duration::from_millis(dispatch.timeout_millis).as_secs_f64();
            let message = format!("the attempt took longer than its timeout of {seconds} s");
            Some(Failure::new(FailureKind::Timeout, message))
        }
        Cut::Cancelled => Some(Failure::new(FailureKind::Cancelled, "the attempt was stopped by a cancel")),
        Cut::Released | Cut::Left => None,
    }
}

/// An attempt's task: dropped before it is over, by a panic or with its runtime, it leaves its attempt deserted.
struct Task<'w> {
    worker: &'w Worker,
    running: &'w RunningAttempt,
}

impl Task<'_> {
    fn end(self) {
        self.worker.running.let_go(self.running.attempt);
        std::mem::forget(self);
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.running.desert();
        self.worker.task_deserted.notify_one();
    }
}

/// Reports attempts whose lease has ended as lost, each once, for as long as the worker is there.
async fn watch_leases(worker: Weak<Worker>) {
    let mut due = Duration::ZERO;
    loop {
        let Some(worker) = worker.upgrade() else { return };
        let clock = Arc::clone(&worker.ports.clock);
        let beat = Lease::beat(worker.settings.lease);
        let now = clock.now();
        // Where the watcher itself comes late, the whole process stood still: its tasks get a beat to renew what they hold.
        let stood_still = due > Duration::ZERO && now > due + beat;
        for running in worker.running.all() {
            let is_lost = running.is_deserted() || (running.lease.has_ended(now) && !stood_still);
            if !is_lost {
                continue;
            }
            match running.give_up() {
                Some(evidence) => {
                    tracing::error!(attempt = %running.attempt, ?evidence, "the task of an attempt is gone or hangs");
                    worker.runtime.spawn(Arc::clone(&worker).tell_loss(running, evidence));
                }
                None if running.is_deserted() => worker.running.let_go(running.attempt),
                None => {}
            }
        }
        due = now + beat;
        tokio::select! {
            () = clock.until(due) => {}
            () = worker.task_deserted.notified() => {}
        }
    }
}

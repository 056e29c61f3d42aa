//! The worker: takes attempts that the log has started, runs them, and makes sure that the log learns how
//! they end.
//!
//! What it takes over from an earlier node is in `adoption.rs`, and what happens to an attempt whose task is
//! gone in `worker/watch.rs`. It decides nothing: the core decides how many attempts run at once, which are
//! retried, and what a loss means.

mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Action, Pack, Run};
use ensue_engine::command::{Ask, Command, Report, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::OutputStream;
use ensue_expression::Document;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::answer_links;
use crate::attempt::{AttemptContext, AttemptError, AttemptResult, Cut, Ending, GivenKeys, LEAVING_GRACE_MAX, attempt_failure};
use crate::lease::Lease;
use crate::ports::ExecutorPorts;
use crate::programs::{KILLED_PATIENCE, LeftProgram};
use crate::report::{Loss, SubmitOutcome};
use crate::runners;
use crate::running_attempts::{Running, RunningAttempt, Signal};
use crate::settings::ExecutorSettings;
use crate::worker_context::WorkerContext;
use watch::{AttemptTask, watch_leases};

/// The attempts that had not ended at a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedAttempts {
    /// Attempts whose programs continue without a node, or whose ends wait for the next node. The next start
    /// adopts them.
    pub left_running: Vec<AttemptId>,
    /// Attempts that were still running when the patience ran out. They were ended and not reported: the next
    /// start finds them open, and those that had begun are lost.
    pub ended: Vec<AttemptId>,
}

/// The worker of one log. A clone is the same worker.
#[derive(Clone)]
pub struct Executor {
    pub(crate) worker: Arc<Worker>,
}

/// The attempts of a worker, and what they share.
pub(crate) struct Worker {
    pub(crate) means: WorkerContext,
    pub(crate) running: Running,
    pub(crate) runtime: Handle,
    task_deserted: Notify,
}

impl Executor {
    /// Starts a worker on the current tokio runtime, which must have timers and I/O enabled.
    pub fn start(ports: ExecutorPorts, settings: ExecutorSettings) -> Self {
        let runtime = Handle::current();
        let means = WorkerContext::new(ports, settings, runtime.clone());
        let worker = Arc::new(Worker { means, running: Running::default(), runtime, task_deserted: Notify::new() });
        worker.runtime.spawn(watch_leases(Arc::downgrade(&worker)));
        Self { worker }
    }

    /// Carries out an effect. Never blocks. Actions that take no time (an echo, a no-op of 0 seconds) are run
    /// and reported on the caller's thread.
    pub fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => self.worker.dispatch(*dispatch),
            Effect::Stop { execution, attempt } => self.worker.stop(execution, attempt),
            Effect::Release { attempt, .. } => {
                if let Some(running) = self.worker.running.get(attempt) {
                    running.send_signal(Signal::Release);
                }
            }
            // The node runs sensors.
            Effect::RunSensor(_) | Effect::StopSensor { .. } => {}
        }
    }

    /// Returns the report of an attempt that takes no time, as [`carry_out`](Self::carry_out) would submit it. Returns
    /// none if the attempt needs a task, or the worker stops. It has no effect.
    pub fn at_once(&self, dispatch: &Dispatch, params: &Bytes) -> Option<Command> {
        let worker = &self.worker;
        if worker.means.is_draining() {
            return None;
        }
        let given = worker.given_at_once(dispatch, || Some(params.clone()))?;
        let report = report(dispatch, ReportOutcome::Succeeded, given);
        Some(worker.means.reporter.command(Ask::ReportAttempt(report), dispatch.trace.clone()))
    }

    /// Returns how many attempts are running, including those whose end is being reported.
    pub fn running(&self) -> usize {
        self.worker.running.count()
    }

    /// Stops the worker: it takes no more attempts. Programs that outlive the node are left running if the
    /// settings say so. Everything else may end and be reported during `patience`. What is still running then
    /// is ended as if cancelled, within 5 s at most, but not reported, because it did not end by itself: the
    /// next start finds it open, and lost if it had begun. Attempts that were passed in since the call stay
    /// open too; they have not begun.
    pub async fn stop(&self, patience: Duration) -> UnfinishedAttempts {
        let worker = &self.worker;
        worker.means.drain();
        let clock = &worker.means.ports.clock;
        tokio::select! {
            biased;
            () = worker.running.wait_until_empty() => return self.unfinished_attempts(Vec::new()),
            () = clock.until(clock.now().saturating_add(patience)) => {}
        }
        let left = worker.running.all();
        for running in &left {
            running.send_signal(Signal::Leave);
        }
        worker.means.reporter.leave();
        // SIGTERM and the grace, SIGKILL, and the end of reading.
        let most = LEAVING_GRACE_MAX + KILLED_PATIENCE * 3;
        tokio::select! {
            biased;
            () = worker.running.wait_until_empty() => {}
            () = clock.until(clock.now() + most) => {
                tracing::warn!(attempts = worker.running.count(), "attempts that did not end are left running");
            }
        }
        self.unfinished_attempts(left.iter().map(|running| running.attempt).collect())
    }

    fn unfinished_attempts(&self, ended: Vec<AttemptId>) -> UnfinishedAttempts {
        let left_running = self.worker.means.left_running().clone();
        let ended = ended.into_iter().filter(|attempt| !left_running.contains(attempt)).collect();
        UnfinishedAttempts { left_running, ended }
    }
}

impl Worker {
    fn dispatch(self: &Arc<Self>, dispatch: Dispatch) {
        if self.means.is_draining() {
            tracing::debug!(attempt = %dispatch.attempt, "the worker stops and takes no new attempt; the next start finds it");
            return;
        }
        if let Some(given) = self.given_at_once(&dispatch, || self.means.ports.bodies.at_hand(&dispatch.params.digest)) {
            let report = report(&dispatch, ReportOutcome::Succeeded, given);
            self.means.reporter.report_at_once(report, dispatch.trace);
            return;
        }
        let lease = Lease::begin(self.means.ports.clock.now(), self.means.settings.lease);
        let running = RunningAttempt::new(dispatch.execution, dispatch.attempt, dispatch.trace.clone(), lease);
        match self.running.take_in(running) {
            Some(running) => {
                self.runtime.spawn(Arc::clone(self).carry(dispatch, running, Begin::Fresh));
            }
            None => tracing::warn!(attempt = %dispatch.attempt, "the attempt is already running"),
        }
    }

    /// Runs an action that takes no time. Returns none if the attempt needs a task.
    fn given_at_once(&self, dispatch: &Dispatch, params: impl FnOnce() -> Option<Bytes>) -> Option<AttemptResult> {
        let catalog = self.means.ports.catalogs.at(dispatch.catalog)?;
        let action = catalog.actions().get(&dispatch.action)?;
        match (&action.run, &action.result) {
            (Run::Builtin(builtin), None) => runners::at_once(*builtin, &params()?),
            _ => None,
        }
    }

    fn stop(self: &Arc<Self>, execution: ExecutionId, attempt: AttemptId) {
        if let Some(running) = self.running.get(attempt) {
            running.send_signal(Signal::Stop);
            return;
        }
        if self.means.is_draining() {
            return;
        }
        // Its report is on its way, and then this changes nothing; or it never came here, and then nothing began here.
        let evidence = self.means.ports.begun.evidence(attempt);
        let worker = Arc::clone(self);
        let loss = Loss { execution, attempt, evidence, error: None, trace: None };
        self.runtime.spawn(async move { worker.lose(loss).await });
    }

    /// Runs one attempt until its end is reported, and renews its lease meanwhile.
    pub(crate) async fn carry(self: Arc<Self>, dispatch: Dispatch, running: Arc<RunningAttempt>, begin: Begin) {
        let clock = Arc::clone(&self.means.ports.clock);
        let beat = Lease::beat(self.means.settings.lease);
        let task = AttemptTask::begin(&self, &running);
        let work = self.run_and_report(&dispatch, &running, begin);
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

    async fn run_and_report(&self, dispatch: &Dispatch, running: &RunningAttempt, begin: Begin) {
        let ending = match begin {
            Begin::Fresh => self.run(dispatch, running).await,
            Begin::Adopted(left) => self.go_on(dispatch, running, left).await,
        };
        let mut retry_after = None;
        let (outcome, given) = match ending {
            Ok(given) => (ReportOutcome::Succeeded, given),
            Err(AttemptError::Failed(failed)) => {
                retry_after = failed.retry_after;
                (ReportOutcome::Failed(failed.failure), AttemptResult { body: failed.body, ..AttemptResult::default() })
            }
            Err(AttemptError::Cut(cut, how)) => match failure_of(cut, how.as_deref(), dispatch) {
                Some(failure) => (ReportOutcome::Failed(failure), AttemptResult::default()),
                None => return self.end_unreported(dispatch.attempt, cut),
            },
            Err(AttemptError::Lost(error)) => {
                if let Some(evidence) = running.give_up() {
                    let Dispatch { execution, attempt, ref trace, .. } = *dispatch;
                    self.lose(Loss { execution, attempt, evidence, error, trace: trace.clone() }).await;
                }
                return;
            }
        };
        let output_tail = match outcome {
            ReportOutcome::Failed(_) => self.output_tail(dispatch.attempt).await,
            ReportOutcome::Succeeded => None,
        };
        let retry_after_millis = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let ended_before = running.ended_before(self.means.ports.clock.now());
        let report = Report { retry_after_millis, output_tail, ended_before, ..report(dispatch, outcome, given) };
        let told = self.means.reporter.report(report, dispatch.trace.clone()).await;
        self.forget(dispatch.attempt, &told);
    }

    fn end_unreported(&self, attempt: AttemptId, cut: Cut) {
        match cut {
            Cut::Released => {
                self.means.ports.begun.forget(attempt);
                self.means.ports.programs.forget(attempt);
            }
            // That it had begun is for the next start to find.
            Cut::Left if !self.means.left_running().contains(&attempt) => self.means.ports.programs.forget(attempt),
            Cut::Left | Cut::TimedOut | Cut::Cancelled => {}
        }
    }

    async fn run(&self, dispatch: &Dispatch, running: &RunningAttempt) -> Ending {
        // An attempt arrives here as soon as it is started, so its time counts from now, by a clock that does
        // not jump.
        let ends_at = self.means.ports.clock.now().saturating_add(Duration::from_millis(dispatch.timeout_millis));
        let (action, pack) = self.definition(dispatch)?;
        let (mut params, keys) = (self.params(dispatch).await?, GivenKeys::with_node_secrets(&self.means.settings.masked));
        if let Some((filled, link)) = answer_links::filled_in(&self.means, dispatch, &action, &params).await {
            keys.note([(&*answer_links::LINK, &link.code)]);
            params = filled;
        }
        let attempt = AttemptContext { means: &self.means, dispatch, action, pack, params, ends_at, running, keys };
        runners::run(&attempt).await.map_err(|broken| attempt.mask(broken))
    }

    /// Continues a program that is already running.
    async fn go_on(&self, dispatch: &Dispatch, running: &RunningAttempt, left: LeftProgram) -> Ending {
        let ends_at = self.means.ports.clock.now().saturating_add(left.remaining);
        let (action, pack) = self.definition(dispatch)?;
        // They were rendered long ago, so it does no harm if they are gone.
        let params = self.params(dispatch).await.unwrap_or_else(|_| no_params());
        // What holds the program has masked what it printed.
        let keys = GivenKeys::with_node_secrets(&self.means.settings.masked);
        let attempt = AttemptContext { means: &self.means, dispatch, action, pack, params, ends_at, running, keys };
        runners::heard_to_its_end(&attempt, left.program).await
    }

    fn definition(&self, dispatch: &Dispatch) -> Result<(Arc<Action>, Option<Arc<Pack>>), AttemptError> {
        let missing = || {
            let message = format!("the action `{}` is not in the catalog of revision {}", dispatch.action, dispatch.catalog);
            attempt_failure(FailureKind::Sandbox, message)
        };
        let catalog = self.means.ports.catalogs.at(dispatch.catalog).ok_or_else(missing)?;
        let action = catalog.actions().get(&dispatch.action).cloned().ok_or_else(missing)?;
        let pack = catalog.packs().get(&dispatch.action.pack()).cloned();
        Ok((action, pack))
    }

    async fn params(&self, dispatch: &Dispatch) -> Result<Document, AttemptError> {
        let invalid = |why: String| attempt_failure(FailureKind::ParametersInvalid, format!("the parameters cannot be read: {why}"));
        let bytes: Bytes = match self.means.ports.bodies.at_hand(&dispatch.params.digest) {
            Some(bytes) => bytes,
            None => {
                let (bodies, handle) = (Arc::clone(&self.means.ports.bodies), dispatch.params);
                let read = self.means.settings.blocking.run(move || bodies.read(&handle)).await;
                let read = read.ok_or_else(|| invalid("reading them was interrupted".to_owned()))?;
                read.map_err(|error| invalid(error.to_string()))?
            }
        };
        Document::parse(bytes).map_err(|error| invalid(error.to_string()))
    }

    /// Reports that an attempt is lost. If the log accepts it, nothing more comes of the attempt here: its
    /// output ends, and its entry in the `begun` file is forgotten. If not, the next start may adopt its
    /// program, which continues to print.
    pub(crate) async fn lose(&self, loss: Loss) {
        let Loss { attempt, evidence, .. } = loss;
        let told = self.means.reporter.lose(loss).await;
        match told {
            SubmitOutcome::Settled => self.end_output(attempt, evidence).await,
            SubmitOutcome::Left => {}
        }
        self.forget(attempt, &told);
    }

    /// Returns the last lines that an attempt printed to standard error.
    async fn output_tail(&self, attempt: AttemptId) -> Option<String> {
        let outputs = Arc::clone(&self.means.ports.outputs);
        self.means.settings.blocking.run(move || outputs.tail(attempt)).await.flatten()
    }

    /// Ends the output of an attempt that nobody listens to any longer, so that it may be deleted in due
    /// time.
    async fn end_output(&self, attempt: AttemptId, evidence: Evidence) {
        let outputs = Arc::clone(&self.means.ports.outputs);
        let end = move || {
            let noted = match evidence {
                // Of an attempt of an earlier node, only this says that it printed nothing.
                Evidence::NotBegun => OutputStream::ALL.into_iter().try_for_each(|stream| outputs.note_printed(attempt, stream, 0)),
                Evidence::MayHaveBegun => Ok(()),
            };
            outputs.finish(attempt).and(noted)
        };
        if let Some(Err(error)) = self.means.settings.blocking.run(end).await {
            tracing::warn!(%attempt, %error, "the output of a lost attempt could not be ended");
        }
    }

    fn forget(&self, attempt: AttemptId, told: &SubmitOutcome) {
        match told {
            SubmitOutcome::Settled => {
                self.means.ports.begun.forget(attempt);
                self.means.ports.programs.forget(attempt);
            }
            // The next start must find that it has begun.
            SubmitOutcome::Left => {}
        }
    }
}

/// How an attempt reaches its task.
pub(crate) enum Begin {
    /// It was just started.
    Fresh,
    /// It began under an earlier node.
    Adopted(LeftProgram),
}

fn no_params() -> Document {
    Document::parse(Bytes::from_static(b"{}")).expect("an empty object is JSON")
}

fn report(dispatch: &Dispatch, outcome: ReportOutcome, given: AttemptResult) -> Report {
    Report {
        execution: dispatch.execution,
        attempt: dispatch.attempt,
        token: dispatch.token,
        outcome,
        retry_after_millis: None,
        output_tail: None,
        body: given.body,
        emitted: given.emitted,
        vars: given.vars,
        ended_before: None,
    }
}

/// Returns the failure to report for an attempt that was cut off, with how its program ended, or none if
/// nothing is to be reported.
fn failure_of(cut: Cut, how: Option<&str>, dispatch: &Dispatch) -> Option<Failure> {
    let how = how.map_or_else(String::new, |how| format!("; {how}"));
    match cut {
        Cut::TimedOut => {
            let seconds = Duration::from_millis(dispatch.timeout_millis).as_secs_f64();
            let message = format!("the attempt took longer than its timeout of {seconds} s{how}");
            Some(Failure::new(FailureKind::Timeout, message))
        }
        Cut::Cancelled => Some(Failure::new(FailureKind::Cancelled, format!("the attempt was stopped by a cancel{how}"))),
        Cut::Released | Cut::Left => None,
    }
}

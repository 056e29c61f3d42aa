//! The tasks that run attempts, and the one watcher of their leases, which reports that an attempt's task is
//! gone or hangs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ensue_engine::executions::facts::Evidence;

use super::Worker;
use crate::lease::Lease;
use crate::report::Loss;
use crate::running_attempts::RunningAttempt;

/// An attempt's task. If dropped before it is finished, by a panic or with its runtime, it leaves its attempt
/// deserted.
pub(super) struct AttemptTask<'w> {
    worker: &'w Worker,
    running: &'w RunningAttempt,
}

impl<'w> AttemptTask<'w> {
    /// Creates a task that runs an attempt.
    pub(super) fn begin(worker: &'w Worker, running: &'w RunningAttempt) -> Self {
        Self { worker, running }
    }

    /// Ends the task, because its attempt was reported.
    pub(super) fn end(self) {
        self.worker.running.let_go(self.running.attempt);
        std::mem::forget(self);
    }
}

impl Drop for AttemptTask<'_> {
    fn drop(&mut self) {
        self.running.desert();
        self.worker.task_deserted.notify_one();
    }
}

/// Reports attempts whose lease has ended as lost, each once, for as long as the worker exists.
pub(super) async fn watch_leases(worker: Weak<Worker>) {
    let mut due = Duration::ZERO;
    loop {
        let Some(worker) = worker.upgrade() else { return };
        let clock = Arc::clone(&worker.means.ports.clock);
        let beat = Lease::beat(worker.means.settings.lease);
        let now = clock.now();
        // If the watcher itself is late, the whole process was stopped: give its tasks one beat to renew
        // their leases.
        let stood_still = due > Duration::ZERO && now > due + beat;
        for running in worker.running.all() {
            let is_lost = running.is_deserted() || (running.lease.has_ended(now) && !stood_still);
            if !is_lost {
                continue;
            }
            match running.give_up() {
                Some(evidence) => {
                    tracing::error!(attempt = %running.attempt, ?evidence, "the task of an attempt has ended or hangs");
                    worker.runtime.spawn(Arc::clone(&worker).report_loss(running, evidence));
                }
                None if running.is_deserted() => worker.running.let_go(running.attempt),
                None => {}
            }
        }
        due = now + beat;
        tokio::select! {
            biased;
            () = clock.until(due) => {}
            () = worker.task_deserted.notified() => {}
        }
    }
}

impl Worker {
    /// Reports the loss of an attempt, to which its task may still come back.
    async fn report_loss(self: Arc<Self>, running: Arc<RunningAttempt>, evidence: Evidence) {
        let RunningAttempt { execution, attempt, ref trace, .. } = *running;
        self.lose(Loss { execution, attempt, evidence, error: None, trace: trace.clone() }).await;
        if running.is_deserted() {
            self.running.let_go(attempt);
        }
    }
}

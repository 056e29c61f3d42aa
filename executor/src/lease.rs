//! Leases: the right to an attempt, which its own task must renew, so that a task that hangs or panics is noticed.
//!
//! Renewing is no record; that a lease ended is, and the one watcher of a process's leases tells it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ensue_engine::executions::facts::Evidence;

use crate::report::Loss;
use crate::running::RunningAttempt;
use crate::worker::Worker;

/// A task's right to its attempt, for a while.
#[derive(Debug)]
pub(crate) struct Lease {
    period: Duration,
    ends_at_micros: AtomicU64,
}

impl Lease {
    /// Begins a lease.
    pub(crate) fn begin(now: Duration, period: Duration) -> Self {
        let lease = Self { period, ends_at_micros: AtomicU64::new(0) };
        lease.renew(now);
        lease
    }

    /// Lets it last a whole period from now on.
    pub(crate) fn renew(&self, now: Duration) {
        let ends_at = now.saturating_add(self.period);
        self.ends_at_micros.store(micros(ends_at), Ordering::Release);
    }

    /// Says whether it has ended.
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        micros(now) >= self.ends_at_micros.load(Ordering::Acquire)
    }

    /// Gives how often it is renewed, and looked at.
    pub(crate) fn beat(period: Duration) -> Duration {
        period / 3
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// An attempt's task: dropped before it is over, by a panic or with its runtime, it leaves its attempt deserted.
pub(crate) struct Task<'w> {
    worker: &'w Worker,
    running: &'w RunningAttempt,
}

impl<'w> Task<'w> {
    /// Begins one that carries an attempt.
    pub(crate) fn begin(worker: &'w Worker, running: &'w RunningAttempt) -> Self {
        Self { worker, running }
    }

    /// Ends it: its attempt was told of.
    pub(crate) fn end(self) {
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
pub(crate) async fn watch_leases(worker: Weak<Worker>) {
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
                    tracing::error!(attempt = %running.attempt, ?evidence, "the task of an attempt has ended or hangs");
                    worker.runtime.spawn(Arc::clone(&worker).tell_loss(running, evidence));
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
    /// Tells that an attempt is lost, which its task may still come back to.
    async fn tell_loss(self: Arc<Self>, running: Arc<RunningAttempt>, evidence: Evidence) {
        let RunningAttempt { execution, attempt, ref trace, .. } = *running;
        self.lose(Loss { execution, attempt, evidence, error: None, trace: trace.clone() }).await;
        if running.is_deserted() {
            self.running.let_go(attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn a_lease_lasts_a_period_from_its_last_renewal() {
        let lease = Lease::begin(Duration::from_secs(100), PERIOD);
        assert!(!lease.has_ended(Duration::from_secs(129)));
        assert!(lease.has_ended(Duration::from_secs(130)));
        lease.renew(Duration::from_secs(129));
        assert!(!lease.has_ended(Duration::from_secs(158)));
        assert!(lease.has_ended(Duration::from_secs(159)));
    }

    #[test]
    fn a_lease_outlives_two_missed_beats() {
        assert!(Lease::beat(PERIOD) * 2 < PERIOD);
    }
}

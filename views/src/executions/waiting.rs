//! What an execution waits for: a time, a lock or a slot of a worker.

use ensue_engine::executions::facts::{ExecutionRequested, Pace};
use ensue_engine::fact::TimerFact;
use ensue_engine::locks::facts::LockAwaited;
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::TimerKind;

use super::{AwaitedLock, Execution, Status};

/// Returns the status of an execution that was just requested.
pub(super) fn begin(requested: &ExecutionRequested) -> Status {
    if requested.start_at.is_some() || requested.wait_millis.is_some() { Status::Delayed } else { of(requested.pace) }
}

/// Returns the status of an execution that may continue.
fn of(pace: Pace) -> Status {
    match pace {
        Pace::Worked | Pace::AtOnce => Status::Queued,
        Pace::InSteps | Pace::Sleeps { .. } | Pace::Asks | Pace::Awaits { .. } => Status::Waiting,
    }
}

impl Execution {
    pub(super) fn await_lock(&mut self, fact: &LockAwaited, since: Timestamp) {
        self.status = Status::Queued;
        if self.pace == Pace::InSteps {
            // Its request did not say that it would wait.
            self.started_at = None;
        }
        self.awaits_lock = Some(AwaitedLock { lock: fact.lock.clone(), limit: fact.limit, behind: fact.behind.clone(), since });
    }

    pub(super) fn go_on_with_lock(&mut self) {
        self.status = of(self.pace);
        self.awaits_lock = None;
    }

    /// Notes since when it has been waiting for a slot, or that it no longer waits.
    pub(super) fn note_queue(&mut self, now: Timestamp) {
        let waits = self.status == Status::Queued && self.pace == Pace::Worked && self.awaits_lock.is_none();
        self.queued_at = waits.then(|| self.queued_at.unwrap_or(now));
    }

    /// Notes when the first steps of a workflow could begin: they are requested in the same commit.
    pub(super) fn note_steps(&mut self, now: Timestamp) {
        if self.pace == Pace::InSteps && self.status == Status::Waiting {
            self.started_at.get_or_insert(now);
        }
    }

    pub(super) fn note_timer(&mut self, fact: TimerFact<'_>) {
        match fact {
            TimerFact::TimerSet(fact) => match fact.kind {
                TimerKind::Retry | TimerKind::Start | TimerKind::Turn => {
                    self.status = Status::Delayed;
                    self.waits_until = Some(fact.due);
                }
                TimerKind::Sleep | TimerKind::Expiry => self.waits_until = Some(fact.due),
                TimerKind::Timeout => self.times_out_at = Some(fact.due),
                // These do not limit how long it waits.
                TimerKind::Reminder | TimerKind::Escalation
                // These do not belong to executions.
                | TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold => {}
            },
            TimerFact::TimerFired(fact) => match fact.kind {
                TimerKind::Retry | TimerKind::Start | TimerKind::Turn => {
                    self.status = of(self.pace);
                    self.waits_until = None;
                }
                TimerKind::Sleep | TimerKind::Expiry => self.waits_until = None,
                TimerKind::Timeout => {
                    self.times_out_at = None;
                    self.status = Status::Cancelling;
                }
                TimerKind::Reminder | TimerKind::Escalation | TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold => {}
            },
        }
    }
}

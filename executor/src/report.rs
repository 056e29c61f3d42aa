//! Reporting to the log: submits reports and losses to the sequencer, and retries while it cannot accept
//! them.
//!
//! Nothing is dropped silently. If the log refuses a report, it is submitted in another form. If something
//! can no longer be reported because the node stops, it is logged, and the next start finds the attempt open.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::command::{Answer, Ask, Command, Message, Refusal, Report, ReportOutcome};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::{CommitReceipt, Submit, SubmitError};
use ensue_engine::record::Actor;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;

/// The first pause before a retry.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// The longest pause before a retry.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Submits one worker's reports to the log.
pub(crate) struct Reporter {
    submit: Arc<dyn Submit>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    actor: Actor,
    is_leaving: watch::Sender<bool>,
}

/// The outcome of a submission.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubmitOutcome {
    /// The log has it, or no longer needs it.
    Settled,
    /// The node stops; the next start finds the attempt open.
    Left,
}

/// An attempt whose worker is gone, or whose program's state is unknown.
pub(crate) struct Loss {
    /// Its execution.
    pub(crate) execution: ExecutionId,
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// The evidence about whether it had begun.
    pub(crate) evidence: Evidence,
    /// Why it was given up, if more is known than that its worker is gone.
    pub(crate) error: Option<Failure>,
    /// The trace that it belongs to.
    pub(crate) trace: Option<String>,
}

/// The log's answer.
pub(crate) enum LogAnswer {
    /// It accepted it.
    Taken(Answer),
    /// It refused it.
    Refused(Refusal),
    /// No answer: the node stops.
    Left,
}

impl Reporter {
    /// Creates the reporter of the worker named `worker`.
    pub(crate) fn new(submit: Arc<dyn Submit>, clock: Arc<dyn Clock>, runtime: Handle, worker: String) -> Self {
        let actor = Actor::Worker(worker);
        let is_leaving = watch::Sender::new(false);
        Self { submit, clock, runtime, actor, is_leaving }
    }

    /// Gives up everything that is still being submitted.
    pub(crate) fn leave(&self) {
        self.is_leaving.send_replace(true);
    }

    /// Reports the end of an attempt at once, on the caller's thread. Continues in the background if the log
    /// is busy.
    pub(crate) fn report_at_once(self: &Arc<Self>, report: Report, trace: Option<String>) {
        let command = self.command(Ask::ReportAttempt(report.clone()), trace.clone());
        let again = Arc::clone(self);
        let reply = move |heard: Result<CommitReceipt, SubmitError>| {
            if heard.is_err() {
                let runtime = again.runtime.clone();
                runtime.spawn(async move { again.report(report, trace).await });
            }
        };
        self.submit.submit(command, Box::new(reply));
    }

    /// Reports the end of an attempt. A report that the log refuses to keep becomes a failure, and one that
    /// it cannot accept at all becomes a loss.
    pub(crate) async fn report(&self, report: Report, trace: Option<String>) -> SubmitOutcome {
        let (execution, attempt, token, ended_before) = (report.execution, report.attempt, report.token, report.ended_before);
        let refusal = match self.submit_until_answered(Ask::ReportAttempt(report), trace.clone()).await {
            LogAnswer::Taken(answer) => {
                if answer == Answer::ReportedLate {
                    tracing::info!(%attempt, "the attempt had already been given up when it was reported");
                }
                return SubmitOutcome::Settled;
            }
            LogAnswer::Left => return note_unreported(attempt),
            LogAnswer::Refused(refusal) => refusal,
        };
        if is_over(&refusal) {
            tracing::debug!(%attempt, %refusal, "the attempt had already ended when it was reported");
            return SubmitOutcome::Settled;
        }
        let Some(failure) = instead(&refusal) else {
            tracing::error!(%attempt, %refusal, "the report of an attempt was refused");
            return self.lose(Loss { execution, attempt, evidence: Evidence::MayHaveBegun, error: None, trace }).await;
        };
        let report = Report {
            execution,
            attempt,
            token,
            outcome: ReportOutcome::Failed(failure),
            retry_after_millis: None,
            output_tail: None,
            body: None,
            emitted: None,
            vars: Vec::new(),
            ended_before,
        };
        match self.submit_until_answered(Ask::ReportAttempt(report), trace.clone()).await {
            LogAnswer::Taken(_) => SubmitOutcome::Settled,
            LogAnswer::Left => note_unreported(attempt),
            LogAnswer::Refused(refusal) if is_over(&refusal) => SubmitOutcome::Settled,
            LogAnswer::Refused(refusal) => {
                tracing::error!(%attempt, %refusal, "the failure of an attempt was refused");
                self.lose(Loss { execution, attempt, evidence: Evidence::MayHaveBegun, error: None, trace }).await
            }
        }
    }

    /// Reports that the worker of an attempt is gone.
    pub(crate) async fn lose(&self, loss: Loss) -> SubmitOutcome {
        let Loss { execution, attempt, evidence, error, trace } = loss;
        let ask = Ask::LoseAttempt { execution, attempt, evidence, error };
        match self.submit_until_answered(ask, trace).await {
            LogAnswer::Taken(_) => SubmitOutcome::Settled,
            LogAnswer::Left => note_unreported(attempt),
            LogAnswer::Refused(refusal) => {
                tracing::error!(%attempt, %refusal, "the loss of an attempt was refused; it stays open until the next start");
                SubmitOutcome::Left
            }
        }
    }

    /// Submits a message of a running attempt.
    pub(crate) async fn say(&self, message: Message, trace: Option<String>) -> LogAnswer {
        self.submit_until_answered(Ask::TakeMessage(message), trace).await
    }

    async fn submit_until_answered(&self, ask: Ask, trace: Option<String>) -> LogAnswer {
        let mut is_leaving = self.is_leaving.subscribe();
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match self.submit_once(ask.clone(), trace.clone()).await {
                Ok(committed) => return LogAnswer::Taken(committed.answer),
                Err(SubmitError::Refused(refusal)) => return LogAnswer::Refused(refusal),
                Err(SubmitError::Stopping) => return LogAnswer::Left,
                // Also if it is unknown whether it was saved: the core accepts the same message twice.
                Err(error) => error,
            };
            tracing::debug!(%error, "a report is delayed");
            tokio::select! {
                biased;
                () = self.clock.until(self.clock.now() + pause) => {}
                _ = is_leaving.wait_for(|is_leaving| *is_leaving) => return LogAnswer::Left,
            }
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn submit_once(&self, ask: Ask, trace: Option<String>) -> Result<CommitReceipt, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let reply = move |heard| {
            // The caller may be gone with its runtime.
            let _ = reply.send(heard);
        };
        self.submit.submit(self.command(ask, trace), Box::new(reply));
        answer.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// Returns a command of this worker.
    pub(crate) fn command(&self, ask: Ask, trace: Option<String>) -> Command {
        Command { actor: self.actor.clone(), trace, ask }
    }
}

fn note_unreported(attempt: AttemptId) -> SubmitOutcome {
    tracing::warn!(%attempt, "the end of an attempt could not be reported before the stop; the next start finds it open");
    SubmitOutcome::Left
}

/// Returns true if nothing more is to be reported of the attempt.
fn is_over(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotOpen(_) | Refusal::WrongToken { .. })
}

/// Returns the failure that replaces a report that the log does not keep, or none if only a loss would be
/// honest because the attempt did its work.
fn instead(refusal: &Refusal) -> Option<Failure> {
    let kind = match refusal {
        Refusal::TooLarge(_) => FailureKind::OutputLimit,
        Refusal::NoTrigger(_) | Refusal::PayloadMisfit { .. } | Refusal::KeyReused { .. } | Refusal::TooManyVars { .. } => {
            FailureKind::ParametersInvalid
        }
        _ => return None,
    };
    Some(Failure::new(kind, refusal.to_string()))
}

//! The effects of time on executions: they wait for a moment, and exceed their limits.
//!
//! `retry.rs` defines how long to wait between two attempts.

use crate::command::Context;
use crate::effect::Effect;
use crate::executions::begin::react_to_begin;
use crate::executions::end::stop_fact;
use crate::executions::facts::{ExecutionRequested, ExecutionSucceeded, Pace};
use crate::executions::start::start_or_end;
use crate::executions::start::start_waiting;
use crate::executions::state::{Execution, Executions, Phase, Stop};
use crate::fact::{Fact, InquiryFact, StepFact, TimerFact};
use crate::ids::ExecutionId;
use crate::inquiries::{lost_attempt, react as inquiries};
use crate::reaction::{Consequence, Reaction};
use crate::record::{Draft, Record, StreamId};
use crate::state::State;
use crate::timers::facts::{TimerFired, TimerKind};
use crate::timers::set::begin_of_wait;
use crate::timers::set::is_set;
use crate::timers::set::timer;
use crate::workflows::facts::WaitMatched;
use crate::workflows::react as workflows;
use crate::workflows::state::{WorkflowState, Workflows};
use crate::workflows::waits;

/// Returns the timers that an execution begins with and does not have yet: the timer of its start if it
/// starts later, otherwise those that count from its start.
pub(crate) fn first_timers(state: &State, record: &Record, id: ExecutionId, requested: &ExecutionRequested) -> Vec<Draft> {
    let Some(execution) = state.executions().get(&id) else { return Vec::new() };
    let turn = requested.wait_millis.map(|wait| (TimerKind::Turn, begin_of_wait(state, record).plus_millis(wait)));
    match (requested.start_at.map(|at| (TimerKind::Start, at)).or(turn), execution.phase) {
        (Some((kind, at)), Phase::Delayed) if execution.attempts == 0 => {
            let start = timer(state, record, (id, execution), (kind, 1), at);
            if is_set(state, id, kind) { Vec::new() } else { vec![start] }
        }
        (Some(_), _) => Vec::new(),
        (None, _) => timers_from_start(state, record, id, execution),
    }
}

/// Returns the timers of an execution that count from when it may begin and are not set yet.
pub(crate) fn timers_from_start(state: &State, record: &Record, id: ExecutionId, execution: &Execution) -> Vec<Draft> {
    // The timeout of a workflow that was stopped before may have fired without making it time out.
    let is_ending = state.workflows().progress(&id).is_some_and(WorkflowState::is_ending);
    let limit = execution.limit_millis.filter(|_| !execution.phase.is_timed_out() && !is_ending);
    let sleep = if let (Pace::Sleeps { millis }, true) = (execution.pace, execution.waits()) { Some(millis) } else { None };
    let expiry = if let (Pace::Awaits { expires_millis }, true) = (execution.pace, execution.waits()) { expires_millis } else { None };
    let waits = [(TimerKind::Timeout, limit), (TimerKind::Sleep, sleep), (TimerKind::Expiry, expiry)]
        .into_iter()
        .filter_map(|(kind, wait)| Some((kind, wait?)));
    let timers = waits.filter(|(kind, _)| !is_set(state, id, *kind));
    let begin = begin_of_wait(state, record);
    timers.map(|(kind, wait)| timer(state, record, (id, execution), (kind, 1), begin.plus_millis(wait))).collect()
}

/// Returns the `next`-th consequence of an execution's timer that has fired.
pub(crate) fn react_to_timer(
    state: &State,
    record: &Record,
    id: ExecutionId,
    fact: &TimerFired,
    next: Consequence,
    with: &Context<'_>,
) -> Reaction {
    let Some(execution) = state.executions().get(&id) else { return start_waiting(state, record.id, with) };
    if next == Consequence::FIRST {
        if let Some(draft) = lost_attempt::first(state, record, (id, execution)) {
            return Reaction::from(vec![draft], Consequence::FIRST);
        }
        if let Some(reaction) = waits::cancel_by_event(state, record, (id, execution)) {
            return reaction;
        }
        if let Some(end) = end_by(fact.kind, execution) {
            return Reaction::last(vec![own(record, execution, end)]);
        }
        if matches!(fact.kind, TimerKind::Start | TimerKind::Turn) {
            let timers = timers_from_start(state, record, id, execution);
            if !timers.is_empty() {
                return Reaction::from(timers, Consequence::FIRST);
            }
            if let Some(reaction) = react_to_begin(state, record, id, with) {
                return reaction;
            }
        }
        if let Some(reaction) = end_of_wait(state, record, (id, execution), with) {
            return reaction;
        }
        if let Some(reaction) = inquiries::after_timer(state, record, (id, execution), fact, with) {
            return reaction;
        }
        if (execution.phase, execution.pace) == (Phase::Queued, Pace::AtOnce) {
            return Reaction::more(vec![start_or_end(state, id, execution, record.id, with)]);
        }
    }
    workflows::after_timer(state, record, id, fact.kind, next, with)
}

/// Ends an execution whose wait is over: an answer or an event came, or the time for one passed.
pub(crate) fn end_of_wait(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    with: &Context<'_>,
) -> Option<Reaction> {
    if let Some(reaction) = waits::cancel_by_event(state, record, (id, execution)) {
        return Some(reaction);
    }
    match (execution.phase, execution.pace) {
        (Phase::Woken, Pace::Asks) => Some(inquiries::end(state, record, (id, execution), with)),
        (Phase::Woken, Pace::Awaits { .. }) => Some(waits::end(state, record, (id, execution), with)),
        _ => None,
    }
}

/// Returns the end if a fired timer ends its execution at once.
fn end_by(kind: TimerKind, execution: &Execution) -> Option<Fact> {
    match (kind, execution.phase) {
        (TimerKind::Sleep | TimerKind::Timeout, Phase::Woken) if matches!(execution.pace, Pace::Sleeps { .. }) => {
            Some(ExecutionSucceeded { part_of: execution.part_of.clone() }.into())
        }
        (TimerKind::Timeout, Phase::Withdrawn(_) | Phase::Indeterminate { .. } | Phase::Settled { .. })
            if execution.phase.is_timed_out() =>
        {
            Some(stop_fact(execution))
        }
        // A running attempt is asked to stop, and the execution ends with the report on it.
        (TimerKind::Timeout | TimerKind::Sleep | TimerKind::Retry | TimerKind::Start | TimerKind::Turn, _)
        | (TimerKind::Expiry | TimerKind::Reminder | TimerKind::Escalation, _)
        // These timers do not belong to executions.
        | (TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold, _) => None,
    }
}

fn own(record: &Record, execution: &Execution, fact: Fact) -> Draft {
    let cause = Some(execution.cause(record.id));
    Draft::by_engine(record.stream.clone(), fact).because(cause)
}

impl Executions {
    /// Applies what happened to a timer of an execution, before the workflows do: a workflow that was stopped before
    /// does not time out.
    pub(crate) fn apply_timer(&mut self, record: &Record, fact: TimerFact<'_>, workflows: &Workflows) {
        let StreamId::Execution(id) = &record.stream else { return };
        match fact {
            TimerFact::TimerSet(fact) if fact.kind == TimerKind::Retry => self.delay(id),
            TimerFact::TimerSet(_) => {}
            TimerFact::TimerFired(fact) => match fact.kind {
                TimerKind::Retry | TimerKind::Start | TimerKind::Turn => self.end_delay(id, record.time),
                TimerKind::Timeout => self.time_out(id, workflows.progress(id).is_some_and(WorkflowState::is_ending)),
                TimerKind::Sleep | TimerKind::Expiry => self.wake(id),
                TimerKind::Reminder | TimerKind::Escalation | TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold => {}
            },
        }
    }

    /// Applies what happened to the inquiry of an execution.
    pub(crate) fn apply_inquiry(&mut self, record: &Record, fact: InquiryFact<'_>) {
        if let (InquiryFact::InquiryAnswered(fact), StreamId::Execution(id)) = (fact, &record.stream)
            && fact.verdict.closes()
        {
            self.wake(id);
        }
    }

    /// Applies what happened to a step: the event that an execution waits for has come.
    pub(crate) fn apply_step(&mut self, fact: StepFact<'_>) {
        if let StepFact::WaitMatched(WaitMatched { execution: Some(id), .. }) = fact {
            self.wake(id);
        }
    }

    /// Returns the effect owed after a timer has fired; `record` is the last one that was applied.
    pub(crate) fn effects_of_timer(&self, record: &Record, fact: TimerFact<'_>) -> Option<Effect> {
        let StreamId::Execution(id) = record.stream else { return None };
        let TimerFact::TimerFired(TimerFired { kind: TimerKind::Timeout, .. }) = fact else { return None };
        let execution = self.get(&id)?;
        match execution.phase {
            Phase::Cancelling { attempt, why: Stop::TimedOut } => Some(Effect::Stop { execution: id, attempt: attempt.id }),
            _ => None,
        }
    }
}

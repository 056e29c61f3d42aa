//! What time does to executions: they wait for a moment, and take too long.
//!
//! How long is waited between two attempts is said by `retry.rs`.

use crate::command::Context;
use crate::effect::Effect;
use crate::engine::{Engine, Reaction};
use crate::executions::facts::{ExecutionCancelled, ExecutionRequested, ExecutionSucceeded, ExecutionTimedOut, Failure, FailureKind, Pace};
use crate::executions::react::{begun, start_or_end, start_waiting};
use crate::executions::state::{Execution, Executions, Phase};
use crate::fact::{Fact, InquiryFact, StepFact, TimerFact};
use crate::ids::ExecutionId;
use crate::inquiries::{lost, react as inquiries};
use crate::record::{Actor, Draft, Record, StreamId};
use crate::time::{Timestamp, duration_text};
use crate::timers::facts::{TimerFired, TimerKind, TimerSet};
use crate::timers::state::{TimerId, TimerOwner};
use crate::workflows::facts::WaitMatched;
use crate::workflows::react as workflows;
use crate::workflows::waits;

/// Gives a timer of an execution, led to by a record.
pub(crate) fn timer(
    engine: &Engine,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    (kind, number): (TimerKind, u32),
    due: Timestamp,
) -> Draft {
    let owner = TimerOwner::Execution(id);
    Draft {
        stream: StreamId::Execution(id),
        begins: Some(TimerId { owner, kind, number }.record_id(engine.log())),
        actor: Actor::Engine,
        cause: Some(execution.cause(record.id)),
        trace: None,
        fact: TimerSet { kind, number, due, schedule: None }.into(),
        body: None,
    }
}

/// Gives the timers that an execution begins with and does not have yet: the one for its start where that is to come, else those that
/// count from it.
pub(crate) fn first_timers(engine: &Engine, record: &Record, id: ExecutionId, requested: &ExecutionRequested) -> Vec<Draft> {
    let Some(execution) = engine.executions().get(&id) else { return Vec::new() };
    let turn = requested.wait_millis.map(|wait| (TimerKind::Turn, begin_of_wait(engine, record).plus_millis(wait)));
    match (requested.start_at.map(|at| (TimerKind::Start, at)).or(turn), execution.phase) {
        (Some((kind, at)), Phase::Delayed) if execution.attempts == 0 => {
            let start = timer(engine, record, (id, execution), (kind, 1), at);
            if is_set(engine, id, kind) { Vec::new() } else { vec![start] }
        }
        (Some(_), _) => Vec::new(),
        (None, _) => timers_from_start(engine, record, id, execution),
    }
}

/// Gives the timers of an execution that count from when it may begin, and are not set yet.
pub(crate) fn timers_from_start(engine: &Engine, record: &Record, id: ExecutionId, execution: &Execution) -> Vec<Draft> {
    let limit = execution.limit_millis.filter(|_| !execution.is_timed_out);
    let sleep = if let (Pace::Sleeps { millis }, Phase::Asleep) = (execution.pace, execution.phase) { Some(millis) } else { None };
    let expiry =
        if let (Pace::Awaits { expires_millis }, Phase::Awaiting) = (execution.pace, execution.phase) { expires_millis } else { None };
    let waits = [(TimerKind::Timeout, limit), (TimerKind::Sleep, sleep), (TimerKind::Expiry, expiry)]
        .into_iter()
        .filter_map(|(kind, wait)| Some((kind, wait?)));
    let timers = waits.filter(|(kind, _)| !is_set(engine, id, *kind));
    let begin = begin_of_wait(engine, record);
    timers.map(|(kind, wait)| timer(engine, record, (id, execution), (kind, 1), begin.plus_millis(wait))).collect()
}

/// Gives when a wait begins that a record leads to, by the clock as it is now. Where that has stepped before the wait was worked out,
/// because it was owed for a while, nobody can tell how much of it has passed: it begins now, and ends not too early.
pub(crate) fn begin_of_wait(engine: &Engine, record: &Record) -> Timestamp {
    if engine.timers().has_stepped_since(record.position) { engine.time() } else { record.time }
}

fn is_set(engine: &Engine, id: ExecutionId, kind: TimerKind) -> bool {
    engine.timers().of(TimerOwner::Execution(id)).any(|(timer, _)| timer.kind == kind)
}

/// Gives the `next`-th consequence of a timer of an execution that has fired.
pub(crate) fn fired(engine: &Engine, record: &Record, id: ExecutionId, fact: &TimerFired, next: u32, with: &Context<'_>) -> Reaction {
    let Some(execution) = engine.executions().get(&id) else { return start_waiting(engine, record.id, with) };
    if next == 0 {
        if let Some(draft) = lost::first(engine, record, (id, execution)) {
            return Reaction::from(vec![draft], 0);
        }
        if let Some(end) = end_by(fact.kind, execution) {
            return Reaction::last(vec![own(record, execution, end)]);
        }
        if matches!(fact.kind, TimerKind::Start | TimerKind::Turn) {
            let timers = timers_from_start(engine, record, id, execution);
            if !timers.is_empty() {
                return Reaction::from(timers, 0);
            }
            if let Some(reaction) = begun(engine, record, id, with) {
                return reaction;
            }
        }
        if let Some(reaction) = end_of_wait(engine, record, (id, execution), with) {
            return reaction;
        }
        if let Some(reaction) = inquiries::after_timer(engine, record, (id, execution), fact, with) {
            return reaction;
        }
        if (execution.phase, execution.pace) == (Phase::Queued, Pace::AtOnce) {
            return Reaction::more(vec![start_or_end(engine, id, execution, record.id, with)]);
        }
    }
    workflows::after_timer(engine, record, id, fact.kind, next, with)
}

/// Ends an execution for which has come what it waits for: an answer or an event, or the end of the time for one.
pub(crate) fn end_of_wait(
    engine: &Engine,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    with: &Context<'_>,
) -> Option<Reaction> {
    match execution.phase {
        Phase::Asking if execution.has_come => Some(inquiries::end(engine, record, (id, execution), with)),
        Phase::Awaiting if execution.has_come => Some(waits::end(engine, record, (id, execution), with)),
        _ => None,
    }
}

/// Says whether a timer that has fired ends its execution at once.
fn end_by(kind: TimerKind, execution: &Execution) -> Option<Fact> {
    match (kind, execution.phase) {
        (TimerKind::Sleep | TimerKind::Timeout, Phase::Asleep) if execution.has_come => {
            Some(ExecutionSucceeded { part_of: execution.part_of.clone() }.into())
        }
        (TimerKind::Timeout, Phase::Withdrawn | Phase::Indeterminate(_)) if execution.is_timed_out => Some(stopped(execution)),
        // What runs is asked to stop, and ends with what is reported of it.
        (TimerKind::Timeout | TimerKind::Sleep | TimerKind::Retry | TimerKind::Start | TimerKind::Turn, _)
        | (TimerKind::Expiry | TimerKind::Reminder | TimerKind::Escalation, _)
        // These are not of executions.
        | (TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold, _) => None,
    }
}

/// Gives the end of an execution of which nothing runs any more, and nothing starts: it took too long, or somebody asked for it.
pub(crate) fn stopped(execution: &Execution) -> Fact {
    let part_of = execution.part_of.clone();
    if execution.is_timed_out {
        ExecutionTimedOut { error: too_long(execution), part_of }.into()
    } else {
        ExecutionCancelled { error: None, part_of }.into()
    }
}

/// Gives why an execution failed that took too long as a whole.
pub(crate) fn too_long(execution: &Execution) -> Failure {
    let limit = duration_text(execution.limit_millis.unwrap_or(0));
    let message = match (execution.phase, execution.pace) {
        (Phase::Indeterminate(attempt), _) => {
            format!("it took longer than {limit}, and it is unknown whether attempt {} took effect", attempt.number)
        }
        (_, Pace::InSteps) => format!("it took longer than {limit}, all its steps together"),
        (_, Pace::Asks) => format!("it was not answered within {limit}"),
        (_, Pace::Awaits { .. }) => format!("no event came within {limit}"),
        (_, Pace::Worked | Pace::AtOnce | Pace::Sleeps { .. }) => format!("it took longer than {limit}, all its attempts together"),
    };
    Failure::new(FailureKind::Timeout, message)
}

fn own(record: &Record, execution: &Execution, fact: Fact) -> Draft {
    let cause = Some(execution.cause(record.id));
    Draft { stream: record.stream.clone(), begins: None, actor: Actor::Engine, cause, trace: None, fact, body: None }
}

impl Executions {
    /// Folds what happened to a timer of an execution.
    pub(crate) fn apply_timer(&mut self, record: &Record, fact: TimerFact<'_>) {
        let StreamId::Execution(id) = &record.stream else { return };
        match fact {
            TimerFact::TimerSet(fact) if fact.kind == TimerKind::Retry => self.delay(id),
            TimerFact::TimerSet(_) => {}
            TimerFact::TimerFired(fact) => match fact.kind {
                TimerKind::Retry | TimerKind::Start | TimerKind::Turn => self.end_delay(id, record.time),
                TimerKind::Timeout => self.time_out(id),
                TimerKind::Sleep | TimerKind::Expiry => self.wake(id),
                TimerKind::Reminder | TimerKind::Escalation | TimerKind::Schedule | TimerKind::Interval | TimerKind::Hold => {}
            },
        }
    }

    /// Folds what happened to the inquiry of an execution.
    pub(crate) fn apply_inquiry(&mut self, record: &Record, fact: InquiryFact<'_>) {
        if let (InquiryFact::InquiryAnswered(fact), StreamId::Execution(id)) = (fact, &record.stream)
            && fact.verdict.closes()
        {
            self.wake(id);
        }
    }

    /// Folds what happened to a step: the event has come that an execution waits for.
    pub(crate) fn apply_step(&mut self, fact: StepFact<'_>) {
        if let StepFact::WaitMatched(WaitMatched { execution: Some(id), .. }) = fact {
            self.wake(id);
        }
    }

    /// What the world owes after a timer has fired, the last record that was folded.
    pub(crate) fn effects_of_timer(&self, record: &Record, fact: TimerFact<'_>) -> Option<Effect> {
        let StreamId::Execution(id) = record.stream else { return None };
        let TimerFact::TimerFired(TimerFired { kind: TimerKind::Timeout, .. }) = fact else { return None };
        let execution = self.get(&id)?;
        match execution.phase {
            Phase::Cancelling(attempt) if execution.is_timed_out => Some(Effect::Stop { execution: id, attempt: attempt.id }),
            _ => None,
        }
    }
}

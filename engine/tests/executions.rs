//! Executions without faults: the queue, reports, cancels.

use ensue_engine::command::{Answer, Ask, Refusal, ReportOutcome};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, FailureKind, Settlement};
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{Id, Role};

use crate::support::site::{failed_outcome, report};
use crate::support::{Pieces, Site, cancel, note_start, settle, workers};

fn site() -> Site {
    let pieces = Pieces::default().action("demo.say").action_with("demo.urgent", |action| action.priority = 50).action_at_once("demo.echo");
    let mut site = Site::with(&pieces);
    site.set(workers(1));
    site
}

#[test]
fn late_report_is_recorded_with_the_real_end_time() {
    let mut site = Site::with(&Pieces::default().action("demo.say"));
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    let mut ended = report(execution, attempt, ReportOutcome::Succeeded);
    let Ask::ReportAttempt(reported) = &mut ended.ask else { panic!("it is a report") };
    reported.ended_before = Some(12_000);
    let outcome = site.when(ended);
    let record = &outcome.records()[0];
    let Fact::AttemptSucceeded(succeeded) = &record.fact else { panic!("{:?}", record.fact) };
    assert_eq!(succeeded.ended_at, Some(record.time.minus_millis(12_000)));
}

#[test]
fn request_with_a_free_slot_starts_at_once() {
    let mut site = site();
    let outcome = site.ask("demo.say").then(&["execution.requested", "attempt.started"]);
    let [Effect::Dispatch(dispatch)] = outcome.effects() else { panic!("one attempt is dispatched: {:?}", outcome.effects()) };
    assert_eq!((dispatch.number, dispatch.token, dispatch.timeout_millis, dispatch.grace_millis), (1, 1, 60_000, 10_000));
    assert_eq!(outcome.answer(), Answer::Execution(dispatch.execution));
    assert_eq!(dispatch.attempt.0, Id::derive(site.engine().log(), dispatch.execution.0, Role::Attempt(1)));
    assert_eq!(dispatch.params.digest, outcome.records()[0].body.as_ref().unwrap().digest);
}

#[test]
fn request_without_a_free_slot_waits() {
    let mut site = site();
    site.run("demo.say");
    let outcome = site.ask("demo.say").then(&["execution.requested"]);
    assert!(outcome.effects().is_empty());
    assert_eq!((site.engine().executions().running(), site.engine().executions().queued_count()), (1, 1));
}

#[test]
fn freed_slot_goes_to_the_highest_priority_then_the_oldest() {
    let mut site = site();
    let running = site.run("demo.say");
    let older = site.run("demo.say");
    let younger = site.run("demo.say");
    let urgent = site.run("demo.urgent");
    for (ends, starts) in [(running, urgent), (urgent, older), (older, younger)] {
        let kinds = &["attempt.succeeded", "execution.succeeded", "attempt.started"];
        let outcome = site.succeed(ends).then(kinds);
        assert_eq!(outcome.records()[2].stream.to_string(), format!("execution/{starts}"));
    }
    site.succeed(younger).then(&["attempt.succeeded", "execution.succeeded"]);
    assert_eq!(site.engine().executions().iter().count(), 0);
}

#[test]
fn more_slots_after_a_restart_start_more() {
    let mut site = site();
    for _ in 0..4 {
        site.run("demo.say");
    }
    site.restart();
    site.set(workers(3));
    site.when(note_start()).then(&["node.started", "attempt.started", "attempt.started"]);
    site.when(note_start()).then(&["node.started"]);
}

#[test]
fn fewer_slots_after_a_restart_neither_stop_nor_start_anything() {
    let mut site = site();
    site.set(workers(2));
    let first = site.run("demo.say");
    site.run("demo.say");
    site.run("demo.say");
    site.set(workers(1));
    site.when(note_start()).then(&["node.started"]);
    site.succeed(first).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn success_ends_the_execution_and_its_attempt_is_released() {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution).id;
    let outcome = site.succeed(execution).then(&["attempt.succeeded", "execution.succeeded"]);
    assert_eq!(outcome.effects(), [Effect::Release { execution, attempt }]);
    assert_eq!(site.phase(execution), None);
}

#[test]
fn failure_ends_the_execution_with_its_reason() {
    let mut site = site();
    let execution = site.run("demo.say");
    let outcome = site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed"]);
    let Some(Fact::ExecutionFailed(end)) = outcome.facts().last() else { panic!("it failed") };
    assert_eq!((end.error.kind, end.error.message.as_str()), (FailureKind::ExitCode, "it did not work"));
}

#[test]
fn timed_out_attempt_times_out_its_execution() {
    let mut site = site();
    let execution = site.run("demo.say");
    site.fail(execution, FailureKind::Timeout).then(&["attempt.failed", "execution.timed_out"]);
}

#[test]
fn report_with_another_token_is_rejected() {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    let refusal = Refusal::WrongToken { attempt: attempt.id, given: attempt.token + 1 };
    site.when(report(execution, Attempt { token: attempt.token + 1, ..attempt }, ReportOutcome::Succeeded)).then_refused(&refusal);
    assert_eq!(site.phase(execution), Some(Phase::Running(attempt)));
}

#[test]
fn report_on_an_ended_execution_is_rejected() {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    site.succeed(execution);
    site.when(report(execution, attempt, failed_outcome(FailureKind::Signal))).then_refused(&Refusal::NotOpen(execution));
}

#[test]
fn each_attempt_in_the_log_has_a_larger_token_than_the_previous() {
    let mut site = site();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let execution = site.run("demo.say");
        tokens.push(site.attempt(execution).token);
        site.succeed(execution);
        site.restart();
    }
    assert_eq!(tokens, [1, 2, 3]);
}

#[test]
fn cancelled_queued_execution_ends_at_once_and_never_starts() {
    let mut site = site();
    let running = site.run("demo.say");
    let queued = site.run("demo.say");
    site.when(cancel(queued)).then(&["execution.cancel_requested", "execution.cancelled"]);
    assert_eq!(site.engine().executions().queued_count(), 0);
    site.succeed(running).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn cancelling_a_running_execution_stops_it_and_it_ends_as_cancelled() {
    let mut site = site();
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution).id;
    let outcome = site.when(cancel(execution)).then(&["execution.cancel_requested"]);
    assert_eq!(outcome.effects(), [Effect::Stop { execution, attempt }]);
    site.fail(execution, FailureKind::Signal).then(&["attempt.failed", "execution.cancelled"]);
}

#[test]
fn success_before_a_cancel_takes_effect_is_a_success() {
    let mut site = site();
    let execution = site.run("demo.say");
    site.when(cancel(execution));
    site.succeed(execution).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn repeated_cancel_changes_nothing() {
    let mut site = site();
    let execution = site.run("demo.say");
    site.when(cancel(execution));
    let outcome = site.when(cancel(execution)).then(&[]);
    assert_eq!((outcome.answer(), outcome.effects().len()), (Answer::Execution(execution), 0));
}

#[test]
fn ended_execution_cannot_be_cancelled() {
    let mut site = site();
    let execution = site.run("demo.say");
    site.succeed(execution);
    site.when(cancel(execution)).then_refused(&Refusal::NotOpen(execution));
}

#[test]
fn cancelled_execution_keeps_its_slot_until_its_worker_reports() {
    let mut site = site();
    let execution = site.run("demo.say");
    site.run("demo.say");
    site.when(cancel(execution)).then(&["execution.cancel_requested"]);
    site.fail(execution, FailureKind::Cancelled).then(&["attempt.failed", "execution.cancelled", "attempt.started"]);
}

#[test]
fn built_in_action_neither_waits_for_a_slot_nor_takes_one() {
    let mut site = site();
    site.run("demo.say");
    site.run("demo.say");
    site.ask("demo.echo").then(&["execution.requested", "attempt.started"]);
    let echo = site.run("demo.echo");
    assert_eq!((site.engine().executions().running(), site.engine().executions().queued_count()), (1, 1));
    site.succeed(echo).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn built_in_action_is_retried_even_without_a_free_slot() {
    let mut site = site();
    let echo = site.run("demo.echo");
    site.run("demo.say");
    site.lose(echo, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
    assert_eq!(site.attempt(echo).number, 2);
    site.lose(echo, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    site.when(settle(echo, Settlement::Retry)).then(&["execution.settled", "inquiry.withdrawn", "attempt.started"]);
}

#[test]
fn built_in_action_is_owed_after_a_restart() {
    let mut site = site();
    let echo = site.run("demo.echo");
    let attempt = site.attempt(echo).id;
    let outcome = site.when(cancel(echo)).then(&["execution.cancel_requested"]);
    assert_eq!(outcome.effects(), [Effect::Stop { execution: echo, attempt }]);
    site.restart();
    assert_eq!(site.engine().owed_effects().len(), 2);
    site.fail(echo, FailureKind::Cancelled).then(&["attempt.failed", "execution.cancelled"]);
    assert!(site.engine().owed_effects().is_empty());
}

#[test]
fn start_owes_running_and_stopping_attempts() {
    let mut site = site();
    site.set(workers(2));
    let runs = site.run("demo.say");
    let stops = site.run("demo.say");
    site.run("demo.say");
    site.when(cancel(stops));
    site.restart();
    let mut owed = site.engine().owed_effects().into_iter();
    let stopping = site.attempt(stops).id;
    let dispatched = |effect: Option<Effect>| match effect {
        Some(Effect::Dispatch(dispatch)) => Some(dispatch.execution),
        _ => None,
    };
    assert_eq!(dispatched(owed.next()), Some(runs));
    assert_eq!(dispatched(owed.next()), Some(stops));
    assert_eq!(owed.next(), Some(Effect::Stop { execution: stops, attempt: stopping }));
    assert_eq!(owed.next(), None);
}

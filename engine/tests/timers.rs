//! Timers: what waits for a moment, what moves it, and what follows.

use std::time::Duration;

use ensue_engine::catalog::Retry;
use ensue_engine::command::{Answer, Refusal, Report, ReportOutcome, Settings, TurnLimits};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, Settlement};
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::{Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::decide::{FIRED_AT_ONCE_MAX, FIRED_BESIDE_OWED_MAX};
use ensue_engine::timers::facts::TimerKind;
use ensue_engine::timers::state::HELD_FOR_MILLIS;
use ensue_expression::{Expression, Roots};
use ensue_test_support::NOON;
use ensue_test_support::spec::{CatalogsHealth, Outcome};
use serde_json::json;

use crate::support::random::again;
use crate::support::site::{failed_outcome, report, report_attempt};
use crate::support::workflow::does;
use crate::support::{Pieces, Site, accept_clock, cancel, fire_timers, retry, settle, workers};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const TEN_YEARS: i64 = 24 * 365 * 10 * HOUR;

fn unless(when: &str) -> Retry {
    Retry { when: Some(Expression::compile(when, &Roots::new(["error", "attempt"])).unwrap()), ..again(3) }
}

fn pieces() -> Pieces {
    Pieces::default()
        .action("demo.say")
        .action_with("demo.again", |action| action.retry = Some(again(3)))
        .action_with("demo.some", |action| action.retry = Some(unless("error.kind != 'exit_code'")))
        .action_with("demo.errs", |action| action.retry = Some(unless("error.detail > 0")))
        .sleep("demo.sleep")
}

fn site() -> Site {
    let mut site = Site::with(&pieces());
    site.set(workers(1));
    site
}

fn flow<const N: usize>(steps: [crate::support::workflow::StepPiece; N]) -> Site {
    let mut site = Site::with(&pieces().workflow("demo.flow", steps));
    site.set(workers(100));
    site
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

#[track_caller]
fn run_with(site: &mut Site, action: &str, params: &serde_json::Value, at: Option<Timestamp>) -> (ExecutionId, Outcome) {
    let request = site.request_with(action, params, at);
    let outcome = site.when(request);
    let Answer::Execution(execution) = outcome.answer() else { panic!("an execution was asked for") };
    (execution, outcome)
}

fn shift(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.micros() + micros)
}

#[track_caller]
fn due(outcome: &Outcome) -> Timestamp {
    let set = outcome.facts().find_map(|fact| if let Fact::TimerSet(set) = fact { Some(set.due) } else { None });
    set.expect("a timer was set")
}

#[track_caller]
fn why(outcome: &Outcome) -> String {
    match outcome.facts().last() {
        Some(Fact::ExecutionFailed(end)) => format!("failed: {}", end.error.message),
        Some(Fact::ExecutionTimedOut(end)) => format!("timed out: {}", end.error.message),
        other => panic!("it did not fail: {other:?}"),
    }
}

fn fired_timers(outcome: &Outcome) -> Vec<&Record> {
    outcome.records().iter().filter(|record| record.kind() == "timer.fired").collect()
}

#[test]
fn failed_attempt_is_retried_after_its_delay_and_not_before() {
    let mut site = site();
    let execution = site.run("demo.again");
    let failed = site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    assert_eq!((due(&failed), site.phase(execution)), (shift(NOON, 2 * SECOND), Some(Phase::Delayed)));
    site.after(1_999).then(&[]);
    site.after(1).then(&["timer.fired", "attempt.started"]);
    site.when(fire_timers()).then(&[]);
    assert_eq!(site.attempt(execution).number, 2);
    site.succeed(execution).then(&["attempt.succeeded", "execution.succeeded"]);
}

#[test]
fn execution_fails_with_the_error_of_its_last_attempt() {
    let mut site = site();
    let execution = site.run("demo.again");
    for _ in 0..2 {
        site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
        site.after(2_000).then(&["timer.fired", "attempt.started"]);
    }
    let last = site.fail(execution, FailureKind::Timeout).then(&["attempt.failed", "execution.timed_out"]);
    assert_eq!(why(&last), "timed out: it did not work");
    assert_eq!(site.engine().timers().pending(), 0);
}

#[test]
fn lost_attempt_does_not_count_as_a_failed_one() {
    let mut site = site();
    let execution = site.run("demo.again");
    for _ in 0..5 {
        site.lose(execution, Evidence::NotBegun);
    }
    site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    site.after(2_000);
    assert_eq!(site.attempt(execution).number, 7);
}

#[test]
fn retry_delay_holds_no_slot_and_keeps_the_place() {
    let mut site = site();
    let first = site.run("demo.again");
    let second = site.run("demo.say");
    let third = site.run("demo.say");
    site.fail(first, FailureKind::ExitCode).then(&["attempt.failed", "timer.set", "attempt.started"]);
    assert!(site.has_attempt(second));
    site.after(2_000).then(&["timer.fired"]);
    site.succeed(second).then(&["attempt.succeeded", "execution.succeeded", "attempt.started"]);
    assert!(site.has_attempt(first) && !site.has_attempt(third), "it was asked for before the third");
}

#[test]
fn failure_excluded_from_retries_fails_the_execution() {
    let mut site = site();
    let execution = site.run("demo.some");
    let outcome = site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed"]);
    assert_eq!(why(&outcome), "failed: it did not work");
    let execution = site.run("demo.some");
    site.fail(execution, FailureKind::Network).then(&["attempt.failed", "timer.set"]);
}

/// Reports that the attempt of an execution failed with this HTTP status.
fn answered_with(site: &mut Site, execution: ExecutionId, status: i64, retry_after_millis: Option<u64>) -> Outcome {
    let error = Failure::new(FailureKind::HttpStatus, "it did not work").with_detail(status);
    let Attempt { id: attempt, token, .. } = site.attempt(execution);
    let (outcome, emitted, vars) = (ReportOutcome::Failed(error), None, Vec::new());
    site.when(report_attempt(Report {
        execution,
        attempt,
        token,
        outcome,
        retry_after_millis,
        output_tail: None,
        body: None,
        emitted,
        vars,
        ended_before: None,
    }))
}

#[test]
fn rejected_request_is_not_retried_without_a_condition() {
    let mut site = site();
    for status in [400, 401, 404, 409, 422, 499] {
        let execution = site.run("demo.again");
        let outcome = answered_with(&mut site, execution, status, None).then(&["attempt.failed", "execution.failed"]);
        let why = why(&outcome);
        assert_eq!(
            why,
            "failed: it did not work; it is not retried, because the server rejected the request itself (`retry.when` can retry it)"
        );
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let execution = site.run("demo.again");
        answered_with(&mut site, execution, status, None).then(&["attempt.failed", "timer.set"]);
    }
    let execution = site.run("demo.some");
    answered_with(&mut site, execution, 404, None).then(&["attempt.failed", "timer.set"]);
}

#[test]
fn retry_of_a_rule_replaces_that_of_its_action() {
    for action in ["demo.say", "demo.again"] {
        let pieces = pieces().trigger("demo.ping").rule_with("demo.tries", "demo.ping", "", action, |rule| rule.retry = Some(again(2)));
        let mut site = Site::with(&pieces);
        site.set(workers(1));
        let outcome = site.receive("demo.ping", &json!({}));
        let requested = outcome.records().iter().find(|record| record.kind() == "execution.requested").unwrap();
        let StreamId::Execution(execution) = requested.stream else { panic!("it is an execution's") };
        site.fail(execution, FailureKind::Network).then(&["attempt.failed", "timer.set"]);
        site.after(2_000);
        site.fail(execution, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
    }
}

#[test]
fn invalid_result_is_retried_only_if_the_action_is_idempotent() {
    let pieces = pieces().action_with("demo.safe", |action| {
        action.idempotent = true;
        action.retry = Some(again(3));
    });
    let mut site = Site::with(&pieces);
    for kind in [FailureKind::ResultInvalid, FailureKind::OutputLimit] {
        let execution = site.run("demo.again");
        let outcome = site.fail(execution, kind).then(&["attempt.failed", "execution.failed"]);
        assert!(why(&outcome).contains("may have taken effect, and the action is not `idempotent`"));
        let execution = site.run("demo.some");
        site.fail(execution, kind).then(&["attempt.failed", "timer.set"]);
        let execution = site.run("demo.safe");
        site.fail(execution, kind).then(&["attempt.failed", "timer.set"]);
    }
    for action in ["demo.again", "demo.safe"] {
        let execution = site.run(action);
        site.fail(execution, FailureKind::ParametersInvalid).then(&["attempt.failed", "execution.failed"]);
    }
}

#[test]
fn retry_honors_the_server_s_delay_up_to_max_delay() {
    let far = Retry { delay_max: Duration::from_secs(3_600), ..again(3) };
    let mut site = Site::with(&pieces().action_with("demo.far", |action| action.retry = Some(far)));
    let mut wait = |asked| {
        let execution = site.run("demo.far");
        let failed = answered_with(&mut site, execution, 503, asked).then(&["attempt.failed", "timer.set"]);
        due(&failed).micros_since(failed.records()[0].time) / SECOND
    };
    assert_eq!([None, Some(500), Some(7_000), Some(u64::MAX)].map(&mut wait), [2, 2, 7, 3600]);
}

#[test]
fn retry_condition_that_errs_fails_the_execution_with_the_reason() {
    let mut site = site();
    let execution = site.run("demo.errs");
    let outcome = site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed"]);
    let why = why(&outcome);
    assert!(why.starts_with("failed: it did not work; it was not retried, because `retry.when` failed: "), "{why}");
}

#[test]
fn cancel_during_a_retry_delay_ends_at_once_and_removes_the_timer() {
    let mut site = site();
    let execution = site.run("demo.again");
    site.fail(execution, FailureKind::ExitCode);
    site.when(cancel(execution)).then(&["execution.cancel_requested", "execution.cancelled"]);
    site.after(2_000).then(&[]);
    assert_eq!((site.engine().timers().pending(), site.engine().executions().open_work()), (0, 0));
}

#[test]
fn timer_fires_once_even_over_a_restart() {
    let mut site = site();
    let execution = site.run("demo.again");
    site.fail(execution, FailureKind::ExitCode);
    site.restart();
    site.after(5_000).then(&["timer.fired", "attempt.started"]);
    site.restart();
    site.when(fire_timers()).then(&[]);
}

#[test]
fn timer_record_has_an_id_derived_from_its_execution() {
    let mut site = site();
    let execution = site.run("demo.again");
    let failed = site.fail(execution, FailureKind::ExitCode);
    let set = Id::derive(site.engine().log(), execution.0, Role::Timer(TimerKind::Retry, 2));
    assert_eq!(failed.records()[1].id, set);
    assert_eq!(site.after(2_000).records()[0].cause.parent, Some(set));
}

#[test]
fn many_due_timers_fire_in_bounded_turns_oldest_first() {
    let mut site = site();
    let count = FIRED_AT_ONCE_MAX * 2 + 50;
    for number in 0..count {
        let duration = format!("{}ms", 10_000 - number);
        run_with(&mut site, "demo.sleep", &json!({ "duration": duration }), None);
    }
    assert_eq!(site.engine().timers().pending(), count);
    site.later(10_000);
    let mut dues = Vec::new();
    for fires in [FIRED_AT_ONCE_MAX, FIRED_AT_ONCE_MAX, 50, 0] {
        let outcome = site.when(fire_timers());
        assert_eq!(fired_timers(&outcome).len(), fires);
        dues.extend(outcome.facts().filter_map(|fact| if let Fact::TimerFired(fact) = fact { Some(fact.due) } else { None }));
    }
    assert!(dues.is_sorted() && dues.len() == count);
    assert_eq!(site.engine().executions().iter().count(), 0);
}

#[test]
fn clock_step_makes_no_delay_shorter_or_longer() {
    for step in [SECOND * 90, HOUR * 2, TEN_YEARS, -90 * SECOND, -HOUR * 2, -TEN_YEARS] {
        let mut site = site();
        let execution = site.run("demo.again");
        site.fail(execution, FailureKind::ExitCode);
        site.later(1_000);
        site.clock_steps_to(shift(site.now(), step)).then(&["clock.stepped"]);
        site.when(fire_timers()).then(&[]);
        site.after(999).then(&[]);
        let outcome = site.after(1).then(&["timer.fired", "attempt.started"]);
        let Some(Fact::TimerFired(timer)) = outcome.facts().next() else { panic!("a timer fired") };
        assert_eq!(timer.due, shift(NOON, 2 * SECOND + step), "the reported time follows the present clock");
    }
}

#[test]
fn scheduled_request_waits_for_its_time_and_then_for_a_worker() {
    let mut site = site();
    let (execution, asked) = run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR)));
    let asked = asked.then(&["execution.requested", "timer.set"]);
    assert_eq!((due(&asked), site.phase(execution)), (shift(NOON, HOUR), Some(Phase::Delayed)));
    assert_eq!(site.engine().executions().open_work(), 0, "it is no work yet");
    site.after(3_599_999).then(&[]);
    site.after(1).then(&["timer.fired", "attempt.started"]);
    assert_eq!(site.engine().executions().open_work(), 1);
}

#[test]
fn start_time_in_the_past_means_now() {
    let mut site = site();
    let (_, asked) = run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, -1)));
    asked.then(&["execution.requested", "attempt.started"]);
}

#[test]
fn far_forward_clock_step_holds_timers_until_it_has_lasted() {
    let mut site = site();
    run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR)));
    site.clock_steps_to(shift(NOON, 2 * HOUR));
    site.when(fire_timers()).then(&[]);
    assert_eq!(site.engine().timers().held_count(site.now()), 1);
    assert_eq!(site.engine().timers().next_due(), Some(shift(NOON, 2 * HOUR).plus_millis(HELD_FOR_MILLIS)));
    site.after(HELD_FOR_MILLIS - 1).then(&[]);
    site.after(1).then(&["timer.fired", "attempt.started"]);
}

#[test]
fn clock_step_corrected_in_time_fires_nothing() {
    let mut site = site();
    run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR)));
    site.clock_steps_to(shift(NOON, 2 * HOUR));
    site.after(60_000).then(&[]);
    site.clock_steps_to(shift(NOON, 60 * SECOND));
    assert_eq!(site.engine().timers().hold(site.now()), None);
    site.after(59 * 60_000 - 1).then(&[]);
    site.after(1).then(&["timer.fired", "attempt.started"]);
}

#[test]
fn partly_corrected_clock_step_keeps_the_hold() {
    let mut site = site();
    run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR)));
    site.clock_steps_to(shift(NOON, 4 * HOUR));
    site.later(1_000);
    site.clock_steps_to(shift(NOON, 2 * HOUR));
    site.when(fire_timers()).then(&[]);
    assert!(site.engine().timers().hold(site.now()).is_some());
}

#[test]
fn accepting_the_clock_ends_the_hold() {
    let mut site = site();
    run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR)));
    site.clock_steps_to(shift(NOON, 2 * HOUR));
    site.when(accept_clock()).then(&["clock.accepted"]);
    site.when(accept_clock()).then(&[]);
    site.when(fire_timers()).then(&["timer.fired", "attempt.started"]);
}

#[test]
fn smaller_forward_clock_step_fires_due_timers() {
    let mut site = site();
    run_with(&mut site, "demo.say", &json!({}), Some(shift(NOON, HOUR / 2)));
    site.clock_steps_to(shift(NOON, HOUR));
    site.when(fire_timers()).then(&["timer.fired", "attempt.started"]);
}

#[test]
fn sleep_needs_no_worker_and_ends_with_its_timer() {
    let mut site = site();
    site.run("demo.say");
    let (execution, asked) = run_with(&mut site, "demo.sleep", &json!({ "duration": "10m" }), None);
    asked.then(&["execution.requested", "timer.set"]);
    assert_eq!(site.phase(execution), Some(Phase::Asleep));
    site.after(599_999).then(&[]);
    site.after(1).then(&["timer.fired", "execution.succeeded"]);
}

#[test]
fn cancelled_sleep_ends_at_once() {
    let mut site = site();
    let (execution, _) = run_with(&mut site, "demo.sleep", &json!({ "duration": "10m" }), None);
    site.when(cancel(execution)).then(&["execution.cancel_requested", "execution.cancelled"]);
    assert_eq!(site.engine().timers().pending(), 0);
}

#[test]
fn sleep_with_an_invalid_duration_is_rejected() {
    let mut site = site();
    let request = site.request_with("demo.sleep", &json!({ "duration": "soon" }), None);
    let misfits =
        "/duration: \"soon\" is not a duration; write numbers with units, such as `250ms`, `90s`, `1h30m` or `2d`, at most 365d".into();
    site.when(request).then_refused(&Refusal::ParametersMisfit { action: "demo.sleep".parse().unwrap(), misfits });
}

#[test]
fn delayed_workflow_starts_at_its_time() {
    let mut site = flow([does("first", "demo.say")]);
    let (execution, asked) = run_with(&mut site, "demo.flow", &json!({}), Some(shift(NOON, SECOND)));
    asked.then(&["execution.requested", "timer.set"]);
    site.after(1_000).then(&["timer.fired", "execution.requested", "attempt.started"]);
    let child = step(&site, execution, "first");
    site.succeed(child).then(&["attempt.succeeded", "execution.succeeded", "execution.succeeded"]);
}

#[test]
fn step_after_a_sleep_starts_when_it_ends() {
    let mut site = flow([does("wait", "demo.sleep").with(&json!({ "duration": "2s" })), does("then", "demo.say").needs(["wait"])]);
    site.ask("demo.flow").then(&["execution.requested", "execution.requested", "timer.set"]);
    site.after(2_000).then(&["timer.fired", "execution.succeeded", "execution.requested", "attempt.started"]);
}

#[test]
fn step_with_an_invalid_sleep_fails() {
    let mut site = flow([does("wait", "demo.sleep").with(&json!({ "duration": 5 }))]);
    let outcome = site.ask("demo.flow");
    assert!(why(&outcome).contains("/duration: 5 is not a duration"), "{}", why(&outcome));
}

#[test]
fn step_s_own_retry_overrides_the_action_s() {
    let mut site = flow([does("first", "demo.say").retry(again(2)), does("second", "demo.again").retry(unless("false"))]);
    let execution = site.run("demo.flow");
    let (first, second) = (step(&site, execution, "first"), step(&site, execution, "second"));
    site.fail(first, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    site.fail(second, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed"]);
    site.after(2_000).then(&["timer.fired", "attempt.started"]);
    site.fail(first, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed", "execution.failed"]);
}

#[test]
fn item_is_retried_separately() {
    let mut site = flow([does("each", "demo.again").over("[1, 2]")]);
    let execution = site.run("demo.flow");
    let items: Vec<ExecutionId> =
        (0..2).map(|at| ExecutionId(Id::derive(site.engine().log(), step(&site, execution, "each").0, Role::Item(at)))).collect();
    site.fail(items[0], FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    site.succeed(items[1]).then(&["attempt.succeeded", "execution.succeeded"]);
    site.after(2_000).then(&["timer.fired", "attempt.started"]);
    site.succeed(items[0]).then(&["attempt.succeeded", "execution.succeeded", "step.ended", "execution.succeeded"]);
}

#[test]
fn cancelled_workflow_ends_its_waiting_steps() {
    let mut site = flow([does("first", "demo.again"), does("wait", "demo.sleep").with(&json!({ "duration": "2s" }))]);
    let execution = site.run("demo.flow");
    let first = step(&site, execution, "first");
    site.fail(first, FailureKind::ExitCode);
    let kinds = site.when(cancel(execution)).kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "execution.cancelled").count(), 3, "{kinds:?}");
    assert_eq!((site.engine().timers().pending(), site.engine().executions().iter().count()), (0, 0));
}

fn limited_site<const N: usize>(steps: [crate::support::workflow::StepPiece; N]) -> Site {
    let pieces =
        pieces().workflow("demo.flow", steps).change_action("demo.flow", |action| action.limit = Some(std::time::Duration::from_secs(60)));
    let mut site = Site::with(&pieces);
    site.set(workers(100));
    site
}

#[test]
fn timed_out_workflow_is_cancelled_runs_cleanup_and_ends_as_timed_out() {
    let mut site = limited_site([
        does("work", "demo.say"),
        does("more", "demo.say").needs(["work"]),
        does("clean", "demo.say").needs(["more"]).starts_if("always()"),
    ]);
    let execution = site.run("demo.flow");
    let (work, clean) = (step(&site, execution, "work"), step(&site, execution, "clean"));
    let attempt = site.attempt(work).id;
    let outcome = site.after(60_000).then(&["timer.fired", "execution.cancel_requested"]);
    assert_eq!(outcome.effects(), [Effect::Stop { execution: work, attempt }]);
    site.fail(work, FailureKind::Cancelled).then(&[
        "attempt.failed",
        "execution.cancelled",
        "step.skipped",
        "execution.requested",
        "attempt.started",
    ]);
    let end = site.succeed(clean).then(&["attempt.succeeded", "execution.succeeded", "execution.timed_out"]);
    assert_eq!(why(&end), "timed out: it took longer than 1m, all its steps together");
}

#[test]
fn shorter_of_step_timeout_and_action_limit_applies() {
    for (of_step, of_action) in [(60, 30), (30, 60)] {
        let limit = Some(std::time::Duration::from_secs(of_action));
        let pieces = Pieces::default()
            .action_with("demo.say", |action| action.limit = limit)
            .workflow("demo.flow", [does("slow", "demo.say").timeout(of_step)]);
        let mut site = Site::with(&pieces);
        site.set(workers(10));
        site.run("demo.flow");
        let slow = site.engine().executions().iter().find(|(_, one)| one.part_of.is_some()).map(|(id, _)| *id).expect("the step runs");
        site.after(29_999).then(&[]);
        site.after(1).then(&["timer.fired"]);
        let end = site.fail(slow, FailureKind::Cancelled);
        assert_eq!(why(&end), "failed: step `slow` timed out: it took longer than 30s, all its attempts together", "{of_step} {of_action}");
    }
}

#[test]
fn earlier_cancelled_workflow_does_not_time_out() {
    let mut site = limited_site([does("work", "demo.say")]);
    let execution = site.run("demo.flow");
    site.when(cancel(execution));
    site.after(60_000).then(&["timer.fired"]);
    let work = step(&site, execution, "work");
    site.fail(work, FailureKind::Cancelled).then(&["attempt.failed", "execution.cancelled", "execution.cancelled"]);
}

#[test]
fn timeout_of_a_delayed_workflow_counts_from_its_start() {
    let mut site = limited_site([does("work", "demo.say")]);
    run_with(&mut site, "demo.flow", &json!({}), Some(shift(NOON, HOUR)));
    site.after(3_600_000).then(&["timer.fired", "timer.set", "execution.requested", "attempt.started"]);
    site.after(59_999).then(&[]);
    site.after(1).then(&["timer.fired", "execution.cancel_requested"]);
}

#[test]
fn parked_start_of_a_cancelled_workflow_sets_no_timeout_again() {
    let clean = does("clean", "demo.say").needs(["work"]).starts_if("always()");
    let mut site = limited_site([does("work", "demo.say"), clean]);
    let (execution, _) = run_with(&mut site, "demo.flow", &json!({}), Some(shift(NOON, HOUR)));
    site.set_catalogs(CatalogsHealth::Broken);
    let begun = site.after(3_600_000).then(&["timer.fired", "timer.set", "reaction.parked"]).records()[0].position;
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(cancel(execution)).then(&["execution.cancel_requested", "step.skipped", "execution.requested", "attempt.started"]);
    site.after(60_000).then(&["timer.fired"]);
    site.when(retry(begun)).then(&["reaction.retried", "reaction.resumed"]);
}

#[test]
fn timed_out_step_is_stopped_with_all_its_attempts() {
    let mut site = flow([does("slow", "demo.again").timeout(3)]);
    let execution = site.run("demo.flow");
    let slow = step(&site, execution, "slow");
    site.fail(slow, FailureKind::ExitCode);
    site.after(2_000).then(&["timer.fired", "attempt.started"]);
    let attempt = site.attempt(slow).id;
    let outcome = site.after(1_000).then(&["timer.fired"]);
    assert_eq!(outcome.effects(), [Effect::Stop { execution: slow, attempt }]);
    site.restart();
    assert!(site.engine().owed_effects().contains(&Effect::Stop { execution: slow, attempt }));
    let end = site.fail(slow, FailureKind::Cancelled).then(&["attempt.failed", "execution.timed_out", "execution.failed"]);
    assert_eq!(why(&end), "failed: step `slow` timed out: it took longer than 3s, all its attempts together");
}

#[test]
fn waiting_or_queued_step_times_out_at_once() {
    let mut site = flow([does("slow", "demo.again").timeout(1)]);
    let execution = site.run("demo.flow");
    let slow = step(&site, execution, "slow");
    site.fail(slow, FailureKind::ExitCode);
    site.after(1_000).then(&["timer.fired", "execution.timed_out", "execution.failed"]);
    assert_eq!(site.engine().timers().pending(), 0);
    site.set(workers(0));
    site.ask("demo.flow").then(&["execution.requested", "execution.requested", "timer.set"]);
    site.after(1_000).then(&["timer.fired", "execution.timed_out", "execution.failed"]);
    assert_eq!(site.engine().executions().queued_count(), 0);
}

#[test]
fn timeout_of_an_indeterminate_step_reports_that_its_effect_is_unknown() {
    let mut site = flow([does("slow", "demo.say").timeout(3)]);
    let execution = site.run("demo.flow");
    let slow = step(&site, execution, "slow");
    site.lose(slow, Evidence::MayHaveBegun);
    let outcome = site.after(3_000);
    assert!(why(&outcome).contains("it is unknown whether attempt 1 took effect"), "{}", why(&outcome));
    site.when(settle(slow, Settlement::Retry)).then_refused(&Refusal::NotOpen(slow));
}

#[test]
fn success_while_being_stopped_for_a_timeout_is_a_success() {
    let mut site = flow([does("slow", "demo.say").timeout(3)]);
    let execution = site.run("demo.flow");
    let slow = step(&site, execution, "slow");
    site.after(3_000).then(&["timer.fired"]);
    site.succeed(slow).then(&["attempt.succeeded", "execution.succeeded", "execution.succeeded"]);
}

#[test]
fn retry_and_timeout_in_the_same_turn_start_nothing() {
    let mut site = flow([does("slow", "demo.again").timeout(2)]);
    let execution = site.run("demo.flow");
    let slow = step(&site, execution, "slow");
    site.later(500);
    site.fail(slow, FailureKind::ExitCode);
    site.after(10_000);
    assert!(site.phase(slow).is_none_or(|phase| phase != Phase::Queued), "{:?}", site.phase(slow));
    let ends = site.records().iter().filter(|record| record.kind() == "execution.timed_out").count();
    let runs = site.has_attempt(slow);
    assert!(ends == 1 && !runs, "{ends} ends, an attempt runs: {runs}");
}

#[test]
fn failed_execution_is_not_retried_if_its_catalog_cannot_be_built() {
    let mut site = site();
    let execution = site.run("demo.again");
    site.set_catalogs(CatalogsHealth::Gone);
    site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "execution.failed"]);
}

#[test]
fn finished_sleep_succeeds_even_if_its_timeout_fires_in_the_same_turn() {
    let sleeps = || does("wait", "demo.sleep").with(&json!({ "duration": "2s" })).timeout(3);
    let mut late = flow([sleeps()]);
    late.ask("demo.flow");
    late.after(10_000).then(&["timer.fired", "timer.fired", "execution.succeeded", "execution.succeeded"]);

    let mut cancelled = flow([sleeps()]);
    let execution = cancelled.run("demo.flow");
    cancelled.set(Settings { turn: TurnLimits { drafts: 1, ..TurnLimits::default() }, ..workers(100) });
    cancelled.later(2_000);
    cancelled.turn(fire_timers());
    cancelled.turn(cancel(execution));
    cancelled.set(workers(100));
    let ended = cancelled.serve_all();
    assert_eq!(ended.kinds().iter().filter(|kind| **kind == "execution.succeeded").count(), 1, "{:?}", ended.kinds());
    assert_eq!(cancelled.engine().executions().iter().count(), 0);
}

#[test]
fn steps_that_time_out_together_both_time_out_even_if_one_cancels_others() {
    let asleep = |name| does(name, "demo.sleep").with(&json!({ "duration": "1h" })).timeout(1).cancels_others();
    let mut site = flow([asleep("one"), asleep("two")]);
    site.ask("demo.flow");
    let kinds = site.after(1_000).kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "execution.timed_out").count(), 2, "{kinds:?}");
    assert!(!kinds.contains(&"execution.cancelled"), "{kinds:?}");
}

#[test]
fn worker_lost_after_a_timeout_opens_no_inquiry() {
    let mut site = flow([does("work", "demo.say").timeout(1)]);
    let execution = site.run("demo.flow");
    let work = step(&site, execution, "work");
    site.after(1_000);
    let outcome = site.lose(work, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.timed_out", "execution.failed"]);
    assert_eq!(outcome.result(), &Ok(Answer::Done));
}

#[test]
fn workflow_times_out_even_if_its_catalog_cannot_be_built() {
    let mut site = limited_site([does("work", "demo.say"), does("more", "demo.say").needs(["work"])]);
    let execution = site.run("demo.flow");
    let work = step(&site, execution, "work");
    site.set_catalogs(CatalogsHealth::Gone);
    site.after(60_000);
    let end = site.fail(work, FailureKind::Cancelled).then(&["attempt.failed", "execution.cancelled", "execution.timed_out"]);
    assert_eq!(why(&end), "timed out: it took longer than 1m, all its steps together");
}

#[test]
fn retry_delay_computed_after_a_clock_step_has_the_usual_length() {
    for step in [TEN_YEARS, -TEN_YEARS] {
        let mut site = site();
        let execution = site.run("demo.again");
        site.set(Settings { turn: TurnLimits { drafts: 1, ..TurnLimits::default() }, ..workers(1) });
        let report = report(execution, site.attempt(execution), failed_outcome(FailureKind::ExitCode));
        site.turn(report);
        let of = site.engine().health().next_owed(None).expect("what follows is owed").of;
        site.park("a bug occurred");
        site.set(workers(1));
        site.clock_steps_to(shift(site.now(), step));
        let now = site.now();
        let set = site.when(retry(of));
        assert_eq!(due(&set), shift(now, 2 * SECOND), "{step}");
    }
}

#[test]
fn cancelled_and_lost_execution_ends_at_the_timeout() {
    let steps = [does("say", "demo.say").timeout(60)];
    let mut site = flow(steps);
    let outcome = site.ask("demo.flow");
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    let say = step(&site, flow, "say");
    site.when(cancel(flow));
    site.lose(say, Evidence::MayHaveBegun);
    assert!(matches!(site.phase(say), Some(Phase::Indeterminate { .. })));
    site.after(60_000).then(&["timer.fired", "inquiry.withdrawn", "execution.timed_out", "execution.cancelled"]);
}

#[test]
fn steps_of_a_delayed_workflow_read_its_real_start_time() {
    let given = json!({ "at": "${{ execution.started_at }}" });
    let mut site = flow([does("say", "demo.say").with(&given)]);
    let at = shift(NOON, HOUR);
    run_with(&mut site, "demo.flow", &json!({}), Some(at));
    let outcome = site.after(3_600_000);
    let asked = outcome.records().iter().find(|record| record.kind() == "execution.requested").expect("the step was asked for");
    let params: serde_json::Value = serde_json::from_slice(asked.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
    assert_eq!(params, json!({ "at": at.to_string() }));
}

#[test]
fn few_timers_fire_while_reactions_are_owed_and_the_rest_fire_afterwards() {
    let mut site = flow([does("each", "demo.say").over("lists.range(9)")]);
    for _ in 0..20 {
        run_with(&mut site, "demo.sleep", &json!({ "duration": "10s" }), None);
    }
    site.set(Settings { turn: TurnLimits { drafts: 2, ..TurnLimits::default() }, ..workers(100) });
    let request = site.request("demo.flow");
    site.turn(request);
    assert!(site.engine().health().owed_count() > 0);
    site.later(10_000);
    assert_eq!(fired_timers(&site.turn(fire_timers())).len(), FIRED_BESIDE_OWED_MAX);
    site.set(workers(100));
    site.serve_all();
    assert_eq!(fired_timers(&site.turn(fire_timers())).len(), 20 - FIRED_BESIDE_OWED_MAX);
}

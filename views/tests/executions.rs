//! Tests the status of an execution after each thing that can happen to it.

use ensue_engine::executions::facts::{
    AttemptFailed, AttemptLost, AttemptProgressed, AttemptReportedLate, AttemptSucceeded, Evidence, ExecutionBecameIndeterminate,
    ExecutionCancelRequested, ExecutionCancelled, ExecutionPaused, ExecutionResumed, ExecutionSettled, ExecutionSucceeded, Failure,
    FailureKind, Settlement,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::record::{Actor, Body, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::{TimerFired, TimerKind, TimerSet};
use ensue_test_support::story::Story;
use ensue_views::executions::{ATTEMPTS_MAX, AttemptStatus, SettledAs, Status};
use ensue_views::{Artifact, Column, Execution, View as _, ViewName};

use crate::{fold, only};

fn story_with_request() -> (Story, ExecutionId) {
    let mut story = Story::new();
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    (story, execution)
}

fn running() -> (Story, ExecutionId, AttemptId) {
    let (mut story, execution) = story_with_request();
    let attempt = story.start(execution);
    (story, execution, attempt)
}

fn add_fact(story: &mut Story, execution: ExecutionId, fact: impl Into<Fact>, body: Option<Body>) {
    story.append_fact(StreamId::Execution(execution), None, Actor::Token("ana".into()), None, fact.into(), body);
}

fn now(story: &Story) -> Execution {
    only(story.records())
}

#[test]
fn execution_is_queued_until_a_worker_takes_it() {
    let (mut story, execution) = story_with_request();
    assert_eq!((now(&story).status, now(&story).attempt, now(&story).started_at), (Status::Queued, 0, None));
    story.start(execution);
    let taken = now(&story);
    assert_eq!((taken.status, taken.attempt, taken.attempts.len()), (Status::Running, 1, 1));
    assert_eq!(taken.started_at, Some(taken.attempts[0].started_at));
    assert_eq!(taken.attempts[0].status, AttemptStatus::Running);
}

#[test]
fn result_is_that_of_the_succeeded_attempt() {
    let (mut story, execution, attempt) = running();
    story.succeed(execution, attempt);
    let ended = now(&story);
    assert_eq!((ended.status, ended.attempts[0].status, ended.error), (Status::Succeeded, AttemptStatus::Succeeded, None));
    let reported = story.records().iter().find(|record| record.kind() == "attempt.succeeded").unwrap();
    assert_eq!(ended.result.map(|result| result.position), Some(reported.position));
    assert_eq!(ended.ended_at, story.records().last().map(|record| record.time));
}

#[test]
fn failed_execution_has_its_error_and_the_attempt_its_result() {
    let (mut story, execution, attempt) = running();
    let error = Failure::new(FailureKind::ExitCode, "it stuck").with_detail(3);
    add_fact(
        &mut story,
        execution,
        AttemptFailed { attempt, error: error.clone(), retry_after_millis: None, output_tail: None, ended_at: None },
        Some(Body::json("{}")),
    );
    add_fact(
        &mut story,
        execution,
        ensue_engine::executions::facts::ExecutionFailed { error: error.clone(), part_of: None, scope: None },
        None,
    );
    let ended = now(&story);
    assert_eq!((ended.status, ended.error, ended.result), (Status::Failed, Some(error.clone()), None));
    assert_eq!((ended.attempts[0].status, ended.attempts[0].error.clone()), (AttemptStatus::Failed, Some(error)));
    assert!(ended.attempts[0].result.is_some());
}

#[test]
fn execution_that_ended_without_a_node_has_its_real_end_time() {
    let (mut story, execution, attempt) = running();
    let started_at = now(&story).attempts[0].started_at;
    story.later(20_000);
    let ended_at = started_at.plus_millis(8_000);
    add_fact(&mut story, execution, AttemptSucceeded { attempt, ended_at: Some(ended_at) }, Some(Body::json("{}")));
    // Both are records of one batch, so they have the same time.
    let reported_at = story.records().last().unwrap().time;
    story.go_on_at(reported_at);
    add_fact(&mut story, execution, ExecutionSucceeded::default(), None);
    let ended = now(&story);
    assert_eq!((ended.ended_at, ended.attempts[0].ended_at), (Some(ended_at), Some(ended_at)));
    assert_eq!(ended.attempts[0].reported_at, Some(reported_at));
}

#[test]
fn end_noted_by_a_wrong_clock_is_not_before_the_beginning() {
    let (mut story, execution, attempt) = running();
    let started_at = now(&story).attempts[0].started_at;
    add_fact(&mut story, execution, AttemptSucceeded { attempt, ended_at: Some(started_at.minus_millis(1)) }, Some(Body::json("{}")));
    assert_eq!(now(&story).attempts[0].ended_at, Some(started_at));
}

#[test]
fn lost_attempt_has_its_worker_s_reason() {
    let (mut story, execution, attempt) = running();
    let error = Some(Failure::new(FailureKind::Lost, "its supervisor answered nothing"));
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::MayHaveBegun, error: error.clone() }, None);
    assert_eq!(now(&story).attempts[0].error, error);
}

#[test]
fn overlong_attempt_is_timed_out() {
    let (mut story, execution, attempt) = running();
    story.fail(execution, attempt, Failure::new(FailureKind::Timeout, "it took longer than 60 s"));
    assert_eq!((now(&story).status, now(&story).attempts[0].status), (Status::TimedOut, AttemptStatus::TimedOut));
}

#[test]
fn execution_is_cancelling_until_its_worker_has_stopped() {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, ExecutionCancelRequested {}, None);
    assert_eq!(now(&story).status, Status::Cancelling);
    add_fact(
        &mut story,
        execution,
        AttemptFailed {
            attempt,
            error: Failure::new(FailureKind::Cancelled, "stopped"),
            retry_after_millis: None,
            output_tail: None,
            ended_at: None,
        },
        None,
    );
    assert_eq!(now(&story).status, Status::Cancelling);
    add_fact(&mut story, execution, ExecutionCancelled::default(), None);
    assert_eq!((now(&story).status, now(&story).attempts[0].status), (Status::Cancelled, AttemptStatus::Cancelled));
}

#[test]
fn lost_attempt_requeues_its_execution() {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    let waiting = now(&story);
    assert_eq!((waiting.status, waiting.attempts[0].status), (Status::Queued, AttemptStatus::Lost));
    assert_eq!(waiting.attempts[0].evidence, Some(Evidence::NotBegun));
    let first_start = waiting.started_at;
    story.start(execution);
    assert_eq!((now(&story).status, now(&story).attempt, now(&story).started_at), (Status::Running, 2, first_start));
}

#[test]
fn lost_attempt_of_a_cancelled_execution_does_not_requeue_it() {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, ExecutionCancelRequested {}, None);
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    assert_eq!(now(&story).status, Status::Cancelling);
}

#[test]
fn queued_at_is_shown_until_the_start() {
    let (mut story, execution) = story_with_request();
    assert_eq!((now(&story).queue.as_str(), now(&story).queued_at), ("default", Some(now(&story).requested_at)));
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    assert_eq!(now(&story).queued_at, None);
    add_fact(&mut story, execution, ExecutionResumed {}, None);
    assert_eq!(now(&story).queued_at, story.records().last().map(|record| record.time));
    let attempt = story.start(execution);
    assert_eq!(now(&story).queued_at, None);
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    assert_eq!(now(&story).queued_at, story.records().last().map(|record| record.time));
}

#[test]
fn paused_execution_is_shown_as_such_and_then_with_its_status() {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    assert_eq!((now(&story).status, now(&story).paused_at.is_some()), (Status::Paused, true));
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    assert_eq!(now(&story).status, Status::Paused);
    add_fact(&mut story, execution, ExecutionResumed {}, None);
    assert_eq!((now(&story).status, now(&story).paused_at), (Status::Queued, None));
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    add_fact(&mut story, execution, ExecutionCancelRequested {}, None);
    assert_eq!((now(&story).status, now(&story).paused_at), (Status::Cancelling, None));
}

fn indeterminate() -> (Story, ExecutionId, AttemptId) {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::MayHaveBegun, error: None }, None);
    add_fact(&mut story, execution, ExecutionBecameIndeterminate {}, None);
    (story, execution, attempt)
}

#[test]
fn paused_execution_that_waits_for_a_person_is_shown_as_indeterminate() {
    let (mut story, execution, _) = indeterminate();
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    assert_eq!((now(&story).status, now(&story).paused_at.is_some()), (Status::Indeterminate, true));
    // It is paused before its worker is lost.
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::MayHaveBegun, error: None }, None);
    add_fact(&mut story, execution, ExecutionBecameIndeterminate {}, None);
    assert_eq!(now(&story).status, Status::Indeterminate);
    add_fact(&mut story, execution, ExecutionSettled { outcome: Settlement::Retry }, None);
    assert_eq!(now(&story).status, Status::Paused);
}

#[test]
fn person_settles_an_indeterminate_execution_with_a_result() {
    let (mut story, execution, _) = indeterminate();
    assert_eq!(now(&story).status, Status::Indeterminate);
    add_fact(&mut story, execution, ExecutionSettled { outcome: Settlement::Succeeded }, Some(Body::json("{}")));
    add_fact(&mut story, execution, ExecutionSucceeded::default(), None);
    let settled = now(&story);
    assert_eq!((settled.status, settled.attempts[0].status), (Status::Succeeded, AttemptStatus::Lost));
    assert!(settled.result.is_some());
    assert_eq!(settled.settled.map(|settled| (settled.outcome, settled.by)), Some((SettledAs::Succeeded, "token/ana".into())));
}

#[test]
fn indeterminate_execution_can_be_retried_by_a_person() {
    let (mut story, execution, _) = indeterminate();
    add_fact(&mut story, execution, ExecutionSettled { outcome: Settlement::Retry }, None);
    assert_eq!((now(&story).status, now(&story).ended_at), (Status::Queued, None));
}

#[test]
fn late_report_settles_an_indeterminate_execution() {
    let (mut story, execution, attempt) = indeterminate();
    add_fact(&mut story, execution, AttemptSucceeded { attempt, ended_at: None }, Some(Body::json("{}")));
    add_fact(&mut story, execution, ExecutionSucceeded::default(), None);
    let settled = now(&story);
    assert_eq!((settled.status, settled.attempts[0].status), (Status::Succeeded, AttemptStatus::Succeeded));
    assert_eq!(settled.attempts[0].evidence, Some(Evidence::MayHaveBegun));
}

#[test]
fn late_report_is_noted_on_its_attempt_and_changes_nothing_else() {
    let (mut story, execution, attempt) = running();
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    story.start(execution);
    let before = now(&story);
    add_fact(&mut story, execution, AttemptReportedLate { attempt, error: None }, Some(Body::json("{}")));
    let mut after = now(&story);
    let late = after.attempts[0].late_report.take().unwrap();
    assert!(late.error.is_none() && late.result.is_some());
    after.revision = before.revision;
    assert_eq!(after, before);
}

#[test]
fn newest_attempts_are_shown_and_all_are_counted() {
    let (mut story, execution) = story_with_request();
    for _ in 0..=ATTEMPTS_MAX {
        let attempt = story.start(execution);
        add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    }
    let shown = now(&story);
    assert_eq!((shown.attempt as usize, shown.attempts.len()), (ATTEMPTS_MAX + 1, ATTEMPTS_MAX));
    assert_eq!((shown.attempts[0].number, shown.attempts[ATTEMPTS_MAX - 1].number as usize), (2, ATTEMPTS_MAX + 1));
}

#[test]
fn record_of_an_unrequested_execution_makes_no_row() {
    let (story, _, _) = running();
    let started = story.records().last().cloned().unwrap();
    assert!(fold::<Execution>(&[started]).is_empty());
}

fn set(story: &mut Story, execution: ExecutionId, kind: TimerKind) -> Timestamp {
    let due = story.now().plus_millis(60_000);
    add_fact(story, execution, TimerSet { kind, number: 1, due, schedule: None }, None);
    due
}

fn fire(story: &mut Story, execution: ExecutionId, kind: TimerKind) {
    let due = story.now();
    add_fact(story, execution, TimerFired { kind, number: 1, due, schedule: None }, None);
}

#[test]
fn execution_is_delayed_until_the_timer_of_its_retry_or_start_fires() {
    for kind in [TimerKind::Retry, TimerKind::Start, TimerKind::Turn] {
        let (mut story, execution) = story_with_request();
        let due = set(&mut story, execution, kind);
        let delayed = now(&story);
        assert_eq!((delayed.status, delayed.waits_until, delayed.queued_at), (Status::Delayed, Some(due), None), "{kind:?}");
        fire(&mut story, execution, kind);
        let queued = now(&story);
        assert_eq!((queued.status, queued.waits_until), (Status::Queued, None), "{kind:?}");
        assert_eq!(queued.queued_at, story.records().last().map(|record| record.time), "{kind:?}");
    }
}

#[test]
fn execution_that_sleeps_or_asks_shows_until_when_and_keeps_its_status() {
    for kind in [TimerKind::Sleep, TimerKind::Expiry] {
        let (mut story, execution, _) = running();
        let due = set(&mut story, execution, kind);
        assert_eq!((now(&story).status, now(&story).waits_until), (Status::Running, Some(due)), "{kind:?}");
        // These do not limit how long it waits.
        for other in [TimerKind::Reminder, TimerKind::Escalation] {
            set(&mut story, execution, other);
            fire(&mut story, execution, other);
        }
        assert_eq!((now(&story).status, now(&story).waits_until), (Status::Running, Some(due)), "{kind:?}");
        fire(&mut story, execution, kind);
        assert_eq!((now(&story).status, now(&story).waits_until), (Status::Running, None), "{kind:?}");
    }
}

#[test]
fn execution_is_cancelling_once_its_total_time_is_over() {
    let (mut story, execution, _) = running();
    let due = set(&mut story, execution, TimerKind::Timeout);
    let shown = now(&story);
    assert_eq!((shown.status, shown.times_out_at, shown.waits_until), (Status::Running, Some(due), None));
    set(&mut story, execution, TimerKind::Expiry);
    fire(&mut story, execution, TimerKind::Expiry);
    assert_eq!((now(&story).status, now(&story).times_out_at), (Status::Running, Some(due)), "the other timer changes nothing");
    fire(&mut story, execution, TimerKind::Timeout);
    assert_eq!((now(&story).status, now(&story).times_out_at), (Status::Cancelling, None));
    // It need not be running.
    let (mut story, execution) = story_with_request();
    set(&mut story, execution, TimerKind::Timeout);
    add_fact(&mut story, execution, ExecutionPaused {}, None);
    fire(&mut story, execution, TimerKind::Timeout);
    assert_eq!((now(&story).status, now(&story).paused_at), (Status::Cancelling, None));
}

#[test]
fn ended_execution_waits_for_nothing() {
    let (mut story, execution, attempt) = running();
    for kind in [TimerKind::Timeout, TimerKind::Sleep] {
        set(&mut story, execution, kind);
    }
    story.succeed(execution, attempt);
    let ended = now(&story);
    assert_eq!((ended.waits_until, ended.times_out_at, ended.awaits_lock, ended.queued_at), (None, None, None, None));
}

#[test]
fn progress_is_the_newest_of_the_latest_attempt() {
    let (mut story, execution, attempt) = running();
    assert_eq!(now(&story).progress, None);
    let said = |index, thousandths| AttemptProgressed { attempt, index, thousandths: Some(thousandths) };
    add_fact(&mut story, execution, said(0, 100), Some(Body::json(r#"{"message":"it creaks"}"#)));
    add_fact(&mut story, execution, said(1, 250), Some(Body::json(r#"{"message":"it moves"}"#)));
    let progress = now(&story).progress.unwrap();
    let last = story.records().last().unwrap();
    assert_eq!((progress.thousandths, progress.message.map(|message| message.position)), (Some(250), Some(last.position)));
    assert_eq!(progress.at, last.time);
    add_fact(&mut story, execution, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }, None);
    story.start(execution);
    assert_eq!(now(&story).progress, None);
}

#[test]
fn artifact_has_its_own_row_and_counts_for_its_execution() {
    let (mut story, execution, attempt) = running();
    let id = story.gave_away(execution, attempt, "gate.csv");
    let artifact: Artifact = only(story.records());
    assert_eq!((artifact.id, artifact.execution, artifact.attempt, artifact.name.as_str()), (id, execution, attempt, "gate.csv"));
    assert_eq!(now(&story).artifacts, 1);
}

#[test]
fn execution_is_found_by_each_of_its_labels() {
    let mut story = Story::new();
    let event = story.event("garden.rained", r#"{"litres":3}"#);
    let execution = story.executed_with("garden.drain", event, "garden.open_gate", &[("site", "north"), ("team", "water")]);
    let shown: Vec<_> = now(&story).labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["site=north", "team=water"]);
    let at = ViewName::Executions.columns().iter().position(|column| *column == Column::Label).unwrap();
    let found_by = |story: &Story, label: &str| now(story).columns()[at].as_ref().is_some_and(|labels| labels.is_found_by(&label.into()));
    assert!(found_by(&story, "site=north") && found_by(&story, "team=water") && !found_by(&story, "site=south"));
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    assert!(found_by(&story, "site=north"), "it keeps them to its end");
}

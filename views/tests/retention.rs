//! Tests what retention derives from a log, and what it removes: the elapsed time, the ended executions that are not part
//! of a workflow, and everything that goes with them.

use std::time::Duration;

use ensue_engine::dead_letters::facts::DeadLetterDismissed;
use ensue_engine::executions::facts::{
    ExecutionCancelled, ExecutionFailed, ExecutionRequested, ExecutionSucceeded, ExecutionTimedOut, Failure, FailureKind, Pace,
};
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{ClockStepped, NodeStarted, ReactionParked};
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::{Actor, Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_test_support::NOON;
use ensue_test_support::single::execution_request;
use ensue_test_support::story::Story;
use ensue_views::view_retention::{ENDED_AT_ONCE, ElapsedTime, EndedExecution, RetainedViews as _, Round, Walk};
use ensue_views::{ViewName, ViewRetention};

use crate::shelf::Shelf;

fn execution(number: u128) -> ExecutionId {
    ExecutionId(Id::root(NOON, number))
}

fn part() -> PartOf {
    PartOf { workflow: execution(99), step: "weed".parse().unwrap(), item: None, on_failure: Default::default(), role: PartRole::Step }
}

/// Every way to end, as a part of a workflow or not.
fn ends(part_of: Option<&PartOf>) -> [Fact; 4] {
    let error = Failure::new(FailureKind::ExitCode, "it stuck");
    let part_of = part_of.cloned();
    [
        ExecutionSucceeded { part_of: part_of.clone() }.into(),
        ExecutionFailed { error: error.clone(), part_of: part_of.clone(), scope: None }.into(),
        ExecutionTimedOut { error, part_of: part_of.clone(), scope: None }.into(),
        ExecutionCancelled { error: None, part_of, by: None }.into(),
    ]
}

fn add_fact(story: &mut Story, number: u128, fact: Fact) {
    story.append_fact(StreamId::Execution(execution(number)), None, Actor::Engine, None, fact, None);
}

#[test]
fn retention_counts_from_any_end_except_for_steps_of_a_workflow() {
    let mut story = Story::new();
    for (number, fact) in (1..).zip(ends(None)) {
        add_fact(&mut story, number, fact);
    }
    for (number, fact) in (11..).zip(ends(Some(&part()))) {
        add_fact(&mut story, number, fact);
    }
    let expected: Vec<EndedExecution> = story.records()[..4]
        .iter()
        .zip(1..)
        .map(|(record, number)| EndedExecution { elapsed: record.time.micros(), at: record.position, execution: execution(number) })
        .collect();
    assert_eq!(ElapsedTime::default().fold(story.records()), expected);
}

#[test]
fn clock_step_does_not_count_as_elapsed_time_in_any_batching() {
    const DAY_MICROS: i64 = 86_400_000_000;
    let mut story = Story::new();
    story.event("garden.rained", "{}");
    let from = story.now();
    for by in [400 * DAY_MICROS, -30 * DAY_MICROS] {
        let from = story.now();
        story.go_on_at(Timestamp::from_micros(from.micros() + by));
        let step = ClockStepped { from, to: story.now() };
        story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    }
    story.event("garden.rained", "{}");
    let mut at_once = ElapsedTime::default();
    at_once.fold(story.records());
    let mut one_by_one = ElapsedTime::default();
    for record in story.records() {
        one_by_one.fold(std::slice::from_ref(record));
    }
    assert_eq!(at_once, one_by_one);
    assert_eq!(at_once.total_step(), 370 * DAY_MICROS);
    let passed = at_once.micros() - from.micros();
    assert!((0..1_000_000).contains(&passed), "{passed}");
}

#[test]
fn unlimited_retention_removes_nothing_and_any_age_is_valid() {
    let now = ElapsedTime::of(0, NOON.micros());
    assert_eq!(ViewRetention::default().until(now), None);
    let until = |age| ViewRetention { executions: Some(age) }.until(now);
    assert_eq!(until(Duration::from_secs(1)), Some(NOON.micros() - 1_000_000));
    assert!(until(Duration::MAX).is_some_and(|until| until < 0));
}

#[test]
fn clock_corrected_while_no_node_ran_does_not_count_as_elapsed_time() {
    const YEAR_MICROS: i64 = 365 * 86_400_000_000;
    let mut story = Story::new();
    story.event("garden.rained", "{}");
    let from = story.now();
    story.go_on_at(Timestamp::from_micros(from.micros() - YEAR_MICROS));
    let step = ClockStepped { from, to: story.now() };
    story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    story.event("garden.rained", "{}");
    story.go_on_at(Timestamp::from_micros(from.micros() + 1_000_000));
    story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, NodeStarted { release: "0.1.0".to_owned() }.into(), None);
    story.event("garden.rained", "{}");
    let mut elapsed = ElapsedTime::default();
    elapsed.fold(story.records());
    let passed = elapsed.micros() - from.micros();
    assert!((1_000_000..3_000_000).contains(&passed), "{passed}");
}

/// Returns the time that passed, by the fold, while no node ran and the clock moved by this much, after a step of the
/// clock by another amount.
fn passed_without_a_node(stepped: i64, moved: i64) -> i64 {
    let mut story = Story::new();
    story.event("garden.rained", "{}");
    let from = story.now();
    story.go_on_at(Timestamp::from_micros(from.micros() + stepped));
    let step = ClockStepped { from, to: story.now() };
    story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    let mut elapsed = ElapsedTime::default();
    elapsed.fold(story.records());
    let (before, last) = (elapsed.micros(), story.records().last().unwrap().time);
    story.go_on_at(Timestamp::from_micros(last.micros() + moved));
    story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, NodeStarted { release: "0.1.0".to_owned() }.into(), None);
    elapsed.fold(std::slice::from_ref(story.records().last().unwrap()));
    elapsed.micros() - before
}

#[test]
fn only_a_clock_that_was_set_back_may_have_been_corrected_without_a_node() {
    const DAY_MICROS: i64 = 86_400_000_000;
    for (stepped, moved, passed) in [
        (0, DAY_MICROS, DAY_MICROS),
        (DAY_MICROS, 2 * DAY_MICROS, 2 * DAY_MICROS),
        // Up to where the clock would be, nothing passed; whatever goes beyond that did.
        (-2 * DAY_MICROS, DAY_MICROS, 0),
        (-2 * DAY_MICROS, 2 * DAY_MICROS, 0),
        (-2 * DAY_MICROS, 2 * DAY_MICROS + 1, 1),
        (-2 * DAY_MICROS, 5 * DAY_MICROS, 3 * DAY_MICROS),
        // Going back once more is not a step forward.
        (-2 * DAY_MICROS, -DAY_MICROS, -DAY_MICROS),
    ] {
        assert_eq!(passed_without_a_node(stepped, moved), passed, "stepped by {stepped}, moved by {moved}");
    }
}

/// Removes what ended long ago from the views of a story.
fn after_retention(story: &Story) -> Shelf {
    let mut shelf = Shelf::of(story.records());
    let (mut walk, retention) = (Walk::default(), ViewRetention { executions: Some(Duration::from_secs(60)) });
    while walk.round(&mut shelf, retention, Duration::from_secs(3_600)).unwrap() == Round::More {}
    shelf
}

fn remaining_keys(shelf: &Shelf, view: ViewName) -> Vec<String> {
    shelf.rows(view).into_keys().collect()
}

/// An execution of a rule that has failed, so that it is a dead letter.
fn fail_execution(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.fail(execution, attempt, Failure::new(FailureKind::ExitCode, "it stuck"));
    execution
}

fn on_log(story: &mut Story, fact: impl Into<Fact>) {
    story.append_fact(StreamId::Log(story.log()), None, Actor::Token("ana".into()), None, fact.into(), None);
}

#[test]
fn execution_whose_dead_letter_is_open_stays_until_it_is_dismissed() {
    let mut story = Story::new();
    let (open, dismissed) = (fail_execution(&mut story), fail_execution(&mut story));
    on_log(&mut story, DeadLetterDismissed { of: dismissed.0 });
    let shelf = after_retention(&story);
    assert_eq!(remaining_keys(&shelf, ViewName::Executions), [open.to_string()]);
    assert_eq!(remaining_keys(&shelf, ViewName::DeadLetters), [open.to_string()]);
    assert_eq!(remaining_keys(&shelf, ViewName::Enforcements).len(), 1, "that of the one that stays");
    assert_eq!((shelf.removal_counts().executions, shelf.removal_counts().rows), (1, 3));
    on_log(&mut story, DeadLetterDismissed { of: open.0 });
    assert_eq!(remaining_keys(&after_retention(&story), ViewName::Executions), [""; 0]);
}

#[test]
fn execution_that_was_run_again_stays_as_long_as_its_rerun() {
    let mut story = Story::new();
    let original = fail_execution(&mut story);
    let rerun = execution(900);
    let fact = ExecutionRequested { rerun_of: Some(original), ..execution_request("garden.open_gate") };
    story.append_fact(StreamId::Execution(rerun), Some(rerun.0), Actor::Engine, None, fact.into(), None);
    let both = remaining_keys(&after_retention(&story), ViewName::Executions);
    assert_eq!(both.len(), 2, "the rerun is open");
    add_fact(&mut story, 900, ExecutionSucceeded::default().into());
    let mut shelf = Shelf::of(story.records());
    let (mut walk, retention) = (Walk::default(), ViewRetention { executions: Some(Duration::from_secs(60)) });
    walk.round(&mut shelf, retention, Duration::from_secs(3_600)).unwrap();
    assert_eq!(remaining_keys(&shelf, ViewName::Executions), [original.to_string()], "the rerun goes first");
    walk.round(&mut shelf, retention, Duration::from_secs(3_600)).unwrap();
    assert_eq!(remaining_keys(&shelf, ViewName::Executions), [""; 0]);
    assert_eq!(remaining_keys(&shelf, ViewName::Enforcements), [""; 0]);
}

#[test]
fn execution_stays_while_a_reaction_to_one_of_its_records_is_parked() {
    let succeeded = |story: &mut Story| {
        let event = story.event("garden.rained", "{}");
        let execution = story.execute("garden.drain", event, "garden.open_gate");
        let request = story.records().last().unwrap().position;
        let attempt = story.start(execution);
        story.succeed(execution, attempt);
        (execution, request, story.records().last().unwrap().position)
    };
    let mut story = Story::new();
    let (_, before, _) = succeeded(&mut story);
    let (execution, request, end) = succeeded(&mut story);
    succeeded(&mut story);
    let park = |of| ReactionParked { of, next: 0, error: "it failed".into() };
    for (of, stays) in [(request, true), (end, true), (Position(request.0 + 1), true), (before, false), (Position(end.0 + 1), false)] {
        let mut story = story.clone();
        on_log(&mut story, park(of));
        let is_left = remaining_keys(&after_retention(&story), ViewName::Executions).contains(&execution.to_string());
        assert_eq!(is_left, stays, "parked at {of}, of {request} to {end}");
    }
}

#[test]
fn workflow_is_removed_with_its_steps_and_what_they_left() {
    let mut story = Story::new();
    let (flow, step, other) = (execution(1), execution(2), execution(3));
    let request = |story: &mut Story, id: ExecutionId, pace, part_of| {
        let fact = ExecutionRequested { pace, part_of, ..execution_request("garden.water") };
        story.append_fact(StreamId::Execution(id), Some(id.0), Actor::Engine, None, fact.into(), None);
    };
    let of_flow = || PartOf { workflow: flow, ..part() };
    request(&mut story, flow, Pace::InSteps, None);
    request(&mut story, step, Pace::Worked, Some(of_flow()));
    request(&mut story, other, Pace::Worked, None);
    let attempt = story.start(step);
    story.gave_away(step, attempt, "gate.csv");
    story.open_inquiry(step, &["ana"], Some(of_flow()));
    add_fact(&mut story, 2, ExecutionCancelled { error: None, part_of: Some(of_flow()), by: None }.into());
    let kept = [ViewName::Executions, ViewName::Artifacts, ViewName::Inquiries];
    let rows = |story: &Story| kept.map(|view| remaining_keys(&after_retention(story), view).len());
    assert_eq!(rows(&story), [3, 1, 1], "the workflow has not ended");
    add_fact(&mut story, 1, ExecutionSucceeded::default().into());
    assert_eq!(rows(&story), [1, 0, 0]);
    assert_eq!(remaining_keys(&after_retention(&story), ViewName::Executions), [other.to_string()]);
}

/// Records an execution that ends at once with this fact.
fn ended_at_once(story: &mut Story, number: u128, end: Fact) {
    let id = execution(number);
    story.append_fact(StreamId::Execution(id), Some(id.0), Actor::Engine, None, execution_request("garden.water").into(), None);
    add_fact(story, number, end);
}

#[test]
fn walk_goes_past_what_stays_and_removes_what_ended_early_enough() {
    let mut story = Story::new();
    let stays = ENDED_AT_ONCE as u128;
    let [succeeded, failed, ..] = ends(None);
    for number in 0..stays {
        ended_at_once(&mut story, 1_000 + number, failed.clone());
    }
    for number in 0..3 {
        ended_at_once(&mut story, 5_000 + number, succeeded.clone());
    }
    story.later(600_000);
    ended_at_once(&mut story, 9_000, succeeded);
    let mut shelf = Shelf::of(story.records());
    let (mut walk, retention) = (Walk::default(), ViewRetention { executions: Some(Duration::from_secs(300)) });
    let mut round = |shelf: &mut Shelf, quiet| walk.round(shelf, retention, Duration::from_secs(quiet)).unwrap();
    assert_eq!((round(&mut shelf, 0), shelf.removal_counts().executions), (Round::More, 0), "none of the first ones goes");
    assert_eq!((round(&mut shelf, 0), shelf.removal_counts().executions), (Round::Over, 3));
    let late = execution(9_000).to_string();
    assert!(remaining_keys(&shelf, ViewName::Executions).contains(&late));
    // Time passes although nothing is recorded.
    for (quiet, removed) in [(299, 3), (301, 4)] {
        let rounds = [round(&mut shelf, quiet), round(&mut shelf, quiet)];
        assert_eq!((rounds, shelf.removal_counts().executions), ([Round::More, Round::Over], removed), "{quiet}");
    }
    assert_eq!(remaining_keys(&shelf, ViewName::Executions).len() as u128, stays);
}

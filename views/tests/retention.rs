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
use ensue_test_support::single::requested;
use ensue_test_support::story::Story;
use ensue_views::retention::{ENDED_AT_ONCE, Elapsed, Ended, RetainedViews as _, Round, Walk};
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

fn tell(story: &mut Story, number: u128, fact: Fact) {
    story.tell(StreamId::Execution(execution(number)), None, Actor::Engine, None, fact, None);
}

#[test]
fn retention_counts_from_any_end_except_for_steps_of_a_workflow() {
    let mut story = Story::new();
    for (number, fact) in (1..).zip(ends(None)) {
        tell(&mut story, number, fact);
    }
    for (number, fact) in (11..).zip(ends(Some(&part()))) {
        tell(&mut story, number, fact);
    }
    let expected: Vec<Ended> = story.records()[..4]
        .iter()
        .zip(1..)
        .map(|(record, number)| Ended { elapsed: record.time.micros(), at: record.position, execution: execution(number) })
        .collect();
    assert_eq!(Elapsed::default().fold(story.records()), expected);
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
        story.tell(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    }
    story.event("garden.rained", "{}");
    let mut at_once = Elapsed::default();
    at_once.fold(story.records());
    let mut one_by_one = Elapsed::default();
    for record in story.records() {
        one_by_one.fold(std::slice::from_ref(record));
    }
    assert_eq!(at_once, one_by_one);
    assert_eq!(at_once.stepped(), 370 * DAY_MICROS);
    let passed = at_once.micros() - from.micros();
    assert!((0..1_000_000).contains(&passed), "{passed}");
}

#[test]
fn unlimited_retention_removes_nothing_and_any_age_is_valid() {
    let now = Elapsed::of(0, NOON.micros());
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
    story.tell(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    story.event("garden.rained", "{}");
    story.go_on_at(Timestamp::from_micros(from.micros() + 1_000_000));
    story.tell(StreamId::Log(story.log()), None, Actor::Engine, None, NodeStarted { release: "0.1.0".to_owned() }.into(), None);
    story.event("garden.rained", "{}");
    let mut elapsed = Elapsed::default();
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
    story.tell(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
    let mut elapsed = Elapsed::default();
    elapsed.fold(story.records());
    let (before, last) = (elapsed.micros(), story.records().last().unwrap().time);
    story.go_on_at(Timestamp::from_micros(last.micros() + moved));
    story.tell(StreamId::Log(story.log()), None, Actor::Engine, None, NodeStarted { release: "0.1.0".to_owned() }.into(), None);
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

fn left(shelf: &Shelf, view: ViewName) -> Vec<String> {
    shelf.rows(view).into_keys().collect()
}

/// An execution of a rule that has failed, so that it is a dead letter.
fn failed(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", "{}");
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.failed(execution, attempt, Failure::new(FailureKind::ExitCode, "it stuck"));
    execution
}

fn on_log(story: &mut Story, fact: impl Into<Fact>) {
    story.tell(StreamId::Log(story.log()), None, Actor::Token("ana".into()), None, fact.into(), None);
}

#[test]
fn execution_whose_dead_letter_is_open_stays_until_it_is_dismissed() {
    let mut story = Story::new();
    let (open, dismissed) = (failed(&mut story), failed(&mut story));
    on_log(&mut story, DeadLetterDismissed { of: dismissed.0 });
    let shelf = after_retention(&story);
    assert_eq!(left(&shelf, ViewName::Executions), [open.to_string()]);
    assert_eq!(left(&shelf, ViewName::DeadLetters), [open.to_string()]);
    assert_eq!(left(&shelf, ViewName::Enforcements).len(), 1, "that of the one that stays");
    assert_eq!((shelf.removed().executions, shelf.removed().rows), (1, 3));
    on_log(&mut story, DeadLetterDismissed { of: open.0 });
    assert_eq!(left(&after_retention(&story), ViewName::Executions), [""; 0]);
}

#[test]
fn execution_that_was_run_again_stays_as_long_as_its_rerun() {
    let mut story = Story::new();
    let original = failed(&mut story);
    let rerun = execution(900);
    let fact = ExecutionRequested { rerun_of: Some(original), ..requested("garden.open_gate") };
    story.tell(StreamId::Execution(rerun), Some(rerun.0), Actor::Engine, None, fact.into(), None);
    let both = left(&after_retention(&story), ViewName::Executions);
    assert_eq!(both.len(), 2, "the rerun is open");
    tell(&mut story, 900, ExecutionSucceeded::default().into());
    let mut shelf = Shelf::of(story.records());
    let (mut walk, retention) = (Walk::default(), ViewRetention { executions: Some(Duration::from_secs(60)) });
    walk.round(&mut shelf, retention, Duration::from_secs(3_600)).unwrap();
    assert_eq!(left(&shelf, ViewName::Executions), [original.to_string()], "the rerun goes first");
    walk.round(&mut shelf, retention, Duration::from_secs(3_600)).unwrap();
    assert_eq!(left(&shelf, ViewName::Executions), [""; 0]);
    assert_eq!(left(&shelf, ViewName::Enforcements), [""; 0]);
}

#[test]
fn execution_stays_while_a_reaction_to_one_of_its_records_is_parked() {
    let succeeded = |story: &mut Story| {
        let event = story.event("garden.rained", "{}");
        let execution = story.executed("garden.drain", event, "garden.open_gate");
        let request = story.records().last().unwrap().position;
        let attempt = story.started(execution);
        story.succeeded(execution, attempt);
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
        let is_left = left(&after_retention(&story), ViewName::Executions).contains(&execution.to_string());
        assert_eq!(is_left, stays, "parked at {of}, of {request} to {end}");
    }
}

#[test]
fn workflow_is_removed_with_its_steps_and_what_they_left() {
    let mut story = Story::new();
    let (flow, step, other) = (execution(1), execution(2), execution(3));
    let request = |story: &mut Story, id: ExecutionId, pace, part_of| {
        let fact = ExecutionRequested { pace, part_of, ..requested("garden.water") };
        story.tell(StreamId::Execution(id), Some(id.0), Actor::Engine, None, fact.into(), None);
    };
    let of_flow = || PartOf { workflow: flow, ..part() };
    request(&mut story, flow, Pace::InSteps, None);
    request(&mut story, step, Pace::Worked, Some(of_flow()));
    request(&mut story, other, Pace::Worked, None);
    let attempt = story.started(step);
    story.gave_away(step, attempt, "gate.csv");
    story.asked(step, &["ana"], Some(of_flow()));
    tell(&mut story, 2, ExecutionCancelled { error: None, part_of: Some(of_flow()), by: None }.into());
    let kept = [ViewName::Executions, ViewName::Artifacts, ViewName::Inquiries];
    let rows = |story: &Story| kept.map(|view| left(&after_retention(story), view).len());
    assert_eq!(rows(&story), [3, 1, 1], "the workflow has not ended");
    tell(&mut story, 1, ExecutionSucceeded::default().into());
    assert_eq!(rows(&story), [1, 0, 0]);
    assert_eq!(left(&after_retention(&story), ViewName::Executions), [other.to_string()]);
}

/// Records an execution that ends at once with this fact.
fn ended_at_once(story: &mut Story, number: u128, end: Fact) {
    let id = execution(number);
    story.tell(StreamId::Execution(id), Some(id.0), Actor::Engine, None, requested("garden.water").into(), None);
    tell(story, number, end);
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
    assert_eq!((round(&mut shelf, 0), shelf.removed().executions), (Round::More, 0), "none of the first ones goes");
    assert_eq!((round(&mut shelf, 0), shelf.removed().executions), (Round::Over, 3));
    let late = execution(9_000).to_string();
    assert!(left(&shelf, ViewName::Executions).contains(&late));
    // Time passes although nothing is recorded.
    for (quiet, removed) in [(299, 3), (301, 4)] {
        let rounds = [round(&mut shelf, quiet), round(&mut shelf, quiet)];
        assert_eq!((rounds, shelf.removed().executions), ([Round::More, Round::Over], removed), "{quiet}");
    }
    assert_eq!(left(&shelf, ViewName::Executions).len() as u128, stays);
}

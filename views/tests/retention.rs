//! Tests what retention derives from a log: the elapsed time, and the ended executions that are not part of a
//! workflow.

use std::time::Duration;

use ensue_engine::executions::facts::{ExecutionCancelled, ExecutionFailed, ExecutionSucceeded, ExecutionTimedOut, Failure, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{ClockStepped, NodeStarted};
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::{Actor, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::ViewRetention;
use ensue_views::retention::{Elapsed, Ended};

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
    assert!((0..3_000_000).contains(&passed), "{passed}");
}

//! Tests the views of a workflow: its steps by their executions, and those without an execution.

use ensue_engine::catalog::{ItemFailure, OnFailure};
use ensue_engine::executions::facts::{
    ExecutionFailed, ExecutionPaused, ExecutionRequested, ExecutionResumed, ExecutionSucceeded, Failure, FailureKind, Pace,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::locks::facts::{Lock, LockAcquired, LockAwaited, LockOwner};
use ensue_engine::record::{Actor, Body, Digest, StreamId};
use ensue_engine::timers::facts::{TimerFired, TimerKind};
use ensue_engine::workflows::facts::{
    BadEnd, PartOf, PartRole, SkippedBecause, StepEnded, StepExpanded, StepFailed, StepSkipped, UndoBegun, UndoFailed,
};
use ensue_test_support::NOON;
use ensue_test_support::single::execution_request;
use ensue_test_support::story::Story;
use ensue_views::executions::{COLUMNS, NOT_STARTED_MAX, Status};
use ensue_views::{Column, Execution, TimelineEntry, View as _};

use crate::fold;

fn id(number: u128) -> ExecutionId {
    ExecutionId(Id::root(ensue_engine::time::Timestamp::from_micros(1_774_699_200_000_000), number))
}

fn add_fact(story: &mut Story, execution: ExecutionId, fact: impl Into<Fact>, body: Option<Body>) {
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, fact.into(), body);
}

fn request(story: &mut Story, execution: ExecutionId, pace: Pace, part_of: Option<PartOf>) {
    let fact = ExecutionRequested { part_of, pace, ..execution_request("garden.water") };
    story.append_fact(StreamId::Execution(execution), Some(execution.0), Actor::Engine, None, fact.into(), None);
}

fn flow() -> (Story, ExecutionId) {
    let mut story = Story::new();
    request(&mut story, id(1), Pace::InSteps, None);
    (story, id(1))
}

fn fold_execution(story: &Story, execution: ExecutionId) -> Execution {
    fold::<Execution>(story.records()).remove(&execution.to_string()).unwrap()
}

#[test]
fn workflow_waits_for_its_steps_until_it_ends_with_its_result() {
    let (mut story, flow) = flow();
    let waiting = fold_execution(&story, flow);
    assert_eq!((waiting.status, waiting.attempt, waiting.started_at), (Status::Waiting, 0, Some(waiting.requested_at)));
    add_fact(&mut story, flow, ExecutionSucceeded::default(), Some(Body::json(r#"{"litres":3}"#)));
    let ended = fold_execution(&story, flow);
    assert_eq!(
        (ended.status, ended.result.map(|result| result.position)),
        (Status::Succeeded, story.records().last().map(|last| last.position))
    );
}

#[test]
fn workflow_starts_when_its_steps_can_begin() {
    let mut story = Story::new();
    let (lock, start_at) =
        (Lock { owner: LockOwner::Action("garden.water".parse().unwrap()), key: Digest::of(b"bed") }, NOON.plus_millis(60_000));
    let delayed = ExecutionRequested { pace: Pace::InSteps, start_at: Some(start_at), ..execution_request("garden.water") };
    story.append_fact(StreamId::Execution(id(1)), Some(id(1).0), Actor::Engine, None, delayed.into(), None);
    let started = |story: &Story| fold_execution(story, id(1)).started_at;
    assert_eq!(started(&story), None);
    add_fact(&mut story, id(1), TimerFired { kind: TimerKind::Start, number: 0, due: start_at, schedule: None }, None);
    add_fact(&mut story, id(1), LockAwaited { lock: lock.clone(), limit: 1, behind: vec![id(9)] }, None);
    assert_eq!(started(&story), None);
    add_fact(&mut story, id(1), ExecutionPaused {}, None);
    add_fact(&mut story, id(1), LockAcquired { lock }, None);
    assert_eq!(started(&story), None, "nothing of it starts while it is paused");
    add_fact(&mut story, id(1), ExecutionResumed {}, None);
    let resumed = story.records().last().unwrap().time;
    add_fact(&mut story, id(1), ExecutionSucceeded::default(), None);
    assert_eq!(started(&story), Some(resumed));
}

#[test]
fn step_names_its_workflow_and_is_found_by_it() {
    let (mut story, flow) = flow();
    let part_of =
        PartOf { workflow: flow, step: "beds".parse().unwrap(), item: Some(2), on_failure: OnFailure::Fail, role: PartRole::Step };
    request(&mut story, id(2), Pace::Worked, Some(part_of));
    let step = fold_execution(&story, id(2));
    assert_eq!((step.parent, step.step.as_ref().map(|step| step.as_str()), step.item), (Some(flow), Some("beds"), Some(2)));
    let parent = COLUMNS.iter().position(|column| *column == Column::Parent).unwrap();
    assert_eq!(step.columns()[parent], Some(flow.0.into()));
    assert_eq!(fold_execution(&story, flow).columns()[parent], None);
}

#[test]
fn turns_and_undos_are_distinguished_from_items() {
    let (mut story, flow) = flow();
    let part = |item, role| PartOf { workflow: flow, step: "beds".parse().unwrap(), item, on_failure: OnFailure::Fail, role };
    request(&mut story, id(2), Pace::Worked, Some(part(Some(0), PartRole::Turn)));
    request(&mut story, id(3), Pace::Worked, Some(part(Some(0), PartRole::Undo)));
    add_fact(&mut story, flow, UndoBegun { count: 1, end: BadEnd::Cancelled }, None);
    let reported = |id| {
        let one = fold_execution(&story, id);
        (one.item, one.turn, one.undoes)
    };
    assert_eq!((reported(id(2)), reported(id(3))), ((None, Some(1), false), (Some(0), None, true)));
    assert_eq!(fold_execution(&story, flow).status, Status::Undoing);
}

#[test]
fn paused_workflow_that_undoes_its_steps_is_paused_no_longer() {
    let (mut story, flow) = flow();
    add_fact(&mut story, flow, ExecutionPaused {}, None);
    assert_eq!((fold_execution(&story, flow).status, fold_execution(&story, flow).paused_at.is_some()), (Status::Paused, true));
    add_fact(&mut story, flow, UndoBegun { count: 2, end: BadEnd::Cancelled }, None);
    assert_eq!((fold_execution(&story, flow).status, fold_execution(&story, flow).paused_at), (Status::Undoing, None));
    // Whatever happens to its steps, it stays so.
    let skipped = StepSkipped { step: "after".parse().unwrap(), because: SkippedBecause::Failing };
    add_fact(&mut story, flow, skipped, None);
    assert_eq!(fold_execution(&story, flow).status, Status::Undoing);
}

#[test]
fn unstarted_steps_have_a_reason_and_only_the_first_are_stored() {
    let (mut story, flow) = flow();
    let error = Failure::new(FailureKind::Expression, "there is no `litres`");
    add_fact(
        &mut story,
        flow,
        StepExpanded { step: "none".parse().unwrap(), count: 0, item_failure: ItemFailure::default(), takes_over: false, fail_at: None },
        Some(Body::json("[]")),
    );
    add_fact(
        &mut story,
        flow,
        StepEnded { step: "none".parse().unwrap(), error: None, on_failure: OnFailure::Fail, role: PartRole::Step },
        None,
    );
    add_fact(
        &mut story,
        flow,
        StepExpanded { step: "beds".parse().unwrap(), count: 90, item_failure: ItemFailure::default(), takes_over: false, fail_at: None },
        Some(Body::json("[]")),
    );
    add_fact(&mut story, flow, StepSkipped { step: "dry".parse().unwrap(), because: SkippedBecause::Condition }, None);
    for item in 0..90 {
        add_fact(
            &mut story,
            flow,
            StepFailed { step: "beds".parse().unwrap(), item: Some(item), error: error.clone(), on_failure: OnFailure::Fail },
            None,
        );
    }
    let shown = fold_execution(&story, flow);
    assert_eq!((shown.not_started.len(), shown.not_started_count), (NOT_STARTED_MAX, 92));
    let reported = shown.not_started.iter().take(3).map(|one| (one.step.as_str(), one.item, one.skipped, one.error.is_some()));
    let expected = [("none", None, None, false), ("dry", None, Some(SkippedBecause::Condition), false), ("beds", Some(0), None, true)];
    assert!(reported.eq(expected));
}

#[test]
fn timeline_describes_steps_in_words() {
    let (mut story, flow) = flow();
    let step = || "beds".parse().unwrap();
    let error = Failure::new(FailureKind::ChildFailed, "1 of 3 items failed");
    add_fact(
        &mut story,
        flow,
        StepExpanded { step: step(), count: 3, item_failure: ItemFailure::default(), takes_over: false, fail_at: None },
        Some(Body::json("[1,2,3]")),
    );
    add_fact(&mut story, flow, StepFailed { step: step(), item: Some(1), error: error.clone(), on_failure: OnFailure::Fail }, None);
    add_fact(
        &mut story,
        flow,
        StepEnded { step: step(), error: Some(error.clone()), on_failure: OnFailure::Fail, role: PartRole::Step },
        None,
    );
    add_fact(&mut story, flow, StepSkipped { step: "after".parse().unwrap(), because: SkippedBecause::Failing }, None);
    add_fact(&mut story, flow, UndoBegun { count: 3, end: BadEnd::Cancelled }, None);
    add_fact(&mut story, flow, UndoFailed { step: step(), item: Some(2), error: error.clone() }, None);
    add_fact(&mut story, flow, ExecutionFailed { error, part_of: None, scope: None }, None);
    let reported: Vec<String> = story.records().iter().filter_map(TimelineEntry::of).map(|entry| entry.what).collect();
    let expected = [
        "garden.water was requested",
        "step beds runs for each of 3 items",
        "item 1 of step beds failed: 1 of 3 items failed (child_failed)",
        "step beds failed: 1 of 3 items failed (child_failed)",
        "step after was skipped: the workflow is failing",
        "undoes 3 steps and items that succeeded, the newest first",
        "the undo of item 2 of step beds failed: 1 of 3 items failed (child_failed)",
        "failed: 1 of 3 items failed (child_failed)",
    ];
    assert_eq!(reported, expected);
}

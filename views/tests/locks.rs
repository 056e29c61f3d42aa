//! Tests of the holders of locks and of the executions that wait for them.

use ensue_engine::catalog::LockConflict;
use ensue_engine::executions::facts::{ExecutionPaused, ExecutionRequested, ExecutionResumed, ExecutionSucceeded, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::locks::facts::{Claim, Lock, LockAcquired, LockAwaited, LockOwner};
use ensue_engine::record::{Actor, Digest, StreamId};
use ensue_engine::timers::facts::{TimerFired, TimerKind};
use ensue_test_support::NOON;
use ensue_test_support::single::execution_request;
use ensue_test_support::story::Story;
use ensue_views::executions::Status;
use ensue_views::{Execution, LockClaims, Term, View};

use crate::fold;

fn id(number: u128) -> ExecutionId {
    ExecutionId(Id::root(NOON, number))
}

fn lock() -> Lock {
    Lock { owner: LockOwner::Action("garden.water".parse().unwrap()), key: Digest::of(b"text roses") }
}

fn add_fact(story: &mut Story, execution: ExecutionId, fact: impl Into<Fact>) {
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, fact.into(), None);
}

fn request(story: &mut Story, execution: ExecutionId, locks: Vec<Claim>) {
    let fact = ExecutionRequested { locks, pace: Pace::InSteps, ..execution_request("garden.water") };
    story.append_fact(StreamId::Execution(execution), Some(execution.0), Actor::Engine, None, fact.into(), None);
}

fn sample_claims() -> Vec<Claim> {
    vec![Claim { owner: lock().owner, key: lock().key, limit: 1, conflict: LockConflict::Queue }]
}

fn row(story: &Story, execution: ExecutionId) -> Option<LockClaims> {
    fold::<LockClaims>(story.records()).remove(&execution.to_string())
}

#[test]
fn execution_holds_its_lock_from_its_request_unless_it_waits() {
    let mut story = Story::new();
    request(&mut story, id(1), sample_claims());
    let held = row(&story, id(1)).unwrap();
    assert!(held.claims[0].held_since.is_some() && held.awaits().is_none());
    assert_eq!(held.columns(), [Some(Term::from("garden.water")), None]);
    add_fact(&mut story, id(1), ExecutionSucceeded { part_of: None });
    assert_eq!(row(&story, id(1)), None);
}

#[test]
fn waiting_execution_is_listed_after_the_holder_until_it_holds() {
    let mut story = Story::new();
    request(&mut story, id(1), sample_claims());
    request(&mut story, id(2), sample_claims());
    add_fact(&mut story, id(2), LockAwaited { lock: lock(), limit: 1, behind: vec![id(1)] });
    let seen = |story: &Story| fold::<Execution>(story.records()).remove(&id(2).to_string()).unwrap();
    assert_eq!(row(&story, id(2)).unwrap().awaits().map(|claim| claim.lock.clone()), Some(lock()));
    assert_eq!((seen(&story).status, seen(&story).awaits_lock.unwrap().behind), (Status::Queued, vec![id(1)]));
    add_fact(&mut story, id(2), LockAcquired { lock: lock() });
    assert!(row(&story, id(2)).unwrap().awaits().is_none());
    assert_eq!((seen(&story).status, seen(&story).awaits_lock), (Status::Waiting, None));
}

/// The lock of the rule, which is taken after that of the action.
fn second_lock() -> Lock {
    Lock { owner: LockOwner::Rule("garden.drain".parse().unwrap()), key: Digest::of(b"text bed") }
}

fn two_claimed() -> Vec<Claim> {
    let second = Claim { owner: second_lock().owner, key: second_lock().key, limit: 2, conflict: LockConflict::Queue };
    sample_claims().into_iter().chain([second]).collect()
}

#[test]
fn waiting_execution_holds_the_locks_before_the_one_it_waits_for_and_none_after_it() {
    let mut story = Story::new();
    request(&mut story, id(2), two_claimed());
    let requested = story.records().last().unwrap().time;
    let held = |story: &Story| row(story, id(2)).unwrap().claims.iter().map(|claim| claim.held_since).collect::<Vec<_>>();
    let awaited = |story: &Story| row(story, id(2)).unwrap().awaits().map(|claim| claim.lock.clone());
    assert_eq!((held(&story), awaited(&story)), (vec![Some(requested), Some(requested)], None));
    add_fact(&mut story, id(2), LockAwaited { lock: lock(), limit: 1, behind: vec![id(1)] });
    let waits = story.records().last().unwrap().time;
    assert_eq!((held(&story), awaited(&story)), (vec![None, None], Some(lock())));
    assert_eq!(row(&story, id(2)).unwrap().waits_since, Some(waits));
    // It acquires the first, and waits for the second in the same commit.
    add_fact(&mut story, id(2), LockAcquired { lock: lock() });
    let acquired = story.records().last().unwrap().time;
    add_fact(&mut story, id(2), LockAwaited { lock: second_lock(), limit: 3, behind: vec![id(1)] });
    assert_eq!((held(&story), awaited(&story)), (vec![Some(acquired), None], Some(second_lock())));
    assert_eq!(row(&story, id(2)).unwrap().claims.iter().map(|claim| claim.limit).collect::<Vec<_>>(), [1, 3], "the limit is that of now");
    add_fact(&mut story, id(2), LockAcquired { lock: second_lock() });
    let both = story.records().last().unwrap().time;
    assert_eq!((held(&story), awaited(&story)), (vec![Some(acquired), Some(both)], None));
    assert_eq!(row(&story, id(2)).unwrap().columns(), [Some(Term::from("garden.water")), Some(Term::from("garden.drain"))]);
}

#[test]
fn execution_that_starts_later_holds_no_lock_until_then() {
    for (start_at, wait_millis, kind) in [(Some(NOON.plus_millis(60_000)), None, TimerKind::Start), (None, Some(60_000), TimerKind::Turn)] {
        let mut story = Story::new();
        let fact = ExecutionRequested { locks: sample_claims(), start_at, wait_millis, ..execution_request("garden.water") };
        story.append_fact(StreamId::Execution(id(1)), Some(id(1).0), Actor::Engine, None, fact.into(), None);
        let fired = |kind| TimerFired { kind, number: 1, due: NOON, schedule: None };
        add_fact(&mut story, id(1), fired(TimerKind::Timeout));
        assert_eq!(row(&story, id(1)).unwrap().claims[0].held_since, None);
        add_fact(&mut story, id(1), fired(kind));
        assert_eq!(row(&story, id(1)).unwrap().claims[0].held_since, story.records().last().map(|record| record.time));
    }
}

#[test]
fn paused_execution_keeps_its_locks_and_shows_that_it_is_paused() {
    let mut story = Story::new();
    request(&mut story, id(1), sample_claims());
    let before = row(&story, id(1)).unwrap();
    add_fact(&mut story, id(1), ExecutionPaused {});
    let paused = row(&story, id(1)).unwrap();
    assert!(paused.is_paused && paused.claims == before.claims);
    add_fact(&mut story, id(1), ExecutionResumed {});
    assert_eq!(row(&story, id(1)), Some(before));
}

#[test]
fn execution_without_a_lock_has_no_row() {
    let mut story = Story::new();
    request(&mut story, id(1), Vec::new());
    add_fact(&mut story, id(1), ExecutionSucceeded { part_of: None });
    assert_eq!(row(&story, id(1)), None);
}

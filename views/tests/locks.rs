//! Tests of the holders of locks and of the executions that wait for them.

use ensue_engine::catalog::LockConflict;
use ensue_engine::executions::facts::{ExecutionRequested, ExecutionSucceeded, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::locks::facts::{Claim, Lock, LockAcquired, LockAwaited, LockOwner};
use ensue_engine::record::{Actor, Digest, StreamId};
use ensue_test_support::NOON;
use ensue_test_support::single::requested;
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

fn tell(story: &mut Story, execution: ExecutionId, fact: impl Into<Fact>) {
    story.tell(StreamId::Execution(execution), None, Actor::Engine, None, fact.into(), None);
}

fn request(story: &mut Story, execution: ExecutionId, locks: Vec<Claim>) {
    let fact = ExecutionRequested { locks, pace: Pace::InSteps, ..requested("garden.water") };
    story.tell(StreamId::Execution(execution), Some(execution.0), Actor::Engine, None, fact.into(), None);
}

fn claimed() -> Vec<Claim> {
    vec![Claim { owner: lock().owner, key: lock().key, limit: 1, conflict: LockConflict::Queue }]
}

fn row(story: &Story, execution: ExecutionId) -> Option<LockClaims> {
    fold::<LockClaims>(story.records()).remove(&execution.to_string())
}

#[test]
fn execution_holds_its_lock_from_its_request_unless_it_waits() {
    let mut story = Story::new();
    request(&mut story, id(1), claimed());
    let held = row(&story, id(1)).unwrap();
    assert!(held.claims[0].held_since.is_some() && held.awaits().is_none());
    assert_eq!(held.columns(), [Some(Term::from("garden.water")), None]);
    tell(&mut story, id(1), ExecutionSucceeded { part_of: None });
    assert_eq!(row(&story, id(1)), None);
}

#[test]
fn waiting_execution_is_listed_after_the_holder_until_it_holds() {
    let mut story = Story::new();
    request(&mut story, id(1), claimed());
    request(&mut story, id(2), claimed());
    tell(&mut story, id(2), LockAwaited { lock: lock(), limit: 1, behind: vec![id(1)] });
    let seen = |story: &Story| fold::<Execution>(story.records()).remove(&id(2).to_string()).unwrap();
    assert_eq!(row(&story, id(2)).unwrap().awaits().map(|claim| claim.lock.clone()), Some(lock()));
    assert_eq!((seen(&story).status, seen(&story).awaits_lock.unwrap().behind), (Status::Queued, vec![id(1)]));
    tell(&mut story, id(2), LockAcquired { lock: lock() });
    assert!(row(&story, id(2)).unwrap().awaits().is_none());
    assert_eq!((seen(&story).status, seen(&story).awaits_lock), (Status::Waiting, None));
}

#[test]
fn execution_without_a_lock_has_no_row() {
    let mut story = Story::new();
    request(&mut story, id(1), Vec::new());
    tell(&mut story, id(1), ExecutionSucceeded { part_of: None });
    assert_eq!(row(&story, id(1)), None);
}

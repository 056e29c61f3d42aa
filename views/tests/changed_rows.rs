//! Tests of what callers learn of the changes of a batch.

use ensue_engine::access::facts::{GrantAdded, GrantRemoved, IdentityAdded, IdentityKind, KeySet};
use ensue_engine::access::subject::Subject;
use ensue_engine::executions::facts::{ExecutionRequested, ExecutionSucceeded};
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{ReactionParked, ReactionRetried};
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId};
use ensue_engine::locks::facts::{Claim, LockOwner};
use ensue_engine::record::{Actor, Digest, Position, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_test_support::NOON;
use ensue_test_support::single::execution_request;
use ensue_test_support::story::Story;
use ensue_views::changed_rows::{ChangedKind, ChangedRow, ChangedRows};
use ensue_views::onlooker::Nobody;
use ensue_views::{Projector, ReachLimits, RowReach, RowScope};

use crate::shelf::Shelf;

/// Folds the records after the first ones, and returns what callers learn of them.
fn changed_after(story: &Story, known: usize) -> ChangedRows {
    let (mut shelf, mut projector) = (Shelf::default(), Projector::new());
    projector.advance(&mut shelf, &story.records()[..known]).unwrap();
    let mut changed = None;
    let mut tell = |after, changes| changed = Some(ChangedRows::of(after, changes));
    projector.advance_telling(&mut shelf, &story.records()[known..], &mut Nobody, &mut tell).unwrap();
    changed.expect("there were records")
}

fn kinds(changed: &ChangedRows) -> Vec<ChangedKind> {
    changed.rows.iter().map(|row| row.kind).collect()
}

fn only(changed: &ChangedRows, kind: ChangedKind) -> ChangedRow {
    let rows: Vec<&ChangedRow> = changed.rows.iter().filter(|row| row.kind == kind).collect();
    assert_eq!(rows.len(), 1, "{kind:?}: {changed:?}");
    rows[0].clone()
}

fn append_fact(story: &mut Story, stream: StreamId, fact: impl Into<Fact>) {
    story.append_fact(stream, None, Actor::Token("ana".into()), None, fact.into(), None);
}

fn within(limits: &[&str], asked: &[&str]) -> RowReach {
    let all_of = vec![limits.iter().map(|limit| limit.parse().unwrap()).collect()];
    RowReach::Within(ReachLimits { all_of, asked: asked.iter().map(|name| (*name).to_owned()).collect(), itself: None }.into())
}

#[test]
fn inquiry_is_reached_by_those_whom_it_asks_and_by_those_who_reach_its_place() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "core.inquiry");
    let known = story.records().len();
    let id = story.open_inquiry(execution, &["role:keepers", "ana"], None);
    let changed = changed_after(&story, known);
    assert_eq!((changed.after, changed.through), (Position(known as u64), Position(known as u64 + 1)));
    let row = only(&changed, ChangedKind::Inquiries);
    assert_eq!((row.key.clone(), row.asked.clone()), (Some(id.into()), vec!["role:keepers".to_owned(), "ana".to_owned()]));
    let nowhere = "pack=other";
    for asked in ["ana", "role:keepers"] {
        assert!(row.is_reached(&within(&[nowhere], &["zoe", asked])), "{asked}");
    }
    assert!(!row.is_reached(&within(&[nowhere], &["keepers", "eve"])) && !row.is_reached(&within(&[nowhere], &[])));
    assert!(row.is_reached(&RowReach::Everything) && !row.is_reached(&RowReach::nothing()));
    // Its scope is not recorded in this log, so only those whom it asks reach it.
    assert_eq!(row.scope, None);
    let placed = ChangedRow { scope: Some(RowScope::of_pack("garden")), ..row };
    assert!(placed.is_reached(&within(&["pack=garden"], &[])) && !placed.is_reached(&within(&[nowhere], &[])));
}

#[test]
fn things_are_reported_by_their_keys_and_places_and_each_once() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("pumps.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    let changed = changed_after(&story, 0);
    let expected = [
        ChangedKind::Events,
        ChangedKind::Enforcements,
        ChangedKind::Executions,
        ChangedKind::Rules,
        // An execution enters and leaves its queue.
        ChangedKind::Queues,
    ];
    assert_eq!(kinds(&changed), expected);
    let place = |kind| only(&changed, kind).scope.map(|scope| scope.place);
    assert_eq!([ChangedKind::Events, ChangedKind::Executions].map(place), [Some("garden".to_owned()), Some("pumps".to_owned())]);
    assert_eq!(only(&changed, ChangedKind::Executions).key, Some(execution.into()));
    let rule = only(&changed, ChangedKind::Rules);
    assert_eq!((rule.key, rule.scope), (Some("pumps.drain".into()), Some(RowScope::of_pack("pumps"))));
    assert_eq!(only(&changed, ChangedKind::Queues).key, None);
}

#[test]
fn two_rules_of_a_batch_are_distinguished() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    for rule in ["garden.drain", "pumps.drain"] {
        story.enforce(&rule.parse().unwrap(), event, Outcome::Shadowed);
    }
    let changed = changed_after(&story, 0);
    let rules = changed.rows.iter().filter(|row| row.kind == ChangedKind::Rules);
    let shown: Vec<_> = rules.map(|row| (row.key.as_ref().unwrap().to_string(), row.scope.as_ref().unwrap().place.as_str())).collect();
    assert_eq!(shown, [("garden.drain".to_owned(), "garden"), ("pumps.drain".to_owned(), "pumps")]);
}

#[test]
fn grants_and_identities_are_reported_as_a_whole() {
    let (identity, grant) = (IdentityId(Id::root(NOON, 5)), GrantId(Id::root(NOON, 6)));
    let mut story = Story::new();
    let added = IdentityAdded { id: identity, kind: IdentityKind::Person, by_issuer: None };
    append_fact(&mut story, StreamId::Identity(identity), added);
    assert_eq!(kinds(&changed_after(&story, 0)), [ChangedKind::Identities]);
    let role = "viewer".parse().unwrap();
    let granted = GrantAdded { id: grant, subject: Subject::Everyone, role, on: None, until: None, declared: false };
    append_fact(&mut story, StreamId::Grant(grant), granted);
    append_fact(&mut story, StreamId::Grant(grant), GrantRemoved { id: grant });
    assert_eq!(kinds(&changed_after(&story, 1)), [ChangedKind::Grants]);
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    append_fact(&mut story, StreamId::Key(key.clone()), KeySet { key, version: 1 });
    assert_eq!(kinds(&changed_after(&story, 3)), [ChangedKind::Keys]);
    assert_eq!(kinds(&changed_after(&story, 0)), [ChangedKind::Keys, ChangedKind::Grants, ChangedKind::Identities]);
}

#[test]
fn what_leaves_the_views_is_reported_only_as_part_of_a_whole() {
    let mut story = Story::new();
    let execution = ExecutionId(Id::root(NOON, 9));
    let claim = Claim {
        owner: LockOwner::Action("garden.water".parse().unwrap()),
        key: Digest::of(b"text roses"),
        limit: 1,
        conflict: ensue_engine::catalog::LockConflict::Queue,
    };
    let fact = ExecutionRequested { locks: vec![claim], ..execution_request("garden.water") };
    story.append_fact(StreamId::Execution(execution), Some(execution.0), Actor::Engine, None, fact.into(), None);
    let parked = ReactionParked { of: Position(1), next: 0, error: "it failed".into() };
    let log = StreamId::Log(story.log());
    story.append_fact(log.clone(), None, Actor::Engine, None, parked.into(), None);
    let begun = kinds(&changed_after(&story, 0));
    assert!(begun.contains(&ChangedKind::Locks) && begun.contains(&ChangedKind::ParkedReactions), "{begun:?}");
    let known = story.records().len();
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, ExecutionSucceeded::default().into(), None);
    story.append_fact(log, None, Actor::Engine, None, ReactionRetried { of: Position(1) }.into(), None);
    assert_eq!(kinds(&changed_after(&story, known)), [ChangedKind::Executions, ChangedKind::Locks, ChangedKind::Queues]);
}

//! Tests what the projector loads from a store, and which changes it passes to it.

use std::collections::BTreeSet;

use ensue_engine::access::facts::{KeyRemoved, KeySet};
use ensue_engine::catalog::facts::PackInstalled;
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{ReactionParked, ReactionRetried};
use ensue_engine::names::KeyRef;
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest, Position, Record, StreamId};
use ensue_engine::vars::facts::VarSet;
use ensue_test_support::story::Story;
use ensue_views::onlooker::Nobody;
use ensue_views::store::Change;
use ensue_views::{
    Artifact, AuditEntry, DeadLetter, Enforcement, Event, Execution, Inquiry, Key, LockClaims, Pack, ParkedReaction, Projector, Row,
    RuleActivity, Schedule, Term, Token, Totals, Var, View, ViewError, ViewName, ViewStore as _,
};
use proptest::prelude::*;

use crate::fold;
use crate::shelf::Shelf;

/// The keys that a projector loaded.
type AskedFor = Vec<(ViewName, Vec<Term>)>;

/// Loads nothing, and returns the requested keys and the changes.
fn loads(projector: &mut Projector, records: &[Record]) -> (AskedFor, Vec<(ViewName, Change)>) {
    let mut asked = Vec::new();
    let load = &mut |view: ViewName, keys: &[Term]| {
        asked.push((view, keys.to_vec()));
        Ok(Vec::new())
    };
    let changes = projector.project(records, load, &mut Nobody);
    (asked, changes.unwrap().rows)
}

#[test]
fn row_changes_once_per_batch_however_many_records_touch_it() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    let (_, rows) = loads(&mut Projector::new(), story.records());
    let views: Vec<ViewName> = rows.iter().map(|(view, _)| *view).collect();
    let once = [ViewName::Events, ViewName::Enforcements, ViewName::Executions, ViewName::Rules, ViewName::Totals];
    assert_eq!(views, once);
    assert!(rows.iter().all(|(_, change)| matches!(change, Change::Insert(_))));
}

#[test]
fn new_row_is_not_loaded_and_an_existing_one_only_once() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let mut projector = Projector::new();
    let (asked, _) = loads(&mut projector, story.records());
    let views: BTreeSet<ViewName> = asked.iter().map(|(view, _)| *view).collect();
    assert_eq!(views, BTreeSet::from([ViewName::Rules, ViewName::Totals]));

    let before = story.records().len();
    story.start(execution);
    let (asked, rows) = loads(&mut projector, &story.records()[before..]);
    assert_eq!(asked, []);
    assert!(rows.iter().all(|(_, change)| matches!(change, Change::Update(_))), "{rows:?}");
}

/// Demands that a store has the rows of a view that a plain fold of the log leads to.
#[track_caller]
fn assert_rows_of<V: View>(shelf: &Shelf, records: &[Record]) {
    let expected = fold::<V>(records);
    let stored = shelf.rows(V::NAME);
    assert_eq!(stored.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{}", V::NAME);
    for (key, row) in expected {
        let document = serde_json::to_vec(&row).unwrap();
        assert_eq!((stored[&key].position, &stored[&key].document[..]), (row.position(), &document[..]), "{} {key}", V::NAME);
    }
}

#[track_caller]
fn assert_all_rows(shelf: &Shelf, records: &[Record]) {
    assert_rows_of::<Event>(shelf, records);
    assert_rows_of::<Enforcement>(shelf, records);
    assert_rows_of::<Execution>(shelf, records);
    assert_rows_of::<Artifact>(shelf, records);
    assert_rows_of::<Inquiry>(shelf, records);
    assert_rows_of::<RuleActivity>(shelf, records);
    assert_rows_of::<Schedule>(shelf, records);
    assert_rows_of::<LockClaims>(shelf, records);
    assert_rows_of::<Pack>(shelf, records);
    assert_rows_of::<Key>(shelf, records);
    assert_rows_of::<Var>(shelf, records);
    assert_rows_of::<Token>(shelf, records);
    assert_rows_of::<AuditEntry>(shelf, records);
    assert_rows_of::<DeadLetter>(shelf, records);
    assert_rows_of::<ParkedReaction>(shelf, records);
    assert_rows_of::<Totals>(shelf, records);
}

/// Things that begin again under the same key.
fn story_of_things_that_begin_again() -> Story {
    let mut story = Story::new();
    let key: KeyRef = "garden.code".parse().unwrap();
    let log = StreamId::Log(story.log());
    let parked = |next| ReactionParked { of: Position(1), next, error: "it failed".into() };
    let mut tell = |stream: StreamId, fact: Fact, body: Option<&'static str>| {
        story.append_fact(stream, None, Actor::Token("ana".into()), None, fact, body.map(Body::json));
    };
    for version in [1, 2] {
        tell(StreamId::Key(key.clone()), KeySet { key: key.clone(), version }.into(), None);
        let digest = Digest::of(b"garden");
        let installed = PackInstalled {
            name: "garden".parse().unwrap(),
            version: format!("1.{version}.0"),
            digest,
            catalog: CatalogRevision(u64::from(version)),
        };
        tell(StreamId::Pack("garden".parse().unwrap()), installed.into(), None);
        tell(StreamId::Var("litres".parse().unwrap()), VarSet { name: "litres".parse().unwrap(), execution: None }.into(), Some("1"));
        tell(log.clone(), parked(version).into(), None);
        tell(log.clone(), ReactionRetried { of: Position(1) }.into(), None);
    }
    tell(log, parked(3).into(), None);
    tell(StreamId::Key(key.clone()), KeyRemoved { key: key.clone() }.into(), None);
    tell(StreamId::Key(key.clone()), KeySet { key, version: 3 }.into(), None);
    story
}

#[test]
fn row_that_begins_again_leaves_its_place_in_any_batching() {
    let story = story_of_things_that_begin_again();
    for size in 1..=story.records().len() {
        let (mut shelf, mut projector) = (Shelf::default(), Projector::new());
        for batch in story.records().chunks(size) {
            projector.advance(&mut shelf, batch).unwrap();
        }
        assert_all_rows(&shelf, story.records());
    }
}

#[test]
fn records_that_a_store_refused_are_folded_once_when_it_takes_them() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let known = story.records().len();
    story.start(execution);
    let (mut shelf, mut projector) = (Shelf::default(), Projector::new());
    projector.advance(&mut shelf, &story.records()[..known]).unwrap();
    shelf.is_full = true;
    for _ in 0..2 {
        assert!(matches!(projector.advance(&mut shelf, story.records()), Err(ViewError::Store(_))));
        assert_eq!(shelf.position(), Position(known as u64));
    }
    shelf.is_full = false;
    projector.advance(&mut shelf, story.records()).unwrap();
    assert_all_rows(&shelf, story.records());
}

#[test]
fn known_records_are_skipped_and_a_gap_changes_nothing() {
    let mut story = Story::new();
    for _ in 0..4 {
        story.event("garden.rained", "{}");
    }
    let (mut shelf, mut projector) = (Shelf::default(), Projector::new());
    projector.advance(&mut shelf, &story.records()[..2]).unwrap();
    let gap = projector.advance(&mut shelf, &story.records()[3..]);
    assert!(matches!(gap, Err(ViewError::Gap { at: Position(2), next: Position(4) })), "{gap:?}");
    for known in [&story.records()[..2], &story.records()[..1], &[]] {
        assert_eq!(projector.advance(&mut shelf, known).unwrap(), Position(2));
    }
    assert_all_rows(&shelf, &story.records()[..2]);
    assert_eq!(projector.advance(&mut shelf, &story.records()[1..]).unwrap(), Position(4));
    assert_all_rows(&shelf, story.records());
}

proptest! {
    /// A store that sometimes has no room, and a follower that sometimes starts again, change nothing.
    #[test]
    fn rows_after_any_batches_are_those_of_the_plain_fold(
        choices in prop::collection::vec(any::<u8>(), 0..200),
        steps in prop::collection::vec((1..20_usize, 0..4_u8), 1..40),
    ) {
        let story = Story::walk(&choices);
        let (mut shelf, mut projector) = (Shelf::default(), Projector::new());
        let mut at = 0;
        for (size, what) in steps {
            let batch = &story.records()[at..(at + size).min(story.records().len())];
            shelf.is_full = what == 0;
            if what == 1 {
                projector = Projector::new();
            }
            if projector.advance(&mut shelf, batch).is_ok() {
                at += batch.len();
            }
        }
        assert_all_rows(&shelf, &story.records()[..at]);
    }
}

#[test]
fn damaged_row_is_an_error_that_names_it() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let before = story.records().len();
    story.start(execution);
    let load = &mut |view: ViewName, keys: &[Term]| {
        let damaged = |key: &Term| Row { key: key.to_string(), position: story.records()[0].position, document: "{".into() };
        Ok(if view == ViewName::Executions { keys.iter().map(damaged).collect() } else { Vec::new() })
    };
    match Projector::new().project(&story.records()[before..], load, &mut Nobody) {
        Err(ViewError::Damaged { view: ViewName::Executions, key, .. }) => assert_eq!(key, execution.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn test_story_contains_every_kind_of_fact() {
    let story = Story::of_everything();
    let kinds: BTreeSet<&str> = story.records().iter().map(Record::kind).collect();
    let expected = [
        "artifact.kept",
        "attempt.emitted",
        "attempt.failed",
        "attempt.lost",
        "attempt.progressed",
        "attempt.reported_late",
        "attempt.started",
        "attempt.succeeded",
        "dead_letter.dismissed",
        "delivery.refused",
        "enforcement.held_on",
        "enforcement.made",
        "enforcement.released",
        "enforcement.superseded",
        "event.received",
        "execution.became_indeterminate",
        "execution.cancel_requested",
        "execution.cancelled",
        "execution.failed",
        "execution.requested",
        "execution.settled",
        "execution.succeeded",
        "execution.timed_out",
        "inquiry.answered",
        "inquiry.opened",
        "loop.stopped",
        "message.refused",
        "rule.erred",
        "rule.errors_counted",
        "rule.mode_set",
        "timer.fired",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
}

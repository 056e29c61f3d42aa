//! Tests what the projector loads from a store, and which changes it passes to it.

use std::collections::BTreeSet;

use ensue_engine::record::Record;
use ensue_test_support::story::Story;
use ensue_views::onlooker::Nobody;
use ensue_views::store::Change;
use ensue_views::{Projector, Row, Term, ViewError, ViewName};

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
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.succeeded(execution, attempt);
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
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let mut projector = Projector::new();
    let (asked, _) = loads(&mut projector, story.records());
    let views: BTreeSet<ViewName> = asked.iter().map(|(view, _)| *view).collect();
    assert_eq!(views, BTreeSet::from([ViewName::Rules, ViewName::Totals]));

    let before = story.records().len();
    story.started(execution);
    let (asked, rows) = loads(&mut projector, &story.records()[before..]);
    assert_eq!(asked, []);
    assert!(rows.iter().all(|(_, change)| matches!(change, Change::Update(_))), "{rows:?}");
}

#[test]
fn damaged_row_is_an_error_that_names_it() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let before = story.records().len();
    story.started(execution);
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

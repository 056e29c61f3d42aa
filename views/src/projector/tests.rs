//! Tests that a bug in a fold only affects the records that trigger it, which are skipped.

use ensue_engine::record::StreamId;
use ensue_engine::time::Timestamp;
use ensue_test_support::story::Story;
use serde::{Deserialize, Serialize};

use super::*;
use crate::view_retention::ElapsedTime;

/// Counts the records of all executions, and panics at each attempt that starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stumbles {
    began: Position,
    seen: Vec<Position>,
}

impl View for Stumbles {
    const NAME: ViewName = ViewName::Totals;
    type Key = String;

    fn key(record: &Record) -> Option<Touch<String>> {
        Some(Touch::Changes(record.stream.to_string()))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        assert!(record.kind() != "attempt.started", "a bug in folding an attempt");
        let mut row = before.unwrap_or(Self { began: record.position, seen: Vec::new() });
        row.seen.push(record.position);
        Some(row)
    }

    fn position(&self) -> Position {
        self.began
    }

    fn began_at(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

impl From<String> for Term {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

#[test]
fn record_that_panics_in_a_fold_is_skipped_and_named_and_others_folded() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    let mut fold = Fold::<Stumbles>::default();
    let mut passed_over = AllPassedOver::default();
    fold.fold_one_by_one(story.records(), &mut |_, _| Ok(Vec::new()), (&mut Nobody, &mut passed_over)).unwrap();
    let struck: Vec<Position> =
        story.records().iter().filter(|record| record.kind() == "attempt.started").map(|record| record.position).collect();
    assert_eq!(struck.len(), 1);
    let reported: Vec<(ViewName, Position, &str)> =
        passed_over.first().iter().map(|one| (one.view, one.position, one.message.as_str())).collect();
    assert_eq!(reported, [(ViewName::Totals, struck[0], "a bug in folding an attempt")]);
    let folded: usize = fold.touched.values().filter_map(|slot| slot.now.as_ref()).map(|row| row.seen.len()).sum();
    assert_eq!(folded, story.records().len() - 1);
}

#[test]
fn folding_one_by_one_equals_folding_a_whole_batch() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.succeed(execution, attempt);
    let at_once = Projector::new().project(story.records(), &mut |_, _| Ok(Vec::new()), &mut Nobody).unwrap();
    let mut projector = Projector::new();
    let mut changes = Changes { through: at_once.through, ..Changes::default() };
    let records = story.records();
    each_fold!(projector, fold => fold.fold_one_by_one(records, &mut |_, _| Ok(Vec::new()), (&mut Nobody, &mut changes.passed_over)).unwrap());
    changes.increments = projector.increments(records);
    each_fold!(projector, fold => fold.finish(&mut changes));
    assert_eq!(changes, at_once);
}

/// Counts the records of all executions. It cannot be written once there are two, and it cannot be read.
#[derive(Clone, Debug, PartialEq)]
struct Spoilt {
    began: Position,
    seen: u64,
}

impl Serialize for Spoilt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.seen < 2, "a bug in writing a row down");
        serializer.serialize_u64(self.seen)
    }
}

impl<'de> Deserialize<'de> for Spoilt {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a bug in reading a row")
    }
}

impl View for Spoilt {
    const NAME: ViewName = ViewName::Totals;
    type Key = String;

    fn key(record: &Record) -> Option<Touch<String>> {
        matches!(record.stream, StreamId::Execution(_)).then(|| Touch::Changes(record.stream.to_string()))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        Some(before.map_or(Self { began: record.position, seen: 1 }, |row| Self { seen: row.seen + 1, ..row }))
    }

    fn position(&self) -> Position {
        self.began
    }

    fn began_at(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

/// Returns the records of one execution that was requested and has begun.
fn of_an_execution() -> Vec<Record> {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    story.start(execution);
    story.records().iter().filter(|record| matches!(record.stream, StreamId::Execution(_))).cloned().collect()
}

fn reported_errors(passed_over: &AllPassedOver) -> Vec<(Position, &str)> {
    passed_over.first().iter().map(|one| (one.position, one.message.as_str())).collect()
}

#[test]
fn row_that_cannot_be_written_is_traced_to_its_record_and_stays_unchanged() {
    let records = of_an_execution();
    let mut fold = Fold::<Spoilt>::default();
    let mut passed_over = AllPassedOver::default();
    fold.fold_one_by_one(&records, &mut |_, _| Ok(Vec::new()), (&mut Nobody, &mut passed_over)).unwrap();
    assert_eq!(reported_errors(&passed_over), [(records[1].position, "a bug in writing a row down")]);
    let mut changes = Changes::default();
    fold.finish(&mut changes);
    assert!(matches!(&changes.rows[..], [(_, Change::Insert(row))] if row.document == "1"), "{changes:?}");
}

#[test]
fn unreadable_row_is_distinguished_from_a_missing_one() {
    let records = of_an_execution();
    let mut fold = Fold::<Spoilt>::default();
    let mut passed_over = AllPassedOver::default();
    let row = Row { key: records[0].stream.to_string(), position: Position(1), document: Bytes::from("1") };
    let mut load = |_: ViewName, _: &[Term]| Ok(vec![row.clone()]);
    fold.fold_one_by_one(&records, &mut load, (&mut Nobody, &mut passed_over)).unwrap();
    let why = "a bug in reading a row";
    assert_eq!(reported_errors(&passed_over), records.iter().map(|record| (record.position, why)).collect::<Vec<_>>());
    let mut changes = Changes::default();
    fold.finish(&mut changes);
    assert_eq!(changes, Changes::default());
}

/// The calls that an observer received, in order.
#[derive(Default)]
struct ObservedCalls(Vec<&'static str>);

impl Onlooker for ObservedCalls {
    fn care(&self, _: Position, _: Position) -> Care {
        Care::AtOnce
    }

    fn begin_all(&mut self, _: Position) {
        self.0.push("begin");
    }

    fn begin_one(&mut self, _: ViewName, _: Position) -> Option<String> {
        None
    }

    fn end(&mut self) {
        self.0.push("end");
    }

    fn note_stored(&mut self, _: Position) {
        self.0.push("kept");
    }
}

/// An empty store that stores nothing if it is full.
struct Bare {
    position: Position,
    has_room: bool,
}

impl ViewStore for Bare {
    fn position(&self) -> Position {
        self.position
    }

    fn passed_over(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> ElapsedTime {
        ElapsedTime::default()
    }

    fn load(&self, _: ViewName, _: &[Term]) -> Result<Vec<Row>, ViewError> {
        Ok(Vec::new())
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        if !self.has_room {
            return Err(ViewError::Store("there is no room".to_owned()));
        }
        self.position = changes.through;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        Ok(())
    }
}

#[test]
fn observer_is_notified_once_the_store_has_the_records() {
    let mut story = Story::new();
    story.event("garden.rained", "{}");
    let mut store = Bare { position: Position(0), has_room: false };
    let mut heard = ObservedCalls::default();
    Projector::new().advance_under(&mut store, story.records(), &mut heard).unwrap_err();
    assert!(!heard.0.contains(&"kept"), "{heard:?}", heard = heard.0);
    store.has_room = true;
    heard.0.clear();
    Projector::new().advance_under(&mut store, story.records(), &mut heard).unwrap();
    assert_eq!((heard.0.first(), &heard.0[heard.0.len() - 2..]), (Some(&"begin"), &["end", "kept"][..]));
}

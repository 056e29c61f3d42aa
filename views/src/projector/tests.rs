//! A fold that has a bug: what it strikes is passed over, and nothing else is.

use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::*;
use crate::spec::Story;

/// Counts the records of all executions, and stumbles over each attempt that starts.
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

    fn columns(&self) -> Vec<Option<Term>> {
        Vec::new()
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
fn a_record_that_a_fold_stumbles_over_is_passed_over_and_named_and_all_others_are_folded() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.succeeded(execution, attempt);
    let mut fold = Fold::<Stumbles>::default();
    let mut passed_over = AllPassedOver::default();
    fold.fold_one_by_one(story.records(), &mut |_, _| Ok(Vec::new()), (&mut Nobody, &mut passed_over)).unwrap();
    let struck: Vec<Position> =
        story.records().iter().filter(|record| record.kind() == "attempt.started").map(|record| record.position).collect();
    assert_eq!(struck.len(), 1);
    let told: Vec<(ViewName, Position, &str)> =
        passed_over.first().iter().map(|one| (one.view, one.position, one.message.as_str())).collect();
    assert_eq!(told, [(ViewName::Totals, struck[0], "a bug in folding an attempt")]);
    let folded: usize = fold.touched.values().filter_map(|slot| slot.now.as_ref()).map(|row| row.seen.len()).sum();
    assert_eq!(folded, story.records().len() - 1);
}

#[test]
fn a_batch_that_is_folded_one_by_one_gives_what_it_gives_at_once() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.executed("garden.drain", event, "garden.open_gate");
    let attempt = story.started(execution);
    story.succeeded(execution, attempt);
    let at_once = Projector::new().project(story.records(), &mut |_, _| Ok(Vec::new()), &mut Nobody).unwrap();
    let mut projector = Projector::new();
    let mut changes = Changes { through: at_once.through, ..Changes::default() };
    let records = story.records();
    each_fold!(projector, fold => fold.fold_one_by_one(records, &mut |_, _| Ok(Vec::new()), (&mut Nobody, &mut changes.passed_over)).unwrap());
    each_fold!(projector, fold => fold.finish(&mut changes));
    assert_eq!(changes, at_once);
}

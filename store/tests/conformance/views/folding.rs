//! Folding a log into a store: the rows are the same whatever the batches are and whenever the follower
//! restarts.

use ensue_engine::record::{Position, Record};
use ensue_test_support::story::Story;
use ensue_views::store::Changes;
use ensue_views::view_retention::ElapsedTime;
use ensue_views::{Projector, Row, Term, ViewError, ViewName, ViewStore};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::series::everything;
use super::{Subject, on_every_view_store};

on_every_view_store! {
    records_folded_before_are_skipped
    records_after_a_gap_are_rejected
    records_can_be_offered_again_after_a_failure
    rebuild_equals_the_live_views
}

fn story() -> Story {
    Story::of_everything()
}

/// Folds all records at once into a new store.
fn rebuilt(records: &[Record]) -> Vec<(ViewName, Row)> {
    rebuilt_store(records).dump()
}

fn rebuilt_store(records: &[Record]) -> Subject {
    let mut subject = Subject::in_memory();
    if !records.is_empty() {
        Projector::new().advance(&mut *subject.store, records).unwrap();
    }
    subject
}

fn records_folded_before_are_skipped(subject: &mut Subject) {
    let story = story();
    let records = story.records();
    let mut projector = Projector::new();
    projector.advance(&mut *subject.store, &records[..100]).unwrap();
    assert_eq!(projector.advance(&mut *subject.store, &records[..50]).unwrap(), Position(100));
    assert_eq!(projector.advance(&mut *subject.store, &records[..150]).unwrap(), Position(150));
    assert_eq!(projector.advance(&mut *subject.store, &[]).unwrap(), Position(150));
    assert_eq!(subject.dump(), rebuilt(&records[..150]));
}

fn records_after_a_gap_are_rejected(subject: &mut Subject) {
    let story = story();
    let refused = Projector::new().advance(&mut *subject.store, &story.records()[1..]);
    assert!(matches!(refused, Err(ViewError::Gap { at: Position(0), next: Position(2) })), "{refused:?}");
    assert_eq!(subject.dump(), []);
}

/// A store that fails on demand.
struct Failing<'a> {
    store: &'a mut dyn ViewStore,
    fails: bool,
}

impl ViewStore for Failing<'_> {
    fn position(&self) -> Position {
        self.store.position()
    }

    fn passed_over(&self) -> u64 {
        self.store.passed_over()
    }

    fn elapsed(&self) -> ElapsedTime {
        self.store.elapsed()
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        self.store.load(view, keys)
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        if self.fails { Err(ViewError::Store("the disk is full".into())) } else { self.store.apply(changes) }
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        self.store.clear()
    }
}

fn records_can_be_offered_again_after_a_failure(subject: &mut Subject) {
    let story = story();
    let mut projector = Projector::new();
    for batch in story.records().chunks(7) {
        for fails in [true, false] {
            let advanced = projector.advance(&mut Failing { store: &mut *subject.store, fails }, batch);
            assert_eq!(advanced.is_err(), fails);
        }
    }
    assert_eq!(subject.dump(), rebuilt(story.records()));
}

fn rebuild_equals_the_live_views(subject: &mut Subject) {
    let mut runner = TestRunner::new(Config { cases: 32, ..Config::with_source_file(file!()) });
    let walk = proptest::collection::vec(any::<u8>(), 0..400);
    let batches = proptest::collection::vec((1..40usize, any::<bool>()), 1..60);
    let subject = std::cell::RefCell::new(subject);
    runner
        .run(&(walk, batches), |(choices, batches)| {
            let subject = &mut *subject.borrow_mut();
            subject.store.clear().unwrap();
            let story = Story::walk(&choices);
            let mut projector = Projector::new();
            let mut rest = story.records();
            for (size, starts_anew) in batches.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                if *starts_anew {
                    projector = Projector::new();
                }
                let (batch, after) = rest.split_at(rest.len().min(*size));
                projector.advance(&mut *subject.store, batch).unwrap();
                rest = after;
            }
            let rebuilt = rebuilt_store(story.records());
            prop_assert_eq!(subject.dump(), rebuilt.dump());
            prop_assert_eq!(everything(&*subject.reader), everything(&*rebuilt.reader));
            Ok(())
        })
        .unwrap();
}

//! Measures what counts over time cost: folds the same log into new views with and without them, in turn.
//!
//!     cargo run --release -p ensue-store --example series

use std::error::Error;
use std::time::{Duration, Instant};

use ensue_engine::record::{Position, Record};
use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::story::Story;
use ensue_views::store::Changes;
use ensue_views::view_retention::ElapsedTime;
use ensue_views::{Projector, Row, Term, ViewError, ViewName, ViewStore};

/// The number of events, each with a match and an execution.
const EVENTS: u64 = 20_000;
/// The number of rules, each with its own action.
const RULES: u64 = 40;
/// The time between two events, in milliseconds.
const APART_MILLIS: u64 = 20;
/// The number of records that are folded at once.
const BATCH: usize = 200;
/// How often the log is folded in each way.
const ROUNDS: usize = 5;

/// Whether views count over time.
#[derive(Clone, Copy)]
enum Series {
    Counted,
    LeftOut,
}

/// Views that copy the changes, and may leave out what is counted over time.
struct MeasuredViews(SqliteViews, Series);

impl ViewStore for MeasuredViews {
    fn position(&self) -> Position {
        self.0.position()
    }

    fn passed_over(&self) -> u64 {
        self.0.passed_over()
    }

    fn elapsed(&self) -> ElapsedTime {
        self.0.elapsed()
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        self.0.load(view, keys)
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        let mut changes = changes.clone();
        if matches!(self.1, Series::LeftOut) {
            changes.increments.clear();
        }
        self.0.apply(&changes)
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        self.0.clear()
    }
}

fn story() -> Story {
    let mut story = Story::new();
    for number in 0..EVENTS {
        let rule = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % RULES;
        story.later(APART_MILLIS);
        let event = story.event("garden.reading", r#"{"celsius":21}"#);
        let execution = story.execute(&format!("garden.rule{rule}"), event, &format!("garden.act{rule}"));
        let attempt = story.start(execution);
        story.succeed(execution, attempt);
    }
    story
}

fn fold(store: &mut dyn ViewStore, records: &[Record]) -> Result<Duration, ViewError> {
    let (mut projector, begun) = (Projector::new(), Instant::now());
    for batch in records.chunks(BATCH) {
        projector.advance(store, batch)?;
    }
    Ok(begun.elapsed())
}

fn main() -> Result<(), Box<dyn Error>> {
    let story = story();
    let records = story.records();
    println!("{} records of {EVENTS} events, folded {BATCH} at once", records.len());
    let mut shares = Vec::new();
    for round in 1..=ROUNDS {
        let folder = tempfile::tempdir()?;
        let open = |name: &str| SqliteViews::open(&folder.path().join(name), story.log());
        let (mut without, mut with) =
            (MeasuredViews(open("without.sqlite")?, Series::LeftOut), MeasuredViews(open("with.sqlite")?, Series::Counted));
        // The second one has warmer caches, so each goes first in turn.
        let (before, after) = if round % 2 == 0 {
            let before = fold(&mut without, records)?;
            (before, fold(&mut with, records)?)
        } else {
            let after = fold(&mut with, records)?;
            (fold(&mut without, records)?, after)
        };
        let share = 100.0 * before.as_secs_f64() / after.as_secs_f64();
        println!("without {before:.2?}, with {after:.2?}: {share:.1} % of the records a second");
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    println!("median {:.1} %", shares[ROUNDS / 2]);
    Ok(())
}

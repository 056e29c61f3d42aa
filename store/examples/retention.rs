//! Measures how long it takes to remove 100,000 ended executions from the views, and the longest time that a
//! fold waits for a round.
//!
//!     cargo run --release -p ensue-store --example retention

use std::error::Error;
use std::time::{Duration, Instant};

use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::story::Story;
use ensue_views::view_retention::{RetainedViews, Round, ViewRetention, Walk};
use ensue_views::{Projector, ViewStore};

/// The number of executions.
const EXECUTIONS: usize = 100_000;
/// The number of records that are folded at once.
const RECORDS_AT_ONCE: usize = 4_096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut story = Story::new();
    for number in 0..EXECUTIONS {
        let event = story.event("garden.rained", r#"{"litres":3}"#);
        let execution = story.execute("garden.drain", event, "garden.open_gate");
        let attempt = story.start(execution);
        if number % 10 == 0 {
            story.gave_away(execution, attempt, "gate.csv");
        }
        story.succeed(execution, attempt);
    }
    story.later(3_600_000);
    story.event("garden.rained", "{}");
    let folder = tempfile::tempdir()?;
    let mut views = SqliteViews::open(&folder.path().join("views.sqlite"), story.log())?;
    let mut projector = Projector::new();
    let begun = Instant::now();
    for records in story.records().chunks(RECORDS_AT_ONCE) {
        projector.advance(&mut views, records)?;
    }
    println!("{} records folded in {:.2?}", views.position(), begun.elapsed());

    let retention = ViewRetention { executions: Some(Duration::from_secs(3_600)) };
    let (mut walk, mut rounds) = (Walk::default(), Vec::new());
    loop {
        let begun = Instant::now();
        let round = walk.round(&mut views, retention, Duration::ZERO)?;
        rounds.push(begun.elapsed());
        if round == Round::Over {
            break;
        }
    }
    let all: Duration = rounds.iter().sum();
    rounds.sort_unstable();
    let removed = views.removal_counts();
    println!(
        "{} executions, {} rows, taken out in {:.2?} of {} rounds: p50 {:.1?}, longest {:.1?}",
        removed.executions,
        removed.rows,
        all,
        rounds.len(),
        rounds[rounds.len() / 2],
        rounds[rounds.len() - 1],
    );
    Ok(())
}

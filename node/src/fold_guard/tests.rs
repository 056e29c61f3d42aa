//! Folds that end the process, tested in processes that really end: each run starts this test binary again.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Process, ExitStatus};

use ensue_engine::ports::LogError;
use ensue_store::sqlite::views::SqliteViews;
use ensue_test_support::story::Story;
use ensue_views::{Row, ViewReader as _, ViewStore as _};
use tokio::sync::watch;

use super::*;
use crate::followers::Follow as _;
use crate::log_access::LogReaders;
use crate::views::ViewFollower;
use crate::whole_fold::Rebuilt;

/// Passes the folder of the views to a process of this test.
const FOLDER: &str = "ENSUE_TEST_ENDED_FOLDS";
/// Passes the way in which the fold ends the process.
const WAY: &str = "ENSUE_TEST_ENDED_FOLDS_WAY";
const SIGABRT: i32 = 6;
/// Short enough that tests do not wait for it; the folds here take less time than one look.
const SHORT: Patience = Patience { look_every: Duration::from_millis(20), looks: 25 };

fn story() -> Story {
    Story::of_everything()
}

/// Returns the record whose folding into executions ends the process.
fn abyss(story: &Story) -> Position {
    let mut ends = story.records().iter().filter(|record| record.kind() == "attempt.succeeded");
    ends.nth(3).unwrap().position
}

/// Returns a record before that one, whose folding into executions panics in one of the tested ways.
fn stumble(story: &Story) -> Position {
    story.records().iter().find(|record| record.kind() == "attempt.succeeded").unwrap().position
}

/// A fold guard under which one fold ends the process, as with a full stack, or never ends.
struct Abyss {
    guard: FoldGuard,
    at: Position,
    stumble: Position,
    way: String,
    begun: Option<FoldMode>,
}

/// How the record is being folded.
enum FoldMode {
    /// With all others.
    All,
    /// Alone.
    One,
}

/// Panics without a message: printing its location takes longer than the patience used here.
fn panic_silently() -> ! {
    std::panic::resume_unwind(Box::new("a bug that is contained"))
}

impl Abyss {
    fn fall(&self) -> ! {
        match self.way.as_str() {
            "a loop" => loop {
                std::thread::park();
            },
            _ => std::process::abort(),
        }
    }
}

impl Onlooker for Abyss {
    fn care(&self, first: Position, last: Position) -> Care {
        self.guard.care(first, last)
    }

    fn begin_all(&mut self, last: Position) {
        self.guard.begin_all(last);
        if last < self.at {
            return;
        }
        self.begun = Some(FoldMode::All);
        match self.way.as_str() {
            "writing rows down" => {}
            "a panic first" => panic_silently(),
            _ => self.fall(),
        }
    }

    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String> {
        let why = self.guard.begin_one(view, position);
        if why.is_some() || view != ViewName::Executions {
            return why;
        }
        if position == self.at {
            self.begun = Some(FoldMode::One);
            if self.way != "writing rows down" {
                self.fall();
            }
        }
        if position == self.stumble && self.way == "a panic first" {
            panic_silently();
        }
        None
    }

    fn end(&mut self) {
        let begun = self.begun.take().filter(|_| self.way == "writing rows down");
        match begun {
            // It is the last part of the fold,
            Some(FoldMode::One) => self.fall(),
            // and the store does not have the records after it yet.
            Some(FoldMode::All) => {
                self.guard.end();
                self.fall();
            }
            None => self.guard.end(),
        }
    }

    fn note_stored(&mut self, through: Position) {
        self.guard.note_stored(through);
    }
}

fn views(folder: &Path) -> SqliteViews {
    SqliteViews::open(&folder.join("views.sqlite"), story().log()).unwrap()
}

/// Runs one life of a node's follower of the views: it processes the existing records and stops.
fn live(folder: &Path, way: String) {
    let story = story();
    let views = Box::new(views(folder));
    let at = views.position();
    let guard = FoldGuard::open(&folder.join("views-crash.json"), at).with_watch(SHORT).unwrap();
    let (reached, _) = watch::channel(at);
    let log = Arc::new(LogReaders::new(Box::new(|| Err(LogError::Store("nobody reads it".to_owned())))));
    let onlooker = Abyss { guard, at: abyss(&story), stumble: stumble(&story), way, begun: None };
    let mut follower = ViewFollower::new(views, reached, Rebuilt::default(), log).under(Box::new(onlooker));
    let rest = &story.records()[usize::try_from(at.0).unwrap()..];
    if !rest.is_empty() {
        follower.follow(rest).unwrap();
    }
}

#[test]
#[ignore = "is one process of the tests below"]
fn one_life() {
    let folder = std::env::var_os(FOLDER).expect("only the tests below run this");
    live(Path::new(&folder), std::env::var(WAY).unwrap());
}

fn life(folder: &Path, way: &str) -> ExitStatus {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "fold_guard::tests::one_life", "--ignored"]).env(FOLDER, folder).env(WAY, way);
    process.output().unwrap().status
}

fn rows(views: &SqliteViews) -> Vec<(ViewName, Row)> {
    let mut rows = Vec::new();
    views.reader().dump(&mut |view, row| rows.push((view, row.clone()))).unwrap();
    rows
}

/// Returns the views with these records left out of executions.
fn without(folder: &Path, records: &[Position]) -> Vec<(ViewName, Row)> {
    let mut views = SqliteViews::open(&folder.join("expected.sqlite"), story().log()).unwrap();
    let mut left_out = AllLeftOut::default();
    for position in records {
        left_out.add(LeftOut { view: ViewName::Executions.as_str().to_owned(), position: *position });
    }
    ensue_views::Projector::new().advance_under(&mut views, story().records(), &mut left_out).unwrap();
    rows(&views)
}

fn a_fold_is_found_that_ends_the_process_by(way: &str, passed_over_beside: &[(Position, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The first life notes only where it continued; the lives after it note the record.
    for _ in 0..=ENDS_MAX {
        assert_eq!(life(folder, way).signal(), Some(SIGABRT));
        assert_eq!(views(folder).position(), Position(0));
    }
    assert!(life(folder, way).success());
    let (views, story) = (views(folder), story());
    assert_eq!(views.position(), story.records().last().unwrap().position);
    let told = views.reader().passed_over().unwrap();
    let told: Vec<_> = told.first().iter().map(|one| (one.view, one.position, one.message.as_str())).collect();
    let abyss = (abyss(&story), "the process ended 3 times while this was folded");
    let expected: Vec<_> = passed_over_beside.iter().chain([&abyss]).copied().collect();
    assert_eq!(told, expected.iter().map(|(position, why)| (ViewName::Executions, *position, *why)).collect::<Vec<_>>());
    assert_eq!(rows(&views), without(folder, &expected.iter().map(|(position, _)| *position).collect::<Vec<_>>()));
    // The record is remembered for the next rebuild of the views; nothing else is suspected any longer.
    let guard = FoldGuard::open(&folder.join("views-crash.json"), views.position()).with_watch(SHORT).unwrap();
    assert_eq!(guard.suspect_until, None);
    assert_eq!(*guard.left_out().list(), [LeftOut { view: ViewName::Executions.as_str().to_owned(), position: abyss.0 }]);
}

#[test]
fn record_whose_fold_ended_three_processes_is_skipped_by_the_next() {
    a_fold_is_found_that_ends_the_process_by("abort", &[]);
}

#[test]
fn record_whose_fold_never_ends_is_skipped_by_the_next() {
    a_fold_is_found_that_ends_the_process_by("a loop", &[]);
}

#[test]
fn record_whose_row_ends_the_process_on_write_is_skipped() {
    a_fold_is_found_that_ends_the_process_by("writing rows down", &[]);
}

#[test]
fn record_that_ends_the_process_is_found_after_a_panic_in_its_batch() {
    a_fold_is_found_that_ends_the_process_by("a panic first", &[(stumble(&story()), "a bug that is contained")]);
}

fn path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views-crash.json");
    (folder, path)
}

#[test]
fn usual_run_writes_one_note_and_leaves_none() {
    let (_folder, path) = path();
    let mut guard = FoldGuard::open(&path, Position(7));
    assert!(path.exists());
    for last in [10, 20] {
        assert_eq!(guard.care(Position(last - 2), Position(last)), Care::AtOnce);
        guard.begin_all(Position(last));
        guard.end();
        guard.note_stored(Position(last));
        assert!(!path.exists());
    }
}

#[test]
fn unsaved_folds_and_rebuilds_do_not_count_as_progress() {
    let (_folder, path) = path();
    let mut guard = FoldGuard::open(&path, Position(7));
    guard.begin_all(Position(10));
    guard.end();
    guard.note_stored(Position(7));
    std::mem::forget(guard);
    let mut next = FoldGuard::open(&path, Position(7));
    assert_eq!(next.care(Position(8), Position(10)), Care::OneByOne);
    next.note_stored(Position(10));
    std::mem::forget(next);
    assert_eq!(FoldGuard::open(&path, Position(7)).care(Position(8), Position(10)), Care::AtOnce);
}

#[test]
fn node_without_earlier_progress_folds_one_by_one_for_a_while() {
    let (_folder, path) = path();
    let killed = |behind| std::mem::forget(FoldGuard::open(&path, Position(behind)));
    let open = |behind| FoldGuard::open(&path, Position(behind));
    killed(7);
    assert_eq!(open(8).care(Position(9), Position(10)), Care::AtOnce, "it got further");
    killed(7);
    let suspects = open(7);
    assert_eq!(suspects.care(Position(8), Position(9)), Care::OneByOne);
    assert_eq!(suspects.care(Position(8 + SUSPECT_RECORDS), Position(9 + SUSPECT_RECORDS)), Care::AtOnce);
    drop(suspects);
    assert_eq!(open(7).care(Position(8), Position(9)), Care::AtOnce, "who stopped in order is not suspected");
}

#[test]
fn record_skipped_by_another_release_is_tried_again() {
    let (_folder, path) = path();
    let text = |release: &str| format!(r#"{{"release":"{release}","left_out":[{{"view":"executions","position":9}}]}}"#);
    for (release, care) in [(crate::release::RELEASE, Care::OneByOne), ("0.0.0-other", Care::AtOnce)] {
        std::fs::write(&path, text(release)).unwrap();
        let mut guard = FoldGuard::open(&path, Position(0));
        assert_eq!(guard.care(Position(1), Position(20)), care);
        assert_eq!(guard.begin_one(ViewName::Executions, Position(9)).is_some(), care == Care::OneByOne);
        assert_eq!(guard.begin_one(ViewName::Events, Position(9)), None);
    }
}

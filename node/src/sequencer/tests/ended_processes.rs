//! A reaction that ends the whole process, tested in processes that really end: each run starts this test binary
//! again.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as Process, ExitStatus};

use ensue_engine::fact::Fact;
use ensue_store::sqlite::log::SqliteLog;

use super::owing::owing;
use super::*;
use crate::crash_file::ENDS_MAX;

/// Passes the folder of the log to a process of this test.
const FOLDER: &str = "ENSUE_TEST_ENDED_PROCESSES";
const LOG: LogId = LogId(Id::from_bytes([0x01, 0x9D, 0x34, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 9]));
const SIGABRT: i32 = 6;

/// Working out the reaction needs the catalog: the process ends there, as with a full stack.
struct Abyss;

impl Catalogs for Abyss {
    fn at(&self, _: CatalogRevision) -> Option<Arc<Catalog>> {
        std::process::abort()
    }
}

/// Runs one life of a node's core on the log in `folder`: serves the owed reactions, accepts a command, and stops.
fn live(folder: &Path) {
    let mut log = SqliteLog::open(&folder.join("log.sqlite"), LOG).unwrap();
    if log.head().unwrap() == Head::default() {
        log.append(&owing(LOG, log.epoch()), Position(0), log.epoch()).unwrap();
    }
    let mut engine = Engine::new(LOG);
    let records = log.reader().unwrap().read(Position(0), ReadLimit::default()).unwrap();
    let head = fold_in(&mut engine, Head::default(), &records).unwrap();
    let (handle, unstarted) = sequencer(roomy());
    let parts = SequencerParts {
        log: Box::new(log),
        engine,
        head,
        clock: Arc::new(HandClock::default()),
        catalogs: Arc::new(Abyss),
        settings: Settings::default(),
        rates: BTreeMap::new(),
        listener: Box::new(NoListener),
        space: Box::new(Room(Arc::new(AtomicBool::new(true)))),
        plain: |_| Ok(Some(Bytes::from_static(br#"{"name":"ana"}"#))),
        snapshots: untaken(folder),
        crash_file: folder.join("crash.json"),
    };
    let thread = unstarted.start(parts).unwrap();
    // Rejected if an earlier process recorded it before it ended.
    let _ = handle.ask(Command { actor: Actor::Operator, trace: None, ask: set_key("a") });
    handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
#[ignore = "is one process of the test below"]
fn one_life() {
    let folder = std::env::var_os(FOLDER).expect("only the test below runs this");
    live(Path::new(&folder));
}

fn life(folder: &Path) -> ExitStatus {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "sequencer::tests::ended_processes::one_life", "--ignored"]).env(FOLDER, folder);
    process.output().unwrap().status
}

#[test]
fn reaction_that_ended_three_processes_is_parked_by_the_fourth() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..ENDS_MAX {
        assert_eq!(life(folder.path()).signal(), Some(SIGABRT));
    }
    assert!(life(folder.path()).success());
    let log = SqliteLog::open(&folder.path().join("log.sqlite"), LOG).unwrap();
    let records = log.reader().unwrap().read(Position(0), ReadLimit::default()).unwrap();
    let mut kinds: Vec<&str> = records.iter().map(Record::kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["event.received", "key.set", "reaction.deferred", "reaction.parked"]);
    let parked = records.iter().find_map(|record| match &record.fact {
        Fact::ReactionParked(fact) => Some((fact.of, fact.error.as_str())),
        _ => None,
    });
    assert_eq!(parked, Some((Position(1), "the process ended 3 times during this reaction")));
    assert!(!folder.path().join("crash.json").exists(), "the note is gone with what it was about");
    assert!(life(folder.path()).success(), "a parked reaction is not retried automatically");
}

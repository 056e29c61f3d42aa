//! Measures the sequencer's turns while many executions are open, with and without saving snapshots of the
//! state in parallel.
//!
//!     cargo run --release -p ensue-node --example pauses -- [open executions] [seconds]
//!
//! The sequencer, the log on disk and the snapshot writer are the node's own. There are no workers, no network
//! and no views.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ensue_engine::batch::CommittedBatch;
use ensue_engine::command::{Ask, Command, DedupeEntry, DedupeKey, Settings};
use ensue_engine::ids::LogId;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, Submit};
use ensue_engine::record::{Actor, Epoch, Head, Position};
use ensue_node::log_runtime::open::{OpenedDirectory, open};
use ensue_node::long_log::{self, LongLogPlan, Ticks};
use ensue_node::parts::{
    Caps, CommitListener, NodeCatalogs, SequencerParts, Space, SystemClock, Turn, plain, queues, sequencer, snapshots,
};
use ensue_node::{Config, Node};

const TRIGGER: &str = "pauses.tick";
const PAYLOAD_BYTES: usize = 300;
/// The number of commands that wait when a turn begins.
const COMMANDS: usize = 32;
/// The number of records after which the state is saved.
const SAVE_EVERY: u64 = 20_000;
/// Anything that took longer than this was a save.
const SAVE_AT_LEAST: Duration = Duration::from_millis(10);
/// How often the thread checks whether there is a snapshot to save.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (executions, seconds) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(30));
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    prepare(&config, executions);
    for (what, save_every) in [("without saves", u64::MAX), ("with saves", SAVE_EVERY)] {
        let (turns, saves) = run(&config, Duration::from_secs(seconds), save_every);
        print_summary(what, &turns, &saves);
    }
}

fn config(folder: &Path) -> Config {
    let pack = folder.join("packs/pauses");
    for (path, text) in [
        ("pack.yaml", "name: pauses\nversion: 0.1.0\ndescription: Made for a measurement.\n"),
        ("triggers/tick.yaml", "description: A tick.\npayload:\n  n: integer\n  text: string\n"),
        ("rules/all.yaml", "description: Always true.\ntrigger: pauses.tick\naction: core.noop\n"),
    ] {
        let path = pack.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let data = folder.join("data");
    Config {
        packs: folder.join("packs"),
        state_base: Some(folder.join("state")),
        workers: Some(0),
        listen: ([127, 0, 0, 1], 0).into(),
        ..Config::new(data)
    }
}

/// Installs the packs and opens the executions.
fn prepare(config: &Config, executions: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { Node::start(config.clone()).await.unwrap().stop().await.unwrap() });
    let plan = LongLogPlan { records: 1, trigger: TRIGGER.parse().unwrap(), payload_bytes: PAYLOAD_BYTES, open: executions, failing: None };
    let position = long_log::lengthen(config, &plan, |_| {}).unwrap();
    println!("{executions} executions are open in a log of {position} records");
}

/// A turn: when it began, how long it took, and how much of that it waited for the log.
struct TurnTime {
    at: Instant,
    took: Duration,
    appended: Duration,
}

/// When a save began and ended.
type Save = (Instant, Instant);

fn run(config: &Config, for_as_long: Duration, save_every: u64) -> (Vec<TurnTime>, Vec<Save>) {
    let clock = Arc::new(SystemClock::default());
    let OpenedDirectory { data, log, engine, head, checkpoints, saved_at, .. } = open(config, &*clock).unwrap();
    println!("{} executions are open", engine.executions().open_work());
    let catalogs = Arc::new(NodeCatalogs::open(data.packs(), engine.packs().clone(), log.reader().unwrap()).unwrap());
    let mut ticks = Ticks::after(1_000_000_000 + head.position.0, PAYLOAD_BYTES, TRIGGER.parse().unwrap(), catalogs.current());
    let settings = Settings { workers: 0, open_work_max: u64::MAX, ..Settings::default() };
    let queues = queues(
        config.memory_bytes,
        Caps { delivery_bytes_max: config.delivery_bytes_max, open_work: settings.open_work_max, workers: settings.workers },
    );
    let (snapshots, mut writer) = snapshots(checkpoints, saved_at, save_every);
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    let saves = std::thread::spawn(move || {
        // As in the node itself: applies to this thread alone.
        let _ = rustix::process::setpriority_process(None, 19);
        let mut saves = Vec::new();
        while !told.load(Ordering::Relaxed) {
            let begin = Instant::now();
            writer.save_next();
            if begin.elapsed() > SAVE_AT_LEAST {
                saves.push((begin, Instant::now()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        saves
    });
    let appended = Arc::new(Mutex::new(Duration::ZERO));
    let (handle, unstarted) = sequencer(queues);
    let mut sequencer = unstarted.with(SequencerParts {
        log: Box::new(TimedLog { log, took: appended.clone() }),
        engine,
        head,
        clock: clock.clone(),
        catalogs,
        settings,
        rates: std::collections::BTreeMap::new(),
        listener: Box::new(NoListener),
        space: Box::new(Roomy),
        plain,
        snapshots,
        crash_file: data.crash(),
    });
    let mut turns = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < for_as_long {
        for _ in 0..COMMANDS {
            let event = ticks.next(&*clock).unwrap();
            let command = Command { actor: Actor::Operator, trace: None, ask: Ask::ReceiveEvents(vec![event]) };
            handle.submit(command, Box::new(|answer| drop(answer.unwrap())));
        }
        let mut next = Turn::Taken;
        while next == Turn::Taken {
            let at = Instant::now();
            next = sequencer.turn().unwrap();
            let took = at.elapsed();
            turns.push(TurnTime { at, took, appended: std::mem::take(&mut appended.lock().unwrap()) });
        }
        turns.pop();
    }
    is_over.store(true, Ordering::Relaxed);
    (turns, saves.join().unwrap())
}

fn print_summary(what: &str, turns: &[TurnTime], saves: &[Save]) {
    let is_beside = |turn: &&TurnTime| saves.iter().any(|(from, to)| turn.at < *to && turn.at + turn.took > *from);
    println!("{what}: {} turns, {} saves", turns.len(), saves.len());
    if let Some(longest) = saves.iter().map(|(from, to)| *to - *from).max() {
        println!("  the longest save took {longest:?}");
    }
    let (beside, alone): (Vec<&TurnTime>, Vec<&TurnTime>) = turns.iter().partition(is_beside);
    for (which, turns) in [("turns beside a save", beside), ("other turns", alone)] {
        let of = |part: fn(&TurnTime) -> Duration| {
            let mut times: Vec<Duration> = turns.iter().map(|turn| part(turn)).collect();
            times.sort_unstable();
            let at = |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or_default();
            format!("p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0))
        };
        if !turns.is_empty() {
            println!("  {which} ({}): {}", turns.len(), of(|turn| turn.took));
            println!("    of that waiting for the log: {}", of(|turn| turn.appended));
            println!("    all else: {}", of(|turn| turn.took.saturating_sub(turn.appended)));
        }
    }
}

/// The log, with the time that its writes took.
struct TimedLog {
    log: Box<dyn Log>,
    took: Arc<Mutex<Duration>>,
}

impl Log for TimedLog {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn head(&self) -> Result<Head, LogError> {
        self.log.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let begin = Instant::now();
        let appended = self.log.append(batch, head, epoch);
        *self.took.lock().unwrap() += begin.elapsed();
        appended
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.log.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }

    fn release_caches(&mut self) {
        self.log.release_caches();
    }
}

struct NoListener;

impl CommitListener for NoListener {
    fn on_commit(&mut self, _: &Arc<CommittedBatch>, _: Head) {}

    fn on_answered(&mut self, _: &Arc<CommittedBatch>) {}
}

struct Roomy;

impl Space for Roomy {
    fn has_room(&mut self, _: &mut dyn FnMut()) -> bool {
        true
    }

    fn was_full(&mut self) {}
}

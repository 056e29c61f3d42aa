//! The sequencer over an in-memory log that fails on purpose: the answers to its callers, and the content of the log
//! afterwards.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use ensue_engine::catalog::Catalog;
use ensue_engine::command::{Ask, Nothing, RefusedDelivery};
use ensue_engine::ids::LogId;
use ensue_engine::ports::{ReadLimit, Submit as _};
use ensue_engine::record::{Actor, CatalogRevision, Record};
use ensue_engine::time::Timestamp;
use ensue_store::checkpoints::Checkpoints;
use ensue_store::memory::MemoryLog;
use ensue_store::settling_log::SettlingLog;
use ensue_store::verify::verify;
use ensue_test_support::faulty_log::{AppendFault, Fate, Faults, FaultyLog};

use super::gather::BATCH_COMMANDS_MAX;
use super::*;
use crate::clock::ClockStep;
use crate::log_runtime::open::fold_in;
use crate::snapshots::snapshots;

const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

/// A clock that a test controls; each id that it draws is different.
#[derive(Default)]
struct HandClock {
    drawn: Mutex<u128>,
    /// How many milliseconds after noon it is.
    millis: AtomicU64,
    steps: Mutex<Vec<ClockStep>>,
}

impl SteppedClock for HandClock {
    fn now(&self) -> Timestamp {
        NOON.plus_millis(self.millis.load(Ordering::Relaxed))
    }

    fn take_step(&self) -> Option<ClockStep> {
        self.steps.lock().unwrap().pop()
    }

    fn moment_or_step(&self) -> Result<ensue_engine::command::Moment, ClockStep> {
        self.take_step().map_or_else(|| Ok(self.moment()), Err)
    }

    fn go_on_from(&self, _: Timestamp) -> Option<ClockStep> {
        None
    }

    fn tick(&self) -> Option<ClockStep> {
        None
    }

    fn entropy(&self) -> u128 {
        let mut drawn = self.drawn.lock().unwrap();
        *drawn += 1;
        *drawn
    }
}

struct NoListener;

impl CommitListener for NoListener {
    fn on_commit(&mut self, _: &Arc<CommittedBatch>, _: Head) {}
    fn on_answered(&mut self, _: &Arc<CommittedBatch>) {}
}

/// A disk whose free space a test controls.
#[derive(Clone)]
struct Room(Arc<AtomicBool>);

impl Space for Room {
    fn has_room(&mut self, release: &mut dyn FnMut()) -> bool {
        let has_room = self.0.load(Ordering::Relaxed);
        if !has_room {
            release();
        }
        has_room
    }

    fn was_full(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Longer than any turn takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes no snapshot, for a log with no files in the folder.
fn untaken(folder: &std::path::Path) -> Snapshots {
    let checkpoints = Checkpoints::open(&folder.join("checkpoints"), LogId(Id::root(NOON, 1))).unwrap();
    snapshots(checkpoints, Position(0), u64::MAX).0
}

fn roomy() -> Queues {
    Queues::with(|_| 1_000_000)
}

struct World {
    handle: SequencerHandle,
    unstarted: Option<UnstartedSequencer>,
    log: Option<FaultyLog<MemoryLog>>,
    reader: Box<dyn LogReader>,
    faults: Faults,
    room: Room,
    folder: tempfile::TempDir,
    queues: Queues,
    plain: fn(&Body) -> Result<Option<Bytes>, LogError>,
    clock: Arc<HandClock>,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        Self::with(roomy())
    }

    fn with(queues: Queues) -> Self {
        let log = FaultyLog::of(MemoryLog::new(LogId(Id::root(NOON, 1))));
        let (handle, unstarted) = sequencer(queues.clone());
        let (reader, faults) = (log.reader().unwrap(), log.faults());
        let room = Room(Arc::new(AtomicBool::new(true)));
        let folder = tempfile::tempdir().unwrap();
        Self {
            handle,
            unstarted: Some(unstarted),
            log: Some(log),
            reader,
            faults,
            room,
            folder,
            queues,
            clock: Arc::default(),
            settings: Settings::default(),
            plain: |_| Ok(None),
        }
    }

    fn start(&mut self) -> JoinHandle<Result<Snapshot, SequencerError>> {
        let log = self.log.take().unwrap();
        let mut engine = Engine::new(log.id());
        let head = fold_in(&mut engine, Head::default(), &self.reader.read(Position(0), ReadLimit::default()).unwrap()).unwrap();
        let parts = SequencerParts {
            engine,
            head,
            log: Box::new(SettlingLog::of(log)),
            clock: self.clock.clone(),
            catalogs: Arc::new(Nothing),
            settings: self.settings.clone(),
            rates: BTreeMap::new(),
            listener: Box::new(NoListener),
            space: Box::new(self.room.clone()),
            plain: self.plain,
            snapshots: untaken(self.folder.path()),
            crash_file: self.folder.path().join("crash.json"),
        };
        self.unstarted.take().unwrap().start(parts).unwrap()
    }

    fn submit(&self, ask: Ask) -> Receiver<Result<CommitReceipt, SubmitError>> {
        let (tell, told) = sync_channel(1);
        let command = Command { actor: Actor::Operator, trace: None, ask };
        self.handle.submit(command, Box::new(move |outcome| drop(tell.send(outcome))));
        told
    }

    fn ask(&self, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        self.submit(ask).recv().unwrap()
    }

    #[track_caller]
    fn the_log_holds(&self, records: u64) {
        let verified = verify(&*self.reader, None, |_| {}).unwrap();
        assert_eq!(verified.records, records);
    }
}

fn set_key(name: &str) -> Ask {
    Ask::SetKey { key: format!("core.{name}").parse().unwrap(), version: 1, expires_at: None }
}

fn clock_step() -> Ask {
    Ask::NoteClockStep { from: NOON, to: NOON.plus_millis(1) }
}

#[test]
fn waiting_commands_are_committed_together() {
    let mut world = World::new();
    let waiting: Vec<_> = ["a", "b", "c"].into_iter().map(|name| world.submit(set_key(name))).collect();
    let thread = world.start();
    let positions: Vec<u64> = waiting.into_iter().map(|told| told.recv().unwrap().unwrap().position.0).collect();
    assert_eq!((positions, world.faults.appends()), (vec![1, 2, 3], 1));
    world.handle.stop();
    assert_eq!(thread.join().unwrap().unwrap().head.position.0, 3);
    world.the_log_holds(3);
}

#[test]
fn answered_caller_finds_its_change_in_the_gauges() {
    let mut world = World::new();
    let thread = world.start();
    let hold_at_the_answer = |ask| {
        let (tell, told) = sync_channel(1);
        let gauges = world.handle.gauges().clone();
        let reply = move |outcome: Result<CommitReceipt, SubmitError>| drop(tell.send(outcome.map(|_| *gauges.hold.lock().unwrap())));
        world.handle.submit(Command { actor: Actor::Operator, trace: None, ask }, Box::new(reply));
        told.recv().unwrap().unwrap()
    };
    let far = Ask::NoteClockStep { from: NOON, to: NOON.plus_millis(5 * 3_600_000) };
    assert!(hold_at_the_answer(far).is_some());
    assert_eq!(hold_at_the_answer(Ask::AcceptClock), None);
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn command_on_a_full_disk_is_rejected_and_accepted_once_there_is_space() {
    let mut world = World::new();
    world.faults.fail_append_at(2, AppendFault::Full);
    let thread = world.start();
    assert!(world.ask(set_key("a")).is_ok());
    assert!(matches!(world.ask(set_key("b")), Err(SubmitError::StorageFull)));
    world.the_log_holds(1);
    // Until the space is checked again, commands from outside are rejected, and commands that the log itself leads to
    // are not.
    assert!(world.ask(clock_step()).is_ok());
    assert!(matches!(world.ask(set_key("b")), Err(SubmitError::StorageFull)));
    world.room.0.store(true, Ordering::Relaxed);
    assert!(world.ask(set_key("b")).is_ok());
    world.the_log_holds(3);
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn full_disk_rejects_outside_commands_before_deciding_them() {
    let mut world = World::new();
    world.room.0.store(false, Ordering::Relaxed);
    let thread = world.start();
    assert!(matches!(world.ask(set_key("a")), Err(SubmitError::StorageFull)));
    assert!(world.faults.releases() > 0, "the log frees what it does not need before a command is rejected");
    assert!(world.ask(clock_step()).is_ok());
    world.the_log_holds(1);
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn free_space_is_detected_without_a_request() {
    let mut world = World::new();
    world.room.0.store(false, Ordering::Relaxed);
    let thread = world.start();
    assert!(matches!(world.ask(set_key("a")), Err(SubmitError::StorageFull)));
    assert!(world.handle.gauges().is_full.load(Ordering::Relaxed));
    // From here on callers are rejected because of the gauge, so the gauge must change by itself.
    world.room.0.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    while world.handle.gauges().is_full.load(Ordering::Relaxed) {
        assert!(begin.elapsed() < PATIENCE, "nobody has looked again");
        std::thread::yield_now();
    }
    assert!(world.ask(set_key("a")).is_ok());
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn unknown_commit_that_was_stored_is_found_and_not_repeated() {
    let mut world = World::new();
    world.faults.fail_append_at(1, AppendFault::Unknown(Fate::Kept));
    let thread = world.start();
    assert_eq!(world.ask(set_key("a")).unwrap().position, Position(1));
    world.the_log_holds(1);
    assert_eq!(world.ask(set_key("b")).unwrap().position, Position(2));
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn lost_unknown_commit_is_written_again() {
    let mut world = World::new();
    world.faults.fail_append_at(1, AppendFault::Unknown(Fate::Lost));
    let thread = world.start();
    assert_eq!(world.ask(set_key("a")).unwrap().position, Position(1));
    world.the_log_holds(1);
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn batch_rejected_by_the_store_is_retried_command_by_command() {
    let mut world = World::new();
    world.faults.fail_append_at(1, AppendFault::Refused);
    world.faults.fail_append_at(2, AppendFault::Refused);
    let waiting: Vec<_> = ["a", "b", "c"].into_iter().map(|name| world.submit(set_key(name))).collect();
    let thread = world.start();
    let told: Vec<_> = waiting.into_iter().map(|told| told.recv().unwrap()).collect();
    assert!(matches!(told[0], Err(SubmitError::Refused(Refusal::Unstorable(_)))), "{told:?}");
    assert!(told[1].is_ok() && told[2].is_ok(), "{told:?}");
    world.the_log_holds(2);
    world.handle.stop();
    let engine = thread.join().unwrap().unwrap().engine;
    let names: Vec<&str> = engine.access().keys().map(|(key, _)| key.name()).collect();
    assert_eq!(names, ["b", "c"], "what was refused left nothing in the state");
}

#[test]
fn dead_store_ends_the_sequencer_without_acknowledging() {
    let mut world = World::new();
    world.faults.fail_append_at(2, AppendFault::Dead);
    let thread = world.start();
    assert!(world.ask(set_key("a")).is_ok());
    assert!(matches!(world.ask(set_key("b")), Err(SubmitError::Unknown)));
    assert!(matches!(thread.join().unwrap(), Err(SequencerError::Log(_))));
    assert!(matches!(world.ask(set_key("c")), Err(SubmitError::Stopping)));
    world.the_log_holds(1);
}

#[test]
fn stop_answers_waiting_commands() {
    let mut world = World::new();
    let waiting = world.submit(set_key("a"));
    world.handle.stop();
    let thread = world.start();
    assert!(waiting.recv().unwrap().is_ok());
    thread.join().unwrap().unwrap();
    assert!(matches!(world.ask(set_key("b")), Err(SubmitError::Stopping)));
}

#[test]
fn stop_on_a_full_disk_leaves_reactions_owed_and_blames_none() {
    let mut world = World::new();
    let log = world.log.as_mut().unwrap();
    log.append(&owing::owing(log.id(), log.epoch()), Position(0), log.epoch()).unwrap();
    (2..1_000).for_each(|append| world.faults.fail_append_at(append, AppendFault::Full));
    world.handle.stop();
    let engine = world.start().join().unwrap().unwrap().engine;
    assert!(engine.health().next_owed(None).is_some());
    assert!(!world.folder.path().join("crash.json").exists(), "it is the disk that is full");
    world.the_log_holds(2);
}

/// Serves the owed reactions in a world that reads bodies with this function.
fn serves_with(plain: fn(&Body) -> Result<Option<Bytes>, LogError>) -> (World, Result<Snapshot, SequencerError>) {
    let mut world = World::new();
    world.plain = plain;
    let log = world.log.as_mut().unwrap();
    log.append(&owing::owing(log.id(), log.epoch()), Position(0), log.epoch()).unwrap();
    world.handle.stop();
    let ended = world.start().join().unwrap();
    (world, ended)
}

#[test]
fn unreadable_body_ends_the_sequencer_and_reactions_stay_owed() {
    let (world, ended) = serves_with(|_| Err(LogError::Store("the disk says no".to_owned())));
    assert!(matches!(&ended, Err(SequencerError::Log(why)) if why.contains("the disk says no")), "{:?}", ended.err());
    world.the_log_holds(2);
}

#[test]
fn body_of_a_log_that_does_not_answer_leaves_the_reactions_owed() {
    let (world, ended) = serves_with(|_| Err(LogError::Unavailable("the database is gone".to_owned())));
    assert!(matches!(&ended, Err(SequencerError::OutOfReach(why)) if why.contains("the database is gone")), "{:?}", ended.err());
    world.the_log_holds(2);
}

#[test]
fn reaction_whose_body_was_erased_is_parked() {
    let (world, ended) = serves_with(|_| Ok(None));
    assert!(ended.unwrap().engine.health().next_owed(None).is_none());
    let records = world.reader.read(Position(0), ReadLimit::default()).unwrap();
    assert_eq!(records.iter().map(Record::kind).collect::<Vec<_>>(), ["event.received", "reaction.deferred", "reaction.parked"]);
}

#[test]
fn waiting_commands_are_answered_even_if_the_sequencer_ends_by_itself() {
    let mut world = World::new();
    world.faults.fail_append_at(1, AppendFault::Dead);
    let offered: Vec<_> = (0..BATCH_COMMANDS_MAX).map(|_| world.submit(set_key("a"))).collect();
    let left: Vec<_> = (0..3).map(|_| world.submit(set_key("b"))).collect();
    let thread = world.start();
    assert!(thread.join().unwrap().is_err());
    for told in offered {
        assert!(matches!(told.recv().unwrap(), Err(SubmitError::Unknown | SubmitError::Refused(_))));
    }
    for told in left {
        assert!(matches!(told.recv().unwrap(), Err(SubmitError::Stopping)), "nothing of it was begun");
    }
    world.the_log_holds(0);
}

#[test]
fn full_command_queue_rejects_callers_but_accepts_internal_commands() {
    let mut world = World::with(Queues::with(|name| if name == QueueName::CommandBytes { 0 } else { 2 }));
    // A command without bytes needs no space for them.
    let waiting = [world.submit(set_key("a")), world.submit(set_key("b"))];
    assert!(matches!(world.ask(set_key("c")), Err(SubmitError::Busy)), "two wait already");
    let thread = world.start();
    assert!(waiting.into_iter().all(|told| told.recv().unwrap().is_ok()));
    assert!(matches!(world.ask(kept_delivery()), Err(SubmitError::Busy)), "there is no room for its bytes");
    assert!(world.ask(clock_step()).is_ok());
    assert_eq!(world.queues.iter().map(|queue| queue.depth()).max(), Some(0), "what was answered holds no room");
    assert_eq!(world.queues.of(QueueName::Commands).rejections(), 1);
    assert_eq!(world.queues.of(QueueName::CommandBytes).rejections(), 1);
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn queue_of_commands_is_the_only_cap_on_their_number() {
    let caps = crate::memory_limits::Caps { delivery_bytes_max: 1, open_work: 1, workers: 1 };
    let mut world = World::with(crate::memory_limits::queues(1 << 40, caps));
    let waiting: Vec<_> = (0..COMMANDS_WAITING_MAX).map(|_| world.submit(set_key("a"))).collect();
    assert!(matches!(world.ask(set_key("b")), Err(SubmitError::Busy)), "commands from outside are rejected");
    assert!(matches!(world.ask(clock_step()), Err(SubmitError::Busy)), "so are those that the log itself leads to");
    assert_eq!(world.handle.worker_queues().unwrap_err().to_string(), SubmitError::Busy.to_string(), "and questions about queues");
    let thread = world.start();
    assert!(waiting.into_iter().all(|told| !matches!(told.recv().unwrap(), Err(SubmitError::Busy))));
    assert!(world.handle.worker_queues().is_ok());
    assert_eq!(world.queues.of(QueueName::Commands).depth(), 0, "what was answered takes up no room");
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn released_caches_of_the_log_come_back_as_they_are_used() {
    let mut world = World::new();
    let thread = world.start();
    assert!(world.ask(set_key("a")).is_ok());
    world.handle.release_caches();
    assert!(world.ask(set_key("b")).is_ok());
    assert_eq!((world.faults.releases(), world.queues.of(QueueName::Commands).depth()), (1, 0));
    world.handle.stop();
    thread.join().unwrap().unwrap();
    world.the_log_holds(2);
}

#[test]
fn unanswered_question_about_queues_counts_as_a_command() {
    let world = World::with(Queues::with(|_| 1));
    let asker = world.handle.clone();
    let asking = std::thread::spawn(move || asker.worker_queues());
    let begin = Instant::now();
    while world.queues.of(QueueName::Commands).depth() == 0 {
        assert!(begin.elapsed() < PATIENCE, "it takes up no room");
        std::thread::yield_now();
    }
    assert!(matches!(world.ask(set_key("a")), Err(SubmitError::Busy)));
    drop(world);
    assert!(matches!(asking.join().unwrap(), Err(SubmitError::Stopping)));
}

#[test]
fn outside_command_is_accepted_between_the_log_s_own_commands() {
    let mut world = World::new();
    let from_outside = world.submit(set_key("a"));
    let own: Vec<_> = (0..3 * BATCH_COMMANDS_MAX).map(|_| world.submit(clock_step())).collect();
    let thread = world.start();
    let taken = from_outside.recv().unwrap().unwrap().position;
    let own: Vec<Position> = own.into_iter().map(|told| told.recv().unwrap().unwrap().position).collect();
    assert!(own[0] < taken, "the log's own go first");
    assert!(taken < own[BATCH_COMMANDS_MAX], "it was not taken with the first batch, but at {taken}");
    world.handle.stop();
    thread.join().unwrap().unwrap();
}

fn kept_delivery() -> Ask {
    let letter = RefusedDelivery {
        sensor: "demo.gate".parse().unwrap(),
        trigger: None,
        reason: "it does not fit".into(),
        body: Body::raw(Bytes::from_static(b"12345")),
        with: None,
    };
    Ask::KeepDelivery(letter)
}

mod at_once;
mod clock_steps;
mod ended_processes;
mod owing;
mod slots;

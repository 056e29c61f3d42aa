//! A node, put together from the same parts as the one at work, on simulated clock, disk and processes: the twin of `wiring.rs`.
//!
//! It decides nothing by itself: the world says which part takes its next step, and when.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::{GivenEvent, Keys, Observe, OnBehalf};
use ensue_api::{Ports, Queue, QueueName};
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::{Ask, Command, Conflict, Dedupe, DedupeKey, Refusal, RequestExecution};
use ensue_engine::effect::Effect;
use ensue_engine::engine::Engine;
use ensue_engine::ids::LogId;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Blobs, Committed, Log, LogError, LogReader, Reply, Secret, Submit, SubmitError, Vault};
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest};
use ensue_engine::rules::judge::complete;
use ensue_executor::begun::Begun;
use ensue_executor::{Blocking, Executor, ExecutorPorts, ExecutorSettings};
use ensue_node::Config;
use ensue_node::opening::{Opened, open_on};
use ensue_node::parts::{
    Asking, BodyCache, Caps, Clock, Copies, Edge, Follower, KeyRing, LogReaders, Next, NodeBodies, NodeCatalogs, NodeClock, NodeHeard,
    NodeKeys, NodeTokens, OutsideWriter, PacksFolder, Rebuilt, Sequencer, SequencerHandle, SequencerParts, ShadowFold, Space, TokenTable,
    Turn, ViewFollower, Waiting, follower, note_clock_step, plain, queues, rebuild, sequencer,
};
use ensue_store::blobs::{BlobLimits, FolderBlobs};
use ensue_store::outputs::{FolderOutputs, Now, OutputLimits};
use ensue_store::sqlite::Place;
use ensue_store::sqlite::log::SqliteLogReader;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::{Event, View, ViewReader};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use crate::api::{About, Arrived, NodeApi};
use crate::clock::{WorkerClock, WorldHands};
use crate::disk::{CRASH_NOTE, Disk, FailingLog, FailingVault};
use crate::ground::Ground;
use crate::http::{self, Copy, DOOR_SECRET, Exchanges, Sent};
use crate::life::Life;
use crate::operator::Operated;
use crate::programs::{Machine, NodePrograms};
use crate::sightings::Finder;
use crate::sometimes;
use crate::traffic::{Outcome, Promise, RequestNumber, Wish};
use crate::web::{NodeWeb, Server};

/// The release that the simulated node says it is.
const RELEASE: &str = "0.0.0-simulated";
/// What the other queues have shares of.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// The most bytes that an attempt's output is kept with.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;
/// How long after a start the boot id of a machine stays the same in its text.
const BOOT: &str = "00000000-0000-4000-8000-";

/// What a start is given.
pub(crate) struct Start<'w> {
    /// The world.
    pub(crate) ground: &'w Arc<Ground>,
    /// The disk it starts on.
    pub(crate) disk: &'w Disk,
    /// Which of the world's nodes it is.
    pub(crate) number: u32,
    /// How often the machine was booted.
    pub(crate) boots: u32,
    /// Whether the disk has room.
    pub(crate) room: &'w Room,
    /// The machine that programs run on.
    pub(crate) machine: &'w Arc<Machine>,
    /// What the operator set.
    pub(crate) operated: &'w Operated,
    /// The server that requests are sent to.
    pub(crate) server: &'w Arc<Server>,
}

/// Why a start came to nothing.
pub(crate) enum Unstarted {
    /// It was killed on the way.
    Killed,
    /// It stopped by itself.
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for Unstarted {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Whether the disk has room; a clone speaks of the same disk.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<std::sync::atomic::AtomicBool>);

impl Room {
    /// Takes all room away, or gives it back.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.store(is_full, std::sync::atomic::Ordering::Relaxed);
    }

    /// Says whether there is none.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Space for Room {
    fn has_room(&mut self) -> bool {
        !self.is_full()
    }

    fn was_full(&mut self) {
        // One append without room says little of the next: the room is the world's to give.
    }
}

/// A node that runs.
pub(crate) struct Node {
    /// Which of the world's nodes it is.
    pub(crate) number: u32,
    /// Its life.
    pub(crate) life: Arc<Life>,
    /// The log's epoch that it writes under.
    pub(crate) epoch: u64,
    /// What waits for time to pass in its worker.
    pub(crate) worker_clock: Arc<WorkerClock>,
    ground: Arc<Ground>,
    // The tasks of the worker go before what they use.
    runtime: Runtime,
    idle: Arc<Notify>,
    executor: Executor,
    api: NodeApi,
    tokens: NodeTokens,
    /// How far the runtime's own time has come, in microseconds since the world began.
    ticked: AtomicU64,
    pump: Arc<Pump>,
    handle: Arc<LivingSubmit>,
    views: Follower<ViewFollower>,
    view_reader: Arc<dyn ViewReader>,
    views_at: watch::Receiver<ensue_engine::record::Position>,
    shadow: Follower<ShadowFold>,
    catalogs: Arc<NodeCatalogs>,
    edge: Arc<Edge>,
    keys: Arc<NodeKeys>,
    packs: PacksFolder,
    readers: Arc<LogReaders>,
    outside: OutsideWriter,
    rebuilt: Rebuilt,
    clock: Arc<dyn Clock>,
    log: LogId,
    views_place: Place,
    /// What waits for the followers of the views and of the shadow state.
    followed: [Waiting; 2],
    _data: ensue_store::data_dir::DataDir,
}

/// A request that was judged at the edge, on its way to the sequencer.
pub(crate) struct Judged {
    command: Command,
    /// What it was judged by.
    catalog: CatalogRevision,
    promise: Promise,
}

/// The way to the sequencer of a node that may die.
struct LivingSubmit {
    handle: SequencerHandle,
    life: Arc<Life>,
    ground: Arc<Ground>,
}

impl Submit for LivingSubmit {
    fn submit(&self, command: Command, reply: Reply) {
        if self.life.is_over() {
            return reply(Err(SubmitError::Unknown));
        }
        self.life.ask();
        let ground = self.ground.clone();
        let reply = move |outcome: Result<Committed, SubmitError>| {
            if matches!(outcome, Err(SubmitError::Refused(Refusal::Bug(_)))) {
                ground.witness().note_refused(ground.now());
            }
            reply(outcome);
        };
        self.handle.submit(command, Box::new(reply));
    }
}

/// The same for who waits for the answer: while they wait, the sequencer takes its turns.
struct Pump {
    submit: Arc<LivingSubmit>,
    sequencer: Mutex<Option<Sequencer>>,
    failed: Mutex<Option<String>>,
}

impl Pump {
    fn turn(&self) -> Turn {
        let mut sequencer = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(machine) = sequencer.as_mut() else { return Turn::Ended };
        let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.turn()));
        let why = match turned {
            Ok(Ok(turn)) => return turn,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the sequencer panicked".to_owned(),
        };
        if !self.submit.life.is_over() {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        }
        // What still waits is answered by its end, as it is in a node whose sequencer's thread has ended.
        *sequencer = None;
        Turn::Ended
    }
}

impl Submit for Pump {
    fn submit(&self, command: Command, reply: Reply) {
        self.submit.submit(command, reply);
    }
}

impl Asking for Pump {
    fn ask(&self, command: Command) -> Result<Committed, SubmitError> {
        let told: Arc<Mutex<Option<Result<Committed, SubmitError>>>> = Arc::default();
        let tell = told.clone();
        self.submit(command, Box::new(move |outcome| *lock(&tell) = Some(outcome)));
        loop {
            if let Some(outcome) = lock(&told).take() {
                return if self.submit.life.is_over() { Err(SubmitError::Unknown) } else { outcome };
            }
            match self.turn() {
                Turn::Taken => {}
                Turn::Idle | Turn::NoRoom | Turn::Ended => return lock(&told).take().unwrap_or(Err(SubmitError::Stopping)),
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Catalogs with a bug that strikes now and then.
struct BuggyCatalogs {
    catalogs: Arc<NodeCatalogs>,
    ground: Arc<Ground>,
    life: Arc<Life>,
    crash_file: PathBuf,
}

impl BuggyCatalogs {
    /// Ends the process where an owed reaction is worked out that ends processes.
    fn may_end_the_process(&self) {
        let is_possible = self.ground.plan.reaction_kill > 0.0 && !self.ground.is_healed() && !self.life.is_over();
        if !is_possible {
            return;
        }
        let Some(reaction) = noted_reaction(&self.crash_file) else { return };
        if !self.ground.witness().ends_processes(&reaction) {
            if !self.ground.strikes(self.ground.plan.reaction_kill) {
                return;
            }
            self.ground.witness().note_ending(reaction);
        }
        self.ground.tell("node", "a reaction ends the process");
        let kept = self.crash_file.with_file_name(CRASH_NOTE);
        // Without the note the worst is that this end does not count.
        let _ = std::fs::copy(&self.crash_file, kept);
        self.life.end();
        std::panic::panic_any(SimulatedBug);
    }
}

/// Gives the reaction that is being worked out: the position it is owed to, and which of its consequences it is.
fn noted_reaction(crash_file: &Path) -> Option<(u64, u64)> {
    let noted: serde_json::Value = serde_json::from_slice(&std::fs::read(crash_file).ok()?).ok()?;
    Some((noted["serving"]["of"].as_u64()?, noted["serving"]["next"].as_u64()?))
}

impl Catalogs for BuggyCatalogs {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        self.may_end_the_process();
        if self.ground.strikes(self.ground.plan.catalog_panics) {
            self.ground.tell("node", format!("a bug strikes when the catalog of revision {revision} is looked up"));
            sometimes!("a bug struck in the core");
            self.ground.witness().note_bug(self.ground.now());
            std::panic::panic_any(SimulatedBug);
        }
        self.catalogs.at(revision)
    }
}

/// What a simulated bug panics with.
pub(crate) struct SimulatedBug;

impl Node {
    /// Starts a node, step by step as the one at work does; it may be killed at each step.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, Unstarted> {
        let Start { ground, disk, number, boots, room, machine, operated, server } = *start;
        let life = Arc::new(Life::default());
        let may_die = |after: &'static str| {
            if ground.strikes(ground.plan.start_kill) {
                ground.tell("node", format!("#{number} is killed while it starts, after {after}"));
                sometimes!("killed while starting");
                life.end();
                disk.kill();
            }
            if life.is_over() { Err(Unstarted::Killed) } else { Ok(()) }
        };
        let mut config = Config::new(disk.data());
        config.packs = disk.packs();
        config.state_base = Some(disk.state());
        let clock: Arc<dyn Clock> = Arc::new(NodeClock::new(WorldHands(ground.clone())));
        let opened = open_on(&config, &*clock, |data| disk.places(data))?;
        ground.note_operated(opened.log.epoch().0, operated.clone());
        may_die("opening the data")?;

        let log = opened.engine.log();
        let readers = Arc::new(LogReaders::new(open_readers(&opened)));
        let vault: Arc<dyn Vault> = Arc::new(FailingVault::new(opened.vault.clone(), ground.clone(), life.clone()));
        let ring = Arc::new(KeyRing::open_vault(vault.clone(), opened.engine.access())?);
        let tokens = Arc::new(TokenTable::open_vault(vault, opened.engine.access())?);
        may_die("opening the vault")?;
        let catalogs = Arc::new(NodeCatalogs::open(opened.data.packs(), opened.engine.packs().clone(), opened.log.reader()?)?);
        let edge = Arc::new(Edge { log, catalogs: catalogs.clone(), keys: ring.clone(), clock: clock.clone() });
        let queues = queues(MEMORY_BYTES, Caps { open_work: operated.open_work_max, workers: operated.workers });
        let waiting = |batches, bytes| Waiting {
            batches: Queue::new(batches, operated.batches_waiting_max),
            bytes: Queue::new(bytes, operated.batch_bytes_max),
        };
        let followed =
            [waiting(QueueName::ViewBatches, QueueName::ViewBatchBytes), waiting(QueueName::ShadowBatches, QueueName::ShadowBatchBytes)];
        let bodies = Arc::new(BodyCache::new(Queue::new(QueueName::BodyBytes, operated.bodies_at_hand_bytes)));
        let told = clock.clone();
        let now: Now = Arc::new(move || told.now());
        let limits = OutputLimits { attempt_bytes: OUTPUT_BYTES_MAX, ..OutputLimits::default() };
        let outputs = Arc::new(FolderOutputs::open(&opened.data.outputs(), limits, now.clone())?);
        let limits = BlobLimits { quota_bytes: u64::MAX, free_bytes: 0 };
        let blobs: Arc<dyn Blobs> = Arc::new(FolderBlobs::open(&opened.data.blobs(), limits, now)?);
        let outside = OutsideWriter::new(opened.outside);

        let rebuilt = Rebuilt::default();
        let views_place = opened.places.views.clone();
        let views = SqliteViews::open_at(&views_place, log)?;
        let view_reader: Arc<dyn ViewReader> = Arc::new(views.reader());
        let (reached, views_at) = watch::channel(ensue_engine::record::Position(0));
        let (views_told, views) =
            follower(ViewFollower::new(views, reached, rebuilt.clone(), readers.clone()), opened.log.reader()?, followed[0].clone());
        let shadow = ShadowFold::new(opened.engine.clone(), opened.head, opened.saved_at, opened.checkpoints);
        let (shadow_told, shadow) = follower(shadow.saving_every(operated.snapshot_every), opened.log.reader()?, followed[1].clone());
        may_die("opening the views")?;

        let owed: Vec<Effect> = opened.engine.owed_effects();
        let running = owed.iter().filter_map(|effect| match effect {
            Effect::Dispatch(dispatch) => Some(dispatch.attempt),
            Effect::Stop { .. } | Effect::Release { .. } => None,
        });
        let running: Vec<_> = running.collect();
        outputs.go_on(running.iter().copied())?;
        let boot = format!("{BOOT}{boots:012}");
        let (begun, previous) = Begun::open_in_boot(opened.data.begun(), running, &boot)?;
        may_die("reading what had begun")?;

        let idle = Arc::new(Notify::new());
        let parked = idle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parked.notify_one())
            .build()?;
        let worker_clock = WorkerClock::new(ground.clone(), operated.lease_millis * 1_000);
        let (handle, unstarted) = sequencer(queues);
        let handle = Arc::new(LivingSubmit { handle, life: life.clone(), ground: ground.clone() });
        let settings = operated.settings();
        let mut executor_settings = ExecutorSettings::new("");
        executor_settings.lease = Duration::from_millis(settings.lease_millis);
        executor_settings.blocking = Blocking::InPlace;
        let finder = Finder { node: number, epoch: opened.log.epoch().0 };
        let executor = {
            let _entered = runtime.enter();
            Executor::start(
                ExecutorPorts {
                    submit: handle.clone(),
                    catalogs: catalogs.clone(),
                    bodies: Arc::new(NodeBodies { cache: bodies.clone(), log: readers.clone() }),
                    keys: ring.clone(),
                    outputs: outputs.clone(),
                    blobs: blobs.clone(),
                    observe: edge.clone(),
                    packs: Arc::new(Copies(catalogs.clone())),
                    clock: worker_clock.clone(),
                    begun,
                    programs: Arc::new(NodePrograms { machine: machine.clone(), life: life.clone(), clock: worker_clock.clone(), finder }),
                    web: Arc::new(NodeWeb { server: server.clone(), life: life.clone(), clock: worker_clock.clone() }),
                },
                executor_settings,
            )
        };
        let heard = NodeHeard {
            catalogs: catalogs.clone(),
            keys: ring.clone(),
            tokens: tokens.clone(),
            bodies,
            outside: outside.clone(),
            executor: executor.clone(),
            followers: [views_told, shadow_told],
        };
        let machine = unstarted.with(SequencerParts {
            log: Box::new(FailingLog::new(opened.log, ground.clone(), life.clone())),
            engine: opened.engine,
            head: opened.head,
            clock: clock.clone(),
            catalogs: Arc::new(BuggyCatalogs {
                catalogs: catalogs.clone(),
                ground: ground.clone(),
                life: life.clone(),
                crash_file: opened.data.crash(),
            }),
            settings,
            heard: Box::new(heard),
            space: Box::new(room.clone()),
            plain,
            crash_file: opened.data.crash(),
        });
        let pump = Arc::new(Pump { submit: handle.clone(), sequencer: Mutex::new(Some(machine)), failed: Mutex::default() });
        sometimes!(!owed.is_empty(), "a start found attempts that were running");
        runtime.block_on(executor.take_over(owed, &previous));
        pump.ask(Command { actor: Actor::Engine, trace: None, ask: Ask::NoteStart { release: RELEASE.to_owned() } })?;
        may_die("noting the start")?;
        let packs = PacksFolder {
            path: disk.packs(),
            settings: operated.of_packs(),
            catalogs: catalogs.clone(),
            sequencer: pump.clone(),
            clock: clock.clone(),
        };
        packs.take_in()?;
        may_die("taking in the packs")?;
        let keys = Arc::new(NodeKeys { ring, sequencer: pump.clone(), setting: Mutex::new(()) });
        let api = NodeApi::new(
            Ports {
                submit: handle.clone(),
                installed: catalogs.clone(),
                views: view_reader.clone(),
                views_at: views_at.clone(),
                log: readers.clone(),
                outputs,
                blobs,
                webhooks: edge.clone(),
                observe: edge.clone(),
                access: tokens.clone(),
                keys: keys.clone(),
                tokens: Arc::new(NodeTokens { table: tokens.clone(), sequencer: pump.clone(), clock: clock.clone() }),
                node: Arc::new(About(handle.handle.gauges().clone())),
            },
            ground.plan.api_memory_bytes,
            operated,
            &runtime,
        );
        let tokens = NodeTokens { table: tokens, sequencer: pump.clone(), clock: clock.clone() };
        let ticked = AtomicU64::new(ground.now());
        let node = Self {
            number,
            life: life.clone(),
            epoch: finder.epoch,
            worker_clock,
            ground: ground.clone(),
            runtime,
            idle,
            executor,
            api,
            tokens,
            ticked,
            pump,
            handle,
            views,
            view_reader,
            views_at,
            shadow,
            catalogs,
            edge,
            keys,
            packs,
            readers,
            outside,
            rebuilt,
            clock,
            log,
            views_place,
            followed,
            _data: opened.data,
        };
        node.let_clients_in();
        may_die("letting clients in")?;
        Ok(node)
    }

    /// Gives each client its token and the webhook its key, where they are not there; what fails is tried again later.
    fn let_clients_in(&self) {
        let by = OnBehalf { actor: Actor::Operator, trace: None };
        let door = door();
        if matches!(self.keys.ring.open(&door), Ok(None)) {
            let _ = self.keys.set(&door, Secret::new(DOOR_SECRET.as_bytes().to_vec()), &by);
        }
        for client in 0..self.ground.plan.clients {
            let token = Secret::new(http::token(client).into_bytes());
            if !self.tokens.table.is_known(&token) {
                let _ = self.tokens.add_given(&format!("client{client}"), &["operator".to_owned()], &token, &by);
            }
        }
    }

    /// Lets the sequencer take a turn.
    pub(crate) fn turn(&self) -> Turn {
        let turned_away = |of: &Waiting| of.batches.rejected() + of.bytes.rejected();
        let before = self.followed.iter().map(turned_away).sum::<u64>();
        let turn = self.pump.turn();
        sometimes!(self.followed.iter().map(turned_away).sum::<u64>() > before, "a follower was not told of a batch");
        turn
    }

    /// Gives why the sequencer ended by itself, where it did.
    pub(crate) fn failed(&self) -> Option<String> {
        lock(&self.pump.failed).clone()
    }

    /// Lets the worker's tasks run until each of them waits.
    pub(crate) fn work(&self) {
        self.worker_clock.wake();
        let now = self.ground.now();
        let passed = Duration::from_micros(now - self.ticked.swap(now, Ordering::Relaxed));
        if self.under_way() > 0 {
            // What waits by the runtime's own time is woken where the runtime rests, and runs in the next round.
            self.runtime.block_on(async {
                tokio::time::advance(passed).await;
                self.idle.notified().await;
            });
        }
        self.runtime.block_on(self.idle.notified());
    }

    /// Lets the follower of the views take a step.
    pub(crate) fn follow_views(&mut self) -> Result<Next, String> {
        self.views.step()
    }

    /// Lets the shadow fold take a step.
    pub(crate) fn follow_shadow(&mut self) -> Result<Next, String> {
        self.shadow.step()
    }

    /// Does what is done once a second.
    pub(crate) fn tick(&self) {
        note_clock_step(&*self.clock, &*self.handle);
        self.outside.flush();
        if !self.api.is_stopping() {
            self.let_clients_in();
        } else if self.under_way() == 0 {
            self.close();
        }
    }

    /// Serves a copy of a request over the API's own routes.
    pub(crate) fn serve(&self, copy: &Copy, request: axum::http::Request<Sent>, promise: Promise, exchanges: &Arc<Exchanges>) {
        let arrived = Arrived { number: copy.number, copy: copy.copy, request, promise, exchanges: exchanges.clone() };
        self.api.serve(arrived);
    }

    /// Closes the connections of a request: its client has gone away.
    pub(crate) fn hang_up(&self, number: RequestNumber) {
        self.api.hang_up(number);
    }

    /// Says whether connections are accepted.
    pub(crate) fn accepts(&self) -> bool {
        !self.api.is_stopping()
    }

    /// Gives how many requests are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.api.under_way()
    }

    /// Takes a request in at the edge, by what is in force now. What is asked of the log is given back, to be handed in then or later, as
    /// the threads of a node at work do; everything else is answered.
    pub(crate) fn judge(&self, wish: &Wish, client: &str, promise: Promise) -> Option<Judged> {
        let asked = |ask: Ask| Command { actor: Actor::Token(client.to_owned()), trace: None, ask };
        let ask = match wish {
            Wish::Send { trigger, payload, key } => {
                let payload = bytes::Bytes::from(payload.clone());
                let dedupe = key.as_ref().map(|key| Dedupe {
                    key: DedupeKey { scope: format!("events/{client}"), hash: Digest::of(key.as_bytes()) },
                    content: Digest::of(&payload),
                    conflict: Conflict::IsRefused,
                });
                let trigger = format!("sim.t{trigger}").parse().expect("it is a ref");
                let observed = self.edge.observe(GivenEvent { trigger, payload, source: "api".to_owned(), dedupe });
                observed.map(|event| Ask::ReceiveEvents(vec![event])).map_err(|declined| declined.why.to_string())
            }
            // A delivery comes over the API's routes alone.
            Wish::Deliver { .. } => {
                promise.let_go();
                return None;
            }
            Wish::Run { action, params } => self.requested(action, params).map(Ask::RequestExecution),
            Wish::Cancel(execution) => Ok(Ask::CancelExecution { execution: *execution }),
            Wish::Settle(execution, outcome) => Ok(Ask::SettleExecution { execution: *execution, outcome: outcome.clone(), result: None }),
            Wish::SetMode(name, mode) => self.mode_set(name, *mode),
            Wish::SetKey(value) => {
                let secret = Secret::new(format!("canary-{value:016x}").into_bytes());
                let set = self.keys.set(&canary(), secret, &behalf(client));
                promise.keep(set.map_or_else(|declined| unsure(&declined), |set| Outcome::Done(set.committed)));
                return None;
            }
            Wish::RemoveKey => {
                let removed = self.keys.remove(&canary(), &behalf(client));
                promise.keep(removed.map_or_else(|declined| unsure(&declined), Outcome::Done));
                return None;
            }
            Wish::TakeInPacks => {
                let taken = self.packs.take_in();
                promise.keep(match taken {
                    Ok(_) => Outcome::Seen,
                    Err(error) => Outcome::Not(error.to_string()),
                });
                return None;
            }
            Wish::See { event, position } => {
                promise.keep(self.seen(event, *position));
                return None;
            }
        };
        match ask {
            Ok(ask) => Some(Judged { command: asked(ask), catalog: self.catalogs.current().revision(), promise }),
            Err(why) => {
                promise.keep(Outcome::Not(why));
                None
            }
        }
    }

    /// Hands in what was judged.
    pub(crate) fn hand_in(&self, judged: Judged) {
        let Judged { command, catalog, promise } = judged;
        sometimes!(catalog != self.catalogs.current().revision(), "the catalog changed between a judgement and its submission");
        self.handle.submit(command, Box::new(move |outcome| promise.keep(outcome.into())));
    }

    fn mode_set(&self, name: &str, mode: crate::pack::WrittenMode) -> Result<Ask, String> {
        let catalog = self.catalogs.current();
        let found = name.parse().ok().and_then(|name| catalog.rules().get(&name).cloned());
        let rule = found.ok_or_else(|| format!("there is no rule `{name}`"))?;
        let mode = match mode {
            crate::pack::WrittenMode::Enabled => ensue_engine::catalog::Mode::Enabled,
            crate::pack::WrittenMode::Disabled => ensue_engine::catalog::Mode::Disabled,
            crate::pack::WrittenMode::Shadow => ensue_engine::catalog::Mode::Shadow,
        };
        Ok(Ask::SetRuleMode { rule: rule.name.clone(), rule_id: rule.id, mode })
    }

    fn requested(&self, action: &str, params: &str) -> Result<RequestExecution, String> {
        let catalog = self.catalogs.current();
        let name: ensue_engine::names::ActionRef = action.parse().map_err(|_| "no ref".to_owned())?;
        let definition = catalog.actions().get(&name).cloned().ok_or_else(|| format!("there is no action `{name}`"))?;
        let params = serde_json::from_str(params).map_err(|error| error.to_string())?;
        let params = complete(&definition.parameters, params).map_err(|misfits| format!("{} misfits", misfits.len()))?;
        let body = Body::json(params.bytes().clone());
        Ok(RequestExecution { action: name, definition, catalog: catalog.revision(), body, params })
    }

    fn seen(&self, event: &str, position: u64) -> Outcome {
        if self.views_at.borrow().0 < position {
            sometimes!("a view was behind what its reader wrote");
            return Outcome::NotYet;
        }
        match self.view_reader.get(Event::NAME, event) {
            Ok(Some(_)) => Outcome::Seen,
            Ok(None) => Outcome::Not("it is not there".to_owned()),
            // A disk that cannot be read says nothing of what stands on it.
            Err(_) => Outcome::Unknown,
        }
    }

    /// Builds the views anew beside the live ones, for the follower to take.
    pub(crate) fn rebuild_views(&self) -> Result<(), String> {
        let beside = Place { path: self.views_place.path.with_extension("rebuilt.sqlite"), ..self.views_place.clone() };
        let views = rebuild(&beside, self.log, &self.readers, &mut |_| {})?;
        let ground = self.ground.clone();
        self.rebuilt.hand_over(
            views,
            Box::new(move |adopted| {
                sometimes!(adopted.is_ok(), "views that were built anew took the place of the live ones");
                ground.tell("views", format!("the rebuilt ones are live: {}", adopted.map_or_else(|why| why, |at| format!("at {at}"))));
            }),
        );
        Ok(())
    }

    /// Gives the views, to be read.
    pub(crate) fn view_reader(&self) -> &Arc<dyn ViewReader> {
        &self.view_reader
    }

    /// Gives a reader of the log.
    pub(crate) fn log(&self) -> &Arc<LogReaders> {
        &self.readers
    }

    /// Gives the newest position of the log; 0 where it cannot be read.
    pub(crate) fn head(&self) -> u64 {
        ensue_api::ports::LogAccess::head(&*self.readers).map_or(0, |head| head.position.0)
    }

    /// Gives the position that the views have reached.
    pub(crate) fn views_at(&self) -> u64 {
        self.views_at.borrow().0
    }

    /// Hands a command in of which nobody waits for the answer.
    pub(crate) fn submit(&self, command: Command) {
        self.handle.submit(command, Box::new(|_| {}));
    }

    /// Gives how many attempts the worker runs.
    pub(crate) fn running(&self) -> usize {
        self.executor.running()
    }

    /// Looks at the live state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> Option<T> {
        lock(&self.pump.sequencer).as_ref().map(|machine| look(machine.engine()))
    }

    /// Says whether the shadow state is the live one; none where they stand at different positions.
    pub(crate) fn shadow_is_live(&self) -> Option<bool> {
        self.look(|live| {
            let shadow = self.shadow.follow().engine();
            (shadow.position() == live.position()).then(|| shadow == live)
        })
        .flatten()
    }

    /// Begins a stop: no connection is accepted any more, requests under way end, and then what waits is done.
    pub(crate) fn begin_stop(&self) {
        self.api.stop();
        if self.under_way() == 0 {
            self.close();
        }
    }

    fn close(&self) {
        self.handle.handle.stop();
        self.life.ask();
    }

    /// Ends a stop, once the sequencer has ended: what is left is written.
    pub(crate) fn end_stop(mut self) {
        self.shadow.follow_mut().save();
        self.outside.flush();
    }
}

fn door() -> KeyRef {
    "sim.door".parse().expect("it is a key's ref")
}

fn canary() -> KeyRef {
    "sim.canary".parse().expect("it is a key's ref")
}

fn behalf(client: &str) -> OnBehalf {
    OnBehalf { actor: Actor::Token(client.to_owned()), trace: None }
}

/// Setting a key is several steps: that it was declined does not say that nothing was done.
fn unsure(declined: &ensue_api::ports::Declined) -> Outcome {
    let _ = declined;
    Outcome::Unknown
}

fn open_readers(opened: &Opened) -> Box<ensue_node::parts::OpenReader> {
    let (place, id) = (opened.places.log.clone(), opened.engine.log());
    Box::new(move || match SqliteLogReader::open_at(&place, id) {
        Ok(reader) => Ok(Box::new(reader) as Box<dyn LogReader>),
        Err(error) => Err(LogError::Store(error.to_string())),
    })
}

//! A node built from the same parts as a production node, on a simulated clock, disk and processes.
//!
//! It decides nothing by itself: the world chooses which part takes the next step, and when.

mod bugs;
mod fold_guard;
mod request_checks;
mod start;
mod stop;
mod submit;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::LogAccess;
use ensue_engine::command::Command;
use ensue_engine::engine::Engine;
use ensue_engine::ids::LogId;
use ensue_engine::ports::{ReadLimit, Submit};
use ensue_engine::record::Head;
use ensue_executor::Executor;
use ensue_node::backend::{Folder, OpenBeside};
use ensue_node::log_runtime::open::fold_in;
use ensue_node::parts::{
    Edge, Follower, LogReaders, Next, NodeCatalogs, NodeKeys, NodeTokens, OutsideWriter, PacksFolder, Rebuilt, SensorSupervisor,
    SnapshotWriter, Space, SteppedClock, Turn, ViewFollower, Waiting, note_clock_step, rebuild,
};
use ensue_views::ViewReader;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

pub(crate) use self::bugs::SimulatedBug;
pub(crate) use self::request_checks::{CheckedRequest, KeyedCopy};
pub(crate) use self::start::{Start, StartFailure};
use self::stop::Stopping;
use self::submit::{LivingSubmit, Pump};
use crate::api::{ArrivedRequest, NodeApi};
use crate::clock::WorkerClock;
use crate::ground::WorldGround;
use crate::http::{Copy, Exchanges, RequestBody};
use crate::life::Life;
use crate::peers::Peers;
use crate::sometimes;
use crate::traffic::{Promise, RequestNumber};

/// Whether the disk has space. Clones share the same disk.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<AtomicBool>);

impl Room {
    /// Removes all space.
    pub(crate) fn take_away(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Restores the space.
    pub(crate) fn give_back(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Returns true if there is no space.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Space for Room {
    fn has_room(&mut self, release: &mut dyn FnMut()) -> bool {
        let is_full = self.is_full();
        if is_full {
            release();
        }
        !is_full
    }

    fn was_full(&mut self) {
        // One append without space says little about the next: the world decides about the space.
    }
}

/// A running node.
pub(crate) struct Node {
    /// Its number in the world.
    pub(crate) number: u32,
    /// Its life.
    pub(crate) life: Arc<Life>,
    /// The log's epoch with which it writes.
    pub(crate) epoch: u64,
    /// The clock on which its worker's tasks wait.
    pub(crate) worker_clock: Arc<WorkerClock>,
    ground: Arc<WorldGround>,
    // The worker's tasks are dropped before the things they use.
    runtime: Arc<Runtime>,
    idle: Arc<Notify>,
    executor: Executor,
    sensors: Option<SensorSupervisor>,
    api: NodeApi,
    tokens: NodeTokens,
    stopping: Stopping,
    /// How long its attempts may continue during a stop.
    stop_patience: Duration,
    /// When the worker's tasks last ran, in microseconds since the world began.
    worked_at: AtomicU64,
    pump: Arc<Pump>,
    handle: Arc<LivingSubmit>,
    views: Follower<ViewFollower>,
    view_reader: Arc<dyn ViewReader>,
    views_at: watch::Receiver<ensue_engine::record::Position>,
    snapshots: SnapshotWriter,
    /// The position of the views from which the next snapshot is saved.
    next_snapshot: u64,
    catalogs: Arc<NodeCatalogs>,
    edge: Arc<Edge>,
    keys: Arc<NodeKeys>,
    packs: PacksFolder,
    readers: Arc<LogReaders>,
    outside: OutsideWriter,
    rebuilt: Rebuilt,
    clock: Arc<dyn SteppedClock>,
    log: LogId,
    beside: OpenBeside,
    /// What waits for the follower of the views.
    followed: Waiting,
    _data: Folder,
}

impl Node {
    /// Lets the sequencer take a turn.
    pub(crate) fn turn(&self) -> Turn {
        let turned_away = || self.followed.batches.rejections() + self.followed.bytes.rejections();
        let before = turned_away();
        let turn = self.pump.turn();
        sometimes!(turned_away() > before, "a follower was not notified of a batch");
        turn
    }

    /// Returns the time until the next timer is due, in microseconds, or `None` if none is pending.
    pub(crate) fn until_due(&self) -> Option<u64> {
        let until = lock(&self.pump.sequencer).as_ref().and_then(ensue_node::parts::Sequencer::until_due);
        until.map(|until| u64::try_from(until.as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns why the sequencer ended by itself, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.pump.failed).clone()
    }

    /// Lets the worker's tasks run until each of them waits.
    pub(crate) fn work(&self) {
        self.worker_clock.wake();
        let now = self.ground.now();
        let passed = Duration::from_micros(now - self.worked_at.swap(now, Ordering::Relaxed));
        if self.under_way() > 0 || self.sensors.is_some() {
            // Tasks that wait on the runtime's own time are woken when the runtime is idle and run in the
            // next round.
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

    /// Saves the last snapshot if it is not saved yet. From some thousand records on, the pause to the next one grows
    /// with the square of the log, so that a world with a long log does not spend most of its time on snapshots.
    pub(crate) fn save_snapshot(&mut self) {
        let at = self.views_at();
        if at >= self.next_snapshot {
            self.next_snapshot = at + at * at / 5_000_000;
            self.snapshots.save_next();
        }
    }

    /// Does the work of every second.
    pub(crate) fn tick(&self) {
        if self.has_only_its_sequencer() {
            return;
        }
        note_clock_step(&*self.clock, &*self.handle);
        self.outside.flush();
        if self.accepts() {
            self.let_clients_in();
        }
    }

    /// Serves a copy of a request through the API's own routes.
    pub(crate) fn serve(&self, copy: &Copy, request: axum::http::Request<RequestBody>, promise: Promise, exchanges: &Arc<Exchanges>) {
        let arrived = ArrivedRequest { number: copy.number, copy: copy.copy, request, promise, exchanges: exchanges.clone() };
        self.api.serve(arrived);
    }

    /// Closes the connections of a request whose client has disconnected.
    pub(crate) fn hang_up(&self, number: RequestNumber) {
        self.api.hang_up(number);
    }

    /// Returns the number of open requests.
    pub(crate) fn under_way(&self) -> usize {
        self.api.under_way()
    }

    /// Rebuilds the views in a second file, which the follower then adopts.
    pub(crate) fn rebuild_views(&self) -> Result<(), String> {
        let views = rebuild(&self.beside, &self.readers, &mut |_| {})?;
        let ground = self.ground.clone();
        self.rebuilt.hand_over(
            views,
            Box::new(move |adopted| {
                sometimes!(adopted.is_ok(), "rebuilt views replaced the live ones");
                ground.trace("views", format!("the rebuilt ones are live: {}", adopted.map_or_else(|why| why, |at| format!("at {at}"))));
            }),
        );
        Ok(())
    }

    /// Rereads the packs folder, as a production node does by itself (it retries while the sequencer is
    /// busy). Returns how many packs changed.
    pub(crate) fn reread(&self) -> Result<usize, String> {
        self.packs.take_in().map(|read| read.live.len()).map_err(|error| error.to_string())
    }

    /// Returns a reader of the views.
    pub(crate) fn view_reader(&self) -> &Arc<dyn ViewReader> {
        &self.view_reader
    }

    /// Returns a reader of the log.
    pub(crate) fn log(&self) -> &Arc<LogReaders> {
        &self.readers
    }

    /// Returns the newest position of the log, or 0 if it cannot be read.
    pub(crate) fn head(&self) -> u64 {
        LogAccess::head(&*self.readers).map_or(0, |head| head.position.0)
    }

    /// Returns the position that the views have reached.
    pub(crate) fn views_at(&self) -> u64 {
        self.views_at.borrow().0
    }

    /// Submits a command whose answer nobody waits for.
    pub(crate) fn submit(&self, command: Command) {
        self.handle.submit(command, Box::new(|_| {}));
    }

    /// Returns how many attempts the worker runs.
    pub(crate) fn running(&self) -> usize {
        self.executor.running()
    }

    /// Returns true if its sensors have read everything that the peers have.
    pub(crate) fn has_drained(&self, peers: &Peers) -> bool {
        let catalog = self.catalogs.current();
        self.look(|engine| peers.are_drained(engine, &catalog)).unwrap_or(false)
    }

    /// Inspects the live state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> Option<T> {
        lock(&self.pump.sequencer).as_ref().map(|machine| look(machine.engine()))
    }

    /// Returns true if the live state equals the fold of the log from its beginning, or `None` if the log
    /// cannot be read or the state is gone.
    pub(crate) fn is_what_the_log_folds_to(&self) -> Option<bool> {
        let (mut folded, mut at) = (Engine::new(self.log), Head::default());
        loop {
            let records = LogAccess::read(&*self.readers, at.position, ReadLimit::default()).ok()?;
            if records.is_empty() {
                return self.look(|live| *live == folded);
            }
            at = fold_in(&mut folded, at, &records).ok()?;
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Programs under supervisors: processes beside the node, started ahead and reused, each of which holds one
//! program at a time.
//!
//! The programs that they hold outlive the node, and the next node finds them in the folder of supervisors.
//! What a supervisor does is in `supervisor.rs`; this is the node's side.

mod connection;
mod pool;
mod remains;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::{
    Argument, AtEnd, AttemptRemains, FindError, INNER, Isolation, KILLED_PATIENCE, Order, Pending, Program, ProgramUpdate, ProgramUsers,
    Programs, StartProgramError, SupervisorCommand, Tell, WhyLost, directory,
};
use crate::supervisor::folder::Folder;
use crate::supervisor::protocol::{
    self, FRAME_BYTES_MAX, NodeSays, NotStarted, PROTOCOL_OF_MASKS, PROTOCOL_WITH_RESERVATIONS, SupervisorSays, TooLong, WrittenOrder,
};
use crate::supervisor::spool::SPOOL_BYTES_MAX;
use connection::{ListenOutcome, Listener, Sayer, SupervisorConnection, SupervisorProcess, Teller};
use pool::{Pool, SUPERVISORS_IDLE_MAX};
pub use remains::count_left;

/// How long a supervisor may take to start a program.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// The number of supervisors tried for one program. If all idle ones were killed, one more is started.
const START_TRIES_MAX: usize = SUPERVISORS_IDLE_MAX + 1;
/// The number of pieces of a program's output that wait to be heard. After that, its supervisor keeps them.
const HEARD_WAITING_MAX: usize = 16;
/// How long, beyond the grace period, to wait for a supervisor to report that its program has ended.
const SILENCE_PATIENCE: Duration = Duration::from_secs(10);

/// The settings for programs under supervisors.
#[derive(Clone, Debug)]
pub struct SupervisedSettings {
    /// The folder of supervisors.
    pub supervisors: PathBuf,
    /// The folder for private directories.
    pub private: PathBuf,
    /// The command that starts a supervisor.
    pub command: SupervisorCommand,
    /// The isolation of programs.
    pub isolation: Isolation,
    /// How long a supervisor that holds a program may not answer before it is considered hung. It is then
    /// killed with its program, and the program is lost.
    pub answers_within: Duration,
    /// The number of bytes that are kept of an attempt's output. A supervisor keeps this many of each stream,
    /// and at least 16 MiB.
    pub output_bytes_max: u64,
    /// The node's release.
    pub release: String,
}

/// Runs programs under supervisors.
pub struct SupervisedPrograms {
    shared: Arc<SharedState>,
}

struct SharedState {
    settings: SupervisedSettings,
    pool: Pool,
    /// The supervisors of attempts whose programs were not started.
    reserved: Mutex<BTreeMap<AttemptId, SupervisorConnection>>,
    holding: Mutex<BTreeMap<AttemptId, Holding>>,
    runtime: Handle,
}

/// What holds an attempt's program, or held it.
enum Holding {
    /// A supervisor, which is notified of what happens to the program.
    Supervisor { say: Sayer, folder: Folder },
    /// Nobody any longer. The remains are in the folder.
    Nobody(Folder),
    /// It continues without this node, which no longer touches anything of it.
    LeftAlone,
}

impl SupervisedPrograms {
    /// Takes the folders, on the current tokio runtime. Their content is examined by
    /// [`left`](Programs::left). Blocks.
    pub fn open(mut settings: SupervisedSettings) -> io::Result<Self> {
        // Programs and supervisors work in other directories, where a relative path would name something
        // else.
        settings.supervisors = std::path::absolute(&settings.supervisors)?;
        settings.private = std::path::absolute(&settings.private)?;
        directory::make(&settings.supervisors)?;
        directory::make(&settings.private)?;
        if let Some(group) = settings.isolation.users.group() {
            directory::let_pass(&settings.private, group)?;
        }
        let pool = Pool::new(settings.supervisors.clone(), settings.command.clone(), settings.release.clone(), &settings.isolation);
        let shared = SharedState { settings, pool, reserved: Mutex::default(), holding: Mutex::default(), runtime: Handle::current() };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Programs for SupervisedPrograms {
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError> {
        match self.shared.settings.isolation.users {
            ProgramUsers::Node => super::find_on_disk(program, beside, path),
            users => super::find::find_on_disk_as(program, beside, path, users),
        }
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.shared.private(attempt)
    }

    fn isolation(&self) -> &Isolation {
        &self.shared.settings.isolation
    }

    fn reserve(&self, order: &Order) -> Pending<'_, Result<(), StartProgramError>> {
        let (attempt, token, oldest) = (order.attempt, order.token, self.shared.oldest_for(order));
        Box::pin(async move {
            let connection = self.shared.reserve(attempt, token, oldest).await?;
            self.shared.reservations().insert(attempt, connection);
            Ok(())
        })
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let shared = Arc::clone(&self.shared);
        // On a task of its own: if this were cut off halfway, it would leave a program that nobody listens
        // to.
        let started = self.shared.runtime.spawn(shared.start_program(order));
        Box::pin(async move { started.await.unwrap_or_else(|error| Err(StartProgramError::Unknown(error.to_string()))) })
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        Box::pin(remains::find_left(Arc::clone(&self.shared)))
    }

    fn forget(&self, attempt: AttemptId) {
        if let Some(connection) = self.shared.reservations().remove(&attempt) {
            // Its program was not started. A supervisor whose reservation stays ends when its connection closes.
            match connection.folder.withdraw() {
                Ok(()) => self.shared.pool.give_back(connection),
                Err(error) => tracing::warn!(%attempt, %error, "the reservation of a supervisor could not be withdrawn"),
            }
        }
        let held = {
            let mut holding = self.shared.holding();
            match holding.get(&attempt) {
                None | Some(Holding::LeftAlone) => return,
                Some(Holding::Supervisor { .. } | Holding::Nobody(_)) => holding.remove(&attempt),
            }
        };
        match held {
            Some(Holding::Supervisor { say, folder }) => {
                if !say.say(&NodeSays::Collected) {
                    let shared = Arc::clone(&self.shared);
                    self.shared.runtime.spawn(async move {
                        remains::end_all_of(&folder, None).await;
                        shared.remove_remains(attempt, folder).await;
                    });
                }
            }
            Some(Holding::Nobody(folder)) => drop(self.shared.runtime.spawn(Arc::clone(&self.shared).remove_remains(attempt, folder))),
            None | Some(Holding::LeftAlone) => {}
        }
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::GoOn
    }
}

impl SharedState {
    fn holding(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, Holding>> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reservations(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, SupervisorConnection>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn private(&self, attempt: AttemptId) -> PathBuf {
        self.settings.private.join(attempt.to_string())
    }

    /// Returns the oldest protocol of a supervisor that may start a program. One of an earlier release would keep the
    /// values of keys in plain text, and start the program as the node's own user.
    fn oldest_for(&self, order: &Order) -> u32 {
        let needs_masks = !order.keys.is_empty() || self.settings.isolation.users != ProgramUsers::Node;
        if needs_masks { PROTOCOL_OF_MASKS } else { 0 }
    }

    /// Takes a supervisor for an attempt, and notes in its folder which attempt that is.
    async fn reserve(&self, attempt: AttemptId, token: u64, oldest: u32) -> Result<SupervisorConnection, StartProgramError> {
        let unavailable = |error: io::Error| StartProgramError::Supervisor(error.to_string());
        for _ in 0..START_TRIES_MAX {
            let connection = self.pool.take().await.map_err(unavailable)?;
            if connection.protocol < oldest {
                // The supervisor ends when its connection closes.
                continue;
            }
            if connection.protocol >= PROTOCOL_WITH_RESERVATIONS {
                connection.folder.reserve(attempt, token).map_err(unavailable)?;
            }
            return Ok(connection);
        }
        Err(StartProgramError::Supervisor("every supervisor is of a release that is too old for this program".into()))
    }

    async fn start_program(self: Arc<Self>, order: Order) -> Result<Box<dyn Program>, StartProgramError> {
        let (attempt, token, oldest) = (order.attempt, order.token, self.oldest_for(&order));
        let program = order.program.to_string_lossy().into_owned();
        let start = self.start_frame(order)?;
        let mut reserved = self.reservations().remove(&attempt);
        for _ in 0..START_TRIES_MAX {
            let mut connection = match reserved.take() {
                Some(connection) => connection,
                None => self.reserve(attempt, token, oldest).await?,
            };
            connection.say.say_framed(start.clone());
            match timeout(START_PATIENCE, connection.next()).await {
                Ok(Some((SupervisorSays::Started, _))) => return Ok(self.hold(attempt, connection)),
                Ok(Some((SupervisorSays::NotStarted { kind, why }, _))) => {
                    // Until its failure is in the log, the reservation proves that nothing was started: the supervisor removes
                    // its note of a start that failed. Where it cannot, the proof is lost, which is safe.
                    self.reservations().insert(attempt, connection);
                    return Err(match kind {
                        NotStarted::Directory => StartProgramError::Directory(why),
                        NotStarted::Spawn => StartProgramError::Spawn { program, why },
                        NotStarted::Isolation => StartProgramError::Isolation(why),
                        NotStarted::Supervisor => StartProgramError::Supervisor(why),
                    });
                }
                Ok(Some(_)) | Err(_) => return Err(self.unknown(attempt, connection, "its supervisor did not report it").await),
                Ok(None) => {
                    let folder = connection.folder.clone();
                    let is_reserved = connection.protocol >= PROTOCOL_WITH_RESERVATIONS;
                    let unknown = self.unknown(attempt, connection, "its supervisor died").await;
                    // Only now, since a supervisor that was not quite dead might have gone on. One of an earlier release, which has
                    // no reservation, notes what it is about to start.
                    let has_begun =
                        if is_reserved { remains::never_begun(&folder).await.is_none() } else { !matches!(folder.read_held(), Ok(None)) };
                    // Another one is reserved only once this reservation is gone.
                    if has_begun || self.clear_away(attempt, folder).await.is_err() {
                        return Err(unknown);
                    }
                    self.holding().remove(&attempt);
                }
            }
        }
        Err(StartProgramError::Supervisor("every supervisor that was started died".into()))
    }

    /// Ends whatever may have been started, and keeps its entry until it is collected.
    async fn unknown(&self, attempt: AttemptId, connection: SupervisorConnection, why: &str) -> StartProgramError {
        let folder = connection.folder.clone();
        let known = connection.supervisor.map(|supervisor| (supervisor, self.private(attempt)));
        drop(connection);
        remains::end_all_of(&folder, known).await;
        self.holding().insert(attempt, Holding::Nobody(folder));
        StartProgramError::Unknown(why.to_owned())
    }

    /// Listens to a supervisor's messages about its program.
    fn hold(self: &Arc<Self>, attempt: AttemptId, connection: SupervisorConnection) -> Box<dyn Program> {
        let (say, folder) = (connection.say.clone(), connection.folder.clone());
        self.holding().insert(attempt, Holding::Supervisor { say: say.clone(), folder: folder.clone() });
        let (heard_into, heard) = mpsc::channel(HEARD_WAITING_MAX);
        let (end_by, listens_until) = watch::channel(None);
        let answers_within = self.settings.answers_within;
        let known = connection.supervisor.map(|supervisor| (supervisor, self.private(attempt)));
        let listener = Listener::new(connection, heard_into, listens_until, answers_within);
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let (teller, why) = match listener.listen().await {
                ListenOutcome::Idle(connection) => return shared.pool.give_back(connection),
                ListenOutcome::Gone(teller) => (teller, WhyLost::HolderGone),
                ListenOutcome::Hangs(teller) => (teller, WhyLost::HolderHangs { silent_for: answers_within }),
            };
            shared.without_supervisor(attempt, folder, known, teller, why).await;
        });
        Box::new(SupervisedProgram {
            shared: Arc::clone(self),
            attempt,
            heard,
            say,
            end_by,
            task: task.abort_handle(),
            stage: ProgramStage::Running,
        })
    }

    /// Delivers the rest of a program whose supervisor is gone, possibly after it noted the end. Removes the
    /// remains if nobody will collect them later.
    async fn without_supervisor(
        self: Arc<Self>,
        attempt: AttemptId,
        folder: Folder,
        known: Option<(SupervisorProcess, PathBuf)>,
        teller: Teller,
        why: WhyLost,
    ) {
        let is_awaited = match self.holding().get_mut(&attempt) {
            Some(Holding::LeftAlone) => return,
            // From now on, collecting it finds nobody to notify.
            Some(held) => {
                *held = Holding::Nobody(folder.clone());
                true
            }
            None => false,
        };
        let hangs = match why {
            WhyLost::HolderHangs { silent_for } => {
                let (seconds, supervisor) = (silent_for.as_secs_f64(), known.as_ref().map(|(supervisor, _)| supervisor.number));
                tracing::error!(%attempt, ?supervisor, seconds, "the supervisor of an attempt does not answer, so it is killed with its program");
                true
            }
            WhyLost::HolderGone => false,
        };
        if hangs || !teller.has_ended() {
            remains::end_all_of(&folder, known).await;
        }
        if !teller.has_ended() {
            teller.deliver_from_folder(&folder, why).await;
        }
        if !is_awaited {
            self.remove_remains(attempt, folder).await;
        }
    }

    /// Removes the remains of a program that nobody holds any longer.
    async fn remove_remains(self: Arc<Self>, attempt: AttemptId, folder: Folder) {
        if let Err(error) = self.clear_away(attempt, folder).await {
            tracing::warn!(%attempt, %error, "the remains of a program could not be removed");
        }
    }

    /// Removes the private directory of a program and the folder of its supervisor.
    async fn clear_away(&self, attempt: AttemptId, folder: Folder) -> io::Result<()> {
        let private = self.private(attempt);
        let removing = tokio::task::spawn_blocking(move || directory::remove(&private).and(folder.remove()));
        removing.await.map_err(io::Error::other)?
    }

    /// Returns the frame that asks for the start of a program.
    fn start_frame(&self, order: Order) -> Result<Bytes, StartProgramError> {
        let no_text = |what: &str| StartProgramError::Supervisor(format!("{what} is not UTF-8"));
        let text = |path: &Path, what: &str| path.to_str().map(str::to_owned).ok_or_else(|| no_text(what));
        let private = self.private(order.attempt);
        let private_text = text(&private, "the path of the data directory")?;
        let arguments = order.arguments.into_iter().map(|argument| match argument {
            Argument::Text(text) => text,
            Argument::File(name) => format!("{private_text}/{INNER}/{name}"),
        });
        let mut env = Vec::with_capacity(order.env.len());
        for (name, value) in order.env {
            let value = value.into_string().map_err(|_| no_text(&format!("the variable `{name}`")))?;
            env.push((name, value));
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let files = order.files.iter().map(|file| (file.name.clone(), file.bytes.len())).collect();
        let keys = order.keys.iter().map(|given| (given.key.to_string(), given.value.reveal().len())).collect();
        let written = WrittenOrder {
            attempt: order.attempt,
            token: order.token,
            program: text(&order.program, "the path of the program")?,
            arguments: arguments.collect(),
            env,
            private: private_text,
            pack: text(&order.pack, "the path of the pack")?,
            files,
            keys,
            timeout_millis: millis(order.timeout),
            grace_millis: millis(order.grace),
            limits: order.limits,
            isolation: self.settings.isolation.clone(),
            output_bytes_max: self.settings.output_bytes_max.max(SPOOL_BYTES_MAX),
        };
        let tail: Vec<&[u8]> = {
            let keys = order.keys.iter().map(|given| given.value.reveal());
            order.files.iter().map(|file| &*file.bytes).chain(keys).chain([&*order.input]).collect()
        };
        protocol::encode_frame(&NodeSays::Start(Box::new(written)), &tail)
            .map_err(|TooLong { bytes }| StartProgramError::TooLarge { bytes, most: FRAME_BYTES_MAX })
    }
}

/// A program that a supervisor holds.
struct SupervisedProgram {
    shared: Arc<SharedState>,
    attempt: AttemptId,
    heard: mpsc::Receiver<ProgramUpdate>,
    say: Sayer,
    end_by: watch::Sender<Option<Instant>>,
    task: AbortHandle,
    stage: ProgramStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgramStage {
    Running,
    Ended,
    /// It continues on its own.
    LeftAlone,
}

impl SupervisedProgram {
    fn expect_end(&self, within: Duration) {
        let by = Instant::now() + within + KILLED_PATIENCE + SILENCE_PATIENCE;
        self.end_by.send_modify(|end_by| *end_by = Some(end_by.map_or(by, |before| before.min(by))));
    }
}

impl Program for SupervisedProgram {
    fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
        Box::pin(async {
            match self.heard.recv().await {
                Some(heard) => {
                    if matches!(heard, ProgramUpdate::Ended(_) | ProgramUpdate::Lost(_)) {
                        self.stage = ProgramStage::Ended;
                    }
                    heard
                }
                None => std::future::pending().await,
            }
        })
    }

    fn instruct(&self, tell: Tell) {
        let (word, grace) = match tell {
            Tell::Stop { grace } => (NodeSays::Stop { grace_millis: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }, grace),
            Tell::Kill => (NodeSays::Kill, Duration::ZERO),
        };
        self.say.say(&word);
        self.expect_end(grace);
    }

    fn clear(self: Box<Self>) -> Pending<'static, ()> {
        let (attempt, private) = (self.attempt, self.shared.private(self.attempt));
        Box::pin(async move {
            let removed = tokio::task::spawn_blocking(move || directory::remove(&private)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%attempt, %error, "a private directory could not be removed");
            }
        })
    }

    fn leave(mut self: Box<Self>) {
        self.stage = ProgramStage::LeftAlone;
        // Dropping both halves closes the connection.
        self.shared.holding().insert(self.attempt, Holding::LeftAlone);
        self.task.abort();
    }
}

impl Drop for SupervisedProgram {
    fn drop(&mut self) {
        match self.stage {
            ProgramStage::Running => {
                self.say.say(&NodeSays::Kill);
                self.expect_end(Duration::ZERO);
            }
            ProgramStage::Ended | ProgramStage::LeftAlone => {}
        }
    }
}

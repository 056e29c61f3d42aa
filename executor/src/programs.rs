//! Programs: the port through which the worker runs programs, listens to them, and finds the programs that an
//! earlier node left running.
//!
//! This module does not say who starts them: `direct` runs them as children of the node itself, a supervisor
//! holds them beside the node, and a simulator has no processes at all. It does not turn what a program
//! prints into a result.

mod direct;
mod directory;
mod find;
pub(crate) mod leader;
#[cfg(target_os = "linux")]
mod supervised;
mod walls;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{OutputStream, Secret};
use thiserror::Error;

use crate::masks::Masks;

pub use direct::{DRAIN_PATIENCE, DirectPrograms, KILLED_PATIENCE};
pub use directory::let_pass;
#[cfg(target_os = "linux")]
pub(crate) use directory::make_for;
pub(crate) use directory::{PrivateDirectory, remove as remove_directory};
#[cfg(target_os = "linux")]
pub(crate) use find::find_on_disk_as;
pub use find::{FindError, find_on_disk, may_pass};
#[cfg(target_os = "linux")]
pub use supervised::{SupervisedPrograms, SupervisedSettings, count_left};
pub use walls::{Isolation, IsolationMode, ProgramUsers, Wall, Walls, around_path};

/// A future that a port returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Returns how many programs a stopped node left in its folder of supervisors. Without supervisors, programs end
/// with the node.
#[cfg(not(target_os = "linux"))]
pub fn count_left(_supervisors: &Path) -> std::io::Result<usize> {
    Ok(0)
}

/// The folder of private files inside the private directory.
pub const INNER: &str = ".ensue";

/// Runs programs for the worker.
pub trait Programs: Send + Sync {
    /// Finds the program that an action's command names: `./x` is a file in `beside`, and a bare name is
    /// looked up in `path`. Reads the disk.
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError>;
    /// Returns the absolute path of an attempt's private directory, which may not exist yet.
    fn directory(&self, attempt: AttemptId) -> PathBuf;
    /// Takes what is to hold the program of an order, before the attempt is recorded as begun: taking it may last, and a crash
    /// until then asks nobody. Everything that is taken goes back if the attempt is collected without a start.
    fn reserve(&self, order: &Order) -> Pending<'_, Result<(), StartProgramError>> {
        let _ = order;
        Box::pin(std::future::ready(Ok(())))
    }
    /// Starts a program in a fresh private directory. The attempt was recorded as begun before.
    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>>;
    /// Finds what an earlier node left: running programs, ends that nobody collected, programs that were lost
    /// meanwhile, and those that were provably never started. Called once, before anything is started.
    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>>;
    /// Forgets an attempt because its end is in the log or nobody asks for it any longer. Kills whatever of
    /// it still runs. Never blocks.
    fn forget(&self, attempt: AttemptId);
    /// Returns what happens to programs when the node ends.
    fn at_end(&self) -> AtEnd;
    /// Returns what programs are isolated from, and the users that they run as.
    fn isolation(&self) -> &Isolation;
}

/// What happens to programs when the node ends, by a stop or a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// They end with it.
    Ended,
    /// They continue, and the next start finds them through [`Programs::find_left`].
    GoOn,
}

/// A program that is running, or that has ended and was not collected. If dropped before its end was heard,
/// it is killed with everything that it started.
pub trait Program: Send {
    /// Returns the next thing heard. May be dropped while waiting without losing anything. After the end,
    /// nothing more comes.
    fn hear(&mut self) -> Pending<'_, ProgramUpdate>;
    /// Tells it to end. Never blocks.
    fn instruct(&self, tell: Tell);
    /// Removes its private directory. Call it after the end was heard and all wanted files were taken.
    fn clear(self: Box<Self>) -> Pending<'static, ()>;
    /// Leaves it running for the next node, with nobody listening. Programs that end with the node are
    /// killed.
    fn leave(self: Box<Self>);
}

/// A program to start, with everything rendered. It holds secrets, so it has no `Debug`.
pub struct Order {
    /// The attempt.
    pub attempt: AttemptId,
    /// The attempt's fencing token.
    pub token: u64,
    /// The program to start: an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Its whole environment.
    pub env: BTreeMap<String, OsString>,
    /// The files to create in its private directory before it starts.
    pub files: Vec<PrivateFile>,
    /// Its standard input.
    pub input: Vec<u8>,
    /// The keys that were opened for it. Their values are masked in everything that is heard of it.
    pub keys: Vec<GivenKey>,
    /// The folder with the files of its pack, which it may read.
    pub pack: PathBuf,
    /// How long it may run. Whatever holds the program without the node enforces this as well.
    pub timeout: Duration,
    /// How long it may continue after it was asked to stop because of its timeout.
    pub grace: Duration,
    /// The limits of its processes.
    pub limits: ProgramLimits,
}

/// A key that was opened for an attempt. It holds a secret, and is never printed.
#[derive(Clone)]
pub struct GivenKey {
    /// The key.
    pub key: KeyRef,
    /// Its value.
    pub value: Secret,
}

/// The secrets of the node. No attempt is given one, and they are masked in everything that an attempt produces.
#[derive(Clone, Default)]
pub struct NodeSecrets {
    secrets: Arc<[GivenKey]>,
    /// The masks for them alone.
    masks: Option<Arc<Masks>>,
}

impl NodeSecrets {
    /// Returns the secrets, each with the name that replaces it.
    pub fn new(secrets: impl IntoIterator<Item = GivenKey>) -> Self {
        let secrets: Arc<[GivenKey]> = secrets.into_iter().collect();
        Self { masks: masks_of(&*secrets), secrets }
    }

    /// Returns each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &GivenKey> {
        self.secrets.iter()
    }

    /// Returns the masks for keys that were opened and for these secrets, or none if there is nothing to mask.
    pub(crate) fn masks_with(&self, opened: &[GivenKey]) -> Option<Arc<Masks>> {
        if opened.is_empty() {
            return self.masks.clone();
        }
        masks_of(opened.iter().chain(self.iter()))
    }
}

/// Returns the masks of these keys, or `None` if all their values are too short to mask.
fn masks_of<'k>(keys: impl IntoIterator<Item = &'k GivenKey>) -> Option<Arc<Masks>> {
    Masks::of_values(keys.into_iter().map(|GivenKey { key, value }| (key.as_str(), value.reveal())))
}

impl std::fmt::Debug for NodeSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeSecrets(…)")
    }
}

/// The limits of each process of a program. None means no limit other than the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProgramLimits {
    /// The maximum memory, in bytes of address space.
    pub memory_bytes: Option<u64>,
    /// The maximum size of a file that is written, in bytes.
    pub file_bytes: Option<u64>,
    /// The maximum number of open files.
    pub open_files: Option<u64>,
    /// The maximum processor time, in seconds.
    pub cpu_seconds: Option<u64>,
    /// The maximum number of processes and threads of the whole program, if the machine can limit them.
    pub processes: Option<u64>,
}

/// What limits the number of a program's processes on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessBound {
    /// A control group for each program.
    Group,
    /// The number of processes of the node's user: those that it had, plus the program's limit.
    User,
    /// Nothing.
    Missing {
        /// The reason.
        why: String,
    },
}

/// The command that starts a supervisor. The supervisor's folder is appended as the last argument.
#[derive(Clone, Debug)]
pub struct SupervisorCommand {
    /// The program.
    pub program: PathBuf,
    /// The arguments before the folder.
    pub arguments: Vec<OsString>,
    /// The whole environment. No program that a supervisor starts is given any of it.
    pub environment: Vec<(String, OsString)>,
}

impl SupervisorCommand {
    /// Returns the command for a supervisor in this folder. Its streams are for the caller to choose.
    pub(crate) fn in_folder(&self, folder: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        std::os::unix::process::CommandExt::arg0(&mut command, "ensue");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(&self.arguments).arg(folder).env_clear().envs(environment).current_dir("/");
        command
    }
}

/// An argument of a program.
pub enum Argument {
    /// A text.
    Text(String),
    /// The path of a private file.
    File(String),
}

/// A file for the program only.
pub struct PrivateFile {
    /// Its name.
    pub name: String,
    /// Its content. It may be secret, so it has no `Debug`.
    pub bytes: Vec<u8>,
}

/// What an earlier node left of an attempt.
pub enum AttemptRemains {
    /// Its program, which was started.
    Program(LeftProgram),
    /// Proof that its program was never started.
    NotBegun {
        /// The attempt.
        attempt: AttemptId,
        /// The token under which it was to be started.
        token: u64,
    },
}

impl AttemptRemains {
    /// Returns the attempt.
    pub fn attempt(&self) -> AttemptId {
        match self {
            Self::Program(left) => left.attempt,
            Self::NotBegun { attempt, .. } => *attempt,
        }
    }
}

/// A program that an earlier node left.
pub struct LeftProgram {
    /// The attempt.
    pub attempt: AttemptId,
    /// The token under which it was started.
    pub token: u64,
    /// How much of its time is left, or [`Duration::MAX`] if it has ended already, for whatever reason.
    pub remaining: Duration,
    /// The program. Everything that it printed and said is heard again from the beginning.
    pub program: Box<dyn Program>,
}

/// What is heard of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramUpdate {
    /// It printed.
    Output {
        /// The stream.
        stream: OutputStream,
        /// The number of bytes that it had printed there before.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// It wrote a line to descriptor 3.
    Message {
        /// Its index among the lines, from 0.
        index: u32,
        /// The line, without its line break.
        line: Bytes,
    },
    /// It has ended, with everything that it started.
    Ended(End),
    /// The process that held it is gone, and how the program ended is unknown. Nothing of it is running.
    Lost(WhyLost),
}

/// Why it is unknown how a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyLost {
    /// The process that held it ended before it did.
    HolderGone,
    /// The process that held it did not answer for this long, and was killed with the program.
    HolderHangs {
        /// How long it did not answer.
        silent_for: Duration,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// How its first process exited.
    pub exit: Exit,
    /// What made it end, or none if it ended by itself.
    pub by: Option<EndedBy>,
    /// The number of bytes that it printed to standard output and standard error, including bytes that were
    /// not kept.
    pub printed: [u64; 2],
    /// True if it was killed because it had not ended by itself within its grace period; none if that is
    /// unknown.
    pub was_killed: Option<bool>,
    /// When it ended, in milliseconds since the machine's boot, or none if that is unknown or was just now.
    pub ended_at: Option<u64>,
}

/// Returns how long the machine has been up, in milliseconds, or none if the machine does not say so.
pub(crate) fn uptime_millis() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some((seconds * 1_000.0) as u64)
}

/// How a process exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel killed it because memory ran out, as counted by a control group that holds nothing else.
    OutOfMemory,
    /// It was killed, and the kernel killed some process because memory ran out: in a control group that also
    /// holds other processes, or somewhere on the machine.
    PerhapsOutOfMemory,
    /// It was killed but still hangs in the kernel.
    Hangs,
}

/// What made a program end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its deadline, possibly while no node was there.
    Deadline,
    /// The node told it to end.
    Told,
}

/// An instruction to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Stop: ask all its processes to stop, and kill them after the grace period. If repeated, the shorter
    /// time applies.
    Stop {
        /// The grace period.
        grace: Duration,
    },
    /// End at once.
    Kill,
}

/// Why a program was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartProgramError {
    /// Its private directory cannot be made.
    #[error("the attempt's private directory cannot be made: {0}")]
    Directory(String),
    /// The system cannot start it.
    #[error("the program `{program}` cannot be started: {why}")]
    Spawn {
        /// The program.
        program: String,
        /// The reason.
        why: String,
    },
    /// The isolation that the operator requires is not available on this machine.
    #[error("the program must be isolated, which this machine does not support: {0}")]
    Isolation(String),
    /// More is to be handed over than a supervisor takes.
    #[error("the program cannot be started with {bytes} bytes of input, files, environment and arguments; the limit is {most}")]
    TooLarge {
        /// The size in bytes.
        bytes: usize,
        /// The maximum size in bytes.
        most: usize,
    },
    /// No supervisor is available. Nothing was started.
    #[error("no supervisor is available for the program: {0}")]
    Supervisor(String),
    /// It is unknown whether it was started.
    #[error("it is unknown whether the program was started: {0}")]
    Unknown(String),
}

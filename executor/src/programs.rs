//! Programs: the port through which the worker has programs run, hears of them, and finds what an earlier node left running.
//!
//! It does not say who starts them: `direct` has them as children of the node itself, a supervisor holds them beside it, and a
//! simulator has none at all. It makes no result of what a program prints.

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
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{OutputStream, Secret};
use thiserror::Error;

pub use direct::{DRAIN_PATIENCE, DirectPrograms, KILLED_PATIENCE};
pub use directory::let_pass;
pub(crate) use directory::{PrivateDirectory, remove as remove_directory};
pub use find::{FindError, find_on_disk, may_pass};
#[cfg(target_os = "linux")]
pub use supervised::{SupervisedPrograms, SupervisedSettings};
pub use walls::{Isolation, IsolationMode, ProgramUsers, Wall, Walls, around_path};

/// What is waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where private files are, inside the private directory.
pub const INNER: &str = ".ensue";

/// What runs programs for the worker.
pub trait Programs: Send + Sync {
    /// Finds what an action's command names: `./x` is a file of `beside`, a bare name is looked up in `path`. Looks at the disk.
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError>;
    /// Gives the absolute path that the private directory of an attempt has, or will have.
    fn directory(&self, attempt: AttemptId) -> PathBuf;
    /// Starts a program in a private directory of its own, made fresh. The attempt was noted as begun before.
    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>>;
    /// Finds what an earlier node left: programs that run, ends that nobody collected, and programs that were lost meanwhile. Asked
    /// once, before anything is started.
    fn left(&self) -> Pending<'_, Vec<Left>>;
    /// Forgets an attempt: its end is in the log, or nobody asks for it any more. What still runs of it is killed. Never blocks.
    fn collected(&self, attempt: AttemptId);
    /// Says what becomes of programs when the node ends.
    fn at_end(&self) -> AtEnd;
}

/// What becomes of programs when the node ends, by being stopped or in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// They end with it.
    Ended,
    /// They go on, and the next start finds them by [`Programs::left`].
    GoOn,
}

/// A program that runs, or has ended without being collected. Dropped before its end was heard, it is killed with all it started.
pub trait Program: Send {
    /// Gives what comes next. May be dropped while it waits without losing anything; after the end nothing comes any more.
    fn hear(&mut self) -> Pending<'_, Heard>;
    /// Tells it to end. Never blocks.
    fn tell(&self, tell: Tell);
    /// Removes its private directory: its end was heard, and all that was wanted of its files was taken.
    fn clear(self: Box<Self>) -> Pending<'static, ()>;
    /// Lets it go on with nobody listening, for the next node. Programs that end with the node are killed.
    fn leave(self: Box<Self>);
}

/// A program to start, with all that is rendered. It holds secrets, so it has no `Debug`.
pub struct Order {
    /// The attempt.
    pub attempt: AttemptId,
    /// The attempt's fencing token.
    pub token: u64,
    /// What is started: an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Its whole environment.
    pub env: BTreeMap<String, OsString>,
    /// The files that are made in its private directory before it starts.
    pub files: Vec<PrivateFile>,
    /// What it reads.
    pub input: Vec<u8>,
    /// The keys that were opened for it: their values are masked in all that is heard of it.
    pub keys: Vec<GivenKey>,
    /// The folder that holds the files of its pack, which it may read.
    pub pack: PathBuf,
    /// How long it may run. Whoever goes on without the node sees to it as well.
    pub timeout: Duration,
    /// How long it may go on after it was asked to stop because its time was over.
    pub grace: Duration,
    /// What its processes may use.
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

/// What each process of a program may use; none means as much as the machine gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProgramLimits {
    /// The most memory, in bytes of address space.
    pub memory_bytes: Option<u64>,
    /// The largest file that may be written, in bytes.
    pub file_bytes: Option<u64>,
    /// The most files that may be open.
    pub open_files: Option<u64>,
    /// The most time on a processor, in seconds.
    pub cpu_seconds: Option<u64>,
    /// The most processes and threads, of the whole program, where the machine can bound them.
    pub processes: Option<u64>,
}

/// What bounds how many processes a program has on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessBound {
    /// A control group for each program.
    Group,
    /// How many processes the node's user may have: those it had, and as many more.
    User,
    /// Nothing.
    Missing {
        /// Why.
        why: String,
    },
}

/// What starts a supervisor: the folder it is to work in is put behind as the last argument.
#[derive(Clone, Debug)]
pub struct SupervisorCommand {
    /// The program.
    pub program: PathBuf,
    /// The arguments before the folder.
    pub arguments: Vec<OsString>,
}

/// An argument of a program.
pub enum Argument {
    /// A text.
    Text(String),
    /// The path of a private file.
    File(String),
}

/// A file for the program alone.
pub struct PrivateFile {
    /// Its name.
    pub name: String,
    /// What is in it: it may be secret, so it has no `Debug`.
    pub bytes: Vec<u8>,
}

/// What an earlier node left.
pub struct Left {
    /// The attempt.
    pub attempt: AttemptId,
    /// The token under which it was started.
    pub token: u64,
    /// How much of its time is left; [`Duration::MAX`] where it is over already, however that came.
    pub remaining: Duration,
    /// It: all that it printed and said is heard again from the beginning.
    pub program: Box<dyn Program>,
}

/// What is heard of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It printed.
    Output {
        /// Where.
        stream: OutputStream,
        /// How many bytes it had printed there before.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// It wrote a line to descriptor 3.
    Message {
        /// Its place among the lines, from 0.
        index: u32,
        /// The line, without its line break.
        line: Bytes,
    },
    /// It has ended, with all that it started.
    Ended(End),
    /// What held it is gone, and nobody knows how it ended; nothing of it runs any more.
    Lost(WhyLost),
}

/// Why nobody knows how a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyLost {
    /// What held it ended before it did.
    HolderGone,
    /// What held it answered nothing for this long, and was killed with it.
    HolderHangs {
        /// How long.
        silent_for: Duration,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// How its first process left.
    pub exit: Exit,
    /// Who had it end; none where it ended by itself.
    pub by: Option<EndedBy>,
    /// How many bytes it printed, on standard output and on standard error, those included that were not kept.
    pub printed: [u64; 2],
    /// Says whether it was killed because it had not ended by itself when its grace was over; none where that is not known.
    #[serde(default)]
    pub was_killed: Option<bool>,
    /// When, in milliseconds since the boot of the machine; none where that is not known, or was just now.
    #[serde(default)]
    pub ended_at: Option<u64>,
}

/// How long the machine has been up, in milliseconds; none where it does not say so.
pub(crate) fn uptime_millis() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some((seconds * 1_000.0) as u64)
}

/// How a process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel killed it because memory ran out: a control group that holds nobody else counted that.
    OutOfMemory,
    /// It was killed, and the kernel killed somebody because memory ran out: in a control group that holds others too, or somewhere on
    /// the machine.
    PerhapsOutOfMemory,
    /// It was killed and still hangs in the kernel.
    Hangs,
}

/// Who had a program end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its deadline, while perhaps no node was there.
    Deadline,
    /// The node told it to.
    Told,
}

/// What a program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Stop: all its processes are asked to, and killed when this long has passed. Told again, the shorter time holds.
    Stop {
        /// How long.
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
    /// The system does not start it.
    #[error("the program `{program}` cannot be started: {why}")]
    Spawn {
        /// Which.
        program: String,
        /// Why.
        why: String,
    },
    /// What the operator demands around it cannot be had on this machine.
    #[error("the program must be isolated, which this machine does not support: {0}")]
    Isolation(String),
    /// More is to be handed over than a supervisor takes.
    #[error("the program cannot be started with {bytes} bytes of input, files, environment and arguments; the limit is {most}")]
    TooLarge {
        /// How many bytes that are.
        bytes: usize,
        /// How many it may be.
        most: usize,
    },
    /// No supervisor can be had; nothing was started.
    #[error("no supervisor is available for the program: {0}")]
    Supervisor(String),
    /// It is unknown whether it was started.
    #[error("it is unknown whether the program was started: {0}")]
    Unknown(String),
}

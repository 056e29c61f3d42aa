//! The keeper: a process beside the node that holds the program of a sensor, and ends with the node.
//!
//! It raises the walls, gives the program its own standard streams, and waits. If the other end of the standard input
//! closes, the node is gone, and the keeper kills the program with everything that it started. It notes in its folder
//! what it holds, so that the next node can end a program whose keeper was killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::folder::{Folder, StartNote};
use super::isolation::System;
use super::namespace::{NamespaceNote, UserNamespace};
use super::process_limit::Bound;
use super::program::{self, Placement};
use super::tree::{self, Tree};
use super::user::User;
use crate::programs::leader::Leader;
use crate::programs::{Exit, Isolation, KILLED_PATIENCE, PrivateDirectory, ProgramLimits, remove_directory};

/// The file with the order, which makes a folder one of a keeper.
const ORDER: &str = "order";
/// The file with the end.
const OUTCOME: &str = "outcome";
/// The maximum size of a file in the folder, in bytes.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// A program for a keeper to start. Its environment is the keeper's own, so that no secret is written down.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptOrder {
    /// The program: an absolute path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// The variables in the keeper's environment that are not the program's.
    #[serde(default)]
    pub(crate) not_passed_on: Vec<String>,
    /// Its private directory, which does not exist yet.
    pub(crate) private: PathBuf,
    /// The folder of its pack.
    pub(crate) pack: PathBuf,
    /// How long it may continue after it was asked to stop, in milliseconds.
    pub(crate) grace_millis: u64,
    /// The limits of its processes.
    pub(crate) limits: ProgramLimits,
    /// Its isolation.
    pub(crate) isolation: Isolation,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeeperOutcome {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was not started, and this is why.
    NotStarted(String),
}

/// Makes the folder of a keeper. Blocks.
pub(crate) fn prepare(folder: &Path, order: &KeptOrder, namespaces: &NamespaceNote) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let written = namespaces.write(folder).and_then(|()| write(&folder.join(ORDER), &serde_json::to_vec(order)?));
    if written.is_err() {
        let _ = fs::remove_dir_all(folder);
    }
    written
}

/// Returns how the program of a keeper ended, or none if the keeper did not tell. Blocks.
pub(crate) fn outcome(folder: &Path) -> Option<KeeperOutcome> {
    serde_json::from_slice(&read(&folder.join(OUTCOME)).ok()?).ok()
}

/// Ends whatever a keeper that is gone has left, and removes its folder and the private directory. Blocks.
pub(crate) fn end_left(folder: &Path) {
    if let Ok(Some(held)) = Folder::at(folder).held_by() {
        if held.boot == crate::begun_file::boot_id() {
            let count = tree::kill_orphans(held.supervisor, held.started_at, &held.private.to_string_lossy(), held.user);
            if count > 0 {
                tracing::warn!(count, "processes of a sensor's program that had lost their keeper were killed");
            }
        }
        if let Err(error) = remove_directory(&held.private) {
            tracing::warn!(%error, path = %held.private.display(), "the private directory of a sensor's program could not be removed");
        }
    }
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %folder.display(), "the folder of a keeper could not be removed");
    }
}

/// Returns true if a folder is one of a keeper.
pub(super) fn is_meant(folder: &Path) -> bool {
    folder.join(ORDER).exists()
}

/// Runs a keeper until its program or its node has ended.
pub(super) fn run(folder: &Path, user_namespace: &UserNamespace) -> io::Result<()> {
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // No program of the same user may inspect it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let order: KeptOrder = serde_json::from_slice(&read(&folder.join(ORDER))?)?;
    let mut bound = Bound::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Before the program begins: from then on, a request to stop must not end the keeper alone.
        let signals = Signals::listen();
        match start(folder, &order, user_namespace, &mut bound) {
            Ok(process) => keep_until_end(process, Duration::from_millis(order.grace_millis), signals).await,
            Err(why) => KeeperOutcome::NotStarted(why),
        }
    });
    let _ = remove_directory(&order.private);
    write(&folder.join(OUTCOME), &serde_json::to_vec(&outcome)?)?;
    bound.leave();
    Ok(())
}

/// Starts the program with the keeper's own standard streams.
fn start(folder: &Path, order: &KeptOrder, user_namespace: &UserNamespace, bound: &mut Bound) -> Result<Pid, String> {
    let why = |error: io::Error| error.to_string();
    let user = User::of(order.isolation.users, std::process::id())?;
    Folder::at(folder).note_kept(order.private.clone(), user.and_then(User::own)).map_err(why)?;
    let private = PrivateDirectory::create(order.private.clone(), []).map_err(why)?;
    if let Some(user) = user {
        user.give_directory(private.path()).map_err(why)?;
        user.give_pipe(io::stdin().as_fd()).map_err(why)?;
        user.give_pipe(io::stdout().as_fd()).map_err(why)?;
        user.give_pipe(io::stderr().as_fd()).map_err(why)?;
    }
    let mut command = Command::new(&order.program);
    command.args(&order.arguments).current_dir(&order.private);
    for name in &order.not_passed_on {
        command.env_remove(name);
    }
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let placed =
        Placement { isolation: &order.isolation, user_namespace, private: &order.private, pack: &order.pack, program: &order.program };
    let raised = bound.raise(order.limits.processes, user, user_namespace);
    let spawned = program::spawn_behind_walls(command, &System::open(), placed, user, StartNote::of_unreserved());
    if let Some(raised) = raised {
        raised.fasten();
    }
    let program::SpawnedProgram { process, unwalled } = spawned.map_err(|no_start| no_start.why)?;
    private.leave();
    program::limit(process, order.limits, user);
    if let Some(unwalled) = unwalled {
        let _ = writeln!(io::stderr(), "{unwalled}");
    }
    Ok(process)
}

/// The signals that a keeper hears.
struct Signals {
    terminate: Option<tokio::signal::unix::Signal>,
    ended: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Hears them from now on.
    fn listen() -> Self {
        Self { terminate: signal(SignalKind::terminate()).ok(), ended: signal(SignalKind::child()).ok() }
    }
}

/// Waits for the end of the program, or ends it: at once if the node is gone, within its grace period if the node asks
/// for it.
async fn keep_until_end(process: Pid, grace: Duration, mut signals: Signals) -> KeeperOutcome {
    let leader = Leader::of(process);
    let mut tree = Tree::of(process);
    let mut kill_at: Option<Instant> = None;
    let node = node_is_gone();
    tokio::pin!(node);
    tree.reap();
    loop {
        tokio::select! {
            biased;
            () = leader.wait_for_end() => break,
            () = &mut node => break,
            () = next(&mut signals.terminate) => {
                tree.send(Signal::TERM);
                let until = Instant::now() + grace;
                kill_at = Some(kill_at.map_or(until, |before| before.min(until)));
            }
            () = at(kill_at) => break,
            () = next(&mut signals.ended) => {
                tree.reap();
            }
        }
    }
    tree.kill(KILLED_PATIENCE).await;
    match tree.exit() {
        Some(Exit::Code(code)) => KeeperOutcome::Code(code),
        Some(Exit::Signal(signal)) => KeeperOutcome::Signal(signal),
        Some(Exit::OutOfMemory | Exit::PerhapsOutOfMemory | Exit::Hangs) | None => KeeperOutcome::Signal(SIGKILL),
    }
}

const SIGKILL: i32 = 9;

/// Completes when nobody can write to the standard input any longer. It reads nothing, because the program does.
#[allow(deprecated, reason = "the newer function is unsafe; an owned descriptor keeps what that one asks for")]
async fn node_is_gone() {
    let watched = io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| AsyncFd::with_interest(stdin, Interest::READABLE));
    let Ok(watched) = watched else { return std::future::pending().await };
    while let Ok(mut guard) = watched.readable().await {
        if guard.ready().is_read_closed() {
            return;
        }
        // Only data came, which is for the program. The next change is noticed again.
        guard.clear_ready();
    }
    std::future::pending().await
}

async fn next(signals: &mut Option<tokio::signal::unix::Signal>) {
    match signals {
        // The sender belongs to the runtime.
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(NOTE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

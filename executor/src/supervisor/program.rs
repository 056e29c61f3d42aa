//! The one program that a supervisor holds: started behind its walls, fed, read, and ended with everything
//! that it started.
//!
//! This module notifies nobody: the program's output and end are in the folder, and in [`HeldProgram`], for anyone
//! who asks.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::DupFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, prlimit};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::folder::{Folder, StartNote};
use super::isolation::{self, System};
use super::memory::{KillScope, KillsForMemory};
use super::namespace::UserNamespace;
use super::protocol::{Holds, NotStarted, ProgramStream, WrittenOrder};
use super::spool::Spools;
use super::tree::{self, Tree};
use super::user::{User, acting_as};
use crate::masks::Masks;
use crate::programs::leader::{Leader, feed, next};
use crate::programs::{
    DRAIN_PATIENCE, End, EndedBy, Exit, Isolation, IsolationMode, KILLED_PATIENCE, PrivateDirectory, ProgramLimits, may_pass, uptime_millis,
};

/// How long a program may continue after the supervisor itself was asked to end because the machine is
/// shutting down.
const ABANDONED_GRACE: Duration = Duration::from_secs(5);

/// Descriptor 3, reserved for programs.
pub(crate) struct Descriptor3 {
    slot: OwnedFd,
    nothing: File,
}

impl Descriptor3 {
    /// Reserves the descriptor. It must be the first descriptor that the process opens.
    pub(crate) fn reserve() -> io::Result<Self> {
        let slot: OwnedFd = File::open("/dev/null")?.into();
        if slot.as_raw_fd() != 3 {
            return Err(io::Error::other("descriptor 3 is already in use; start a supervisor with only its three standard streams open"));
        }
        Ok(Self { slot, nothing: File::open("/dev/null")? })
    }

    /// Makes the next program inherit this as its descriptor 3.
    fn give(&mut self, descriptor: &impl std::os::fd::AsFd) -> io::Result<()> {
        Ok(rustix::io::dup2(descriptor, &mut self.slot)?)
    }

    /// Makes programs inherit nothing.
    fn take_back(&mut self) -> io::Result<()> {
        Ok(rustix::io::dup3(&self.nothing, &mut self.slot, DupFlags::CLOEXEC)?)
    }
}

/// The held program.
pub(crate) struct HeldProgram {
    /// Its output and messages.
    pub(crate) spools: Spools,
    /// How it ended, or `None` while it is running.
    pub(crate) end: watch::Receiver<Option<End>>,
    order: RememberedOrder,
    ends_at: Instant,
    told: watch::Sender<Option<StopOrder>>,
    has_remains: AtomicBool,
}

/// The part of an order that is remembered.
struct RememberedOrder {
    attempt: ensue_engine::ids::AttemptId,
    token: u64,
    private: PathBuf,
    grace: Duration,
}

/// The instruction to end. A later instruction takes nothing of it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    /// The latest moment at which it must end.
    until: Instant,
    /// The origin of the instruction.
    by: Teller,
}

/// The origin of a request to end a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    Node,
    /// Nobody: the machine is shutting down.
    Machine,
}

impl StopOrder {
    /// By the node, which lets it continue for this long.
    pub(crate) fn by_node(grace: Duration) -> Self {
        Self { until: in_a_while(grace), by: Teller::Node }
    }

    /// By the machine, which is shutting down.
    pub(crate) fn by_machine() -> Self {
        Self { until: Instant::now() + ABANDONED_GRACE, by: Teller::Machine }
    }

    /// Returns the combination of both: the earlier moment, and the node as the origin if either came from
    /// it.
    fn and(self, other: Self) -> Self {
        let by = match (self.by, other.by) {
            (Teller::Machine, Teller::Machine) => Teller::Machine,
            (Teller::Node, _) | (_, Teller::Node) => Teller::Node,
        };
        Self { until: self.until.min(other.until), by }
    }
}

/// Why a program was not started.
pub(crate) struct NoStart {
    /// What failed.
    pub(crate) kind: NotStarted,
    /// Why.
    pub(crate) why: String,
}

impl NoStart {
    fn because(kind: NotStarted) -> impl Fn(io::Error) -> Self {
        move |error| Self { kind, why: error.to_string() }
    }
}

impl HeldProgram {
    /// Returns the held program.
    pub(crate) fn holds(&self) -> Holds {
        let remaining = self.ends_at.saturating_duration_since(Instant::now());
        Holds {
            attempt: self.order.attempt,
            token: self.order.token,
            remaining_millis: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Returns its private directory.
    pub(crate) fn private(&self) -> &Path {
        &self.order.private
    }

    /// Returns true if processes of it were still there at its end, although they had been killed.
    pub(crate) fn has_remains(&self) -> bool {
        self.has_remains.load(Ordering::Acquire)
    }

    /// Tells it to end.
    pub(crate) fn order_stop(&self, told: StopOrder) {
        self.told.send_modify(|before| *before = Some(before.map_or(told, |before| before.and(told))));
    }

    /// Starts a program, and conducts it to its end on the current runtime. The tail holds its files, the
    /// values of its keys and its input.
    pub(crate) fn start(
        folder: &Folder,
        slot: &mut Descriptor3,
        system: &System,
        order: &WrittenOrder,
        tail: &Bytes,
        (user, user_namespace): (Option<User>, &UserNamespace),
    ) -> Result<Arc<Self>, NoStart> {
        let supervisor = NoStart::because(NotStarted::Supervisor);
        let own_user = user.and_then(User::own);
        folder.note_held(order.attempt, order.token, PathBuf::from(&order.private), own_user).map_err(&supervisor)?;
        let OrderTail { files, keys, input } = split(order, tail).map_err(NoStart::because(NotStarted::Directory))?;
        let private = PrivateDirectory::create(PathBuf::from(&order.private), files).map_err(NoStart::because(NotStarted::Directory))?;
        let masks = Masks::of_values(keys);
        let (stdin, stdin_into) = io::pipe().map_err(&supervisor)?;
        let (stdout, stdout_from) = io::pipe().map_err(&supervisor)?;
        let (stderr, stderr_from) = io::pipe().map_err(&supervisor)?;
        let (messages, messages_from) = io::pipe().map_err(&supervisor)?;
        if let Some(user) = user {
            user.give_directory(private.path()).map_err(NoStart::because(NotStarted::Directory))?;
            user.give_pipe(&stdin).map_err(&supervisor)?;
            for pipe in [&stdout_from, &stderr_from, &messages_from] {
                user.give_pipe(pipe).map_err(&supervisor)?;
            }
        }
        slot.give(&messages_from).map_err(&supervisor)?;
        let start_note = folder.open_start_note().map_err(&supervisor)?;
        let kills_for_memory = KillsForMemory::until_now();
        let mut command = Command::new(&order.program);
        command.args(&order.arguments).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&order.private).process_group(0);
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout_from)).stderr(Stdio::from(stderr_from));
        let (private_path, pack, program) = (Path::new(&order.private), Path::new(&order.pack), Path::new(&order.program));
        let placed = Placement { isolation: &order.isolation, user_namespace, private: private_path, pack, program };
        let spawned = spawn_behind_walls(command, system, placed, user, start_note);
        // Before anything else is started, and so that only the program holds the other end.
        let taken_back = slot.take_back();
        drop(messages_from);
        let SpawnedProgram { process, unwalled } = spawned?;
        // The program runs. If this failed from here on, the attempt would be started again.
        private.leave();
        // Before anything is reaped: until then the number belongs to it.
        let leader = Leader::of(process);
        limit(process, order.limits, user);
        let spools = Spools::begin(folder.clone(), order.output_bytes_max, masks.as_ref());
        if let Some(unwalled) = unwalled {
            spools.note(&unwalled);
        }
        if let Err(error) = taken_back {
            // The end of its messages is not seen then, so they are read until the patience is over.
            spools.note(&format!("the supervisor could not close its own descriptor of the program's messages: {error}"));
        }
        let (told, hears) = watch::channel(None);
        let (ended, end) = watch::channel(None);
        let timeout = Duration::from_millis(order.timeout_millis);
        let ends_at = in_a_while(timeout);
        let remembered = RememberedOrder {
            attempt: order.attempt,
            token: order.token,
            private: PathBuf::from(&order.private),
            grace: Duration::from_millis(order.grace_millis),
        };
        let held = Arc::new(Self { spools, end, order: remembered, ends_at, told, has_remains: AtomicBool::new(false) });
        let tree = Tree::of(process);
        let conductor = Conductor { held: Arc::clone(&held), folder: folder.clone(), tree, leader, kills_for_memory, hears };
        let pipes = Pipes { stdin: stdin_into.into(), input, out: [stdout, stderr, messages] };
        tokio::spawn(conductor.conduct(pipes, ended));
        Ok(held)
    }
}

/// Returns the moment after this duration, or one that no program reaches.
fn in_a_while(long: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(long).unwrap_or_else(|| now + Duration::from_secs(60 * 60 * 24 * 365 * 30))
}

/// The tail of an order.
struct OrderTail<'o> {
    files: Vec<NamedBytes<'o>>,
    keys: Vec<NamedBytes<'o>>,
    input: Bytes,
}

/// A name, and the bytes that belong to it.
type NamedBytes<'o> = (&'o str, &'o [u8]);

/// Splits the tail of an order into the private files, the values of keys and the input.
fn split<'o>(order: &'o WrittenOrder, tail: &'o Bytes) -> io::Result<OrderTail<'o>> {
    let mut rest = &tail[..];
    let mut taken = |sizes: &'o [(String, usize)]| {
        let mut named = Vec::with_capacity(sizes.len());
        for (name, size) in sizes {
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the order's files and keys are not as expected");
            let (bytes, after) = rest.split_at_checked(*size).ok_or_else(wrong)?;
            named.push((name.as_str(), bytes));
            rest = after;
        }
        io::Result::Ok(named)
    };
    let (files, keys) = (taken(&order.files)?, taken(&order.keys)?);
    Ok(OrderTail { files, keys, input: tail.slice_ref(rest) })
}

/// A program that was started.
pub(super) struct SpawnedProgram {
    pub(super) process: Pid,
    /// The walls that could not be raised, for its log.
    pub(super) unwalled: Option<String>,
}

/// What a program is, and what it may reach.
#[derive(Clone, Copy)]
pub(super) struct Placement<'o> {
    pub(super) isolation: &'o Isolation,
    pub(super) user_namespace: &'o UserNamespace,
    /// Its private directory.
    pub(super) private: &'o Path,
    /// The folder of its pack.
    pub(super) pack: &'o Path,
    pub(super) program: &'o Path,
}

/// Starts the program on a separate thread, around which the walls are raised. The thread and everything
/// started from it inherit the walls, and nothing else of the supervisor does.
pub(super) fn spawn_behind_walls(
    mut command: Command,
    system: &System,
    placed: Placement<'_>,
    user: Option<User>,
    start_note: StartNote,
) -> Result<SpawnedProgram, NoStart> {
    let start = move || {
        let raised = isolation::raise(placed, system, user);
        let unwalled = raised.map_err(|why| NoStart { kind: NotStarted::Isolation, why })?;
        // The last thing before it: what was done until here touches only what belongs to the attempt.
        let note = start_note.write().map_err(NoStart::because(NotStarted::Supervisor))?;
        match command.spawn() {
            Ok(child) => Ok((child, unwalled)),
            Err(error) => {
                // If the note stays, a node that crashes now does not try the program again, although it could.
                let _ = note.remove();
                Err(NoStart { kind: NotStarted::Spawn, why: not_spawned(&error, placed) })
            }
        }
    };
    let (child, unwalled) = match (placed.isolation.mode, user) {
        (IsolationMode::None, None) => start(),
        (IsolationMode::None, Some(_)) | (IsolationMode::Auto | IsolationMode::Required, _) => on_a_thread_of_its_own(start),
    }?;
    Ok(SpawnedProgram { process: Pid::from_child(&child), unwalled })
}

/// Describes why a program was not started, including the case that another user than the node's was not
/// allowed to run it.
fn not_spawned(error: &io::Error, placed: Placement<'_>) -> String {
    let is_closed = error.kind() == io::ErrorKind::PermissionDenied && !may_pass(placed.program, placed.isolation.users);
    if !is_closed {
        return error.to_string();
    }
    format!(
        "{error}; programs run as another user than the node (`actions.user`), which may not be allowed to run it or to enter a folder above it"
    )
}

fn on_a_thread_of_its_own<T: Send>(start: impl FnOnce() -> Result<T, NoStart> + Send) -> Result<T, NoStart> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("walls".into()).stack_size(256 << 10).spawn_scoped(scope, start);
        let joined = thread.map_err(NoStart::because(NotStarted::Supervisor))?.join();
        joined.map_err(|_| NoStart { kind: NotStarted::Supervisor, why: "the thread that starts it panicked".into() })?
    })
}

/// Limits the resources of the program and of everything that it has started meanwhile, wherever that went.
/// Processes that those start inherit the limits.
pub(super) fn limit(leader: Pid, limits: ProgramLimits, user: Option<User>) {
    // The number of processes is limited before the program is started.
    let ProgramLimits { memory_bytes, file_bytes, open_files, cpu_seconds, processes: _ } = limits;
    let wanted =
        [(Resource::As, memory_bytes), (Resource::Fsize, file_bytes), (Resource::Nofile, open_files), (Resource::Cpu, cpu_seconds)];
    if wanted.iter().all(|(_, most)| most.is_none()) {
        return;
    }
    acting_as(user, || {
        for process in std::iter::once(leader).chain(tree::descendants(getpid())) {
            for (resource, most) in wanted {
                if most.is_some() {
                    // It may have ended already.
                    let _ = prlimit(Some(process), resource, Rlimit { current: most, maximum: most });
                }
            }
        }
    });
}

struct Pipes {
    stdin: OwnedFd,
    input: Bytes,
    out: [PipeReader; 3],
}

/// How a program's first process ended.
struct LeaderEnd {
    /// Who made it end.
    by: Option<EndedBy>,
    /// Who killed it, if it was killed.
    killed: Killer,
    /// When it ended, in milliseconds since the machine's boot.
    ended_at: Option<u64>,
}

/// Who killed a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killer {
    Supervisor,
    /// The kernel, or another process on the machine.
    Another,
}

/// Conducts a program to its end.
struct Conductor {
    held: Arc<HeldProgram>,
    folder: Folder,
    tree: Tree,
    leader: Leader,
    kills_for_memory: KillsForMemory,
    hears: watch::Receiver<Option<StopOrder>>,
}

impl Conductor {
    async fn conduct(mut self, pipes: Pipes, ended: watch::Sender<Option<End>>) {
        let Pipes { stdin, input, out } = pipes;
        let feeding = tokio::spawn(async move {
            if let Ok(stdin) = pipe::Sender::from_owned_fd(stdin) {
                feed(stdin, &input).await;
            }
        });
        let mut readers: Vec<_> = ProgramStream::ALL
            .into_iter()
            .zip(out)
            .map(|(stream, source)| {
                let held = Arc::clone(&self.held);
                tokio::spawn(async move {
                    if let Ok(source) = pipe::Receiver::from_owned_fd(source.into()) {
                        held.spools.take_in(stream, source).await;
                    }
                })
            })
            .collect();
        let LeaderEnd { by, killed, ended_at } = self.end().await;
        feeding.abort();
        let drained = async {
            for reader in &mut readers {
                let _ = reader.await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_PATIENCE, drained).await;
        // Pipes that a process outside the tree holds open are no longer read: the spool soon belongs to
        // another program.
        readers.iter().for_each(JoinHandle::abort);
        self.held.spools.finish();
        self.held.spools.note_unkept();
        let exit = match (self.tree.exit().unwrap_or(Exit::Hangs), killed) {
            (Exit::Signal(SIGKILL), Killer::Another) => killed_by_another(self.kills_for_memory.since()),
            (exit, Killer::Another | Killer::Supervisor) => exit,
        };
        let was_killed = by.is_some().then_some(killed == Killer::Supervisor);
        let end = End { exit, by, printed: self.held.spools.printed_bytes(), was_killed, ended_at };
        // Before the end is announced: a listener that learns of it must find the note even if this process
        // is gone a moment later.
        if let Err(error) = self.folder.note_end(end) {
            self.held.spools.note(&format!("the end could not be saved, and is known only as long as the supervisor runs: {error}"));
        }
        ended.send_replace(Some(end));
        self.held.spools.wake();
    }

    /// Waits for the first process to end, or ends it; then ends everything that it left.
    async fn end(&mut self) -> LeaderEnd {
        // Without the signal, ended processes are reaped at the end.
        let mut ended = signal(SignalKind::child()).ok();
        self.tree.reap();
        let mut kill_at: Option<Instant> = None;
        let mut by = None;
        let killed = loop {
            let next_moment = kill_at.unwrap_or(self.held.ends_at);
            let told = tokio::select! {
                biased;
                () = self.leader.wait_for_end() => break Killer::Another,
                told = next(&mut self.hears) => Some(told),
                () = tokio::time::sleep_until(next_moment) => None,
                () = something_ended(&mut ended) => {
                    self.tree.reap();
                    continue;
                }
            };
            let until = match told {
                None if kill_at.is_some() => break Killer::Supervisor,
                None => {
                    by = Some(EndedBy::Deadline);
                    in_a_while(self.held.order.grace)
                }
                Some(StopOrder { until, by: Teller::Node }) => {
                    by = by.or(Some(EndedBy::Told));
                    until
                }
                Some(StopOrder { until, by: Teller::Machine }) => until,
            };
            if until > Instant::now() {
                self.tree.send(Signal::TERM);
            }
            kill_at = Some(kill_at.map_or(until, |before| before.min(until)));
        };
        let ended_at = uptime_millis();
        if !self.tree.kill(KILLED_PATIENCE).await {
            self.held.has_remains.store(true, Ordering::Release);
            self.held.spools.note("processes of the program do not end although they were killed");
        }
        // Whatever the request was for, it did not end before its timeout: a node that learns of it later knows
        // no other reason.
        let by = by.map(|by| if Instant::now() >= self.held.ends_at { EndedBy::Deadline } else { by });
        LeaderEnd { by, killed, ended_at }
    }
}

/// Completes when a child has ended. It may be one that had lost its parent.
async fn something_ended(ended: &mut Option<Signals>) {
    match ended {
        // The sender belongs to the runtime.
        Some(ended) => drop(ended.recv().await),
        None => std::future::pending().await,
    }
}

const SIGKILL: i32 = 9;

/// Returns how a process exited that was killed by someone else.
fn killed_by_another(for_memory: Option<KillScope>) -> Exit {
    match for_memory {
        Some(KillScope::OfProgram) => Exit::OutOfMemory,
        Some(KillScope::OfMore) => Exit::PerhapsOutOfMemory,
        None => Exit::Signal(SIGKILL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_stop_never_weakens_an_earlier_one() {
        let now = Instant::now();
        let told = |seconds, by| StopOrder { until: now + Duration::from_secs(seconds), by };
        let cases = [
            (told(1, Teller::Node), told(9, Teller::Node), told(1, Teller::Node)),
            (told(9, Teller::Node), told(5, Teller::Machine), told(5, Teller::Node)),
            (told(5, Teller::Machine), told(9, Teller::Node), told(5, Teller::Node)),
            (told(5, Teller::Machine), told(4, Teller::Machine), told(4, Teller::Machine)),
        ];
        for (first, second, after_both) in cases {
            assert_eq!(first.and(second), after_both);
        }
    }
}

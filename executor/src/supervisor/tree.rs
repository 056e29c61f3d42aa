//! Everything that a supervisor's program has started: processes that leave their parent, group or session
//! come back to the supervisor, which is their subreaper.
//!
//! This module knows no program by name; it ends and reaps whatever is there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, wait};
use tokio::time::{Instant, sleep};

use crate::programs::Exit;

/// The number of processes examined in one round. The next round finds the others.
const ROUND_PROCESSES_MAX: usize = 65_536;
/// The first pause between two rounds of killing. It doubles up to the longest.
const ROUND_PAUSE: Duration = Duration::from_micros(200);
/// The longest pause between two rounds of killing.
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(20);

/// The processes below this one, and how the first of them exited.
pub(crate) struct Tree {
    leader: Pid,
    exit: Option<Exit>,
}

impl Tree {
    /// Takes the tree that begins with a child of this process.
    pub(crate) fn of(leader: Pid) -> Self {
        Self { leader, exit: None }
    }

    /// Returns how the first process exited, or none if it has not been reaped yet.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Reaps ended processes. Returns true if anything is left: a subreaper without a child has no
    /// descendants either.
    pub(crate) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    // Later the number may belong to another process.
                    if pid == self.leader && self.exit.is_none() {
                        let code = status.exit_status().map(Exit::Code);
                        self.exit = code.or_else(|| status.terminating_signal().map(Exit::Signal)).or(Some(Exit::Hangs));
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Sends a signal to every process of the tree.
    pub(crate) fn send(&self, signal: Signal) {
        for process in descendants(rustix::process::getpid()) {
            // The process may have ended meanwhile. Its number is not reused before it is reaped here.
            let _ = kill_process(process, signal);
        }
    }

    /// Kills and reaps the whole tree repeatedly, until nothing is left or the patience runs out. Returns
    /// true if everything is gone.
    pub(crate) async fn kill(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut pause = ROUND_PAUSE;
        while self.reap() {
            if Instant::now() >= until {
                return false;
            }
            // Stopped first, so that nothing is started while the others are killed.
            self.send(Signal::STOP);
            self.send(Signal::KILL);
            sleep(pause).await;
            pause = (pause * 2).min(ROUND_PAUSE_MAX);
        }
        true
    }
}

/// Lists the descendants of a process, as far as the kernel reports them.
pub(crate) fn descendants(of: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = vec![of];
    while let Some(process) = next.pop() {
        for child in children(process) {
            if seen.len() < ROUND_PROCESSES_MAX && seen.insert(child.as_raw_nonzero()) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

fn children(of: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", of.as_raw_nonzero());
    let Ok(tasks) = fs::read_dir(tasks) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// Returns when a process was started, in the kernel's ticks since the boot. Together with its number, this
/// identifies the process permanently.
pub(crate) fn started_at(process: i32) -> Option<u64> {
    stat(process)?.get(19)?.parse().ok()
}

/// A process by a descriptor, so that a signal never reaches another process that later gets the same number.
struct Process {
    number: Pid,
    /// None if the kernel does not support such descriptors.
    descriptor: Option<OwnedFd>,
}

impl Process {
    /// Opens the process that has this number now. The caller checks afterwards that it is the intended one.
    fn open(number: Pid) -> Option<Self> {
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(descriptor) => Some(Self { number, descriptor: Some(descriptor) }),
            Err(rustix::io::Errno::NOSYS) => Some(Self { number, descriptor: None }),
            Err(_) => None,
        }
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        match &self.descriptor {
            Some(descriptor) => Ok(pidfd_send_signal(descriptor, signal)?),
            None => Ok(kill_process(self.number, signal)?),
        }
    }
}

/// Kills the remains of a supervisor that is gone or hangs: the supervisor itself, everything that it
/// started while it is there, all of its session, and every process whose environment names the private
/// directory or whose user is the program's own. If the supervisor is gone and there is no such user, a
/// process that left the session and wiped its environment cannot be distinguished from a stranger. Returns
/// how many processes of the program were killed.
pub(crate) fn kill_orphans(supervisor: i32, started_at: u64, private: &str, user: Option<u32>) -> usize {
    let holder = Pid::from_raw(supervisor).and_then(Process::open);
    // Asked once the descriptor is open, so it refers to the process that was started then.
    let now = self::started_at(supervisor);
    let holder = holder.filter(|_| now == Some(started_at));
    let mut killed = BTreeSet::new();
    if let Some(holder) = &holder {
        // While stopped, it starts and reaps nothing, so the numbers of its children stay theirs.
        let _ = holder.send(Signal::STOP);
        kill_all(&mut killed, || descendants(holder.number).into_iter().filter(|process| is_alive(*process)).collect());
        let _ = holder.send(Signal::KILL);
    }
    // If the number was reused, nothing of its old session was left.
    let session = (now.is_none() || now == Some(started_at)).then_some(supervisor);
    kill_all(&mut killed, || orphans(session, private, user));
    killed.remove(&supervisor);
    killed.len()
}

/// The number of rounds in which orphans are looked for.
const ORPHAN_ROUNDS_MAX: usize = 20;

/// Kills all listed processes repeatedly until none is left. Processes that start while the list is read are
/// found in the next round.
fn kill_all(killed: &mut BTreeSet<i32>, listed: impl Fn() -> Vec<Pid>) {
    for _ in 0..ORPHAN_ROUNDS_MAX {
        let opened: Vec<Process> = listed().into_iter().filter_map(Process::open).collect();
        if opened.is_empty() {
            return;
        }
        // Listed again once their descriptors are open, so that none of them is another process that got the
        // number meanwhile.
        let still: BTreeSet<i32> = listed().into_iter().map(|process| process.as_raw_nonzero().get()).collect();
        let meant = || opened.iter().filter(|process| still.contains(&process.number.as_raw_nonzero().get()));
        for process in meant() {
            let _ = process.send(Signal::STOP);
        }
        for process in meant() {
            if process.send(Signal::KILL).is_ok() {
                killed.insert(process.number.as_raw_nonzero().get());
            }
        }
        std::thread::sleep(ROUND_PAUSE);
    }
}

fn orphans(session: Option<i32>, private: &str, user: Option<u32>) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = rustix::process::getpid();
    processes
        .flatten()
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter(|process| *process != own && is_orphan(*process, session, private, user))
        .collect()
}

fn is_alive(process: Pid) -> bool {
    stat(process.as_raw_nonzero().get()).is_some_and(|stat| has_not_ended(&stat))
}

fn has_not_ended(stat: &[String]) -> bool {
    stat.first().is_some_and(|state| !matches!(state.as_str(), "Z" | "X"))
}

fn is_orphan(process: Pid, session: Option<i32>, private: &str, user: Option<u32>) -> bool {
    let of = process.as_raw_nonzero().get();
    let Some(stat) = stat(of) else { return false };
    if !has_not_ended(&stat) {
        return false;
    }
    if session.is_some() && stat.get(3).and_then(|field| field.parse().ok()) == session {
        return true;
    }
    if user.is_some() && self::user(of) == user {
        return true;
    }
    let environ = fs::read(format!("/proc/{of}/environ")).unwrap_or_default();
    let marker = format!("TMPDIR={private}");
    environ.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
}

/// Returns the user of a process.
fn user(process: i32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let users = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the fields of the kernel's status line of a process, from its state on.
fn stat(process: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let (_, after) = text.rsplit_once(") ")?;
    Some(after.split_ascii_whitespace().map(str::to_owned).collect())
}

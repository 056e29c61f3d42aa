//! All that a supervisor's program has started: whatever left its parent, its group or its session comes back to the supervisor,
//! which is its subreaper.
//!
//! It knows no program by name; it ends what there is and reaps it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::time::{Instant, sleep};

use crate::programs::Exit;

/// How many processes are looked at in one round; the next round finds the others.
const ROUND_PROCESSES_MAX: usize = 65_536;
/// The first pause between two rounds of killing, doubled up to the longest.
const ROUND_PAUSE: Duration = Duration::from_micros(200);
/// The longest pause between two rounds of killing.
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(20);

/// The processes under this one, and how the first of them left.
pub(crate) struct Tree {
    leader: Pid,
    exit: Option<Exit>,
}

impl Tree {
    /// Takes the tree that begins with a child of this process.
    pub(crate) fn of(leader: Pid) -> Self {
        Self { leader, exit: None }
    }

    /// Says how the first process left; none where it has not, as far as was reaped.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Reaps what has ended. Says whether anything is left: a subreaper without a child has no descendant either.
    pub(crate) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    // Later the number may be another's.
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

    /// Sends a signal to all of it.
    pub(crate) fn send(&self, signal: Signal) {
        for process in descendants(rustix::process::getpid()) {
            // It may have ended meanwhile; its number is not given to another before it is reaped here.
            let _ = kill_process(process, signal);
        }
    }

    /// Kills all of it and reaps it, again and again until nothing is left or the patience is over. Says whether all is gone.
    pub(crate) async fn kill(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut pause = ROUND_PAUSE;
        while self.reap() {
            if Instant::now() >= until {
                return false;
            }
            // Stopped first, so that nothing is born while the others are killed.
            self.send(Signal::STOP);
            self.send(Signal::KILL);
            sleep(pause).await;
            pause = (pause * 2).min(ROUND_PAUSE_MAX);
        }
        true
    }
}

/// Lists what a process has started, and what that has, as far as the kernel tells.
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

/// Says when a process was started, in the kernel's ticks since the boot: with its number, that names it for ever.
pub(crate) fn started_at(process: i32) -> Option<u64> {
    stat(process)?.get(19)?.parse().ok()
}

/// Kills what is left of a supervisor that is gone or hangs: itself, all of its session, and all whose environment names the
/// private directory. Whatever had left the session and wiped its environment as well cannot be told from a stranger.
pub(crate) fn kill_orphans(supervisor: i32, started_at: u64, private: &str) -> usize {
    let now = self::started_at(supervisor);
    if now == Some(started_at)
        && let Some(process) = Pid::from_raw(supervisor)
    {
        let _ = kill_process(process, Signal::KILL);
    }
    // A number that was given away again shows that nobody of its old session was left.
    let session = (now.is_none() || now == Some(started_at)).then_some(supervisor);
    let mut killed = 0;
    // What is born while the list is read is found in the next round.
    for _ in 0..ORPHAN_ROUNDS_MAX {
        let orphans = orphans(session, private);
        if orphans.is_empty() {
            break;
        }
        for orphan in &orphans {
            let _ = kill_process(*orphan, Signal::STOP);
        }
        for orphan in orphans {
            killed += usize::from(kill_process(orphan, Signal::KILL).is_ok());
        }
    }
    killed
}

/// How often is looked for orphans.
const ORPHAN_ROUNDS_MAX: usize = 20;

fn orphans(session: Option<i32>, private: &str) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = rustix::process::getpid();
    processes
        .flatten()
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter(|process| *process != own && is_orphan(*process, session, private))
        .collect()
}

fn is_orphan(process: Pid, session: Option<i32>, private: &str) -> bool {
    let of = process.as_raw_nonzero().get();
    let Some(stat) = stat(of) else { return false };
    if stat.first().is_none_or(|state| matches!(state.as_str(), "Z" | "X")) {
        return false;
    }
    if session.is_some() && stat.get(3).and_then(|field| field.parse().ok()) == session {
        return true;
    }
    let environ = fs::read(format!("/proc/{of}/environ")).unwrap_or_default();
    let marker = format!("TMPDIR={private}");
    environ.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
}

/// Gives what the kernel says of a process, from its state on.
fn stat(process: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, after) = text.rsplit_once(") ")?;
    Some(after.split_ascii_whitespace().map(str::to_owned).collect())
}

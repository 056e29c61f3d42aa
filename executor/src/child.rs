//! A program and all it starts: one process group, ended as a whole, its output read to the end.
//!
//! What leaves the group (`setsid`) is out of reach here; that it holds the pipes open cannot hold the attempt. It makes no
//! result of what was printed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ensue_engine::ports::OutputStream;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use crate::attempt::{Attempt, Cut};
use crate::output::Output;
use crate::result::Head;

/// How long is waited for a program that was sent SIGKILL; only one that hangs in the kernel takes longer.
pub(crate) const KILLED_PATIENCE: Duration = Duration::from_secs(5);
/// How long output is read on after the program has ended, where something outside its group still holds its pipes.
pub(crate) const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How a program ended.
pub(crate) struct Ended {
    /// What cut it off; none where it ended by itself.
    pub(crate) cut: Option<Cut>,
    /// How it left; none where it still hangs in the kernel.
    pub(crate) status: Option<ExitStatus>,
    /// The beginning of its standard output.
    pub(crate) stdout: Head,
}

/// A program that runs.
pub(crate) struct Program {
    // Before the child: where the attempt is dropped on its way, its group is killed while the leader still holds its number.
    group: Group,
    child: Child,
}

impl Program {
    /// Starts it in a process group of its own, with three pipes and nothing else open.
    pub(crate) fn start(mut command: Command) -> std::io::Result<Self> {
        // What this process itself was started with may not be marked to stay here.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: Group(leader) })
    }

    /// Feeds it, reads it, and waits for its end, or brings it about: SIGTERM to the group, and SIGKILL after the grace.
    pub(crate) async fn conduct(mut self, attempt: &Attempt<'_>, input: &[u8], output: &Output) -> Ended {
        let clock = &attempt.worker.ports.clock;
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let mut head = Head::default();
        let cut = {
            let streams = async {
                let stdout = async {
                    if let Some(stdout) = stdout {
                        output.drain(OutputStream::Stdout, stdout, Some(&mut head)).await;
                    }
                };
                let stderr = async {
                    if let Some(stderr) = stderr {
                        output.drain(OutputStream::Stderr, stderr, None).await;
                    }
                };
                tokio::join!(feed(stdin, input), stdout, stderr)
            };
            let end = end(attempt, &self.group);
            tokio::pin!(streams, end);
            let mut are_drained = false;
            let cut = loop {
                tokio::select! {
                    cut = &mut end => break cut,
                    _ = &mut streams, if !are_drained => are_drained = true,
                }
            };
            if !are_drained {
                tokio::select! {
                    _ = &mut streams => {}
                    () = clock.until(clock.now() + attempt.worker.settings.drain_patience) => {
                        tracing::warn!(
                            attempt = %attempt.dispatch.attempt,
                            "something that left the program's group still holds its output, which is read no further"
                        );
                    }
                }
            }
            cut
        };
        let status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = clock.until(clock.now() + KILLED_PATIENCE) => None,
        };
        self.group.disarm();
        Ended { cut, status, stdout: head }
    }
}

/// Waits for the end of the group's leader, or brings it about; then ends what it left running.
async fn end(attempt: &Attempt<'_>, group: &Group) -> Option<Cut> {
    let clock = &attempt.worker.ports.clock;
    let cut = tokio::select! {
        biased;
        () = group.leader_ended() => None,
        cut = attempt.cut() => Some(cut),
    };
    if cut.is_some() {
        group.send(Signal::TERM);
        tokio::select! {
            biased;
            () = group.leader_ended() => {}
            () = attempt.grace_ended() => {
                group.send(Signal::KILL);
                tokio::select! {
                    () = group.leader_ended() => {}
                    () = clock.until(clock.now() + KILLED_PATIENCE) => {}
                }
            }
        }
    }
    // The leader is not reaped yet, so the number is still its group's and nobody else's.
    group.send(Signal::KILL);
    cut
}

/// Writes the input; a program need not read it.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
        let _ = stdin.shutdown().await;
    }
}

/// A process group, killed when it is dropped before it is over.
struct Group(Option<Pid>);

impl Group {
    fn send(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // It fails where all have ended, which is as well.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Ends when the leader has ended; it is left to be reaped.
    async fn leader_ended(&self) {
        let Some(leader) = self.0 else { return };
        if ended(leader).await.is_err() {
            // A kernel without such descriptors: the end shows when signal 0 finds nobody who is no zombie.
            poll_ended(leader).await;
        }
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

#[cfg(target_os = "linux")]
#[allow(deprecated, reason = "the newer function is unsafe; an owned descriptor keeps what that one asks for")]
async fn ended(leader: Pid) -> std::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let descriptor = pidfd_open(leader, PidfdFlags::empty())?;
    let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
    descriptor.readable().await.map(drop)
}

#[cfg(not(target_os = "linux"))]
async fn ended(_leader: Pid) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// How often is looked whether a program has ended, where the kernel does not tell.
const POLL_PAUSE: Duration = Duration::from_millis(20);

async fn poll_ended(leader: Pid) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    // Looks without reaping.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = waitid(WaitId::Pid(leader), options) {
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

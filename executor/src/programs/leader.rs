//! A program's first process: waits for its end, feeds its input, and receives the instruction to end it.
//!
//! This module does not start, end or reap the process: the modules that hold programs differ in that.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// How often to check whether a program has ended, if the kernel does not report it.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// A watched child of this process.
pub(crate) struct Leader {
    process: Pid,
    /// None if the kernel does not report its end.
    watched: Option<AsyncFd<OwnedFd>>,
}

impl Leader {
    /// Starts watching a child that nobody has reaped yet, on the current runtime.
    pub(crate) fn of(process: Pid) -> Self {
        Self { process, watched: watch_process(process).ok() }
    }

    /// Returns its process number, which may belong to another process once it was reaped.
    pub(crate) fn process(&self) -> Pid {
        self.process
    }

    /// Completes when it has ended, without reaping it.
    pub(crate) async fn wait_for_end(&self) {
        if let Some(watched) = &self.watched
            && watched.readable().await.is_ok()
        {
            return;
        }
        // Look without reaping.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(None) = waitid(WaitId::Pid(self.process), options) {
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(deprecated, reason = "the newer function is unsafe; an owned descriptor keeps what that one asks for")]
fn watch_process(process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;

    AsyncFd::with_interest(pidfd_open(process, PidfdFlags::empty())?, Interest::READABLE)
}

#[cfg(not(target_os = "linux"))]
fn watched(_process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes the input and closes the pipe. A program need not read it.
pub(crate) async fn feed(mut stdin: impl AsyncWrite + Unpin, input: &[u8]) {
    let _ = stdin.write_all(input).await;
    let _ = stdin.shutdown().await;
}

/// Returns the next instruction for a program. Never completes if no sender is left.
pub(crate) async fn next<T: Copy>(told: &mut watch::Receiver<Option<T>>) -> T {
    loop {
        if told.changed().await.is_err() {
            return std::future::pending().await;
        }
        if let Some(tell) = *told.borrow_and_update() {
            return tell;
        }
    }
}

//! The supervisors that wait for a program: some are started ahead, and each is reused.
//!
//! None is started before the first program is. A node that runs no programs has no supervisors.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::connection::SupervisorConnection;
use crate::programs::{Isolation, SupervisorCommand};
use crate::supervisor::READY;
use crate::supervisor::folder::Folder;
use crate::supervisor::namespace::NamespaceNote;

/// The number of supervisors kept ready, in addition to those that hold a program.
pub(super) const SUPERVISORS_AHEAD: usize = 2;
/// The maximum number of supervisors that are kept although they hold no program.
pub(super) const SUPERVISORS_IDLE_MAX: usize = 8;
/// How long a supervisor may take to start.
const UP_PATIENCE: Duration = Duration::from_secs(10);
/// The maximum number of bytes read of a supervisor's message about why it does not start.
const WHY_BYTES_MAX: u64 = 4 << 10;

/// The supervisors without a program.
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    command: SupervisorCommand,
    release: String,
    namespaces: Arc<NamespaceNote>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<SupervisorConnection>,
    coming: usize,
}

impl Pool {
    /// Creates an empty pool.
    pub(super) fn new(folder: PathBuf, command: SupervisorCommand, release: String, isolation: &Isolation) -> Self {
        let namespaces = Arc::new(NamespaceNote::new(command.clone(), isolation));
        Self { inner: Arc::new(Inner { folder, command, release, namespaces, state: Mutex::default() }) }
    }

    /// Returns a supervisor without a program, and starts a replacement.
    pub(super) async fn take(&self) -> io::Result<SupervisorConnection> {
        let idle = self.inner.state().idle.pop();
        self.refill();
        match idle {
            Some(connection) => Ok(connection),
            None => self.inner.start_supervisor().await,
        }
    }

    /// Takes back a supervisor that no longer holds a program. If there are enough, or if it is not reusable,
    /// it ends when its connection closes.
    pub(super) fn give_back(&self, connection: SupervisorConnection) {
        let mut state = self.inner.state();
        if connection.is_reusable && state.idle.len() < SUPERVISORS_IDLE_MAX {
            state.idle.push(connection);
        }
    }

    /// Returns the release that is sent to supervisors.
    pub(super) fn release(&self) -> &str {
        &self.inner.release
    }

    fn refill(&self) {
        let mut state = self.inner.state();
        while state.idle.len() + state.coming < SUPERVISORS_AHEAD {
            state.coming += 1;
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                let started = inner.start_supervisor().await;
                let mut state = inner.state();
                state.coming -= 1;
                match started {
                    // Others may have been returned meanwhile.
                    Ok(connection) if state.idle.len() < SUPERVISORS_IDLE_MAX => state.idle.push(connection),
                    Ok(_) => {}
                    // A caller that needs one tries again, and gets the error.
                    Err(error) => tracing::warn!(%error, "a supervisor does not start"),
                }
            });
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start_supervisor(&self) -> io::Result<SupervisorConnection> {
        let (name, key) = (random()?, random()?);
        let folder = Folder::make(self.folder.join(name), &key)?;
        let (namespaces, path) = (self.namespaces.clone(), folder.path().to_owned());
        let noted = tokio::task::spawn_blocking(move || namespaces.write(&path)).await.map_err(io::Error::other).flatten();
        let connected = match noted {
            Ok(()) => timeout(UP_PATIENCE, self.up(&folder))
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not start in time"))),
            Err(error) => Err(error),
        };
        if connected.is_err() {
            let _ = folder.remove();
        }
        connected
    }

    async fn up(&self, folder: &Folder) -> io::Result<SupervisorConnection> {
        let mut command = Command::from(self.command.in_folder(folder.path()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Descriptors that this process itself was started with may not be marked close-on-exec.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // It continues without this process. While this process is there, it reaps it.
        tokio::spawn(async move {
            let _ = child.wait().await;
        });
        let mut ready = vec![0; READY.len()];
        let said = match stdout {
            Some(mut stdout) => stdout.read_exact(&mut ready).await.is_ok(),
            None => false,
        };
        if !said || ready != READY {
            let mut why = String::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(WHY_BYTES_MAX).read_to_string(&mut why).await;
            }
            return Err(io::Error::other(format!("it ended: {}", why.trim())));
        }
        Ok(SupervisorConnection::to(folder.clone(), &self.release).await?.0)
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

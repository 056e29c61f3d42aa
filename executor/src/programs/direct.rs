//! Programs as children of the node itself: each is one process group that is ended as a whole, and its
//! output is read to the end.
//!
//! They end with the node. A process that leaves the group (`setsid`) is out of reach here, but the attempt
//! does not wait for it even if it keeps the pipes open. Descriptor 3 is not opened. Where supervisors are
//! available, they do better.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::OutputStream;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::directory::{self, PrivateDirectory};
use super::leader::{Leader, feed, next};
use super::{
    Argument, AtEnd, AttemptRemains, End, EndedBy, Exit, FindError, Isolation, Order, Pending, Program, ProgramUpdate, Programs,
    StartProgramError, Tell,
};
use crate::clock::Clock;
use crate::masks::{Masking, Masks};

/// How long to wait for a program that was sent SIGKILL. Only a program that hangs in the kernel takes
/// longer.
pub const KILLED_PATIENCE: Duration = Duration::from_secs(5);
/// How long output is still read after the program has ended, if a process outside its group holds its pipes
/// open.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// The number of pieces of output that wait to be heard before the program has to wait.
const HEARD_WAITING_MAX: usize = 4;
/// The number of bytes read from a program at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Runs programs as children of this process.
pub struct DirectPrograms {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    drain_patience: Duration,
}

impl DirectPrograms {
    /// Takes the folder for private directories, and removes whatever an earlier process left in it. Blocks.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        // Programs work in another directory, where a relative path would name something else.
        let folder = std::path::absolute(folder)?;
        directory::prepare(&folder)?;
        Ok(Self { folder, clock, drain_patience: DRAIN_PATIENCE })
    }

    /// Sets how long to keep reading if a process outside a program's group still holds its pipes open.
    #[must_use]
    pub fn with_drain_patience(self, drain_patience: Duration) -> Self {
        Self { drain_patience, ..self }
    }

    async fn start_program(&self, order: Order) -> Result<Box<dyn Program>, StartProgramError> {
        let Order { attempt, program, arguments, env, files, input, keys, .. } = order;
        let masks = super::masks_of(&keys);
        let folder = self.folder.clone();
        let created = tokio::task::spawn_blocking(move || {
            let files = files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice()));
            PrivateDirectory::create(folder.join(attempt.to_string()), files)
        });
        let created = created.await;
        let private = created
            .map_err(|error| StartProgramError::Directory(error.to_string()))?
            .map_err(|error| StartProgramError::Directory(error.to_string()))?;
        let mut command = Command::new(&program);
        for argument in arguments {
            match argument {
                Argument::Text(text) => command.arg(text),
                Argument::File(name) => command.arg(private.file(&name)),
            };
        }
        command.current_dir(private.path()).env_clear();
        command.envs(env.iter().map(|(name, value)| (OsStr::new(name), value)));
        let started = Group::start(command);
        let (child, group) = started
            .map_err(|error| StartProgramError::Spawn { program: program.to_string_lossy().into_owned(), why: error.to_string() })?;
        let (tell, told) = watch::channel(None);
        let (heard_into, heard) = mpsc::channel(HEARD_WAITING_MAX);
        let conductor = Conductor {
            attempt,
            child,
            group,
            told,
            heard: heard_into,
            masks,
            clock: Arc::clone(&self.clock),
            drain_patience: self.drain_patience,
        };
        let task = tokio::spawn(conductor.conduct(input)).abort_handle();
        Ok(Box::new(DirectProgram { attempt, heard, tell, task, private: Some(private) }))
    }
}

impl Programs for DirectPrograms {
    fn find(&self, program: &str, beside: &Path, path: &OsString) -> Result<PathBuf, FindError> {
        super::find_on_disk(program, beside, path)
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(attempt.to_string())
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        Box::pin(self.start_program(order))
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn forget(&self, _attempt: AttemptId) {}

    fn at_end(&self) -> AtEnd {
        AtEnd::Ended
    }

    fn isolation(&self) -> &Isolation {
        Isolation::none()
    }
}

/// A program that runs as a child.
struct DirectProgram {
    attempt: AttemptId,
    heard: mpsc::Receiver<ProgramUpdate>,
    tell: watch::Sender<Option<Tell>>,
    task: AbortHandle,
    private: Option<PrivateDirectory>,
}

impl Program for DirectProgram {
    fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
        Box::pin(async {
            match self.heard.recv().await {
                Some(heard) => heard,
                None => std::future::pending().await,
            }
        })
    }

    fn instruct(&self, tell: Tell) {
        self.tell.send_replace(Some(tell));
    }

    fn clear(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            let Some(private) = self.private.take() else { return };
            let removed = tokio::task::spawn_blocking(move || private.remove()).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(attempt = %self.attempt, %error, "a private directory could not be removed");
            }
        })
    }

    fn leave(self: Box<Self>) {}
}

impl Drop for DirectProgram {
    fn drop(&mut self) {
        // This kills its group, too.
        self.task.abort();
    }
}

/// Feeds a program, reads its output, and waits for its end or ends it.
struct Conductor {
    attempt: AttemptId,
    // Declared before the child: if the task is dropped midway, the group is killed while the leader still
    // holds its number.
    group: Group,
    child: Child,
    told: watch::Receiver<Option<Tell>>,
    heard: mpsc::Sender<ProgramUpdate>,
    masks: Option<Arc<Masks>>,
    clock: Arc<dyn Clock>,
    drain_patience: Duration,
}

impl Conductor {
    async fn conduct(mut self, input: Vec<u8>) {
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let mut printed = [OutputStream::Stdout, OutputStream::Stderr].map(|stream| PrintedStream {
            attempt: self.attempt,
            stream,
            bytes: 0,
            masking: self.masks.clone().map(Masking::begin),
        });
        let (by, was_killed) = {
            let [stdout_printed, stderr_printed] = &mut printed;
            let streams = async {
                tokio::join!(
                    async {
                        if let Some(stdin) = stdin {
                            feed(stdin, &input).await;
                        }
                    },
                    drain(stdout, &self.heard, stdout_printed),
                    drain(stderr, &self.heard, stderr_printed),
                )
            };
            let end = end(&self.group, self.told.clone(), &*self.clock);
            tokio::pin!(streams, end);
            let mut are_drained = false;
            let end = loop {
                tokio::select! {
                    biased;
                    end = &mut end => break end,
                    _ = &mut streams, if !are_drained => are_drained = true,
                }
            };
            if !are_drained {
                tokio::select! {
                    biased;
                    _ = &mut streams => {}
                    () = self.clock.until(self.clock.now() + self.drain_patience) => {
                        tracing::warn!(
                            attempt = %self.attempt,
                            "a process outside the program's group still holds its output open, which is not read any further"
                        );
                    }
                }
            }
            end
        };
        for printed in &mut printed {
            printed.finish(&self.heard).await;
        }
        let exit = tokio::select! {
            biased;
            status = self.child.wait() => status.map_or(Exit::Hangs, exit),
            () = self.clock.until(self.clock.now() + KILLED_PATIENCE) => Exit::Hangs,
        };
        self.group.disarm();
        // The listener may be gone with its attempt.
        let printed = printed.map(|printed| printed.bytes);
        let _ = self.heard.send(ProgramUpdate::Ended(End { exit, by, printed, was_killed: by.map(|_| was_killed), ended_at: None })).await;
    }
}

/// Converts an exit status.
pub(super) fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Hangs,
    }
}

/// Waits for the group's leader to end, or ends it on request; then ends whatever it left running. Returns
/// what made it end, and whether it was killed for that.
async fn end(group: &Group, mut told: watch::Receiver<Option<Tell>>, clock: &dyn Clock) -> (Option<EndedBy>, bool) {
    let mut kill_at: Option<Duration> = None;
    let end = loop {
        let grace_ended = async {
            match kill_at {
                Some(moment) => clock.until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = group.leader_ended() => break (kill_at.map(|_| EndedBy::Told), false),
            tell = next(&mut told) => {
                let grace = match tell {
                    Tell::Stop { grace } => {
                        group.send(Signal::TERM);
                        grace
                    }
                    Tell::Kill => Duration::ZERO,
                };
                let moment = clock.now().saturating_add(grace);
                kill_at = Some(kill_at.map_or(moment, |before| before.min(moment)));
            }
            () = grace_ended => {
                group.send(Signal::KILL);
                tokio::select! {
                    biased;
                    () = group.leader_ended() => {}
                    () = clock.until(clock.now() + KILLED_PATIENCE) => {}
                }
                break (Some(EndedBy::Told), true);
            }
        }
    };
    // The leader is not reaped yet, so the number still belongs to its group alone.
    group.send(Signal::KILL);
    end
}

/// The output of a program on one stream.
struct PrintedStream {
    attempt: AttemptId,
    stream: OutputStream,
    bytes: u64,
    masking: Option<Masking>,
}

impl PrintedStream {
    /// Sends the next bytes, with the values of keys masked. Returns false if the receiver is gone.
    async fn send(&mut self, bytes: Vec<u8>, heard: &mpsc::Sender<ProgramUpdate>) -> bool {
        let bytes = match &mut self.masking {
            Some(masking) => masking.push(&bytes),
            None => bytes,
        };
        self.send_masked(bytes, heard).await
    }

    /// Sends the bytes that were held back, at the end of the stream.
    async fn finish(&mut self, heard: &mpsc::Sender<ProgramUpdate>) {
        if let Some(mut masking) = self.masking.take() {
            self.send_masked(masking.finish(), heard).await;
        }
    }

    async fn send_masked(&mut self, bytes: Vec<u8>, heard: &mpsc::Sender<ProgramUpdate>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let offset = self.bytes;
        self.bytes += bytes.len() as u64;
        heard.send(ProgramUpdate::Output { stream: self.stream, offset, bytes: Bytes::from(bytes) }).await.is_ok()
    }
}

/// Reads a stream to its end, and counts the bytes.
async fn drain(source: Option<impl AsyncRead + Unpin>, heard: &mpsc::Sender<ProgramUpdate>, printed: &mut PrintedStream) {
    let Some(mut source) = source else { return };
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        match (&mut source).take(CHUNK_BYTES_MAX as u64).read_buf(&mut chunk).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(attempt = %printed.attempt, %error, "the output of a program was interrupted");
                return;
            }
        }
        if !printed.send(chunk, heard).await {
            return;
        }
    }
}

/// A process group. If dropped before it has ended, it is killed.
struct Group(Option<Leader>);

impl Group {
    /// Starts a program in a process group of its own, with three pipes and nothing else open.
    fn start(mut command: Command) -> io::Result<(Child, Self)> {
        // Descriptors that this process itself was started with may not be marked close-on-exec.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok((child, Self(leader.map(Leader::of))))
    }

    fn send(&self, signal: Signal) {
        if let Some(leader) = &self.0 {
            // It fails if all have ended, which is just as well.
            let _ = kill_process_group(leader.process(), signal);
        }
    }

    /// Completes when the leader has ended, without reaping it.
    async fn leader_ended(&self) {
        if let Some(leader) = &self.0 {
            leader.wait_for_end().await;
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

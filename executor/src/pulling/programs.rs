//! Programs of sensors: each is held by a keeper, which is a process beside the node that raises the walls and ends
//! with the node.
//!
//! The program has the keeper's standard streams: its output is read on demand, so that it waits while nobody reads.
//! The keeper sees the end of the node at the other end of the program's standard input. What the keeper does is in
//! `supervisor/keeper.rs`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ensue_connectors::world::{self, LineSink, ProgramEnd, ProgramOrder};
use ensue_connectors::{Pending, SensorErrorKind, SourceError, SourcePurpose};
use ensue_engine::ports::Secret;
use ensue_expression::Document;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime::Handle;

use super::{open_keys, source_error};
use crate::environment::{self, NamedBy, Variables};
use crate::masks::Masks;
use crate::ports::PackFiles;
use crate::programs::{GivenKey, Isolation, KILLED_PATIENCE, NodeSecrets, ProgramLimits, ProgramUsers, SupervisorCommand, make_for};
use crate::render::Renderer;
use crate::supervisor::keeper::{self, KeeperOutcome, KeptOrder};
use crate::supervisor::namespace::NamespaceNote;

/// The folder of a pack's sensors: `./x` is a file there.
const SENSORS: &str = "sensors";
/// The number of bytes read from a program at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// The maximum length of a line of a program's standard error that is kept, in bytes.
const LOG_LINE_BYTES_MAX: usize = 4 << 10;

/// The settings for programs of sensors.
#[derive(Clone)]
pub struct SensorProgramsSettings {
    /// The folder of keepers.
    pub keepers: PathBuf,
    /// The folder for private directories.
    pub private: PathBuf,
    /// The command that starts a supervisor, and also a keeper.
    pub command: SupervisorCommand,
    /// The isolation of programs.
    pub isolation: Isolation,
    /// The limits of programs.
    pub limits: ProgramLimits,
    /// The operator's `PATH`.
    pub path: OsString,
    /// Where the files of packs are.
    pub packs: Arc<dyn PackFiles>,
    /// The secrets of the node, which are masked in what programs log.
    pub masked: NodeSecrets,
}

/// Runs the programs of sensors.
pub struct SensorPrograms {
    settings: SensorProgramsSettings,
    namespaces: Arc<NamespaceNote>,
}

impl SensorPrograms {
    /// Takes the folder of keepers. Kills whatever programs an earlier node left there. Blocks.
    ///
    /// # Errors
    /// If a folder cannot be made.
    pub fn open(mut settings: SensorProgramsSettings) -> io::Result<Self> {
        settings.keepers = std::path::absolute(&settings.keepers)?;
        settings.private = std::path::absolute(&settings.private)?;
        make_for(&settings.keepers, None)?;
        make_for(&settings.private, settings.isolation.users.group())?;
        for left in std::fs::read_dir(&settings.keepers)?.flatten() {
            keeper::end_left(&left.path());
        }
        let namespaces = Arc::new(NamespaceNote::new(settings.command.clone(), &settings.isolation));
        Ok(Self { settings, namespaces })
    }

    async fn start_program(&self, order: ProgramOrder) -> Result<Box<dyn world::Program>, SourceError> {
        let process = &order.process;
        let none = BTreeMap::new();
        let templates = process.env.iter().map(|(_, template)| template).chain(&process.input);
        let keys = open_keys(templates, &order.sensor, &*order.keys)?;
        let (added, input) = {
            let mut renderer = Renderer::of_sensor(&order.sensor, &none, &keys);
            let mut added = Vec::new();
            for (name, template) in &process.env {
                let value = renderer.scalar(&format!("env.{name}"), template).map_err(source_error)?;
                added.extend(value.map(|value| (name.clone(), value)));
            }
            let input = process.input.as_ref().map(|template| renderer.document("input", template)).transpose().map_err(source_error)?;
            (added, input)
        };
        environment::check_variables(&added, NamedBy::Author).map_err(source_error)?;
        let pack = self.settings.packs.folder(&process.pack);
        let pack = std::path::absolute(&pack).unwrap_or(pack);
        let not_found = |why: String| SourceError::new(SensorErrorKind::NotFound, why);
        let (name, arguments) = process.command.split_first().ok_or_else(|| not_found("the sensor's `command` is empty".to_owned()))?;
        let beside = pack.join(SENSORS);
        let program = {
            let (name, beside, path, users) = (name.clone(), beside.clone(), self.settings.path.clone(), self.settings.isolation.users);
            let found = tokio::task::spawn_blocking(move || match users {
                ProgramUsers::Node => crate::programs::find_on_disk(&name, &beside, &path),
                users => crate::programs::find_on_disk_as(&name, &beside, &path, users),
            });
            found.await.map_err(|why| not_found(why.to_string()))?.map_err(|why| not_found(why.to_string()))?
        };
        let arguments = arguments.iter().enumerate().map(|(place, argument)| {
            // Index 0 is the program.
            let file = argument.strip_prefix("./").filter(|_| process.beside.contains(&(place + 1)));
            file.map_or_else(|| argument.clone(), |file| beside.join(file).to_string_lossy().into_owned())
        });
        let id = random().map_err(|why| not_found(format!("no random number is available: {why}")))?;
        let private = self.settings.private.join(format!("sensor-{id}"));
        let mut env: Variables = added.into_iter().map(|(name, value)| (name, value.into())).collect();
        env.extend([
            ("ENSUE_SENSOR".to_owned(), OsString::from(order.sensor.name.as_str())),
            ("ENSUE_PACK_DIR".to_owned(), pack.clone().into()),
            ("HOME".to_owned(), private.clone().into()),
            ("LANG".to_owned(), "C.UTF-8".into()),
            ("PATH".to_owned(), self.settings.path.clone()),
            ("TMPDIR".to_owned(), private.clone().into()),
        ]);
        if order.purpose == SourcePurpose::Test {
            env.insert("ENSUE_TEST".to_owned(), "1".into());
        }
        let kept = KeptOrder {
            program,
            not_passed_on: self.settings.command.environment.iter().map(|(name, _)| name.clone()).collect(),
            arguments: arguments.collect(),
            private,
            pack,
            grace_millis: u64::try_from(process.grace.as_millis()).unwrap_or(u64::MAX),
            limits: self.settings.limits,
            isolation: self.settings.isolation.clone(),
        };
        let folder = self.settings.keepers.join(&id);
        let spawn_error = |why: io::Error| SourceError::new(SensorErrorKind::Exited, format!("the program cannot be started: {why}"));
        {
            let (folder, namespaces) = (folder.clone(), self.namespaces.clone());
            let prepared = tokio::task::spawn_blocking(move || keeper::prepare(&folder, &kept, &namespaces));
            prepared.await.map_err(|why| spawn_error(io::Error::other(why)))?.map_err(spawn_error)?;
        }
        let mut command = Command::from(self.settings.command.in_folder(&folder));
        // The keeper's own variables count, whatever the author sets.
        command.envs(env.iter().filter(|(name, _)| !self.settings.command.environment.iter().any(|(own, _)| own == *name)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Descriptors that this process itself was started with may not be marked close-on-exec.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let mut child = command.spawn().map_err(spawn_error)?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let ((stdin, stdout), stderr) = pipes.ok_or_else(|| spawn_error(io::Error::other("it has no pipes")))?;
        let stdin = stdin.into_owned_fd().and_then(pipe::Sender::from_owned_fd).map_err(spawn_error)?;
        let given = keys.into_iter().map(|(key, value): (_, Secret)| GivenKey { key, value });
        let masks = self.settings.masked.masks_with(&given.collect::<Vec<_>>());
        tokio::spawn(log(stderr, masks.clone(), order.lines));
        let stdin = Arc::new(Mutex::new(None::<pipe::Sender>)).fed(stdin, first_line(input.as_ref(), order.cursor.as_ref()));
        Ok(Box::new(KeptProgram { child: Some(child), stdin, stdout: Some(stdout), folder, masks, over: None }))
    }
}

impl world::Programs for SensorPrograms {
    fn start(&self, order: ProgramOrder) -> Pending<'_, Result<Box<dyn world::Program>, SourceError>> {
        Box::pin(self.start_program(order))
    }
}

/// Returns the first line of a program's standard input.
fn first_line(input: Option<&Document>, cursor: Option<&Document>) -> Vec<u8> {
    let text =
        |document: Option<&Document>, otherwise: &str| document.map_or_else(|| otherwise.to_owned(), |one| one.root().raw().to_owned());
    // A document may have line breaks between its values, and a line must not. Inside of texts they are escaped.
    let line = format!("{{\"input\":{},\"cursor\":{}}}", text(input, "{}"), text(cursor, "null"));
    let mut line = line.replace(['\n', '\r'], " ").into_bytes();
    line.push(b'\n');
    line
}

/// The pipe to a program, once its first line was written.
type Stdin = Arc<Mutex<Option<pipe::Sender>>>;

trait Fed {
    /// Writes the first line on a task of its own, and makes the pipe available after that.
    fn fed(self, stdin: pipe::Sender, line: Vec<u8>) -> Feeding;
}

impl Fed for Stdin {
    fn fed(self, mut stdin: pipe::Sender, line: Vec<u8>) -> Feeding {
        let into = Arc::clone(&self);
        let task = tokio::spawn(async move {
            if stdin.write_all(&line).await.is_ok() {
                *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
            }
        });
        Feeding { stdin: self, task }
    }
}

struct Feeding {
    stdin: Stdin,
    task: tokio::task::JoinHandle<()>,
}

impl Feeding {
    fn write(&self, line: &str) -> bool {
        let held = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that is shorter than `PIPE_BUF` is written whole or not at all.
        held.as_ref().is_some_and(|stdin| stdin.try_write(format!("{line}\n").as_bytes()).is_ok())
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        // With the pipe closed, the keeper ends the program.
        self.task.abort();
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A program that is held by a keeper.
struct KeptProgram {
    /// None once its end was heard.
    child: Option<Child>,
    stdin: Feeding,
    stdout: Option<ChildStdout>,
    folder: PathBuf,
    /// The values of its keys, and the secrets of the node.
    masks: Option<Arc<Masks>>,
    /// How the program ended.
    over: Option<ProgramEnd>,
}

impl KeptProgram {
    /// Waits until the keeper has ended and nothing of its program is left, and returns how the program ended. May be
    /// dropped while waiting.
    async fn wait_for_end(&mut self) -> ProgramEnd {
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
            self.over = Some(match keeper::outcome(&self.folder) {
                Some(KeeperOutcome::Code(code)) => ProgramEnd::Code(code),
                Some(KeeperOutcome::Signal(signal)) => ProgramEnd::Otherwise(format!("by signal {signal}")),
                Some(KeeperOutcome::NotStarted(why)) => ProgramEnd::Otherwise(format!("before it began: {why}")),
                None => ProgramEnd::Otherwise("with the process that held it".to_owned()),
            });
            self.child = None;
        }
        let folder = self.folder.clone();
        // A keeper that was killed leaves its program.
        let _ = tokio::task::spawn_blocking(move || keeper::end_left(&folder)).await;
        self.over.clone().unwrap_or_else(|| ProgramEnd::Otherwise("in an unknown way".to_owned()))
    }
}

impl Drop for KeptProgram {
    fn drop(&mut self) {
        let (Some(mut child), Ok(runtime)) = (self.child.take(), Handle::try_current()) else { return };
        let folder = std::mem::take(&mut self.folder);
        // The pipe closes with this, so the keeper ends.
        runtime.spawn(async move {
            let _ = child.wait().await;
            let _ = tokio::task::spawn_blocking(move || keeper::end_left(&folder)).await;
        });
    }
}

impl world::Program for KeptProgram {
    fn read(&mut self) -> Pending<'_, Result<Option<Bytes>, SourceError>> {
        Box::pin(async {
            let Some(stdout) = &mut self.stdout else { return Ok(None) };
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES_MAX);
            match stdout.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => {
                    self.stdout = None;
                    Ok(None)
                }
                Ok(_) => Ok(Some(chunk.freeze())),
            }
        })
    }

    fn write(&mut self, line: &str) -> bool {
        self.stdin.write(line)
    }

    fn mask(&self, text: &str) -> String {
        self.masks.as_ref().map_or_else(|| text.to_owned(), |masks| masks.text(text))
    }

    fn end(&mut self) -> Pending<'_, ProgramEnd> {
        Box::pin(self.wait_for_end())
    }

    fn stop(mut self: Box<Self>, grace: Duration) -> Pending<'static, ()> {
        Box::pin(async move {
            // A program that waits for room in its pipe can only stop if somebody reads.
            if let Some(mut stdout) = self.stdout.take() {
                tokio::spawn(async move {
                    let mut nothing = vec![0; CHUNK_BYTES_MAX];
                    while stdout.read(&mut nothing).await.is_ok_and(|count| count > 0) {}
                });
            }
            if let Some(keeper) = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
                let _ = kill_process(keeper, Signal::TERM);
            }
            let patience = grace.saturating_add(KILLED_PATIENCE).saturating_add(KILLED_PATIENCE);
            if tokio::time::timeout(patience, self.wait_for_end()).await.is_err() {
                tracing::warn!(folder = %self.folder.display(), "the keeper of a sensor's program does not end");
            }
        })
    }
}

/// Writes each line of a program's standard error into the sensor's log, with the values of keys masked.
async fn log(stderr: ChildStderr, masks: Option<Arc<Masks>>, lines: Arc<dyn LineSink>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = LOG_LINE_BYTES_MAX as u64 + 1;
        match (&mut stderr).take(most).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = match &masks {
            Some(masks) => masks.whole(&line),
            None => std::mem::take(&mut line),
        };
        lines.add(String::from_utf8_lossy(&whole).trim_end_matches(['\n', '\r']).to_owned());
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex::encode(bytes))
}

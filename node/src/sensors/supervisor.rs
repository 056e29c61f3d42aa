//! The supervisor: a task for each pulling sensor that the log wants to run.
//!
//! It is called on the sequencer's thread and never waits. A task that panics counts as a failure of its sensor.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_api::Queue;
use ensue_api::ports::{
    FailingPart, FindingEnd, PortError, SENSOR_LINES_MAX, SensorLine, SensorState, SensorStatus, SensorTest, TestedFrom, Testing,
};
use ensue_connectors::world::{LineSink, Parts};
use ensue_connectors::{Connect, Lag, SensorErrorKind, SourceError, World, check_cursor};
use ensue_engine::catalog::{Pack, Sensor};
use ensue_engine::command::{Ask, Command, ObservedEvent, Refusal};
use ensue_engine::effect::{Effect, RunSensor};
use ensue_engine::events::facts::KeptMessage;
use ensue_engine::explain::{Explain, panic_text};
use ensue_engine::ids::SensorId;
use ensue_engine::names::{ConnectionName, KeyRef, SensorRef};
use ensue_engine::ports::Submit;
use ensue_engine::record::{Actor, Digest};
use ensue_engine::sensors::cursor::{Cursor, StoredCursor, WholeCursor};
use ensue_engine::sensors::facts::{SensorFailed, SensorMode};
use ensue_engine::sensors::state::Sensors;
use ensue_engine::time::Timestamp;
use ensue_executor::Blocking;
use ensue_executor::ports::{Bodies, BodyError};
use ensue_expression::Document;
use serde_json::Value;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::back_off::{HEALTHY_AFTER, wait_after};
use super::held_messages::HeldMessages;
use super::log_files::LogFiles;
use super::logs::SensorLog;
use super::parts::RunParts;
use super::run::{Letters, Refusals, RunContext, RunEnd, SensorRun, to_recorded_error, wait_for_stop};
use super::status::{RunStatus, StatusSnapshot};
use super::trial::{TestRefusal, Tests, Trial};
use super::world::SourceClock;
use crate::catalogs::NodeCatalogs;
use crate::clock::SteppedClock;
use crate::edge::Edge;
use crate::intake::{IntakeWatch, KnownSensors};

/// How many runs may begin in a second.
const STARTS_PER_SECOND_MAX: u64 = 20;
/// How long a stop waits for batches that are on their way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a look for the end of a source may take.
const END_PATIENCE: Duration = Duration::from_secs(25);

/// The source of a sensor cannot continue from a cursor.
#[derive(Debug, Error, Explain)]
#[error("{why}")]
#[explain(slug = "cursor-invalid", fault = Invalid, hint = "see the cursor of a sensor with `ensue sensors show <sensor>`")]
struct ForeignCursor {
    /// Why, with the form of its cursors.
    why: String,
}

/// Makes what a sensor's source reaches.
pub trait SensorWorlds: Send + Sync {
    /// Returns the world of a sensor, whose lines go to its own log, and what it says of its parts to `parts`. `seed` is
    /// drawn from the sensor's id.
    fn world(&self, sensor: &SensorRef, seed: u64, lines: Arc<dyn LineSink>, parts: Arc<dyn Parts>) -> World;

    /// Returns the names of the connections that use a key.
    fn connections_with(&self, key: &KeyRef) -> Vec<ConnectionName>;
}

/// The parts of a supervisor.
pub struct SupervisorParts {
    /// Where batches and reports go.
    pub submit: Arc<dyn Submit>,
    /// The sensors as the log has them.
    pub known: Arc<dyn KnownSensors>,
    /// The definitions of the sensors.
    pub catalogs: Arc<NodeCatalogs>,
    /// Makes events of messages.
    pub edge: Arc<Edge>,
    /// The bodies of the log, for long cursors.
    pub bodies: Arc<dyn Bodies>,
    /// Opens sources.
    pub connect: Arc<dyn Connect>,
    /// What sources reach.
    pub worlds: Arc<dyn SensorWorlds>,
    /// The node's clock.
    pub clock: Arc<dyn SteppedClock>,
    /// Whether anything may be read.
    pub intake: IntakeWatch,
    /// The bytes that were read and are not committed.
    pub bytes: Arc<Queue>,
    /// The folder for the logs of sensors; without it they are only in memory.
    pub logs: Option<PathBuf>,
    /// Where events are made and long cursors are read.
    pub blocking: Blocking,
    /// The sensors in the log when the node starts, whose logs are kept. The sequencer does not run yet, so `known` is
    /// still empty.
    pub at_start: Sensors,
    /// The release of the node.
    pub release: &'static str,
}

/// The tasks of the pulling sensors. A clone is the same supervisor.
#[derive(Clone)]
pub struct SensorSupervisor {
    shared: Arc<SupervisorState>,
}

struct SupervisorState {
    parts: SupervisorParts,
    runtime: Handle,
    tasks: Mutex<BTreeMap<SensorId, SensorTask>>,
    starts: Mutex<Starts>,
    tests: Tests,
    /// The logs on disk; none if their folder cannot be used.
    files: Option<LogFiles>,
    /// Set when the node stops.
    stop: watch::Sender<bool>,
}

/// The task of a sensor, and what is known of it.
struct SensorTask {
    wanted: RunSensor,
    definition: Option<Definition>,
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
    status: Arc<RunStatus>,
    log: Arc<SensorLog>,
}

/// What a sensor's definition follows from: another one needs another run.
#[derive(Clone, PartialEq)]
struct Definition {
    pack: Digest,
    config: Arc<Value>,
}

impl SensorSupervisor {
    /// Creates the supervisor, whose tasks run on the current tokio runtime.
    pub fn new(parts: SupervisorParts) -> Self {
        let (stop, _) = watch::channel(false);
        let (tasks, starts, tests) = (Mutex::default(), Mutex::default(), Tests::default());
        let files = parts.logs.as_ref().and_then(|folder| {
            LogFiles::open(folder.clone(), |id| parts.at_start.get(id).is_some())
                .inspect_err(|why| tracing::warn!(folder = %folder.display(), %why, "the logs of sensors are only kept in memory"))
                .ok()
        });
        let shared = SupervisorState { parts, runtime: Handle::current(), tasks, starts, tests, files, stop };
        Self { shared: Arc::new(shared) }
    }

    /// Carries out an effect on sensors; ignores others. Never blocks.
    pub fn carry_out(&self, effect: &Effect) {
        match effect {
            Effect::RunSensor(run) => self.run((**run).clone()),
            Effect::StopSensor { id } => self.halt(*id),
            Effect::Dispatch(_) | Effect::Stop { .. } | Effect::Release { .. } => {}
        }
    }

    /// Runs again the sensors whose definitions have changed in the catalog. Never blocks.
    pub fn note_catalog(&self) {
        let changed: Vec<RunSensor> = {
            let tasks = self.shared.tasks();
            let running = tasks.values().filter(|task| !*task.stop.borrow());
            let changed = running.filter(|task| self.shared.definition(&task.wanted.sensor) != task.definition);
            changed.map(|task| task.wanted.clone()).collect()
        };
        changed.into_iter().for_each(|run| self.run_afresh(run));
    }

    /// Runs again the sensors whose packs may read these keys, or may use a connection with one of them. Never blocks.
    pub fn note_keys(&self, keys: &[KeyRef]) {
        let catalog = self.shared.parts.catalogs.current();
        let connections: Vec<ConnectionName> = keys.iter().flat_map(|key| self.shared.parts.worlds.connections_with(key)).collect();
        let uses = |pack: &Pack| {
            keys.iter().any(|key| pack.may_read(key)) || connections.iter().any(|connection| pack.names_connection(connection))
        };
        let reads = |sensor: &SensorRef| catalog.packs().get(&sensor.pack()).is_some_and(|pack| uses(pack));
        let affected: Vec<RunSensor> = {
            let tasks = self.shared.tasks();
            let running = tasks.values().filter(|task| !*task.stop.borrow() && reads(&task.wanted.sensor));
            running.map(|task| task.wanted.clone()).collect()
        };
        affected.into_iter().for_each(|run| self.run_afresh(run));
    }

    /// Stops all sensors: nothing more is read, and what is on its way may still be committed and settled for a while.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.shared.tasks());
        for task in tasks.values() {
            task.stop.send_replace(true);
        }
        let all = async {
            for task in tasks.into_values() {
                // A task that panicked was reported by itself.
                let _ = task.handle.await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!("sensors were stopped although batches of theirs were on their way; they are read again");
        }
    }

    fn run_afresh(&self, run: RunSensor) {
        self.run(RunSensor { failures: 0, ..run });
    }

    fn run(&self, wanted: RunSensor) {
        let shared = self.shared.clone();
        let mut tasks = shared.tasks();
        let before = tasks.remove(&wanted.id);
        let (status, log) = match &before {
            Some(before) => {
                before.stop.send_replace(true);
                before.status.set(SensorState::Starting);
                before.status.hide_parts();
                (before.status.clone(), before.log.clone())
            }
            None => (
                RunStatus::new(shared.parts.clock.clone()),
                SensorLog::new(shared.parts.clock.clone(), shared.files.clone().map(|files| (wanted.id, files))),
            ),
        };
        let (stop, stopping) = watch::channel(false);
        let (is_stopped, shown) = (stopping.clone(), status.clone());
        let course = Course { shared: shared.clone(), wanted: wanted.clone(), stopped: stopping, status: status.clone(), log: log.clone() };
        let handle = shared.runtime.spawn(async move {
            if let Some(before) = before {
                // Two runs of a sensor never read at the same time. A task that panicked was reported by itself.
                let _ = before.handle.await;
                shown.hide_parts();
            }
            course.follow().await;
            if *is_stopped.borrow() {
                // Its source may have reported parts since it was asked to stop.
                shown.hide_parts();
            }
        });
        let definition = shared.definition(&wanted.sensor);
        tasks.insert(wanted.id, SensorTask { wanted, definition, stop, handle, status, log });
    }

    fn halt(&self, id: SensorId) {
        let is_gone = self.shared.parts.known.sensors().get(id).is_none();
        let mut tasks = self.shared.tasks();
        if let Some(task) = tasks.get(&id) {
            task.stop.send_replace(true);
            task.status.set(SensorState::Disabled);
            task.status.hide_parts();
        }
        if is_gone {
            tasks.remove(&id);
            self.shared.files.iter().for_each(|files| files.remove(id));
        }
    }
}

impl SupervisorState {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<SensorId, SensorTask>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a stored cursor; reads it from the log if it is long, and puts it together if it was changed since.
    async fn cursor(&self, stored: StoredCursor) -> Result<Cursor, SourceError> {
        if let Some(short) = stored.short() {
            return short.map_err(unusable);
        }
        let bodies = self.parts.bodies.clone();
        let read = self.parts.blocking.run(move || read_cursor(&stored, &*bodies));
        read.await.ok_or_else(|| SourceError::new(SensorErrorKind::Bug, "reading the cursor stopped at an internal error"))?
    }

    fn definition(&self, sensor: &SensorRef) -> Option<Definition> {
        let catalog = self.parts.catalogs.current();
        catalog.packs().get(&sensor.pack()).map(|pack| Definition { pack: pack.digest, config: pack.config.clone() })
    }
}

/// The runs of one task, one after the other.
struct Course {
    shared: Arc<SupervisorState>,
    wanted: RunSensor,
    stopped: watch::Receiver<bool>,
    status: Arc<RunStatus>,
    log: Arc<SensorLog>,
}

impl Course {
    /// Runs the sensor until it is stopped, superseded or done. A failed run is followed by another one.
    async fn follow(mut self) {
        let id = self.wanted.id;
        let seed = seed_of(id);
        let known = self.shared.parts.known.clone();
        let clock = Arc::new(SourceClock(self.shared.parts.clock.clone()));
        let parts = RunParts::new((id, self.wanted.run), known, clock, (self.status.clone(), self.log.clone()));
        let world = Arc::new(self.shared.parts.worlds.world(&self.wanted.sensor, seed, self.log.clone(), parts.clone()));
        let mut failures = self.wanted.failures;
        if self.wanted.running_since.is_some_and(|since| is_long_ago(&*world.clock, since)) {
            failures = 0;
        }
        loop {
            let ticket = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner).ticket(world.clock.now());
            tokio::select! {
                biased;
                () = wait_for_stop(&mut self.stopped) => return,
                () = world.clock.sleep(ticket) => {}
            }
            let began = world.clock.now();
            let error = match self.once(&world, &parts).await {
                Ok(RunEnd::Stopped | RunEnd::Superseded) => return,
                Ok(RunEnd::Done) => {
                    self.log.add("the source has ended".to_owned());
                    return self.status.set(SensorState::Done);
                }
                Err(error) => error,
            };
            parts.note_failed_try();
            if is_long_ago(&*world.clock, began) {
                failures = 0;
            }
            failures = failures.saturating_add(1);
            let shown = to_recorded_error(&error);
            let wait = wait_after(failures, shown.kind, (id, self.wanted.run)).max(error.retry_after.unwrap_or_default());
            let retry_at = world.clock.now().plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            self.log.add(format!("failure {failures} in a row: {}", shown.message));
            self.status.fail(shown.clone(), Some(retry_at));
            let failed = SensorFailed { id, run: self.wanted.run, error: shown, failures, retry_at };
            let command = Command { actor: Actor::Engine, trace: None, ask: Ask::NoteSensorFailed(failed) };
            // The node's own log and the status show it, even if it is not recorded.
            self.shared.parts.submit.submit(command, Box::new(|_| {}));
            tokio::select! {
                biased;
                () = wait_for_stop(&mut self.stopped) => return,
                () = world.clock.sleep(wait) => self.status.count_restart(),
            }
        }
    }

    /// Runs the sensor once, from the cursor in the log. A panic is an error.
    async fn once(&self, world: &Arc<World>, of_source: &Arc<RunParts>) -> Result<RunEnd, SourceError> {
        let Some(sensor) = self.definition() else { return Ok(RunEnd::Superseded) };
        let identity = sensor.identity();
        let stored = {
            // A copy of the table that a run kept would keep all rows as they were then.
            let known = self.shared.parts.known.sensors();
            let pulling = known.get(self.wanted.id).filter(|_| known.is_current(self.wanted.id, self.wanted.run));
            // With another identity the cursor means nothing. The log sets another sensor as a consequence of the new catalog.
            match pulling.filter(|pulling| pulling.identity == identity) {
                Some(pulling) => pulling.cursor.clone(),
                None => return Ok(RunEnd::Superseded),
            }
        };
        let cursor = match stored {
            Some(stored) => Some(self.shared.cursor(stored).await?),
            None => None,
        };
        let parts = &self.shared.parts;
        let means = RunContext {
            submit: parts.submit.clone(),
            catalogs: parts.catalogs.clone(),
            edge: parts.edge.clone(),
            connect: parts.connect.clone(),
            world: world.clone(),
            intake: parts.intake.clone(),
            bytes: parts.bytes.clone(),
            blocking: parts.blocking,
            release: parts.release,
            status: self.status.clone(),
            log: self.log.clone(),
            parts: of_source.clone(),
        };
        let run = SensorRun {
            means,
            id: self.wanted.id,
            run: self.wanted.run,
            sensor,
            cursor,
            stopped: self.stopped.clone(),
            is_started: false,
            refusals: Refusals::default(),
            letters: Letters::default(),
            held: HeldMessages::new(world.clock.clone()),
            passed: None,
            quiet: None,
        };
        // A task of its own, so that its panic can be caught.
        match tokio::spawn(run.go()).await {
            Ok(ended) => ended,
            Err(error) => {
                let why = error.try_into_panic().map_or_else(|error| error.to_string(), |panic| panic_text(&*panic).to_owned());
                tracing::error!(sensor = %self.wanted.sensor, %why, "a run of a sensor stopped at an internal error");
                Err(SourceError::new(SensorErrorKind::Bug, format!("an internal error: {why}")))
            }
        }
    }

    fn definition(&self) -> Option<Arc<Sensor>> {
        self.shared.parts.catalogs.current().sensors().get(&self.wanted.sensor).cloned()
    }
}

/// Reads a stored cursor from the log, and puts it together. Blocks.
fn read_cursor(stored: &StoredCursor, bodies: &dyn Bodies) -> Result<Cursor, SourceError> {
    let whole = match stored.whole() {
        WholeCursor::Inline(text) => return stored.put_together(text).map_err(unusable),
        WholeCursor::Body(handle) => bodies.read(handle).map_err(|why| match why {
            BodyError::Erased(_) => unusable(why),
            // A log that is away comes back, and the cursor in it is as good as before.
            _ => SourceError::new(SensorErrorKind::Bug, format!("the cursor in the log cannot be read: {why}")),
        })?,
    };
    stored.put_together(std::str::from_utf8(&whole).map_err(unusable)?).map_err(unusable)
}

/// Returns the error of a cursor that is read and is not valid: no later try finds another one.
fn unusable(why: impl fmt::Display) -> SourceError {
    let why = format!("the cursor in the log cannot be used: {why}; set it back with `ensue sensors rewind`");
    SourceError::new(SensorErrorKind::Bug, why)
}

/// Returns the number from which a sensor's phases and jitter follow.
fn seed_of(id: SensorId) -> u64 {
    id.0.as_bytes().iter().skip(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
}

/// Returns true if a moment was so long ago that failures before it no longer count.
fn is_long_ago(clock: &dyn ensue_connectors::world::Clock, moment: Timestamp) -> bool {
    let passed = clock.now().micros().saturating_sub(moment.micros());
    u128::try_from(passed).is_ok_and(|passed| passed >= HEALTHY_AFTER.as_micros())
}

/// Spreads the starts of runs.
#[derive(Default)]
pub(super) struct Starts {
    /// When a ticket was last given, and when the next run may begin.
    last: Option<(Timestamp, Timestamp)>,
}

impl Starts {
    /// Returns how long the next run must wait until it may begin. If the clock was set back since the last ticket, the
    /// wait is as long as it was then, and not longer by what the clock lost.
    pub(super) fn ticket(&mut self, now: Timestamp) -> Duration {
        let wait = self.last.map_or(0, |(given, next)| next.micros_since(now.max(given)).max(0));
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        let begins = now.plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.last = Some((now, begins.plus_millis(1_000 / STARTS_PER_SECOND_MAX)));
        wait
    }
}

impl ensue_api::ports::Sensors for SensorSupervisor {
    fn status(&self, sensor: &SensorRef) -> Option<SensorStatus> {
        let known = self.shared.parts.known.sensors();
        let (id, pulling) = known.of(sensor)?;
        let mode = known.mode(sensor);
        let shown = self.shared.tasks().get(&id).map(|task| task.status.snapshot());
        let state = match (mode, &shown) {
            (SensorMode::Disabled, _) => SensorState::Disabled,
            (SensorMode::Enabled, Some(shown)) => shown.state,
            (SensorMode::Enabled, None) => SensorState::Starting,
        };
        let since = shown.as_ref().map_or_else(|| self.shared.parts.clock.now(), |shown| shown.since);
        let lag = shown.as_ref().map_or(Lag::Unknown, |shown| shown.lag);
        let fails = state == SensorState::Failing;
        let of_source = shown.as_ref().into_iter().flat_map(|shown| &shown.parts).map(|(name, part)| FailingPart {
            part: name.clone(),
            error: part.error.clone(),
            // The log knows since when it fails over restarts.
            since: known.part(id, name).map_or(part.since, |logged| logged.since),
        });
        let failing_parts = of_source.collect();
        let (cursor, broken) = match pulling.cursor.as_ref().and_then(StoredCursor::short) {
            Some(Ok(cursor)) => (Some(cursor.into_text()), None),
            Some(Err(why)) => (None, Some(to_recorded_error(&unusable(why)))),
            None => (None, None),
        };
        Some(SensorStatus {
            state,
            since,
            // A sensor without a cursor to show has none, or says why.
            error: broken.or_else(|| shown.as_ref().and_then(|shown| shown.error.clone()).filter(|_| fails)),
            waits_for: shown.as_ref().and_then(|shown| shown.waits_for.clone()),
            retry_at: shown.as_ref().and_then(|shown| shown.retry_at).filter(|_| fails),
            mode,
            failing_parts,
            run: pulling.run,
            restarts: shown.as_ref().map_or(0, |shown| shown.restarts),
            events: pulling.events,
            refused: pulling.refused,
            last_event_at: pulling.last_event_at,
            lag_messages: if let Lag::Messages(messages) = lag { Some(messages) } else { None },
            newest_at: if let Lag::NewestAt(time) = lag { Some(time) } else { None },
            cursor,
        })
    }

    fn lines(&self, sensor: &SensorRef, after: Option<u64>) -> Vec<SensorLine> {
        let Some(id) = self.shared.parts.known.sensors().of(sensor).map(|(id, _)| id) else { return Vec::new() };
        let log = self.shared.tasks().get(&id).map(|task| task.log.clone());
        let recent = log.map_or_else(Vec::new, |log| log.after(0));
        // What is in memory may not be on disk yet.
        let first = recent.first().map_or(u64::MAX, |line| line.number);
        let number = after.unwrap_or(0);
        let mut lines = Vec::new();
        if number.saturating_add(1) < first && (after.is_some() || recent.len() < SENSOR_LINES_MAX) {
            lines.extend(self.shared.files.iter().flat_map(|files| files.between(id, number, first)));
        }
        lines.extend(recent.into_iter().filter(|line| line.number > number));
        match after {
            Some(_) => lines.truncate(SENSOR_LINES_MAX),
            None => drop(lines.drain(..lines.len().saturating_sub(SENSOR_LINES_MAX))),
        }
        lines
    }

    fn test(&self, asked: SensorTest) -> Testing {
        let shared = self.shared.clone();
        Box::pin(async move {
            let (tests, sensor) = (shared.tests.clone(), asked.sensor.clone());
            tests.run(&sensor, Box::pin(async move { shared.trial(asked).await?.go().await })).await
        })
    }

    fn check_cursor(&self, sensor: &SensorRef, cursor: &Cursor) -> Result<(), PortError> {
        let catalog = self.shared.parts.catalogs.current();
        // One that the catalog does not have is refused by the core.
        let Some(known) = catalog.sensors().get(sensor) else { return Ok(()) };
        let document = Document::parse(cursor.as_str().to_owned().into()).map_err(|error| ForeignCursor { why: error.to_string() })?;
        check_cursor(known, &document).map_err(|misfit| ForeignCursor { why: misfit.to_string() })?;
        Ok(())
    }

    fn end_of(&self, sensor: &SensorRef) -> FindingEnd {
        let (shared, sensor) = (self.shared.clone(), sensor.clone());
        Box::pin(async move {
            let asked = SensorTest { sensor: sensor.clone(), count: 1, timeout: END_PATIENCE, from: TestedFrom::Cursor };
            let tests = shared.tests.clone();
            tests.run(&sensor, Box::pin(async move { shared.trial(asked).await?.end().await })).await
        })
    }

    fn read_again(&self, sensor: &SensorRef, message: KeptMessage, body: Bytes) -> Result<Vec<ObservedEvent>, PortError> {
        let parts = &self.shared.parts;
        parts.edge.read_again(&parts.catalogs.current(), sensor, message, body)
    }
}

impl SupervisorState {
    /// Returns the parts of a test of a sensor, whatever its run does.
    async fn trial(&self, asked: SensorTest) -> Result<Trial, TestRefusal> {
        let absent = || TestRefusal::NotPulling(Refusal::SensorDoesNotPull(asked.sensor.clone()));
        let known = self.parts.known.sensors();
        let (id, pulling) = known.of(&asked.sensor).ok_or_else(absent)?;
        let stored = pulling.cursor.clone();
        let sensor = self.parts.catalogs.current().sensors().get(&asked.sensor).cloned().ok_or_else(absent)?;
        let cursor = match stored {
            Some(stored) => Some(self.cursor(stored).await.map_err(|why| TestRefusal::Panicked(why.message))?),
            None => None,
        };
        let log = SensorLog::new(self.parts.clock.clone(), None);
        Ok(Trial {
            submit: self.parts.submit.clone(),
            catalogs: self.parts.catalogs.clone(),
            edge: self.parts.edge.clone(),
            connect: self.parts.connect.clone(),
            world: self.parts.worlds.world(&asked.sensor, seed_of(id), log.clone(), log.clone()),
            log,
            sensor,
            cursor,
            asked,
            stopped: self.stop.subscribe(),
        })
    }
}

impl SensorSupervisor {
    /// Returns the refs of the sensors that the log has.
    pub(super) fn names(&self) -> Vec<SensorRef> {
        self.shared.parts.known.sensors().iter().map(|(_, pulling)| pulling.sensor.clone()).collect()
    }

    /// Returns what is shown of each sensor that has a task.
    pub(super) fn all_shown(&self) -> Vec<(SensorRef, StatusSnapshot)> {
        self.shared.tasks().values().map(|task| (task.wanted.sensor.clone(), task.status.snapshot())).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ensue_engine::record::{BodyHandle, Digest, Position};
    use serde_json::json;

    use super::*;

    /// Bodies that are read like this.
    struct Read(fn(&BodyHandle) -> Result<Bytes, BodyError>);

    impl Bodies for Read {
        fn at_hand(&self, _: &Digest) -> Option<Bytes> {
            None
        }

        fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
            (self.0)(handle)
        }
    }

    #[test]
    fn only_a_cursor_that_is_not_valid_has_to_be_set_back() {
        let text = "[1, 2, 3]";
        let handle = BodyHandle { digest: Digest::of(text.as_bytes()), bytes: text.len() as u64, at: Position(7) };
        let stored: StoredCursor = serde_json::from_value(json!({ "whole": { "body": handle }, "changes": [] })).unwrap();
        let read = |bodies: Read| read_cursor(&stored, &bodies).map(Cursor::into_text).map_err(|error| error.message);
        let away = read(Read(|handle| Err(BodyError::Store { digest: handle.digest, why: "nobody answers".to_owned() }))).unwrap_err();
        assert!(away.contains("nobody answers") && !away.contains("rewind"), "{away}");
        for bodies in [Read(|handle| Err(BodyError::Erased(handle.digest))), Read(|_| Ok(Bytes::from_static(b"[1,")))] {
            let invalid = read(bodies).unwrap_err();
            assert!(invalid.contains("ensue sensors rewind"), "{invalid}");
        }
    }
}

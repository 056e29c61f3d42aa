//! Actions of polls: run by a worker of their own, whose attempts are of no execution.
//!
//! The runners, the walls, the keys and the limits are those of any other action. What the worker reports goes back to
//! the poll instead of into the log. A poll gets a result and nothing else: an event or a file that the program sends
//! makes the poll fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::world::{self, ActionAnswer, ActionOrder, LineSink};
use ensue_connectors::{Pending, SensorErrorKind, SourceError};
use ensue_engine::access::principal::Principal;
use ensue_engine::catalog::{Action, Catalog, Catalogs};
use ensue_engine::command::{Answer, Ask, Command, MessageContent, Report, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::ports::{
    BlobError, BlobPart, Blobs, CommitReceipt, NewBlob, OutputError, OutputPart, OutputState, OutputStream, Outputs, Reply, Submit,
};
use ensue_engine::record::{Actor, BodyHandle, CatalogRevision, Digest, Position};
use ensue_engine::rules::judge::complete;
use ensue_expression::Document;
use tokio::sync::{Semaphore, oneshot};

use super::{kind_of, source_error};
use crate::absent_ports::{NoAccess, NoTriggers};
use crate::begun_file::BegunFile;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::ports::{Bodies, BodyError, ExecutorPorts, Keys, PackFiles, Vars, format_misfits};
use crate::programs::Programs;
use crate::render::Renderer;
use crate::settings::{AtStop, ExecutorSettings};
use crate::web::Web;
use crate::worker::Executor;

/// The maximum number of actions of polls that run at once. Others wait.
const RUNNING_MAX: usize = 16;
/// The maximum length of a line of a program's standard error that is kept, in bytes.
const LOG_LINE_BYTES_MAX: usize = 4 << 10;

/// The catalog that is installed now.
pub trait CurrentCatalog: Send + Sync {
    /// Returns it.
    fn current(&self) -> Arc<Catalog>;
}

/// What the actions of polls are connected to.
pub struct SensorActionsPorts {
    /// Where actions are looked up.
    pub catalogs: Arc<dyn CurrentCatalog>,
    /// Where the values of vars are fetched.
    pub bodies: Arc<dyn Bodies>,
    /// Where keys are opened.
    pub keys: Arc<dyn Keys>,
    /// Where vars are looked up.
    pub vars: Arc<dyn Vars>,
    /// Runs programs. It may be shared with the worker of the log, which ends what a killed node left.
    pub programs: Arc<dyn Programs>,
    /// Sends requests.
    pub web: Arc<dyn Web>,
    /// The endpoints that the operator defines.
    pub connections: Arc<Connections>,
    /// The files of packs.
    pub packs: Arc<dyn PackFiles>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The file of attempts that have begun, which no other worker uses.
    pub begun: BegunFile,
}

/// Runs the actions of polls.
pub struct SensorActions {
    catalogs: Arc<dyn CurrentCatalog>,
    runs: Arc<Runs>,
    executor: Executor,
    places: Semaphore,
}

/// The runs that have not ended.
#[derive(Default)]
struct Runs(Mutex<BTreeMap<AttemptId, PollRun>>);

struct PollRun {
    catalog: Arc<Catalog>,
    params: Document,
    params_digest: Digest,
    lines: Arc<dyn LineSink>,
    /// The number of bytes of each stream that were heard.
    heard: BTreeMap<OutputStream, u64>,
    /// The line of standard error that is not complete.
    line: Vec<u8>,
    /// What the program sent on descriptor 3 that a poll does not take.
    is_misused: bool,
    tell: oneshot::Sender<PollRunEnd>,
}

/// How a run ended.
enum PollRunEnd {
    Reported(Box<Report>),
    Misused,
    Lost(Option<Failure>),
}

impl Runs {
    fn all(&self) -> MutexGuard<'_, BTreeMap<AttemptId, PollRun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, attempt: AttemptId, ended: PollRunEnd) {
        // A poll that was dropped waits for nothing.
        let Some(mut run) = self.all().remove(&attempt) else { return };
        run.finish_line();
        let ended = if run.is_misused { PollRunEnd::Misused } else { ended };
        let _ = run.tell.send(ended);
    }
}

impl PollRun {
    fn print(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LOG_LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.finish_line();
            }
        }
    }

    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            self.lines.add(String::from_utf8_lossy(&self.line).trim_end_matches(['\n', '\r']).to_owned());
            self.line.clear();
        }
    }
}

impl SensorActions {
    /// Starts the worker on the current tokio runtime. What it runs ends when the node stops.
    pub fn start(ports: SensorActionsPorts, settings: ExecutorSettings) -> Self {
        let runs = Arc::new(Runs::default());
        let worker = ExecutorPorts {
            submit: Arc::new(Reports(Arc::clone(&runs))),
            catalogs: Arc::new(CatalogsOfRuns(Arc::clone(&runs))),
            bodies: Arc::new(BodiesOfRuns { runs: Arc::clone(&runs), others: ports.bodies }),
            keys: ports.keys,
            // An action with `token` cannot be polled.
            access: Arc::new(NoAccess),
            links: None,
            vars: ports.vars,
            outputs: Arc::new(OutputsOfRuns(Arc::clone(&runs))),
            blobs: Arc::new(NoBlobs),
            programs: ports.programs,
            web: ports.web,
            connections: ports.connections,
            spans: None,
            observe: Arc::new(NoTriggers),
            packs: ports.packs,
            clock: ports.clock,
            begun: ports.begun,
        };
        let executor = Executor::start(worker, ExecutorSettings { at_stop: AtStop::End, ..settings });
        Self { catalogs: ports.catalogs, runs, executor, places: Semaphore::new(RUNNING_MAX) }
    }

    async fn run_one(&self, order: ActionOrder) -> Result<ActionAnswer, SourceError> {
        let name = order.call.action.clone();
        let catalog = self.catalogs.current();
        let missing = || SourceError::new(SensorErrorKind::NotFound, format!("the action `{name}` is not installed"));
        let action = catalog.actions().get(&name).cloned().ok_or_else(missing)?;
        let params = params(&order, &action)?;
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let (dispatch, told) = self.begin(&order, &action, (catalog, params))?;
        let mut running = Running { actions: self, execution: dispatch.execution, attempt: dispatch.attempt, is_over: false };
        self.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
        let ended = told.await.unwrap_or(PollRunEnd::Lost(None));
        running.is_over = true;
        answer(&order, ended)
    }

    /// Notes a run, and returns it as the worker takes it.
    fn begin(
        &self,
        order: &ActionOrder,
        action: &Action,
        (catalog, params): (Arc<Catalog>, Document),
    ) -> Result<(Dispatch, oneshot::Receiver<PollRunEnd>), SourceError> {
        let (execution, attempt) = (ExecutionId(draw_id(order)?), AttemptId(draw_id(order)?));
        let handle = BodyHandle { digest: Digest::of(params.bytes()), bytes: params.bytes().len() as u64, at: Position::default() };
        let dispatch = Dispatch {
            execution,
            attempt,
            number: 1,
            token: 1,
            worker: self.executor.worker.means.settings.worker.as_str().into(),
            action: action.name.clone(),
            catalog: catalog.revision(),
            params: handle,
            started_at: order.now,
            timeout_millis: millis(action.timeout),
            grace_millis: millis(action.grace),
            actor: Actor::Sensor(order.sensor.name.clone()).to_string(),
            principal: Some(Principal::Pack(order.sensor.name.pack())),
            caller: None,
            link: None,
            trace: None,
        };
        let (tell, told) = oneshot::channel();
        let run = PollRun {
            catalog,
            params,
            params_digest: handle.digest,
            lines: Arc::clone(&order.lines),
            heard: BTreeMap::new(),
            line: Vec::new(),
            is_misused: false,
            tell,
        };
        self.runs.all().insert(attempt, run);
        Ok((dispatch, told))
    }
}

impl world::Actions for SensorActions {
    fn run(&self, order: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        Box::pin(self.run_one(order))
    }
}

/// A run that somebody waits for. If dropped before its end, it is stopped.
struct Running<'a> {
    actions: &'a SensorActions,
    execution: ExecutionId,
    attempt: AttemptId,
    is_over: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.actions.runs.all().remove(&self.attempt);
            self.actions.executor.carry_out(Effect::Stop { execution: self.execution, attempt: self.attempt });
        }
    }
}

/// Renders the parameters, and completes them with the action's defaults.
fn params(order: &ActionOrder, action: &Action) -> Result<Document, SourceError> {
    let keys = BTreeMap::new();
    let given = Renderer::of_sensor(&order.sensor, &order.values, &keys).document("with", &order.call.with).map_err(source_error)?;
    complete(&action.parameters, given).map_err(|misfits| {
        let message = format!("the parameters do not fit `{}`: {}", action.name, format_misfits(&misfits));
        SourceError::new(SensorErrorKind::Emits, message)
    })
}

/// Returns what a run means for its poll.
fn answer(order: &ActionOrder, ended: PollRunEnd) -> Result<ActionAnswer, SourceError> {
    let name = &order.call.action;
    let failed = |kind, why: &str| SourceError::new(kind, format!("the action `{name}` failed: {why}"));
    let report = match ended {
        PollRunEnd::Reported(report) => *report,
        PollRunEnd::Misused => {
            let why = "it sent an event, a file or an invalid line on descriptor 3, where the action of a poll can only report progress";
            return Err(failed(SensorErrorKind::Protocol, why));
        }
        PollRunEnd::Lost(failure) => {
            let why = failure.map_or_else(|| "what ran its program is gone".to_owned(), |failure| failure.message);
            return Err(failed(SensorErrorKind::Exited, &why));
        }
    };
    match report.outcome {
        ReportOutcome::Succeeded => {
            let content = report.body.and_then(|body| body.content).unwrap_or_else(|| Bytes::from_static(b"null"));
            let result =
                Document::parse(content).map_err(|why| failed(SensorErrorKind::Protocol, &format!("its result is not JSON: {why}")));
            result.map(ActionAnswer::Result)
        }
        ReportOutcome::Failed(failure) => match report.retry_after_millis {
            Some(millis) if is_throttled(&failure) => Ok(ActionAnswer::Throttled { retry_after: Duration::from_millis(millis) }),
            Some(_) | None => Err(failed(kind_of(&failure), &failure.message)),
        },
    }
}

/// Returns true if a server asks to be left alone.
fn is_throttled(failure: &Failure) -> bool {
    failure.kind == FailureKind::HttpStatus && matches!(failure.detail, Some(429 | 503))
}

fn millis(long: Duration) -> u64 {
    u64::try_from(long.as_millis()).unwrap_or(u64::MAX)
}

fn draw_id(order: &ActionOrder) -> Result<Id, SourceError> {
    let mut bytes = [0; 16];
    let missing = |why| SourceError::new(SensorErrorKind::Bug, format!("no random number is available: {why}"));
    getrandom::fill(&mut bytes).map_err(missing)?;
    Ok(Id::root(order.now, u128::from_be_bytes(bytes)))
}

/// Passes the reports of the worker to the polls.
struct Reports(Arc<Runs>);

impl Submit for Reports {
    fn submit(&self, command: Command, reply: Reply) {
        match command.ask {
            Ask::ReportAttempt(report) => self.0.end(report.attempt, PollRunEnd::Reported(Box::new(report))),
            Ask::LoseAttempt { attempt, error, .. } => self.0.end(attempt, PollRunEnd::Lost(error)),
            Ask::TakeMessage(message) => {
                let is_misused = !matches!(message.said, MessageContent::Progress { .. });
                if let Some(run) = self.0.all().get_mut(&message.attempt) {
                    run.is_misused |= is_misused;
                }
            }
            // The worker asks for nothing else.
            _ => {}
        }
        reply(Ok(CommitReceipt { position: Position::default(), answer: Answer::Done }));
    }
}

/// The catalogs that the runs began with.
struct CatalogsOfRuns(Arc<Runs>);

impl Catalogs for CatalogsOfRuns {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        self.0.all().values().map(|run| &run.catalog).find(|catalog| catalog.revision() == revision).cloned()
    }
}

/// The parameters of the runs, and the bodies of the log.
struct BodiesOfRuns {
    runs: Arc<Runs>,
    others: Arc<dyn Bodies>,
}

impl Bodies for BodiesOfRuns {
    fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        let of_run = self.runs.all().values().find(|run| run.params_digest == *digest).map(|run| run.params.bytes().clone());
        of_run.or_else(|| self.others.at_hand(digest))
    }

    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
        self.others.read(handle)
    }
}

/// Puts the lines of standard error into the logs of sensors. Standard output becomes the result, and is not kept.
struct OutputsOfRuns(Arc<Runs>);

impl Outputs for OutputsOfRuns {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        if let Some(run) = self.0.all().get_mut(&attempt) {
            run.heard.insert(stream, offset + bytes.len() as u64);
            if stream == OutputStream::Stderr {
                run.print(bytes);
            }
        }
        Ok(())
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.0.all().get(&attempt).and_then(|run| run.heard.get(&stream).copied()).unwrap_or(0))
    }

    fn note_printed(&self, _: AttemptId, _: OutputStream, _: u64) -> Result<(), OutputError> {
        Ok(())
    }

    fn finish(&self, _: AttemptId) -> Result<(), OutputError> {
        Ok(())
    }

    fn read(&self, _: AttemptId, _: OutputStream, offset: u64, _: usize) -> Result<OutputPart, OutputError> {
        Ok(OutputPart { bytes: Bytes::new(), next: offset, state: OutputState::Removed })
    }

    fn tail(&self, _: AttemptId) -> Option<String> {
        // The lines are in the sensor's log.
        None
    }
}

/// Takes no files.
struct NoBlobs;

impl Blobs for NoBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Err(BlobError::Full("the action of a poll can publish no file".to_owned()))
    }

    fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
        Ok(None)
    }
}

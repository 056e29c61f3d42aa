//! Runs the actions of a case for real, as far as they send requests: with the worker's own runner, to addresses that the caller
//! allows. The case itself runs in memory, with its own clock.
//!
//! Nothing else runs here. A program, a script or a question has no outcome in such a case.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Catalog, Catalogs, Run};
use ensue_engine::command::{Answer, Ask, Command, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::{KeyRef, VarName};
use ensue_engine::ports::{CommitReceipt, Reply, Secret, Submit, SubmitError};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_engine::vars::reads::VarReads;
use ensue_executor::absent_ports::{NoAccess, NoTriggers};
use ensue_executor::begun_file::{BegunFile, Opener};
use ensue_executor::connections::{
    BreakerSettings, ConnectionSettings, ConnectionUser, Connections, ConnectionsHost, Endpoint, HttpAuth, HttpEndpoint,
};
use ensue_executor::ports::{Bodies, BodyError, KeyError, KeyUser, Keys, PackFiles, Vars};
use ensue_executor::programs::DirectPrograms;
use ensue_executor::{Destinations, EgressPolicy, Executor, ExecutorPorts, ExecutorSettings, SystemClock};
use ensue_packs::fake::{FakeAuth, FakeProof};
use ensue_rehearsal::RehearsalError;
use ensue_rehearsal::history::ExecutionPath;
use ensue_rehearsal::stage::{Aside, AttemptOutcome, InquiryOutcome, OutsideWorld};
use ensue_store::blobs::MemoryBlobs;
use ensue_store::outputs::MemoryOutputs;
use reqwest::header::HeaderMap;
use serde_json::Value;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The name of the worker in the file of begun attempts.
const WORKER: &str = "test";
/// How long a fake vendor on this machine may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of reports of the attempt that wait for the case.
const ASKS_MAX: usize = 1_000;

/// Why actions cannot be run for real.
#[derive(Debug, Error)]
#[error("the worker for real cases cannot be started: {0}")]
pub struct RealActionsError(String);

/// What the actions of a case run with.
pub struct RealCase<'c> {
    /// The catalog of the case.
    pub catalog: &'c Arc<Catalog>,
    /// The values of the keys.
    pub keys: BTreeMap<KeyRef, String>,
    /// The connection of the case, if it has one.
    pub connection: Option<CaseConnection>,
    /// The address that requests may be sent to.
    pub to: SocketAddr,
    /// A folder for the worker's files, which is empty.
    pub folder: &'c Path,
}

/// A connection to the fake vendor of a case.
pub struct CaseConnection {
    /// Its name.
    pub name: &'static str,
    /// The address of the vendor.
    pub url: String,
    /// How it proves who sends a request.
    pub auth: FakeAuth,
    /// The value that it sends in place of the key of the pack.
    pub credentials: &'static str,
}

/// A worker that runs the actions of one case.
pub struct RealActions<'r> {
    runtime: &'r Runtime,
    catalog: Arc<Catalog>,
    executor: Executor,
    bodies: Arc<CaseBodies>,
    asked: mpsc::Receiver<Ask>,
}

impl<'r> RealActions<'r> {
    /// Starts the worker of a case. Its tasks run on `runtime`.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn start(runtime: &'r Runtime, case: RealCase<'_>) -> Result<Self, RealActionsError> {
        let failed = |why: String| RealActionsError(why);
        let allowed = case.to.to_string().parse().map_err(|error: ensue_executor::AllowanceError| failed(error.to_string()))?;
        let clock = Arc::new(SystemClock::new());
        let programs = DirectPrograms::open(&case.folder.join("attempts"), clock.clone()).map_err(|error| failed(error.to_string()))?;
        let (begun, _) = BegunFile::open(case.folder.join("begun"), Opener::now(WORKER), []).map_err(|error| failed(error.to_string()))?;
        let egress = EgressPolicy::allowing(vec![allowed]);
        let connections = match case.connection {
            Some(connection) => connection.open(egress.clone(), clock.clone()).map_err(failed)?,
            None => Connections::none(clock.clone()),
        };
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let bodies = Arc::new(CaseBodies::default());
        let ports = ExecutorPorts {
            submit: Arc::new(Asks(asks)),
            catalogs: Arc::new(OneCatalog(Arc::clone(case.catalog))),
            bodies: bodies.clone(),
            keys: Arc::new(CaseKeys(case.keys)),
            // No program runs, so none gets a token.
            access: Arc::new(NoAccess),
            links: None,
            vars: Arc::new(NoVars),
            outputs: Arc::new(MemoryOutputs::new(0)),
            blobs: Arc::new(MemoryBlobs::default()),
            programs: Arc::new(programs),
            web: Arc::new(Destinations::new(egress, clock.clone())),
            connections: Arc::new(connections),
            spans: None,
            observe: Arc::new(NoTriggers),
            packs: Arc::new(OneFolder(case.folder.to_owned())),
            clock,
            begun,
        };
        let settings = ExecutorSettings { http_timeout: ANSWER_TIMEOUT, worker: WORKER.to_owned(), ..ExecutorSettings::new("") };
        let _entered = runtime.enter();
        let executor = Executor::start(ports, settings);
        Ok(Self { runtime, catalog: Arc::clone(case.catalog), executor, bodies, asked })
    }

    /// Waits for the end of the attempt that runs.
    async fn wait_for_end(&mut self) -> AttemptOutcome {
        loop {
            match self.asked.recv().await {
                Some(Ask::ReportAttempt(report)) => {
                    let body = report.body.and_then(|body| serde_json::from_slice(body.content.as_ref()?).ok());
                    return match report.outcome {
                        ReportOutcome::Succeeded => AttemptOutcome::Result(body.unwrap_or_default()),
                        ReportOutcome::Failed(failure) => AttemptOutcome::Failed(failure),
                    };
                }
                Some(Ask::LoseAttempt { .. }) | None => {
                    return AttemptOutcome::Failed(Failure::new(FailureKind::Lost, "its worker is gone"));
                }
                Some(_) => {}
            }
        }
    }
}

impl OutsideWorld for RealActions<'_> {
    fn attempt(&mut self, _: &ExecutionPath, dispatch: &Dispatch, params: &Value) -> Result<Option<AttemptOutcome>, RehearsalError> {
        let action = self.catalog.actions().get(&dispatch.action);
        if !action.is_some_and(|action| matches!(action.run, Run::Http(_))) {
            return Ok(None);
        }
        self.bodies.keep(dispatch.params.digest, params);
        self.executor.carry_out(Effect::Dispatch(Box::new(dispatch.clone())));
        let runtime = self.runtime;
        Ok(Some(runtime.block_on(self.wait_for_end())))
    }

    fn answer(&mut self, way: &ExecutionPath, question: &Value, _: usize) -> Result<InquiryOutcome, RehearsalError> {
        Err(RehearsalError::NoAnswer { path: way.path.clone(), like: question["answer"].to_string() })
    }

    fn await_event(&mut self, way: &ExecutionPath, trigger: &str) -> Result<Option<Value>, RehearsalError> {
        Err(RehearsalError::NoEvent { path: way.path.clone(), trigger: trigger.to_owned() })
    }

    fn aside(&self) -> Aside {
        Aside::Played
    }
}

impl CaseConnection {
    fn open(self, egress: EgressPolicy, clock: Arc<SystemClock>) -> Result<Connections, String> {
        let FakeAuth { key, proof, .. } = self.auth;
        let auth = match proof {
            FakeProof::Bearer => HttpAuth::Bearer(key.clone()),
            FakeProof::Header { name, prefix } => {
                HttpAuth::Header { name: name.parse().map_err(|_| format!("`{name}` is not a header"))?, prefix, value: key.clone() }
            }
            FakeProof::JsonField(name) => HttpAuth::JsonField { name, value: key.clone() },
        };
        let endpoint = HttpEndpoint {
            url: self.url.parse().map_err(|error| format!("`{}` is not an address: {error}", self.url))?,
            auth,
            headers: HeaderMap::new(),
            ca: None,
            timeout: ANSWER_TIMEOUT,
            connect_timeout: ANSWER_TIMEOUT,
            test_path: None,
        };
        let settings = ConnectionSettings {
            endpoint: Endpoint::Http(Box::new(endpoint)),
            packs: None,
            max: 1,
            // A case may want an answer after any number of failures.
            breaker: BreakerSettings { failures: u32::MAX, ..BreakerSettings::default() },
        };
        let name = self.name.parse().map_err(|error| format!("`{}` is not the name of a connection: {error}", self.name))?;
        let host = Arc::new(CaseCredentials { key, value: self.credentials });
        Ok(Connections::new(BTreeMap::from([(name, settings)]), egress, clock, host))
    }
}

/// The key of the connection of a case.
struct CaseCredentials {
    key: KeyRef,
    value: &'static str,
}

impl ConnectionsHost for CaseCredentials {
    fn open(&self, key: &KeyRef, _: &ConnectionUser) -> Result<Option<Secret>, KeyError> {
        Ok((*key == self.key).then(|| Secret::new(self.value.as_bytes().to_vec())))
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// Passes on what the worker asks of the log, and accepts it.
struct Asks(mpsc::Sender<Ask>);

impl Submit for Asks {
    fn submit(&self, command: Command, reply: Reply) {
        // The case may be over, and then nobody waits for the report.
        if matches!(self.0.try_send(command.ask), Err(TrySendError::Full(_))) {
            return reply(Err(SubmitError::Busy));
        }
        reply(Ok(CommitReceipt { position: Position::default(), answer: Answer::Done }));
    }
}

struct OneCatalog(Arc<Catalog>);

impl Catalogs for OneCatalog {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (revision == self.0.revision()).then(|| Arc::clone(&self.0))
    }
}

/// The parameters of the attempts of a case.
#[derive(Default)]
struct CaseBodies(Mutex<BTreeMap<Digest, Bytes>>);

impl CaseBodies {
    fn keep(&self, digest: Digest, params: &Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Bytes::from(params.to_string()));
    }
}

impl Bodies for CaseBodies {
    fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
        self.at_hand(&handle.digest).ok_or(BodyError::Erased(handle.digest))
    }
}

struct CaseKeys(BTreeMap<KeyRef, String>);

impl Keys for CaseKeys {
    fn open(&self, key: &KeyRef, _: &KeyUser) -> Result<Option<Secret>, KeyError> {
        Ok(self.0.get(key).map(|value| Secret::new(value.clone().into_bytes())))
    }
}

/// The vars of a case are in its own log. The request of an action that reads one fails, and says that it has no value.
struct NoVars;

impl Vars for NoVars {
    fn read_by(&self, _: &VarReads) -> Vec<(VarName, BodyHandle)> {
        Vec::new()
    }
}

struct OneFolder(PathBuf);

impl PackFiles for OneFolder {
    fn folder(&self, _: &Digest) -> PathBuf {
        self.0.clone()
    }
}

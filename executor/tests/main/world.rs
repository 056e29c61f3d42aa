//! A worker whose whole environment the test controls: the log's answers, the clock, the keys, the output
//! (`ports.rs`).

mod ports;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{
    Action, Catalog, Definitions, HttpBody, HttpRequest, OnLost, Pack, ProcessCommand, RAW_FIELDS, Run, Schema, TextDecoding,
};
use ensue_engine::command::{Answer, Ask, Report, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::names::ActionRef;
use ensue_engine::ports::{Blobs, Secret, SubmitError};
use ensue_engine::record::{AttemptOf, BodyHandle, CatalogRevision, Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_executor::absent_ports::NoTriggers;
use ensue_executor::begun_file::{BegunFile, Opener, Previous};
use ensue_executor::connections::Connections;
use ensue_executor::ports::{Observe, ProgramAccess};
use ensue_executor::programs::{
    DRAIN_PATIENCE, DirectPrograms, Isolation, Programs, SupervisedPrograms, SupervisedSettings, SupervisorCommand,
};
use ensue_executor::{Clock, Destinations, EgressPolicy, Executor, ExecutorPorts, ExecutorSettings, SystemClock};
use ensue_expression::{Roots, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::ports::{CURSOR, Hand, KeptBodies, KeptOutputs, OneCatalog, OneVar, PackFolder, ScriptedSubmit, TwoKeys};
pub(crate) use self::ports::{HandClock, KeptBlobs, refuse_with};

pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(600);
pub(crate) const GRACE: Duration = Duration::from_secs(10);
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(crate) const SECRET: &str = "canary-s3cret";
/// The worker's name.
pub(crate) const WORKER: &str = "local";

/// A worker and its environment.
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) asked: mpsc::UnboundedReceiver<Ask>,
    pub(crate) outputs: Arc<KeptOutputs>,
    pub(crate) blobs: Arc<KeptBlobs>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) folder: Arc<TempDir>,
    bodies: Arc<KeptBodies>,
    /// What was known about attempts when it started.
    pub(crate) previous: Previous,
}

/// The program that supervises another.
pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_ensue-test-supervisor");

/// The settings of a world.
pub(crate) struct Plan {
    actions: BTreeMap<ActionRef, Arc<Action>>,
    answers: VecDeque<Result<Answer, SubmitError>>,
    time: Time,
    observe: Arc<dyn Observe>,
    change: Box<dyn FnOnce(&mut ExecutorSettings)>,
    private_dir: Option<PathBuf>,
    drain_patience: Duration,
    programs: Option<Arc<dyn Programs>>,
    hand: Hand,
    home: Option<Arc<TempDir>>,
    isolation: Option<Isolation>,
    supervisor: SupervisorCommand,
    egress: EgressPolicy,
    answers_within: Duration,
    blobs: Option<Arc<dyn Blobs>>,
}

enum Time {
    Real,
    InHand,
}

impl Plan {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            actions: BTreeMap::new(),
            answers: VecDeque::new(),
            time: Time::Real,
            observe: Arc::new(NoTriggers),
            change: Box::new(|_| {}),
            private_dir: None,
            drain_patience: DRAIN_PATIENCE,
            home: None,
            isolation: None,
            supervisor: SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() },
            programs: None,
            hand: Hand::AtHand,
            egress: EgressPolicy::default(),
            answers_within: LEASE,
            blobs: None,
        }
        .action(run, |_| {})
    }

    pub(crate) fn action(mut self, run: Run, change: impl FnOnce(&mut Action)) -> Self {
        let mut action = Action {
            name: "test.act".parse().unwrap(),
            description: String::new(),
            parameters: Schema::Any,
            result: None,
            output: None,
            local: Vec::new(),
            run,
            limit: None,
            retry: None,
            run_as: ensue_engine::catalog::RunAs::Pack,
            has_token: false,
            timeout: TIMEOUT,
            grace: GRACE,
            idempotent: false,
            on_lost: OnLost::Ask,
            concurrency: None,
            priority: 0,
            queue: Default::default(),
            config: Arc::new(json!({ "owner": "acme" })),
            pack: Digest::of(b"pack"),
            templates: std::collections::BTreeMap::new(),
            labels: std::collections::BTreeMap::new(),
        };
        change(&mut action);
        self.actions.insert(action.name.clone(), Arc::new(action));
        self
    }

    pub(crate) fn answers(mut self, answers: impl IntoIterator<Item = Result<Answer, SubmitError>>) -> Self {
        self.answers = answers.into_iter().collect();
        self
    }

    pub(crate) fn time_in_hand(mut self) -> Self {
        self.time = Time::InHand;
        self
    }

    pub(crate) fn observe(mut self, observe: impl Observe + 'static) -> Self {
        self.observe = Arc::new(observe);
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut ExecutorSettings) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// Stores files here.
    pub(crate) fn store(mut self, blobs: Arc<dyn Blobs>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    pub(crate) fn private_dir(mut self, folder: PathBuf) -> Self {
        self.private_dir = Some(folder);
        self
    }

    pub(crate) fn programs(mut self, programs: Arc<dyn Programs>) -> Self {
        self.programs = Some(programs);
        self
    }

    pub(crate) fn drain_patience(mut self, patience: Duration) -> Self {
        self.drain_patience = patience;
        self
    }

    /// Makes supervisors hold its programs, isolated as far as this machine supports.
    pub(crate) fn with_supervisors(self) -> Self {
        self.with_isolation(Isolation::default())
    }

    /// Makes supervisors hold its programs with this isolation.
    pub(crate) fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Starts supervisors by this command.
    pub(crate) fn supervisor(mut self, command: SupervisorCommand) -> Self {
        self.supervisor = command;
        self
    }

    /// Uses this folder for everything.
    pub(crate) fn home(mut self, folder: Arc<TempDir>) -> Self {
        self.home = Some(folder);
        self
    }

    /// Limits the time for supervisors to answer.
    pub(crate) fn answers_within(mut self, patience: Duration) -> Self {
        self.answers_within = patience;
        self
    }

    /// Starts instead of an earlier worker, with the content of its folder.
    pub(crate) fn after(mut self, world: &World) -> Self {
        self.home = Some(Arc::clone(&world.folder));
        self
    }

    pub(crate) fn allow(self, address: std::net::SocketAddr) -> Self {
        self.egress(EgressPolicy::allowing(vec![address.to_string().parse().unwrap()]))
    }

    pub(crate) fn egress(mut self, egress: EgressPolicy) -> Self {
        self.egress = egress;
        self
    }

    pub(crate) fn bodies_in_the_log(mut self) -> Self {
        self.hand = Hand::InTheLog;
        self
    }

    pub(crate) fn begin(self) -> World {
        let folder = self.home.unwrap_or_else(|| Arc::new(TempDir::new().unwrap()));
        let (asked_into, asked) = mpsc::unbounded_channel();
        let outputs = Arc::new(KeptOutputs::default());
        let blobs = Arc::new(KeptBlobs::default());
        let clock = Arc::new(HandClock::default());
        let bodies =
            Arc::new(KeptBodies { kept: Mutex::new(BTreeMap::from([(Digest::of(CURSOR.as_bytes()), CURSOR.into())])), hand: self.hand });
        let keys = ["test.token", "test.file", "test.unset"].map(|key| key.parse().unwrap()).into();
        let pack = Pack {
            name: "test".parse().unwrap(),
            version: "1".into(),
            description: String::new(),
            digest: Digest::of(b"pack"),
            config: Arc::new(json!({})),
            keys,
            connections: [].into(),
            permissions: None,
        };
        let definitions =
            Definitions { packs: BTreeMap::from([(pack.name.clone(), Arc::new(pack))]), actions: self.actions, ..Definitions::default() };
        let time: Arc<dyn Clock> = match self.time {
            Time::Real => Arc::new(SystemClock::new()),
            Time::InHand => clock.clone(),
        };
        let private_dir = self.private_dir.unwrap_or_else(|| folder.path().join("private"));
        let programs: Arc<dyn Programs> = match (self.programs, self.isolation) {
            (Some(programs), _) => programs,
            (None, None) => Arc::new(DirectPrograms::open(&private_dir, time.clone()).unwrap().with_drain_patience(self.drain_patience)),
            (None, Some(isolation)) => supervised_programs(folder.path(), private_dir, isolation, self.supervisor, self.answers_within),
        };
        let path = folder.path().join("begun");
        // Only a world that follows another has attempts that were open before it.
        let open = if path.exists() { 1..10 } else { 0..0 };
        let open = open.map(|number| (attempt(number), WORKER.into()));
        let (begun, previous) = BegunFile::open(path, Opener::now(WORKER), open).unwrap();
        let ports = ExecutorPorts {
            spans: None,
            submit: Arc::new(ScriptedSubmit { answers: Mutex::new(self.answers), asked: asked_into }),
            catalogs: Arc::new(OneCatalog(Arc::new(Catalog::new(CatalogRevision(1), definitions)))),
            bodies: bodies.clone(),
            keys: Arc::new(TwoKeys),
            access: Arc::new(Listening),
            links: None,
            vars: Arc::new(OneVar),
            outputs: outputs.clone(),
            blobs: self.blobs.unwrap_or_else(|| blobs.clone()),
            observe: self.observe,
            packs: Arc::new(PackFolder(folder.path().join("pack"))),
            programs,
            web: Arc::new(Destinations::new(self.egress, time.clone())),
            connections: Arc::new(Connections::none(time.clone())),
            clock: time,
            begun,
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut settings = ExecutorSettings::new(path);
        settings.lease = LEASE;
        (self.change)(&mut settings);
        let executor = Executor::start(ports, settings);
        World { executor, asked, outputs, blobs, clock, folder, bodies, previous }
    }
}

/// A node that listens, and makes the tokens of attempts.
struct Listening;

impl ProgramAccess for Listening {
    fn token(&self, attempt: AttemptOf) -> Secret {
        Secret::new(format!("ensp_{}_{}_{}", attempt.execution, attempt.number, "5e".repeat(32)).into_bytes())
    }

    fn url(&self) -> tokio::sync::watch::Receiver<Option<Arc<str>>> {
        tokio::sync::watch::Sender::new(Some("http://127.0.0.1:7373".into())).subscribe()
    }
}

impl World {
    /// Dispatches an attempt.
    pub(crate) fn dispatch(&self, number: u32, params: Value) -> Dispatch {
        let dispatch = self.make_dispatch(number, params);
        self.executor.carry_out(Effect::Dispatch(Box::new(dispatch.clone())));
        dispatch
    }

    /// Creates a dispatch.
    pub(crate) fn make_dispatch(&self, number: u32, params: Value) -> Dispatch {
        let bytes = Bytes::from(params.to_string());
        let digest = Digest::of(&bytes);
        let params = BodyHandle { digest, bytes: bytes.len() as u64, at: Position(1) };
        self.bodies.kept.lock().unwrap().insert(digest, bytes);
        Dispatch {
            execution: execution(number),
            attempt: attempt(number),
            number: 1,
            token: 7,
            worker: WORKER.into(),
            action: "test.act".parse().unwrap(),
            catalog: CatalogRevision(1),
            params,
            started_at: NOON,
            timeout_millis: TIMEOUT.as_millis() as u64,
            grace_millis: GRACE.as_millis() as u64,
            actor: "token/ana".into(),
            principal: None,
            caller: None,
            link: None,
            trace: Some(TRACE.into()),
        }
    }

    /// Runs an attempt to its report.
    pub(crate) async fn report_of(&mut self, params: Value) -> Report {
        self.dispatch(1, params);
        self.report().await
    }

    /// Waits for the next report.
    pub(crate) async fn report(&mut self) -> Report {
        match self.asked.recv().await {
            Some(Ask::ReportAttempt(report)) => report,
            other => panic!("not a report: {other:?}"),
        }
    }

    pub(crate) fn stop(&self, number: u32) {
        self.executor.carry_out(Effect::Stop { execution: execution(number), attempt: attempt(number) });
    }

    pub(crate) fn release(&self, number: u32) {
        self.executor.carry_out(Effect::Release { execution: execution(number), attempt: attempt(number) });
    }

    /// Returns the content of the file of begun attempts.
    pub(crate) fn begun_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("begun")).unwrap()
    }

    /// Writes a file into the action's pack.
    pub(crate) fn pack_file(&self, path: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("pack").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Returns true if any private directory is left.
    pub(crate) fn has_private_directories(&self) -> bool {
        std::fs::read_dir(self.folder.path().join("private")).unwrap().next().is_some()
    }
}

/// Returns programs that supervisors hold.
pub(crate) fn supervised_programs(
    folder: &Path,
    private: PathBuf,
    mut isolation: Isolation,
    command: SupervisorCommand,
    answers_within: Duration,
) -> Arc<dyn Programs> {
    isolation.readable.extend(ensue_executor::programs::around_path(&std::env::var_os("PATH").unwrap_or_default()));
    let supervisors = folder.join("supervisors");
    let settings =
        SupervisedSettings { supervisors, private, command, isolation, answers_within, output_bytes_max: 0, release: "test".into() };
    Arc::new(SupervisedPrograms::open(settings).unwrap())
}

pub(crate) fn execution(number: u32) -> ExecutionId {
    ExecutionId(Id::root(NOON, u128::from(number)))
}

pub(crate) fn attempt(number: u32) -> AttemptId {
    AttemptId(Id::root(NOON, 1000 + u128::from(number)))
}

/// A program that runs a shell script.
pub(crate) fn sh(script: &str) -> Run {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Run::Process(ProcessCommand { command, beside: Default::default(), env: Vec::new(), files: Vec::new(), input: None })
}

/// Compiles a template.
pub(crate) fn template(value: Value) -> Template {
    Template::compile(&value, &Roots::new(["params", "local", "config", "execution", "keys", "vars"].into_iter().chain(RAW_FIELDS)))
        .unwrap()
}

/// Returns the result of a successful report.
#[track_caller]
pub(crate) fn result(report: &Report) -> Value {
    assert_eq!(report.outcome, ReportOutcome::Succeeded);
    body(report)
}

/// Returns the body of a report, or null if it has none.
pub(crate) fn body(report: &Report) -> Value {
    let content = report.body.as_ref().and_then(|body| body.content.clone());
    content.map_or(Value::Null, |content| serde_json::from_slice(&content).unwrap())
}

/// Returns a request that only gets a URL.
pub(crate) fn get(url: &str) -> HttpRequest {
    HttpRequest {
        connection: None,
        without_connection: None,
        url: template(json!(url)),
        method: template(json!(null)),
        headers: template(json!({})),
        query: template(json!({})),
        body: HttpBody::None,
        parse: None,
        text_decoding: TextDecoding::default(),
        signing: None,
    }
}

/// Returns the failure of a failed report.
#[track_caller]
pub(crate) fn failure(report: &Report, kind: FailureKind) -> &Failure {
    match &report.outcome {
        ReportOutcome::Failed(failure) => {
            assert_eq!(failure.kind, kind, "{}", failure.message);
            failure
        }
        ReportOutcome::Succeeded => panic!("it succeeded with {}", body(report)),
    }
}

/// Returns true if any file below a folder contains a text.
pub(crate) fn stands_in_files(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return stands_in_files(&path, text);
        }
        path.is_file() && String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text)
    })
}

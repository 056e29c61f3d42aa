//! A worker with everything around it held in the test's hand: the log's answers, the clock, the keys, what is printed.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Action, Catalog, Catalogs, Definitions, OnLost, Pack, Run, Schema};
use ensue_engine::command::{Answer, Ask, Command, ObservedEvent, Refusal, Report, ReportOutcome};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::names::{ActionRef, KeyRef};
use ensue_engine::ports::{
    BlobError, BlobPart, Blobs, Committed, KeptBlob, NewBlob, OutputError, OutputPart, OutputStream, Outputs, Reply, Secret, Submit,
    SubmitError,
};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_executor::begun::{Begun, Previous};
use ensue_executor::ports::{Bodies, BodyError, Emission, EmissionError, KeyError, Keys, Observe, PackFiles};
use ensue_executor::programs::{
    DRAIN_PATIENCE, DirectPrograms, Isolation, Programs, SupervisedPrograms, SupervisedSettings, SupervisorCommand,
};
use ensue_executor::{Clock, Destinations, EgressPolicy, Executor, ExecutorPorts, ExecutorSettings, SystemClock};
use ensue_expression::{Roots, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(600);
pub(crate) const GRACE: Duration = Duration::from_secs(10);
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(crate) const SECRET: &str = "canary-s3cret";

/// A worker in its world.
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) asked: mpsc::UnboundedReceiver<Ask>,
    pub(crate) outputs: Arc<KeptOutputs>,
    pub(crate) blobs: Arc<KeptBlobs>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) folder: Arc<TempDir>,
    bodies: Arc<KeptBodies>,
    /// What was known of attempts when it began.
    pub(crate) previous: Previous,
}

/// What a world is made of, before it is.
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
    egress: EgressPolicy,
}

enum Time {
    Real,
    InHand,
}

#[derive(Clone, Copy)]
enum Hand {
    AtHand,
    InTheLog,
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
            programs: None,
            hand: Hand::AtHand,
            egress: EgressPolicy::default(),
        }
        .action(run, |_| {})
    }

    pub(crate) fn action(mut self, run: Run, change: impl FnOnce(&mut Action)) -> Self {
        let mut action = Action {
            name: "test.act".parse().unwrap(),
            description: String::new(),
            parameters: Schema::Any,
            result: None,
            local: Vec::new(),
            run,
            timeout: TIMEOUT,
            grace: GRACE,
            idempotent: false,
            on_lost: OnLost::Ask,
            priority: 0,
            config: Arc::new(json!({ "owner": "acme" })),
            pack: Digest::of(b"pack"),
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

    /// Has its programs held by supervisors, walled off as far as this machine can.
    pub(crate) fn supervised(self) -> Self {
        self.isolated(Isolation::default())
    }

    /// Has its programs held by supervisors, walled off like this.
    pub(crate) fn isolated(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Begins where an earlier worker was, with what is in its folder.
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
        let bodies = Arc::new(KeptBodies { kept: Mutex::default(), hand: self.hand });
        let keys = ["test.token", "test.file", "test.unset"].map(|key| key.parse().unwrap()).into();
        let pack = Pack {
            name: "test".parse().unwrap(),
            version: "1".into(),
            description: String::new(),
            digest: Digest::of(b"pack"),
            config: Arc::new(json!({})),
            keys,
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
            (None, Some(isolation)) => supervised(folder.path(), private_dir, isolation),
        };
        let path = folder.path().join("begun");
        // Only a world that comes after another has attempts that were open before it.
        let open = if path.exists() { 1..10 } else { 0..0 };
        let (begun, previous) = Begun::open(path, open.map(attempt)).unwrap();
        let ports = ExecutorPorts {
            submit: Arc::new(ScriptedSubmit { answers: Mutex::new(self.answers), asked: asked_into }),
            catalogs: Arc::new(OneCatalog(Arc::new(Catalog::new(CatalogRevision(1), definitions)))),
            bodies: bodies.clone(),
            keys: Arc::new(TwoKeys),
            outputs: outputs.clone(),
            blobs: blobs.clone(),
            observe: self.observe,
            packs: Arc::new(PackFolder(folder.path().join("pack"))),
            programs,
            web: Arc::new(Destinations::new(self.egress, time.clone())),
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

impl World {
    /// Hands an attempt over.
    pub(crate) fn dispatch(&self, number: u32, params: Value) -> Dispatch {
        let dispatch = self.dispatched(number, params);
        self.executor.carry_out(Effect::Dispatch(Box::new(dispatch.clone())));
        dispatch
    }

    /// Makes an attempt that could be handed over.
    pub(crate) fn dispatched(&self, number: u32, params: Value) -> Dispatch {
        let bytes = Bytes::from(params.to_string());
        let digest = Digest::of(&bytes);
        let params = BodyHandle { digest, bytes: bytes.len() as u64, at: Position(1) };
        self.bodies.kept.lock().unwrap().insert(digest, bytes);
        Dispatch {
            execution: execution(number),
            attempt: attempt(number),
            number: 1,
            token: 7,
            action: "test.act".parse().unwrap(),
            catalog: CatalogRevision(1),
            params,
            started_at: NOON,
            timeout_millis: TIMEOUT.as_millis() as u64,
            grace_millis: GRACE.as_millis() as u64,
            actor: "token/ana".into(),
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

    /// Gives what the file of begun attempts says.
    pub(crate) fn begun(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("begun")).unwrap()
    }

    /// Puts a file into the action's pack.
    pub(crate) fn pack_file(&self, path: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("pack").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Says whether any private directory is left.
    pub(crate) fn has_private_directories(&self) -> bool {
        std::fs::read_dir(self.folder.path().join("private")).unwrap().next().is_some()
    }
}

fn supervised(folder: &Path, private: PathBuf, mut isolation: Isolation) -> Arc<dyn Programs> {
    isolation.readable.extend(ensue_executor::programs::around_path(&std::env::var_os("PATH").unwrap_or_default()));
    let command = SupervisorCommand { program: env!("CARGO_BIN_EXE_ensue-test-supervisor").into(), arguments: Vec::new() };
    let supervisors = folder.join("supervisors");
    let settings = SupervisedSettings { supervisors, private, command, isolation, output_bytes_max: 0, release: "test".into() };
    Arc::new(SupervisedPrograms::open(settings).unwrap())
}

pub(crate) fn execution(number: u32) -> ExecutionId {
    ExecutionId(Id::root(NOON, u128::from(number)))
}

pub(crate) fn attempt(number: u32) -> AttemptId {
    AttemptId(Id::root(NOON, 1000 + u128::from(number)))
}

/// Compiles a template.
pub(crate) fn template(value: Value) -> Template {
    Template::compile(&value, &Roots::new(["params", "local", "config", "execution", "keys"])).unwrap()
}

/// Gives the result of a report that succeeded.
#[track_caller]
pub(crate) fn result(report: &Report) -> Value {
    assert_eq!(report.outcome, ReportOutcome::Succeeded);
    body(report)
}

/// Gives the body of a report; null where it has none.
pub(crate) fn body(report: &Report) -> Value {
    let content = report.body.as_ref().and_then(|body| body.content.clone());
    content.map_or(Value::Null, |content| serde_json::from_slice(&content).unwrap())
}

/// Gives the failure of a report that failed.
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

/// Answers as it was told to, then that all is done; what was answered with a refusal is shown as well.
struct ScriptedSubmit {
    answers: Mutex<VecDeque<Result<Answer, SubmitError>>>,
    asked: mpsc::UnboundedSender<Ask>,
}

impl Submit for ScriptedSubmit {
    fn submit(&self, command: Command, reply: Reply) {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Answer::Done));
        if matches!(answer, Ok(_) | Err(SubmitError::Refused(_))) {
            let _ = self.asked.send(command.ask);
        }
        reply(answer.map(|answer| Committed { position: Position(9), answer }));
    }
}

pub(crate) fn refused(refusal: Refusal) -> Result<Answer, SubmitError> {
    Err(SubmitError::Refused(refusal))
}

struct OneCatalog(Arc<Catalog>);

impl Catalogs for OneCatalog {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (revision == self.0.revision()).then(|| self.0.clone())
    }
}

struct KeptBodies {
    kept: Mutex<BTreeMap<Digest, Bytes>>,
    hand: Hand,
}

impl Bodies for KeptBodies {
    fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        match self.hand {
            Hand::AtHand => self.kept.lock().unwrap().get(digest).cloned(),
            Hand::InTheLog => None,
        }
    }

    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError> {
        let kept = self.kept.lock().unwrap();
        kept.get(&handle.digest).cloned().ok_or(BodyError::Erased(handle.digest))
    }
}

struct TwoKeys;

impl Keys for TwoKeys {
    fn open(&self, key: &KeyRef) -> Result<Option<Secret>, KeyError> {
        Ok((key.name() != "unset").then(|| Secret::new(SECRET.as_bytes().to_vec())))
    }
}

struct NoTriggers;

impl Observe for NoTriggers {
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError> {
        Err(EmissionError::NoTrigger(emission.trigger))
    }
}

struct PackFolder(PathBuf);

impl PackFiles for PackFolder {
    fn folder(&self, _pack: &Digest) -> PathBuf {
        self.0.clone()
    }
}

/// What was printed: the beginning of each stream, its length, and whether it has ended.
#[derive(Default)]
pub(crate) struct KeptOutputs {
    kept: Mutex<BTreeMap<(AttemptId, OutputStream), Printed>>,
    in_all: Mutex<BTreeMap<(AttemptId, OutputStream), u64>>,
    finished: Mutex<Vec<AttemptId>>,
    changes: watch::Sender<u64>,
}

/// The beginning of a stream, and its length.
type Printed = (Vec<u8>, u64);

const KEPT_BYTES_MAX: usize = 64 << 10;

impl KeptOutputs {
    pub(crate) fn printed(&self, number: u32, stream: OutputStream) -> Printed {
        self.kept.lock().unwrap().get(&(attempt(number), stream)).cloned().unwrap_or_default()
    }

    /// Gives how much was printed in all, as it was told at the end.
    pub(crate) fn printed_in_all(&self, number: u32, stream: OutputStream) -> u64 {
        self.in_all.lock().unwrap().get(&(attempt(number), stream)).copied().unwrap_or_default()
    }

    pub(crate) fn is_finished(&self, number: u32) -> bool {
        self.finished.lock().unwrap().contains(&attempt(number))
    }

    /// Waits until a text was printed.
    pub(crate) async fn says(&self, number: u32, stream: OutputStream, text: &str) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if String::from_utf8_lossy(&self.printed(number, stream).0).contains(text) {
                return;
            }
            changes.changed().await.unwrap();
        }
    }
}

impl Outputs for KeptOutputs {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        assert!(!self.finished.lock().unwrap().contains(&attempt), "printed after the end");
        let mut kept = self.kept.lock().unwrap();
        let (head, total) = kept.entry((attempt, stream)).or_default();
        assert_eq!(offset, *total, "what is printed is told in its order");
        let room = KEPT_BYTES_MAX - head.len();
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        *total += bytes.len() as u64;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn taken(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.kept.lock().unwrap().get(&(attempt, stream)).map_or(0, |(_, total)| *total))
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        assert!(!self.finished.lock().unwrap().contains(&attempt), "told after the end");
        self.in_all.lock().unwrap().insert((attempt, stream), bytes);
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.finished.lock().unwrap().push(attempt);
        Ok(())
    }

    fn read(&self, attempt: AttemptId, _: OutputStream, _: u64, _: usize) -> Result<OutputPart, OutputError> {
        Err(OutputError::Store { attempt, why: "nobody reads here".into() })
    }
}

/// The files that were given away.
#[derive(Clone, Default)]
pub(crate) struct KeptBlobs(Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>);

impl KeptBlobs {
    pub(crate) fn content(&self, blob: &Digest) -> Vec<u8> {
        self.0.lock().unwrap()[blob].clone()
    }
}

impl Blobs for KeptBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Ok(Box::new(WrittenBlob { blobs: self.clone(), bytes: Vec::new() }))
    }

    fn read(&self, _: &Digest, _: u64, _: usize) -> Result<Option<BlobPart>, BlobError> {
        Err(BlobError::Store("nobody reads here".into()))
    }
}

struct WrittenBlob {
    blobs: KeptBlobs,
    bytes: Vec<u8>,
}

impl NewBlob for WrittenBlob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError> {
        let kept = KeptBlob { digest: Digest::of(&self.bytes), bytes: self.bytes.len() as u64 };
        self.blobs.0.lock().unwrap().insert(kept.digest, self.bytes);
        Ok(kept)
    }
}

/// A clock that the test moves.
pub(crate) struct HandClock {
    now: watch::Sender<Duration>,
}

impl Default for HandClock {
    fn default() -> Self {
        Self { now: watch::Sender::new(Duration::ZERO) }
    }
}

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut now = self.now.subscribe();
            let _ = now.wait_for(|now| *now >= moment).await;
        })
    }
}

/// Says whether a text stands in any file below a folder.
pub(crate) fn stands_in_files(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return stands_in_files(&path, text);
        }
        path.is_file() && String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text)
    })
}

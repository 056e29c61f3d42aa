//! What the API needs of the node, handed in by the wiring: small traits, each of which says who may call it from where.
//!
//! It holds no policy and knows nothing of HTTP: what a caller may do is `routes.rs`'s, what an error looks like is
//! `problem.rs`'s. Methods marked *quick* do not block and may be called from asynchronous code; methods marked *blocking*
//! are called on a thread where blocking is allowed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{Catalog, Misfit};
use ensue_engine::command::{Dedupe, ObservedEvent, RefusedDelivery, RequestKey};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{EventId, ExecutionId, LogId, TokenId};
use ensue_engine::names::{ActionRef, KeyRef, PackName, RuleRef, SensorRef, TriggerRef, VarName};
use ensue_engine::ports::{Blobs, Committed, HookRequest, LogError, Outputs, ReadLimit, Secret, Submit};
use ensue_engine::record::{Actor, CatalogRevision, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_engine::time::{Timestamp, duration_text};
use ensue_engine::trace::{Sampler, SpanId, TraceParent};
use ensue_packs::{Diagnostic, PackFile};
use ensue_views::ViewReader;
use ensue_views::retention::Removed;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use crate::patience::{Impatience, Patience};
use crate::worker_queues::WorkerQueue;

/// All that the API needs of the node.
#[derive(Clone)]
pub struct Ports {
    /// The way into the log. Quick; the reply comes on the sequencer's thread.
    pub submit: Arc<dyn Submit>,
    /// What is installed.
    pub installed: Arc<dyn Installed>,
    /// What tries rules over the events that came.
    pub backtests: Arc<dyn Backtests>,
    /// What folds recorded executions once more.
    pub replays: Arc<dyn Replays>,
    /// The read models. Blocking.
    pub views: Arc<dyn ViewReader>,
    /// The position that the read models have reached: the follower sends each new one after its commit.
    pub views_at: watch::Receiver<Position>,
    /// The log, to be read.
    pub log: Arc<dyn LogAccess>,
    /// What attempts print. Blocking.
    pub outputs: Arc<dyn Outputs>,
    /// The files that attempts give away. Blocking.
    pub blobs: Arc<dyn Blobs>,
    /// What makes events of deliveries.
    pub webhooks: Arc<dyn Webhooks>,
    /// What makes events of what callers send.
    pub observe: Arc<dyn Observe>,
    /// Who a token lets in.
    pub access: Arc<dyn Access>,
    /// The named secrets.
    pub keys: Arc<dyn Keys>,
    /// The named tokens.
    pub tokens: Arc<dyn Tokens>,
    /// The node itself.
    pub node: Arc<dyn Node>,
    /// Who is told of requests for their spans; none where no spans are exported.
    pub spans: Option<Arc<dyn Spans>>,
}

/// What has requests told of in traces.
pub trait Spans: Send + Sync {
    /// Returns what says which traces are recorded.
    fn sampler(&self) -> Sampler;
    /// Tells of a request that was just answered. Quick; where there is no room it is dropped and counted.
    fn answered(&self, request: AnsweredRequest);
}

/// A request that may have led to records, and the span that it is in its trace.
#[derive(Clone, Debug)]
pub struct AnsweredRequest {
    /// Its own span.
    pub span: TraceParent,
    /// The span that its caller sent it from; none where the trace begins with it.
    pub parent: Option<SpanId>,
    /// Its method, cut where it is long.
    pub method: String,
    /// The template of its path, like `/hooks/{pack}/{sensor}`; none where no route has such a path.
    pub route: Option<String>,
    /// Its path, cut where it is long.
    pub path: String,
    /// The host that it was sent to, and the port where it named one.
    pub server: Option<(String, Option<u16>)>,
    /// Where its connection comes from.
    pub client: Option<IpAddr>,
    /// The number that says how it was answered.
    pub status: u16,
    /// How long that took.
    pub took: Duration,
}

/// What a port says no with: an error for people, and where what was given does not fit.
#[derive(Debug)]
pub struct Declined {
    /// Why, with whose move it is and what to do.
    pub why: Box<dyn Explain + Send + Sync>,
    /// Where what was given does not fit; empty where the error is of another kind.
    pub misfits: Vec<Misfit>,
}

impl Declined {
    /// Adds where what was given does not fit.
    #[must_use]
    pub fn with_misfits(self, misfits: Vec<Misfit>) -> Self {
        Self { misfits, ..self }
    }
}

impl<E: Explain + Send + Sync + 'static> From<E> for Declined {
    fn from(why: E) -> Self {
        Self { why: Box::new(why), misfits: Vec::new() }
    }
}

/// On whose behalf a port acts: this stands in the record that comes of it.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// Who asks.
    pub actor: Actor,
    /// The W3C trace of the request, as `cause.trace` of a record has it.
    pub trace: Option<String>,
    /// The key under which it is carried out once; none where it is carried out each time.
    pub request: Option<RequestKey>,
}

/// The catalogs that are built.
pub trait Installed: Send + Sync {
    /// Gives the catalog that new events are judged by. Quick.
    fn current(&self) -> Arc<Catalog>;
    /// Gives the catalog of a revision; none where it is not kept any more. Quick.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
    /// Gives what is wrong, or worth knowing, about the packs as they lie in the folder, by pack; a pack without findings is
    /// not listed. Quick.
    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>>;
}

/// What tries rules over the events that came.
pub trait Backtests: Send + Sync {
    /// Says what a rule would have done, beside what happened. Blocking, and long: it reads a part of the log, and stops when
    /// `patience` ends.
    ///
    /// # Errors
    /// Where there is no such rule, it cannot be tried as it is written, or it goes by a schedule.
    fn backtest(&self, asked: &ToBacktest, patience: &Patience) -> Result<Backtested, Declined>;
}

/// A rule to be tried, and over what.
#[derive(Clone, Debug)]
pub struct ToBacktest {
    /// The rule.
    pub rule: RuleRef,
    /// A file of its pack as it is to be tried; none means the rule as it is installed.
    pub file: Option<FileText>,
    /// Behind which position the events stand; it counts before `since`.
    pub after: Option<Position>,
    /// From when on they were taken in.
    pub since: Option<Timestamp>,
    /// Before when they were.
    pub until: Option<Timestamp>,
}

/// A file of a pack.
#[derive(Clone, Debug)]
pub struct FileText {
    /// Its path in the pack: `rules/greet.yaml`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What a rule would have done, beside what happened.
#[derive(Clone, Debug, Default)]
pub struct Backtested {
    /// How many events of its triggers there were.
    pub judged: u64,
    /// How many of them cannot be read any more.
    pub unreadable: u64,
    /// Behind which position they stand.
    pub after: Position,
    /// Up to which position the log was read.
    pub until: Position,
    /// How many of its matches would have come to each outcome.
    pub would: BTreeMap<&'static str, u64>,
    /// How many came to each.
    pub happened: BTreeMap<&'static str, u64>,
    /// How many events it acted on, and would act on.
    pub matched: u64,
    /// Those that it would act on, and did not.
    pub new: ToldEvents,
    /// Those that it acted on, and would not.
    pub lost: ToldEvents,
    /// Those over which it would err.
    pub erred: ToldEvents,
}

/// Events of a kind: how many, and the first.
#[derive(Clone, Debug, Default)]
pub struct ToldEvents {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub events: Vec<ToldEvent>,
}

/// What a rule would have made of an event, and what it made of it.
#[derive(Clone, Debug)]
pub struct ToldEvent {
    /// The event.
    pub event: EventId,
    /// Its place.
    pub position: Position,
    /// What it would have come to; none where the rule does not match it.
    pub would: Option<&'static str>,
    /// What it came to; none where the rule did not match it.
    pub happened: Option<&'static str>,
    /// Why it would err, or be rejected.
    pub error: Option<String>,
}

/// What folds recorded executions once more.
pub trait Replays: Send + Sync {
    /// Says which of these executions go as they went. Blocking, and long: it reads a part of the log, and stops when
    /// `patience` ends.
    ///
    /// # Errors
    /// Where there is no such execution, or the pack cannot be tried as it is written.
    fn replay(&self, asked: &ToReplay, patience: &Patience) -> Result<Replayed, Declined>;
}

/// Which executions are replayed, and by what.
#[derive(Clone, Debug)]
pub struct ToReplay {
    /// Which.
    pub which: ReplayedWhich,
    /// Another version of an installed pack, by which they are replayed; none means by what they went by.
    pub pack: Option<PackFiles>,
}

/// Which executions are replayed.
#[derive(Clone, Debug)]
pub enum ReplayedWhich {
    /// This one.
    One(ExecutionId),
    /// The newest that are no steps of others.
    Last {
        /// How many.
        count: u32,
        /// Of this action.
        action: Option<ActionRef>,
        /// Asked for by this rule.
        rule: Option<RuleRef>,
        /// Asked for from then on.
        since: Option<Timestamp>,
    },
}

/// A pack as it is written.
#[derive(Clone, Debug)]
pub struct PackFiles {
    /// Its name.
    pub name: PackName,
    /// Its files, by their paths in the pack.
    pub files: BTreeMap<String, PackFile>,
}

/// What came of replaying.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// How many go as they went.
    pub same: u64,
    /// How many go another way.
    pub differ: u64,
    /// How many cannot be replayed.
    pub unreplayable: u64,
    /// Those that do not go as they went, or cannot be replayed, the newest first.
    pub executions: Vec<ReplayedExecution>,
}

/// An execution that does not go as it went, or cannot be replayed.
#[derive(Clone, Debug)]
pub struct ReplayedExecution {
    /// It.
    pub execution: ExecutionId,
    /// Its action.
    pub action: Option<ActionRef>,
    /// What differs first; nothing where it cannot be replayed.
    pub differences: Vec<ReplayDifference>,
    /// Why it cannot be replayed.
    pub error: Option<String>,
}

/// What differs.
#[derive(Clone, Debug)]
pub struct ReplayDifference {
    /// The way to the step; empty for the execution itself.
    pub step: String,
    /// What of it: a name of a closed list.
    pub what: &'static str,
    /// Where in it, a JSON pointer.
    pub pointer: String,
    /// What was recorded.
    pub recorded: Option<serde_json::Value>,
    /// What would be.
    pub would: Option<serde_json::Value>,
}

/// Readers of the log. All of it is blocking.
pub trait LogAccess: Send + Sync {
    /// Gives the newest position and the chain's hash there.
    fn head(&self) -> Result<Head, LogError>;
    /// Gives the records after a position, in order.
    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the records of a stream after a revision, in order.
    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError>;
    /// Gives the record of a var's newest change up to a position; none where there was none yet.
    fn var_at(&self, name: &VarName, at: Position) -> Result<Option<Record>, LogError> {
        let stream = StreamId::Var(name.clone());
        // Its revisions have no gap and are in the order of their positions: the last that counts is searched for.
        let behind = |revision: u64| -> Result<Option<Record>, LogError> {
            let next = self.read_stream(&stream, Revision(revision), ReadLimit { records: 1, ..ReadLimit::default() })?;
            Ok(next.into_iter().next().filter(|record| record.position <= at))
        };
        let Some(mut found) = behind(0)? else { return Ok(None) };
        let mut step = 1;
        while step > 0 {
            match behind(found.revision.0 + step - 1)? {
                Some(later) => {
                    found = later;
                    step = step.saturating_mul(2);
                }
                None => step /= 2,
            }
        }
        Ok(Some(found))
    }
    /// Gives the plain bytes of the body of the record at a position; none where there is no such record, where it has no body,
    /// or where the body was erased.
    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError>;
}

/// What makes events of deliveries at webhooks.
pub trait Webhooks: Send + Sync {
    /// Verifies a delivery over its raw body, and makes the judged events of it: none where no `emits` fits, several all or
    /// none. Works on the calling thread and does not wait: quick, though it costs tens of microseconds.
    fn receive(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, HookRefusal>;
    /// Makes the judged events of a delivery that proved who sent it when it came, and was refused. Quick, as [`receive`](Self::receive).
    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, Declined>;
    /// Signs `body` as the sensor's sender would, and names `event` in the sender's way; `delivery` is the id of the delivery,
    /// where the scheme knows one. Quick.
    fn sign(&self, sensor: &SensorRef, event: &str, delivery: &str, body: Bytes) -> Result<HookRequest, Declined>;
    /// Says how it stands with the secret that deliveries at the sensor are verified with. Quick.
    fn secret(&self, sensor: &SensorRef) -> SecretState;
}

/// Why a delivery made no event.
#[derive(Debug)]
pub struct HookRefusal {
    /// Why, and where the payload does not fit. Its fault is `Missing` for an unknown hook, `Unauthenticated` for one whose
    /// sender is not proved, `Unavailable` where the hook's own secret is missing or damaged.
    pub declined: Declined,
    /// What is to be kept as a dead letter: a delivery that proved who sent it.
    pub keep: Option<Box<RefusedDelivery>>,
}

impl<E: Into<Declined>> From<E> for HookRefusal {
    fn from(why: E) -> Self {
        Self { declined: why.into(), keep: None }
    }
}

/// How it stands with the secret of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It is set, and can be opened.
    Set,
    /// It is not set: no delivery is taken.
    Missing,
    /// It is set, and cannot be opened or is too short to be safe: no delivery is taken.
    Unusable,
    /// The hook takes deliveries from anybody.
    NotNeeded,
}

/// What makes events of what callers send.
pub trait Observe: Send + Sync {
    /// Checks a payload against its trigger and has the rules judge it. Works on the calling thread and does not wait: quick.
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, Declined>;
}

/// An event as a caller sends it.
#[derive(Clone, Debug)]
pub struct GivenEvent {
    /// Its kind.
    pub trigger: TriggerRef,
    /// Its payload: JSON text, to be kept byte for byte.
    pub payload: Bytes,
    /// Who says so, as the record will have it: `api`, or the source of a CloudEvent.
    pub source: String,
    /// When it happened; none means now.
    pub occurred_at: Option<Timestamp>,
    /// The W3C trace that it brings itself, as `cause.trace` of a record has it; none means the request's.
    pub trace: Option<String>,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// The rule whose schedule it is: no other judges it.
    pub rule: Option<RuleRef>,
}

/// Who a token lets in.
pub trait Access: Send + Sync {
    /// Gives the holder of a token that is in force; none for any other. Compares in constant time, and does the same work for an
    /// id that it does not know. Quick.
    fn holder(&self, id: TokenId, secret_sha256: &[u8; 32]) -> Option<Arc<Holder>>;

    /// Returns a value that changes when a token is revoked, before any later record is sent.
    fn revocations(&self) -> watch::Receiver<u64>;
}

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: String,
    /// The roles, as they were given to it.
    pub roles: Vec<String>,
}

/// The named secrets. All of it is blocking, and returns after the commit. Which keys are set is in the read models.
pub trait Keys: Send + Sync {
    /// Seals a new value in the vault and makes it the current one.
    fn set(&self, key: &KeyRef, value: Secret, by: &OnBehalf) -> Result<SetKey, Declined>;
    /// Forgets a key.
    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A key that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// The version that is current now.
    pub version: u32,
    /// What the sequencer said.
    pub committed: Committed,
}

/// The named tokens. All of it is blocking, and returns after the commit. Which tokens there are is in the read models.
pub trait Tokens: Send + Sync {
    /// Makes a token; its secret is given this once.
    fn add(&self, name: &str, roles: &[String], by: &OnBehalf) -> Result<NewToken, Declined>;
    /// Lets the holder of a token in no more.
    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A token that was made.
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// The whole token, `ens_<id>_<secret>`: it is not kept, and cannot be shown again.
    pub token: Secret,
    /// What the sequencer said.
    pub committed: Committed,
}

/// The node itself.
pub trait Node: Send + Sync {
    /// Says whether the log takes anything in from outside now; asked before a body is read. Quick.
    fn admission(&self) -> Result<(), Declined>;
    /// Says whether the node can serve, and how it stands with each thing it depends on. Quick.
    fn readiness(&self) -> Readiness;
    /// Says what the node is and does. Blocking.
    fn status(&self) -> Result<NodeStatus, Declined>;
    /// Registers the metrics of what is behind the API. Blocking, but short.
    fn register(&self, metrics: &mut Registry);
    /// Looks at the machine, the data directory and the packs for what is wrong or unsafe. Blocking.
    fn doctor(&self) -> Result<Vec<Finding>, Declined>;
    /// Begins a job in the background, or gives the one of that kind that is under way. Blocking, but short.
    fn begin_job(&self, kind: JobKind, by: &OnBehalf) -> Result<Job, Declined>;
    /// Tells of the queues in which executions wait for a worker, by name. Blocking, but short.
    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, Declined>;
    /// Gives the newest job of a kind; none where there was none since the start. Quick.
    fn job(&self, kind: JobKind) -> Option<Job>;
}

/// Whether a node can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Says whether all it depends on is up, and it is not stopping.
    pub is_ready: bool,
    /// How it stands with each.
    pub dependencies: Vec<Dependency>,
}

/// A thing that the node depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name: `log`, `views`, `vault`, `disk`, `workers`.
    pub name: &'static str,
    /// How it stands with it.
    pub state: DependencyState,
}

/// How it stands with a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyState {
    /// It works.
    Up,
    /// It does not; the reason is for anybody to read, so it names no paths.
    Down {
        /// Why.
        why: String,
    },
}

/// What a node is and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The release it runs.
    pub release: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The log it writes to.
    pub log: LogId,
    /// Under which right.
    pub epoch: Epoch,
    /// The log's newest position and the chain's hash there.
    pub head: Head,
    /// The catalog's revision.
    pub catalog: CatalogRevision,
    /// How many attempts may run at once here, of all queues together.
    pub workers: u32,
    /// How many run.
    pub workers_busy: u32,
    /// How much of the disk under the data directory is free, in bytes; none where the machine does not say.
    pub disk_free_bytes: Option<u64>,
    /// How much is kept of what attempts print.
    pub outputs: Kept,
    /// How much is kept of the files that they give away.
    pub artifacts: Kept,
    /// How long what has ended stays in the views, and what was taken out of them.
    pub retention: Retained,
    /// How much memory the node's process holds, in bytes; none where the machine does not say.
    pub memory_bytes: Option<u64>,
    /// How much it may hold, as the operator set it, in bytes.
    pub memory_max_bytes: u64,
}

/// How much of something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many bytes of the disk it takes.
    pub bytes: u64,
    /// How many it may take.
    pub quota_bytes: u64,
}

/// How long what has ended stays in the views, and what was taken out of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// How long executions stay; none means for ever.
    pub executions: Option<Duration>,
    /// What was taken out since the views were begun.
    pub removed: Removed,
}

impl Retained {
    /// Gives how long executions stay as people write it, in days where these are whole ones: `90d`.
    pub fn age(&self) -> Option<String> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.executions.map(|age| match age.as_secs() {
            seconds if age.subsec_nanos() == 0 && seconds.is_multiple_of(DAY_SECONDS) => format!("{}d", seconds / DAY_SECONDS),
            _ => duration_text(millis(age)),
        })
    }
}

/// One thing that `doctor` looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// What it is like.
    pub verdict: FindingVerdict,
    /// What was found, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What a thing is like that `doctor` looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingVerdict {
    /// As it should be.
    Good,
    /// It works, and there is something to know.
    Warning,
    /// It does not work, or is not safe.
    Bad,
}

/// What can be done in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Checks the log's chain from the first record to the last.
    LogVerify,
    /// Builds the read models anew from the log.
    ViewsRebuild,
}

/// Something done in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does.
    pub kind: JobKind,
    /// When it began.
    pub began_at: Timestamp,
    /// The position it has reached.
    pub position: Position,
    /// How it stands.
    pub state: JobState,
}

/// How it stands with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It goes on.
    Running,
    /// It ended, and all was well.
    Succeeded {
        /// When.
        ended_at: Timestamp,
    },
    /// It ended, and found something wrong or could not go on.
    Failed {
        /// When.
        ended_at: Timestamp,
        /// What it found, where, and what to do.
        why: String,
    },
}

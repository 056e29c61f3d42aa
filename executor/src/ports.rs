//! What the worker needs from the node: plain traits, supplied when the node is wired together.
//!
//! This module does not say who implements them. Methods documented as blocking are called only where
//! blocking is allowed.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::{Catalogs, Misfit, NoNewest, NotAccepted};
use ensue_engine::command::ObservedEvent;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::executions::facts::WantedLink;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::names::{KeyRef, TriggerRef, VarName};
use ensue_engine::ports::{Blobs, Outputs, Secret, Submit};
use ensue_engine::record::{AttemptOf, BodyHandle, CatalogRevision, Digest};
use ensue_engine::time::Timestamp;
use ensue_engine::trace::{SpanId, TraceParent};
use ensue_engine::vars::reads::VarReads;
use ensue_expression::Document;
use thiserror::Error;
use tokio::sync::watch;

use crate::begun_file::BegunFile;
use crate::clock::Clock;
use crate::connections::Connections;
pub use crate::key_opening::{KeyError, KeyUser};
use crate::programs::Programs;
use crate::web::Web;

/// Everything that the worker is connected to.
pub struct ExecutorPorts {
    /// Where reports are submitted.
    pub submit: Arc<dyn Submit>,
    /// Where actions are looked up.
    pub catalogs: Arc<dyn Catalogs + Send + Sync>,
    /// Where parameters are fetched.
    pub bodies: Arc<dyn Bodies>,
    /// Where keys are opened.
    pub keys: Arc<dyn Keys>,
    /// How programs call the API.
    pub access: Arc<dyn ProgramAccess>,
    /// Where notifications get their links to inquiries, or none if the node has no such links.
    pub links: Option<Arc<dyn AnswerLinks>>,
    /// Where vars are looked up.
    pub vars: Arc<dyn Vars>,
    /// Where the output of programs is kept.
    pub outputs: Arc<dyn Outputs>,
    /// Where the files that programs give away are kept.
    pub blobs: Arc<dyn Blobs>,
    /// Runs programs.
    pub programs: Arc<dyn Programs>,
    /// Sends requests.
    pub web: Arc<dyn Web>,
    /// The endpoints that the operator defines.
    pub connections: Arc<Connections>,
    /// Receives requests for their spans, or none if no spans are exported.
    pub spans: Option<Arc<dyn RequestSpans>>,
    /// Turns emissions of attempts into events.
    pub observe: Arc<dyn Observe>,
    /// The files of packs.
    pub packs: Arc<dyn PackFiles>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The file of attempts that have begun.
    pub begun: BegunFile,
}

/// Receives requests for their spans.
pub trait RequestSpans: Send + Sync {
    /// Takes a request that has ended. Returns quickly. If there is no room, the request is dropped and
    /// counted.
    fn note_request(&self, request: SentRequest);
}

/// A request that an attempt sent, with its span.
#[derive(Clone, Debug, PartialEq)]
pub struct SentRequest {
    /// Its own span.
    pub span: TraceParent,
    /// The attempt's span.
    pub parent: SpanId,
    /// Its method, or `_OTHER` if the method is not a common one.
    pub method: &'static str,
    /// Its URL without secrets, truncated if it is long.
    pub url: String,
    /// The host and port that it was sent to, or none if they are secret.
    pub server: Option<(String, u16)>,
    /// The status of its answer, or none if there was no answer.
    pub status: Option<u16>,
    /// Why it failed, as a single word, or none if it did not fail.
    pub error: Option<&'static str>,
    /// The number of redirects before it.
    pub redirects: u32,
    /// When it began, by the log's time.
    pub from: Timestamp,
    /// When it ended.
    pub until: Timestamp,
}

/// The bodies of the log.
pub trait Bodies: Send + Sync {
    /// Returns the decoded bytes if they are in memory. Never blocks.
    fn at_hand(&self, digest: &Digest) -> Option<Bytes>;
    /// Reads the decoded bytes from the log. Blocks.
    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError>;
}

/// Why a body cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It was erased.
    #[error("the body {0} was erased")]
    Erased(Digest),
    /// The store has failed.
    #[error("the body {digest} cannot be read: {why}")]
    Store {
        /// The body.
        digest: Digest,
        /// The reason.
        why: String,
    },
}

/// The current keys.
pub trait Keys: Send + Sync {
    /// Opens a key's current value for an attempt. Returns `None` if the key is not set. Blocks.
    fn open(&self, key: &KeyRef, by: &KeyUser) -> Result<Option<Secret>, KeyError>;
}

/// How programs call the API as their execution.
pub trait ProgramAccess: Send + Sync {
    /// Returns the token of an attempt. It counts only while the attempt runs. Returns quickly.
    fn token(&self, attempt: AttemptOf) -> Secret;
    /// Returns where the API is; none until the node listens.
    fn url(&self) -> watch::Receiver<Option<Arc<str>>>;
}

/// Links with which one person answers one inquiry.
pub trait AnswerLinks: Send + Sync {
    /// Creates a link for an attempt of a notification. Returns none if the person cannot have one: then the address that
    /// needs a login stays in its place. Blocks.
    fn mint(&self, link: &WantedLink, attempt: AttemptOf) -> Option<AnswerLink>;
}

/// A link, which is a secret.
#[derive(Clone)]
pub struct AnswerLink {
    /// Its address.
    pub address: Secret,
    /// The part of the address that opens the inquiry.
    pub code: Secret,
}

/// The current vars.
pub trait Vars: Send + Sync {
    /// Returns handles of the values of the vars that are read. Vars without a value are left out. Returns
    /// quickly.
    fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)>;
}

/// An event that an attempt emits into the log, before it is checked and judged.
#[derive(Clone, Debug)]
pub struct Emission {
    /// The execution that emits it.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// What its id is derived from. For an event that comes with a report, this is the execution, because
    /// only one report is accepted. For an event before the report, it is the attempt, because another
    /// attempt may emit again.
    pub cause: Id,
    /// Its index among the events that the cause emits, from 0.
    pub index: u32,
    /// The catalog that the execution runs in.
    pub catalog: CatalogRevision,
    /// The trigger, and the version of the payload.
    pub trigger: VersionedTrigger,
    /// The payload.
    pub payload: Document,
    /// The key under which the event is accepted once.
    pub dedupe: Option<String>,
}

/// Turns an emission into an event: checks the payload, assigns the id, and judges the event.
pub trait Observe: Send + Sync {
    /// Makes the event. Pure computation, limited by the budgets of the rules.
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError>;
}

/// Why an emission is not an event.
#[derive(Clone, Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "payload-invalid", fault = Invalid, hint = "list the triggers with `ensue triggers list`")]
pub enum EmissionError {
    /// There is no such trigger.
    #[error("there is no trigger `{0}` to emit")]
    #[explain(slug = "trigger-not-found")]
    NoTrigger(TriggerRef),
    /// Nobody emits what the engine itself tells.
    #[error("only the engine itself creates events of its own trigger `{0}`")]
    OfTheEngine(TriggerRef),
    /// The payload does not match the trigger's schema.
    #[error("the payload does not fit the trigger `{trigger}`: {}", format_misfits(.misfits))]
    #[explain(hint = "see what it accepts with `ensue triggers show {trigger}`")]
    Misfit {
        /// The trigger.
        trigger: TriggerRef,
        /// How it does not match.
        misfits: Vec<Misfit>,
    },
    /// The payload has no newest form.
    #[error(transparent)]
    #[explain(transparent)]
    NoNewest(#[from] NoNewest),
}

impl EmissionError {
    /// Returns the reason why a trigger does not accept a payload.
    pub fn of(trigger: TriggerRef, why: NotAccepted) -> Self {
        match why {
            NotAccepted::NoNewest(why) => why.into(),
            NotAccepted::Misfits(misfits) => Self::Misfit { trigger, misfits },
        }
    }
}

/// Formats misfits as one line.
pub(crate) fn format_misfits(misfits: &[Misfit]) -> String {
    let texts: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The immutable copies of packs.
pub trait PackFiles: Send + Sync {
    /// Returns the folder that holds the files of the pack with this digest.
    fn folder(&self, pack: &Digest) -> PathBuf;
}

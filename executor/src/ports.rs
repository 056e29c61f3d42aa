//! What the worker needs of the node: plain traits, handed in by the wiring.
//!
//! It does not say who implements them. Those whose documentation says that they block are called where blocking is allowed.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::{Catalogs, Misfit};
use ensue_engine::command::ObservedEvent;
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::names::{KeyRef, TriggerRef, VarName};
use ensue_engine::ports::{Blobs, Outputs, Secret, Submit};
use ensue_engine::record::{BodyHandle, CatalogRevision, Digest};
use ensue_engine::time::Timestamp;
use ensue_engine::trace::{SpanId, TraceParent};
use ensue_engine::vars::reads::VarReads;
use ensue_expression::Document;
use thiserror::Error;

use crate::begun::Begun;
use crate::clock::Clock;
use crate::programs::Programs;
use crate::web::Web;

/// All that the worker is connected to.
pub struct ExecutorPorts {
    /// Where reports go.
    pub submit: Arc<dyn Submit>,
    /// Where actions are looked up.
    pub catalogs: Arc<dyn Catalogs + Send + Sync>,
    /// Where parameters are fetched.
    pub bodies: Arc<dyn Bodies>,
    /// Where keys are opened.
    pub keys: Arc<dyn Keys>,
    /// Where vars are looked up.
    pub vars: Arc<dyn Vars>,
    /// Where what programs print is kept.
    pub outputs: Arc<dyn Outputs>,
    /// Where the files that they give away are kept.
    pub blobs: Arc<dyn Blobs>,
    /// What runs programs.
    pub programs: Arc<dyn Programs>,
    /// What carries requests.
    pub web: Arc<dyn Web>,
    /// Who hears of requests for their spans; none where no spans are exported.
    pub spans: Option<Arc<dyn RequestSpans>>,
    /// What makes events of what attempts emit.
    pub observe: Arc<dyn Observe>,
    /// Where the files of packs are.
    pub packs: Arc<dyn PackFiles>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The file of the attempts that have begun.
    pub begun: Begun,
}

/// Takes requests for their spans.
pub trait RequestSpans: Send + Sync {
    /// Takes a request that has ended. Quick; where there is no room it is dropped and counted.
    fn ended(&self, request: SentRequest);
}

/// A request that an attempt sent, and the span that it is in its trace.
#[derive(Clone, Debug, PartialEq)]
pub struct SentRequest {
    /// Its own span.
    pub span: TraceParent,
    /// The attempt's span.
    pub parent: SpanId,
    /// Its method; `_OTHER` is one that is not common.
    pub method: &'static str,
    /// Its URL without secrets, cut where it is long.
    pub url: String,
    /// The host and the port that it was sent to; none where they are secret.
    pub server: Option<(String, u16)>,
    /// The status of its answer; none where none came.
    pub status: Option<u16>,
    /// Why it failed, as a word; none where it did not.
    pub error: Option<&'static str>,
    /// How many redirects came before it.
    pub redirects: u32,
    /// When it began, by the log's time.
    pub from: Timestamp,
    /// When it ended.
    pub until: Timestamp,
}

/// The bodies of the log.
pub trait Bodies: Send + Sync {
    /// Gives the plain bytes where they are in memory; never blocks.
    fn at_hand(&self, digest: &Digest) -> Option<Bytes>;
    /// Reads the plain bytes from the log; blocks.
    fn read(&self, handle: &BodyHandle) -> Result<Bytes, BodyError>;
}

/// Why a body cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It was erased.
    #[error("the body {0} was erased")]
    Erased(Digest),
    /// The store has failed.
    #[error("the body {digest} cannot be read: {why}")]
    Store {
        /// Which.
        digest: Digest,
        /// Why.
        why: String,
    },
}

/// The keys, as they are now.
pub trait Keys: Send + Sync {
    /// Opens a key's current value; none where it is not set. Blocks.
    fn open(&self, key: &KeyRef) -> Result<Option<Secret>, KeyError>;
}

/// The vars, as they are now.
pub trait Vars: Send + Sync {
    /// Gives where the values stand that are read; those of vars that have none are left out. Quick.
    fn read_by(&self, reads: &VarReads) -> Vec<(VarName, BodyHandle)>;
}

/// Why a key that is set cannot be opened.
#[derive(Debug, Error)]
#[error("the key `{key}` cannot be opened: {why}")]
pub struct KeyError {
    /// Which.
    pub key: KeyRef,
    /// Why, without the value.
    pub why: String,
}

/// What an attempt puts into the log as an event, before it was checked and judged.
#[derive(Clone, Debug)]
pub struct Emission {
    /// The execution that emits it.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// What its id is derived from: the execution where the event comes with a report, of which only one is taken; the attempt where
    /// it comes before, for another attempt may emit again.
    pub cause: Id,
    /// Its place among what the cause emits, from 0.
    pub index: u32,
    /// The catalog that the execution runs in.
    pub catalog: CatalogRevision,
    /// The trigger.
    pub trigger: TriggerRef,
    /// The payload.
    pub payload: Document,
    /// The key under which the event is accepted once.
    pub dedupe: Option<String>,
}

/// What makes an event of an emission: checks the payload, gives it its id and judges it.
pub trait Observe: Send + Sync {
    /// Makes the event. Computes only: the rules' budgets bound it.
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError>;
}

/// Why an emission is no event.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EmissionError {
    /// There is no such trigger.
    #[error("there is no trigger `{0}` to emit")]
    NoTrigger(TriggerRef),
    /// Nobody emits what the engine itself tells.
    #[error("only the engine itself creates events of its own trigger `{0}`")]
    OfTheEngine(TriggerRef),
    /// The payload does not fit.
    #[error("the payload does not fit the trigger `{trigger}`: {}", listed(.misfits))]
    Misfit {
        /// The trigger.
        trigger: TriggerRef,
        /// How.
        misfits: Vec<Misfit>,
    },
}

/// Lists misfits in one line.
pub(crate) fn listed(misfits: &[Misfit]) -> String {
    let texts: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The immutable copies of packs.
pub trait PackFiles: Send + Sync {
    /// Gives the folder that holds the files of the pack with that digest.
    fn folder(&self, pack: &Digest) -> PathBuf;
}

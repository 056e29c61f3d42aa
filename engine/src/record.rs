//! The log's words: a record, what it is made of, and the draft it was before it had a position.
//!
//! It does not know what the facts mean (`fact.rs` and the nouns do) nor where records are kept (`ports.rs`).

mod body;
mod chain;
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use body::{Body, BodyHandle, Digest, Encoding};
pub use chain::{Chain, ChainError, verify_link};
pub use wire::WireRecord;

use crate::fact::Fact;
use crate::ids::{EnforcementId, EventId, ExecutionId, Id, LogId, TokenId};
use crate::names::{KeyRef, PackName, RuleRef, SensorRef, VarName};
use crate::time::Timestamp;

/// The most bytes a fact may have as JSON.
pub const FACT_BYTES_MAX: usize = 16 * 1024;

macro_rules! counts {
    ($($(#[$doc:meta])* $type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// Gives the one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counts! {
    /// A place in a log: 1, 2, 3 … without a gap; 0 is before the first.
    Position;
    /// The count of a record in its stream, from 1.
    Revision;
    /// The writer's right to write: it only grows, and an append under an older one fails.
    Epoch;
    /// The state of the catalog that something was judged by; 0 is the empty catalog.
    CatalogRevision;
}

/// The thing that a record belongs to, written `<noun>/<name or id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// An event.
    Event(EventId),
    /// An enforcement.
    Enforcement(EnforcementId),
    /// An execution, with its attempts.
    Execution(ExecutionId),
    /// A pack.
    Pack(PackName),
    /// A rule, by its ref: its errors and its suspension.
    Rule(RuleRef),
    /// What a sensor could not turn into events.
    Sensor(SensorRef),
    /// A key: that it was set, never its value.
    Key(KeyRef),
    /// An access token: that it exists, never its secret.
    Token(TokenId),
    /// A var: what it was set to, and by whom.
    Var(VarName),
    /// The log itself: its nodes, its clock, its parked reactions.
    Log(LogId),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => write!(f, "event/{id}"),
            Self::Enforcement(id) => write!(f, "enforcement/{id}"),
            Self::Execution(id) => write!(f, "execution/{id}"),
            Self::Pack(name) => write!(f, "pack/{name}"),
            Self::Rule(name) => write!(f, "rule/{name}"),
            Self::Sensor(name) => write!(f, "sensor/{name}"),
            Self::Key(name) => write!(f, "key/{name}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Var(name) => write!(f, "var/{name}"),
            Self::Log(id) => write!(f, "log/{id}"),
        }
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for StreamId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{}` is not a stream; write `<noun>/<id>`", text.chars().take(80).collect::<String>());
        let (noun, name) = text.split_once('/').ok_or_else(unknown)?;
        match noun {
            "event" => name.parse().map(Self::Event),
            "enforcement" => name.parse().map(Self::Enforcement),
            "execution" => name.parse().map(Self::Execution),
            "pack" => name.parse().map(Self::Pack).map_err(|e| e.to_string()),
            "rule" => name.parse().map(Self::Rule).map_err(|e| e.to_string()),
            "sensor" => name.parse().map(Self::Sensor).map_err(|e| e.to_string()),
            "key" => name.parse().map(Self::Key).map_err(|e| e.to_string()),
            "token" => name.parse().map(Self::Token),
            "var" => name.parse().map(Self::Var).map_err(|e| e.to_string()),
            "log" => name.parse().map(Self::Log),
            _ => Err(unknown()),
        }
    }
}

/// Who asked for a record, written `<kind>` or `<kind>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The engine itself.
    Engine,
    /// The holder of a named token.
    Token(String),
    /// A sensor, on behalf of whoever its key lets in.
    Sensor(SensorRef),
    /// A worker that reports on an attempt.
    Worker(String),
    /// Whoever opened the data directory while no node ran on it.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Token(name) => write!(f, "token/{name}"),
            Self::Sensor(name) => write!(f, "sensor/{name}"),
            Self::Worker(name) => write!(f, "worker/{name}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "engine" => Ok(Self::Engine),
            None if text == "operator" => Ok(Self::Operator),
            Some(("token", name)) => Ok(Self::Token(name.to_owned())),
            Some(("sensor", name)) => name.parse().map(Self::Sensor).map_err(|e| format!("{e}")),
            Some(("worker", name)) => Ok(Self::Worker(name.to_owned())),
            None | Some(_) => Err(format!("`{}` is not an actor", text.chars().take(80).collect::<String>())),
        }
    }
}

/// Where a record comes from: the record that led to it, and the chain it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The record that led to this one; none for what came from outside.
    pub parent: Option<Id>,
    /// The first record of the chain; a record without a parent is its own root.
    pub root: Id,
    /// How many events stand above in the chain.
    pub depth: u32,
    /// The W3C trace of the request at the chain's beginning: its `traceparent`, then a space and its `tracestate` where it had one.
    pub trace: Option<String>,
}

impl Cause {
    /// Begins a chain at the record `id`.
    pub fn root(id: Id, trace: Option<String>) -> Self {
        Self { parent: None, root: id, depth: 0, trace }
    }

    /// Goes on in the same chain, as what the record `parent` led to.
    #[must_use]
    pub fn from_parent(&self, parent: Id) -> Self {
        Self { parent: Some(parent), ..self.clone() }
    }
}

/// A fact that is not yet in the log: it has everything but its place there.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The thing it belongs to.
    pub stream: StreamId,
    /// The id of the thing that this record begins; none for a later record of its stream, whose id follows from its revision.
    pub begins: Option<Id>,
    /// Who asked for it.
    pub actor: Actor,
    /// Why it came about; none makes it the root of a chain.
    pub cause: Option<Cause>,
    /// The trace of the request, where the draft begins a chain.
    pub trace: Option<String>,
    /// What happened.
    pub fact: Fact,
    /// What came from outside or was rendered from it.
    pub body: Option<Body>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// The log it stands in.
    pub log: LogId,
    /// The writer's right under which it was written.
    pub epoch: Epoch,
    /// The commit it belongs to.
    pub batch: Id,
    /// The thing it belongs to.
    pub stream: StreamId,
    /// Its count there.
    pub revision: Revision,
    /// The schema of the fact as it stands in the log, which may be older than the one `fact` was upcast to.
    pub schema: u16,
    /// Its id: the thing's where it begins one, else derived from the thing's and the revision.
    pub id: Id,
    /// When the sequencer took it.
    pub time: Timestamp,
    /// Who asked for it.
    pub actor: Actor,
    /// Why it came about.
    pub cause: Cause,
    /// What happened.
    pub fact: Fact,
    /// The fact as it stands in the log: JSON, hashed into the chain.
    pub fact_json: bytes::Bytes,
    /// What came from outside; its content may have been erased.
    pub body: Option<Body>,
    /// The hash of the chain up to and with this record.
    pub chain: Chain,
}

impl Record {
    /// Gives the fact's name, `noun.verbed`.
    pub fn kind(&self) -> &'static str {
        self.fact.kind()
    }

    /// Gives the handle of the body, to be fetched where it is needed.
    pub fn body_handle(&self) -> Option<BodyHandle> {
        self.body.as_ref().map(|body| BodyHandle { digest: body.digest, bytes: body.bytes, at: self.position })
    }
}

/// The newest position of a log, and the chain's hash there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The newest position; 0 in an empty log.
    pub position: Position,
    /// The chain's hash there; 32 zero bytes in an empty log.
    pub chain: Chain,
}

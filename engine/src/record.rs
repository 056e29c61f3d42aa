//! The types of the log: a record, its parts, and the draft that it was before it had a position.
//!
//! The meaning of facts is defined in `fact.rs` and the nouns, and the storage of records in `ports.rs`.

mod body;
mod chain;
mod counts;
mod head;
mod origin;
mod stream;
mod wire;

pub use counts::{CatalogRevision, Epoch, Position, Revision};
pub use head::{Chain, Head};
pub use origin::{Actor, AttemptOf, Cause, CredentialId, DEPTH_MAX};
pub use stream::StreamId;

pub use body::{Body, BodyHandle, Digest, Encoding};
pub use chain::{ChainError, verify_link};
pub use wire::WireRecord;

use crate::fact::Fact;
use crate::ids::{Id, LogId};
use crate::time::Timestamp;

/// A fact that is not yet in the log: it has everything except its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The stream of the thing that it belongs to.
    pub stream: StreamId,
    /// The id of the thing that this record begins; `None` for a later record of its stream, whose id follows
    /// from its revision.
    pub begins: Option<Id>,
    /// The actor that asked for it.
    pub actor: Actor,
    /// The cause; `None` makes it the root of a chain.
    pub cause: Option<Cause>,
    /// The trace of the request, if the draft begins a chain.
    pub trace: Option<String>,
    /// What happened.
    pub fact: Fact,
    /// The content that came from outside or was rendered from it.
    pub body: Option<Body>,
}

impl Draft {
    /// Creates a draft for a fact that an actor asked for. It is the root of a chain, and has no body.
    pub fn new(stream: StreamId, actor: &Actor, fact: impl Into<Fact>) -> Self {
        Self { stream, begins: None, actor: actor.clone(), cause: None, trace: None, fact: fact.into(), body: None }
    }

    /// Creates a draft for a fact that follows from others.
    pub fn by_engine(stream: StreamId, fact: impl Into<Fact>) -> Self {
        Self::new(stream, &Actor::Engine, fact)
    }

    /// Sets the id of the thing that the record begins.
    #[must_use]
    pub fn beginning(mut self, id: impl Into<Option<Id>>) -> Self {
        self.begins = id.into();
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Option<Cause>>) -> Self {
        self.cause = cause.into();
        self
    }

    /// Sets the trace of the request.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<&str>) -> Self {
        self.trace = trace.map(str::to_owned);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Option<Body>>) -> Self {
        self.body = body.into();
        self
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// The log that contains it.
    pub log: LogId,
    /// The epoch under which it was written.
    pub epoch: Epoch,
    /// The commit it belongs to.
    pub batch: Id,
    /// The stream of the thing that it belongs to.
    pub stream: StreamId,
    /// Its revision in the stream.
    pub revision: Revision,
    /// The schema of the fact as stored in the log, which may be older than the one that `fact` was upcast
    /// to.
    pub schema: u16,
    /// Its id: that of the thing if it begins one, else derived from the thing's id and the revision.
    pub id: Id,
    /// When the sequencer accepted it.
    pub time: Timestamp,
    /// The actor that asked for it.
    pub actor: Actor,
    /// The cause.
    pub cause: Cause,
    /// What happened.
    pub fact: Fact,
    /// The fact as stored in the log: JSON, hashed into the chain.
    pub fact_json: bytes::Bytes,
    /// The content that came from outside; it may have been erased.
    pub body: Option<Body>,
    /// The hash of the chain up to and including this record.
    pub chain: Chain,
}

impl Record {
    /// Returns the kind of the fact, `noun.verbed`.
    pub fn kind(&self) -> &'static str {
        self.fact.kind()
    }

    /// Returns the handle of the body, which is fetched when it is needed.
    pub fn body_handle(&self) -> Option<BodyHandle> {
        self.body.as_ref().map(|body| BodyHandle { digest: body.digest, bytes: body.bytes, at: self.position })
    }
}

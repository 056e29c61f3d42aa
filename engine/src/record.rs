//! The log's words: a record, what it is made of, and the draft it was before it had a position.
//!
//! It does not know what the facts mean (`fact.rs` and the nouns do) nor where records are kept (`ports.rs`).

mod body;
mod chain;
mod counts;
mod head;
mod origin;
mod stream;
mod wire;

pub use counts::{CatalogRevision, Epoch, Position, Revision};
pub use head::{Chain, Head};
pub use origin::{Actor, Cause};
pub use stream::StreamId;

pub use body::{Body, BodyHandle, Digest, Encoding};
pub use chain::{ChainError, verify_link};
pub use wire::WireRecord;

use crate::fact::Fact;
use crate::ids::{Id, LogId};
use crate::time::Timestamp;

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

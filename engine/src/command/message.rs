//! What an attempt says while it runs, as a command.
//!
//! How a program says it, and how a worker hears it, is the executor's.

use crate::command::ObservedEvent;
use crate::executions::artifacts::{ArtifactName, MediaType};
use crate::ids::{AttemptId, ExecutionId};
use crate::record::{Body, Digest};

/// One thing that an attempt says while it runs.
///
/// The messages of an attempt come in the order of their index, which may have gaps. One with an index that was passed already is a
/// repeat, and changes nothing: a worker that does not know whether a message counts sends it again.
#[derive(Clone, Debug)]
pub struct Message {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The fencing token it was given.
    pub token: u64,
    /// Its place among the messages of the attempt, from 0.
    pub index: u32,
    /// What is said.
    pub said: Said,
}

/// What an attempt may say while it runs.
#[derive(Clone, Debug)]
pub enum Said {
    /// How far it is.
    Progress {
        /// How much is done, in thousandths.
        thousandths: Option<u16>,
        /// What it does now, in its own words: `{"message": "…"}`.
        body: Option<Body>,
    },
    /// Something happened.
    Event(Box<ObservedEvent>),
    /// A file of it was kept as a blob.
    Artifact(SaidArtifact),
    /// Something that cannot be taken: no message, or one about what is not there.
    Unusable {
        /// Why.
        reason: String,
    },
}

/// A file that an attempt gave away while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidArtifact {
    /// The name it is shown and saved under.
    pub name: ArtifactName,
    /// What the program says it is.
    pub media_type: Option<MediaType>,
    /// The hash of its bytes, under which they are kept.
    pub blob: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

//! Messages of a running attempt, as a command.
//!
//! How a program sends them and how a worker receives them is the executor's concern.

use crate::command::ObservedEvent;
use crate::executions::artifacts::{ArtifactName, MediaType};
use crate::ids::{AttemptId, ExecutionId};
use crate::record::{Body, Digest};

/// A message from a running attempt.
///
/// The messages of an attempt come in the order of their index, which may have gaps. A message whose index
/// was already passed is a repeat and changes nothing: a worker that does not know whether a message was
/// recorded sends it again.
#[derive(Clone, Debug)]
pub struct Message {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The fencing token of the attempt.
    pub token: u64,
    /// Its index among the messages of the attempt, from 0.
    pub index: u32,
    /// The content.
    pub said: MessageContent,
}

/// The contents that a message can have.
#[derive(Clone, Debug)]
pub enum MessageContent {
    /// Progress.
    Progress {
        /// The progress in thousandths.
        thousandths: Option<u16>,
        /// A description of the current work, in the program's own words: `{"message": "…"}`.
        body: Option<Body>,
    },
    /// An event.
    Event(Box<ObservedEvent>),
    /// A file that was stored as a blob.
    Artifact(SaidArtifact),
    /// Input that cannot be accepted: it is not a valid message, or refers to something that does not exist.
    Unusable {
        /// The reason.
        reason: String,
    },
}

/// A file that an attempt produced while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidArtifact {
    /// The name under which it is shown and saved.
    pub name: ArtifactName,
    /// The media type that the program declares.
    pub media_type: Option<MediaType>,
    /// The hash of its bytes, under which they are stored.
    pub blob: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

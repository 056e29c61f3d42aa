//! What the core makes of a command.

use crate::command::Before;
use crate::command::Refusal;
use crate::ids::{EventId, ExecutionId};
use crate::names::TriggerRef;
use crate::record::{BodyHandle, CatalogRevision, Draft, Position};

/// What the core makes of a command.
#[derive(Debug)]
pub enum Decision {
    /// These facts, and this answer once they are in the log.
    Done {
        /// What is to be recorded; nothing where the command changes nothing.
        drafts: Vec<Draft>,
        /// What the caller is told.
        answer: Answer,
    },
    /// Not allowed.
    Refused(Refusal),
    /// These bodies must be at hand first.
    Needs(Vec<BodyHandle>),
}

/// What a caller is told once its command is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or was so already.
    Done,
    /// The events, each new or a repeat.
    Events(Vec<ReceivedEvent>),
    /// The execution was asked for.
    Execution(ExecutionId),
    /// The catalog has this revision.
    Catalog(CatalogRevision),
    /// The request was carried out before, and this is what was answered.
    Before(Before),
    /// The report changed nothing: the attempt had been given up, and perhaps a newer one exists.
    ReportedLate,
}

/// An event that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub trigger: TriggerRef,
    /// Its place: known once the batch has positions.
    pub position: Position,
    /// Whether it was there before.
    pub novelty: Novelty,
}

/// Whether something was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is new.
    New,
    /// It was there before.
    Repeat,
}

//! The core's decision on a command.

use crate::command::FirstAnswer;
use crate::command::Refusal;
use crate::ids::{EventId, ExecutionId};
use crate::names::TriggerRef;
use crate::record::{BodyHandle, CatalogRevision, Draft, Position};

/// The core's decision on a command.
#[derive(Debug)]
pub enum Decision {
    /// These facts, and this answer once they are in the log.
    Done {
        /// The facts to record; empty if the command changes nothing.
        drafts: Vec<Draft>,
        /// The answer to the caller.
        answer: Answer,
    },
    /// Not allowed.
    Refused(Refusal),
    /// These bodies must be fetched first.
    Needs(Vec<BodyHandle>),
}

/// The answer to a caller once its command is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was carried out, or there was nothing left to do.
    Done,
    /// The events, each new or a repeat.
    Events(Vec<ReceivedEvent>),
    /// The execution was asked for.
    Execution(ExecutionId),
    /// The revision of the catalog.
    Catalog(CatalogRevision),
    /// The request was carried out before, with this answer.
    Before(FirstAnswer),
    /// The report changed nothing: the attempt had been given up, and there may be a newer one.
    ReportedLate,
}

/// An event that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// Its id.
    pub id: EventId,
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its position, known once the batch has positions.
    pub position: Position,
    /// Whether it is new.
    pub novelty: Novelty,
}

/// Whether something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is new.
    New,
    /// It existed before.
    Repeat,
}

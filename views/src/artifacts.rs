//! Artifacts: the files that attempts published.
//!
//! Only their descriptions are kept here. Their bytes are blobs outside the log, and may be removed before
//! the row is.

use ensue_derive::sparse;
use ensue_engine::executions::artifacts::{ArtifactName, MediaType};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ArtifactId, AttemptId, ExecutionId};
use ensue_engine::record::{Digest, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::view::{Column, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which artifacts can be filtered.
pub const COLUMNS: &[Column] = &[Column::Execution];

/// An artifact.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// Its position in the log.
    pub position: Position,
    /// The execution it belongs to.
    pub execution: ExecutionId,
    /// The attempt that published it.
    pub attempt: AttemptId,
    /// The file name under which it is saved.
    pub name: ArtifactName,
    /// Its media type, as the program declared it.
    pub media_type: Option<MediaType>,
    /// The hash of its bytes.
    pub blob: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was stored.
    pub time: Timestamp,
}

impl View for Artifact {
    const NAME: ViewName = ViewName::Artifacts;
    type Key = ArtifactId;

    fn key(record: &Record) -> Option<Touch<ArtifactId>> {
        matches!(record.fact, Fact::ArtifactKept(_)).then_some(Touch::Begins(ArtifactId(record.id)))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let (Fact::ArtifactKept(fact), StreamId::Execution(execution)) = (&record.fact, &record.stream) else { return before };
        Some(Self {
            id: ArtifactId(record.id),
            position: record.position,
            execution: *execution,
            attempt: fact.attempt,
            name: fact.name.clone(),
            media_type: fact.media_type.clone(),
            blob: fact.blob,
            bytes: fact.bytes,
            time: record.time,
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.time
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.execution.into())]
    }
}

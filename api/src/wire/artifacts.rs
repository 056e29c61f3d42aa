//! The files that attempts published.

use ensue_derive::wire;
use ensue_engine::executions::artifacts::{ArtifactName, MediaType};
use ensue_engine::ids::ArtifactId;
use ensue_engine::record::{Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Artifact;
use schemars::JsonSchema;
use serde::Serialize;

/// A file that an attempt published.
#[wire(Serialize)]
pub(crate) struct WireArtifact {
    id: ArtifactId,
    position: Position,
    /// Null if the attempt is no longer shown.
    attempt: Option<u32>,
    name: ArtifactName,
    media_type: Option<MediaType>,
    bytes: u64,
    digest: Digest,
    time: Timestamp,
    state: FileState,
}

/// Whether a file is still stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileState {
    /// It can be downloaded.
    Kept,
    /// It was removed.
    Removed,
}

impl WireArtifact {
    /// Shows an artifact with the number of its attempt.
    pub(crate) fn new(artifact: Artifact, attempt: Option<u32>, state: FileState) -> Self {
        Self {
            id: artifact.id,
            position: artifact.position,
            attempt,
            name: artifact.name,
            media_type: artifact.media_type,
            bytes: artifact.bytes,
            digest: artifact.blob,
            time: artifact.time,
            state,
        }
    }
}

//! The files that attempts published.

use ensue_engine::executions::artifacts::{ArtifactName, MediaType};
use ensue_engine::ids::ArtifactId;
use ensue_engine::record::{Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Artifact;
use schemars::JsonSchema;
use serde::Serialize;

use crate::shapes;

/// A file that an attempt published.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireArtifact {
    #[schemars(with = "shapes::ArtifactId")]
    id: ArtifactId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    /// Null if the attempt is no longer shown.
    attempt: Option<u32>,
    #[schemars(with = "shapes::ArtifactName")]
    name: ArtifactName,
    #[schemars(with = "Option<shapes::MediaType>")]
    media_type: Option<MediaType>,
    bytes: u64,
    #[schemars(with = "shapes::Digest")]
    digest: Digest,
    #[schemars(with = "shapes::Timestamp")]
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

//! The source `file`: files in a folder. Each change is a message, or each line.
//!
//! `file/watch.rs` reports changes of files, with or without their content, and `file/tail.rs` follows the lines that are
//! appended. Which files there are, and how they are opened, is in `file/folder.rs`.

mod folder;
mod glob;
mod known;
mod tail;
mod wake;
mod watch;

use std::sync::Arc;

use ensue_engine::catalog::{AfterFile, FileContent, FileSource, Sensor};
use ensue_expression::{Budget, Document, Scope, Value};

use crate::error::{SensorErrorKind, SourceError};
use crate::source::Source;
use crate::world::World;
use folder::{Folder, Wanted};

/// Begins after a cursor.
pub(crate) async fn open(
    sensor: &Sensor,
    file: Arc<FileSource>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn Source>, SourceError> {
    let path = {
        let scope = Scope::new().with("config", Value::from_json(&sensor.config));
        let rendered = file.path.render(&scope, &mut Budget::default());
        let rendered = rendered.map_err(|error| SourceError::new(SensorErrorKind::Emits, format!("`path` cannot be computed: {error}")))?;
        rendered.as_str().map(str::to_owned).ok_or_else(|| SourceError::new(SensorErrorKind::Emits, "`path` is not a string"))?
    };
    let skipped = match &file.after {
        AfterFile::Move(into) if !into.starts_with('/') => Some(into.clone()),
        AfterFile::Move(_) | AfterFile::Keep | AfterFile::Delete => None,
    };
    let wanted = Wanted { path, skipped, is_changed: file.after != AfterFile::Keep };
    let folders = Arc::clone(&world.folders);
    let folder = blocking(move || Folder::open(&wanted, &folders)).await??;
    let folder = Arc::new(folder);
    match file.content {
        FileContent::Tail => tail::open(file, folder, world, cursor).await,
        FileContent::Nothing | FileContent::Whole | FileContent::Lines => watch::open(file, folder, world, cursor),
    }
}

/// Does work that may block on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| SourceError::new(SensorErrorKind::Bug, format!("reading files stopped at an internal error: {why}")))
}

/// Returns the error for a cursor that is not one of this source.
fn foreign_cursor() -> SourceError {
    SourceError::new(SensorErrorKind::Protocol, "the stored cursor is not one of these files; set it back with `ensue sensors rewind`")
}

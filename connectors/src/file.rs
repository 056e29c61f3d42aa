//! The source `file`: files in a folder. Each change is a message, or each line.
//!
//! `file/watch.rs` reports changes of files, with or without their content, and `file/tail.rs` follows the lines that are
//! appended. Which files there are, and how they are opened, is in `file/folder.rs`, and what happens to them afterwards in
//! `file/after.rs`.

mod access;
mod disposition;
mod folder;
mod glob;
mod known_files;
mod safe_open;
mod tail;
mod wake;
mod watch;

use std::sync::Arc;

use ensue_engine::catalog::{FileContent, FileSource, FileStart, Sensor};
use ensue_expression::{Budget, Document, Scope, Value};

use crate::error::{SensorErrorKind, SourceError};
use crate::source::MessageSource;
use crate::world::{SourcePurpose, World};
use folder::{FileSelection, Folder};

/// Begins after a cursor.
pub(crate) async fn open(
    sensor: &Sensor,
    file: Arc<FileSource>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn MessageSource>, SourceError> {
    let path = {
        let scope = Scope::new().with("config", Value::from_json(&sensor.config));
        let rendered = file.path.render(&scope, &mut Budget::default());
        let rendered = rendered.map_err(|error| SourceError::new(SensorErrorKind::Emits, format!("`path` cannot be computed: {error}")))?;
        rendered.as_str().map(str::to_owned).ok_or_else(|| SourceError::new(SensorErrorKind::Emits, "`path` is not a string"))?
    };
    let wanted = FileSelection { path, after: file.after.clone() };
    let folders = Arc::clone(&world.folders);
    let folder = blocking(move || Folder::open(&wanted, &folders)).await??;
    let folder = Arc::new(folder);
    match file.content {
        FileContent::Tail => tail::open(file, folder, world, cursor).await,
        FileContent::Nothing | FileContent::Whole | FileContent::Lines => watch::open(file, folder, world, cursor),
    }
}

/// The form of the cursors of files, for people.
pub(crate) const CURSOR_FORM: &str = "it is an object that the node writes, with what it knows of each file; copy an earlier one whole";

/// Returns true if a document is a cursor of such files.
pub(crate) fn reads(file: &FileSource, cursor: &Document) -> bool {
    match file.content {
        FileContent::Tail => tail::reads(cursor),
        FileContent::Nothing | FileContent::Whole | FileContent::Lines => watch::reads(cursor),
    }
}

/// Returns what happens to the files that are there at first. A test shows those that a new sensor only remembers, and a
/// look for the end shows none.
fn start_of(file: &FileSource, world: &World) -> FileStart {
    match world.purpose {
        SourcePurpose::Run => file.start,
        SourcePurpose::Test => {
            if file.start == FileStart::Now {
                world.lines.add("a new sensor only remembers the files that are there (`start: now`)".to_owned());
            }
            FileStart::All
        }
        SourcePurpose::End => FileStart::Now,
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

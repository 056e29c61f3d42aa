//! Copies the data directory of a stopped node: its log, in a chosen format, and everything that the log refers
//! to.
//!
//! The copy has no views and no saved states, which the next start builds from the log. It also has nothing that
//! belongs to a process or its programs: a copy of the `begun` file proves nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ensue_engine::explain::Explain;
use thiserror::Error;

use crate::data_dir::{DataDir, DataDirError};
use crate::sqlite::log::Format;
use crate::sqlite::log::copy::{CopiedLog, CopyLogError, CopyProgress, LogSource};
use crate::sync;

pub use crate::sqlite::log::copy::CopyStage;

/// Why a data directory was not copied.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum CopyError {
    /// The target has content already.
    #[error("{} is not empty; a copy needs a new directory", .0.display())]
    #[explain(slug = "copy-target-not-empty", fault = Conflict, hint = "name a directory that is empty or does not exist with --to")]
    NotEmpty(PathBuf),
    /// The target is inside the directory that is copied.
    #[error("{} is inside {}, which is to be copied", .to.display(), .from.display())]
    #[explain(slug = "copy-target-not-empty", fault = Conflict, hint = "name a directory outside of the one that is copied with --to")]
    Inside {
        /// The target.
        to: PathBuf,
        /// The directory that is to be copied.
        from: PathBuf,
    },
    /// The target cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Target(#[from] DataDirError),
    /// The log was not copied.
    #[error(transparent)]
    #[explain(transparent)]
    Log(#[from] CopyLogError),
    /// A file was not copied.
    #[error("{} cannot be copied: {source}", .path.display())]
    #[explain(slug = "data-unusable", fault = World)]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// Copies a directory to `to`, which must be empty or missing, and verifies the copied logs. If the copy fails,
/// nothing of it is left.
pub fn copy(from: &DataDir, to: &Path, format: Format, progress: CopyProgress<'_>) -> Result<Vec<CopiedLog>, CopyError> {
    demand_empty(to)?;
    demand_outside(to, from.path())?;
    let source = LogSource::open(&from.log().as_path().into(), format, progress)?;
    let is_new = !to.exists();
    let target = DataDir::open(to)?;
    // Another process may have filled it before it was locked.
    demand_unused(&target)?;
    let copied = fill(from, &target, &source, progress);
    if copied.is_err() {
        // The error that is reported is that of the copy, not of this.
        let _ = discard(target, is_new);
    }
    copied
}

/// Creates a directory with a log, at `to`, which must be empty or missing. `write` creates the file of the log at the path that
/// it is given, and may create other files of a data directory beside it; the log gets to its place last. If `write` fails,
/// nothing is left.
pub fn new_log_in<T, E: From<CopyError>>(to: &Path, write: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
    demand_empty(to)?;
    let is_new = !to.exists();
    let target = DataDir::open(to).map_err(CopyError::from)?;
    demand_unused(&target)?;
    let written = write_log(&target, write);
    if written.is_err() {
        // The error that is reported is that of the copy, not of this.
        let _ = discard(target, is_new);
    }
    written
}

fn write_log<T, E: From<CopyError>>(to: &DataDir, write: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
    let failed = |source: io::Error| CopyError::File { path: to.log(), source };
    let unfinished_folder = to.path().join("copying");
    sync::make_folder(&unfinished_folder).map_err(failed)?;
    let unfinished = unfinished_folder.join("log.sqlite");
    let written = write(&unfinished)?;
    for entry in fs::read_dir(&unfinished_folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        match name.as_encoded_bytes() {
            b"log.sqlite" | b"log.sqlite-shm" => {}
            b"log.sqlite-wal" if entry.metadata().map_err(failed)?.len() == 0 => {}
            b"log.sqlite-wal" => return Err(failed(io::Error::other("the copied log is not complete in its file")).into()),
            _ => fs::rename(entry.path(), to.path().join(name)).map_err(failed)?,
        }
    }
    fs::rename(&unfinished, to.log()).and_then(|()| fs::remove_dir_all(&unfinished_folder)).map_err(failed)?;
    sync::sync_folder(to.path()).map_err(failed)?;
    Ok(written)
}

fn demand_empty(to: &Path) -> Result<(), CopyError> {
    let failed = |source: io::Error| CopyError::File { path: to.to_owned(), source };
    let Some(mut entries) = sync::existing(fs::read_dir(to)).map_err(failed)? else { return Ok(()) };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(CopyError::NotEmpty(to.to_owned())),
    }
}

/// Fails if a directory has more than what opening it creates.
fn demand_unused(target: &DataDir) -> Result<(), CopyError> {
    let failed = |source: io::Error| CopyError::File { path: target.path().to_owned(), source };
    for entry in fs::read_dir(target.path()).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name != "lock" && !name.as_encoded_bytes().starts_with(b"spare") {
            return Err(CopyError::NotEmpty(target.path().to_owned()));
        }
    }
    Ok(())
}

/// Fails if the target is below the directory that is copied: the copy would never end.
fn demand_outside(to: &Path, from: &Path) -> Result<(), CopyError> {
    let failed = |source: io::Error| CopyError::File { path: to.to_owned(), source };
    let absolute = std::path::absolute(to).map_err(failed)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(&absolute);
    let (inside, from) = (existing.canonicalize().map_err(failed)?, from.canonicalize().map_err(failed)?);
    if inside.starts_with(&from) { Err(CopyError::Inside { to: to.to_owned(), from }) } else { Ok(()) }
}

fn fill(from: &DataDir, to: &DataDir, source: &LogSource, progress: CopyProgress<'_>) -> Result<Vec<CopiedLog>, CopyError> {
    let failed = |source: io::Error| CopyError::File { path: to.path().to_owned(), source };
    // Opened before anything is written, so that syncing it reports each error of writing back.
    let opened = fs::File::open(to.path()).map_err(failed)?;
    for part in parts(from) {
        let copy = to.path().join(part.file_name().unwrap_or_default());
        copy_part(&part, &copy)?;
    }
    sync::sync_tree(&opened, to.path()).map_err(failed)?;
    // The log gets to its place last, so that no node starts on an incomplete copy. What SQLite keeps next to it
    // is empty by then.
    write_log(to, |unfinished| Ok(source.copy_to(&unfinished.into(), progress)?))
}

/// Returns the files and folders that are copied as they are. A node that was killed leaves a part of the vault
/// in its write-ahead log.
fn parts(from: &DataDir) -> [PathBuf; 6] {
    [from.vault(), from.vault().with_extension("sqlite-wal"), from.packs(), from.outputs(), from.blobs(), from.cursor_key()]
}

/// Copies a file or a folder, if it exists.
fn copy_part(from: &Path, to: &Path) -> Result<(), CopyError> {
    let failed = |source: io::Error| CopyError::File { path: from.to_owned(), source };
    let Some(about) = sync::existing(fs::metadata(from)).map_err(failed)? else { return Ok(()) };
    if !about.is_dir() {
        return fs::copy(from, to).map(|_| ()).map_err(failed);
    }
    sync::make_folder(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy_part(&entry.path(), &to.join(entry.file_name()))?;
    }
    // Last, because nothing can be created in a folder that is read-only.
    fs::set_permissions(to, about.permissions()).map_err(failed)
}

/// Removes an incomplete copy.
fn discard(target: DataDir, is_new: bool) -> io::Result<()> {
    let folder = target.path().to_owned();
    drop(target);
    if is_new {
        return fs::remove_dir_all(folder);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ensue_engine::record::Body;
    use ensue_test_support::records::{LOG, Writer, event};
    use tempfile::TempDir;

    use super::*;
    use crate::encode::compress;
    use crate::sqlite::log::SqliteLog;

    fn source(folder: &TempDir) -> DataDir {
        let from = DataDir::open(&folder.path().join("from")).unwrap();
        let mut log = SqliteLog::open(&from.log(), LOG).unwrap();
        let body = compress(Body::json(format!("[{}]", vec!["1"; 1_000].join(","))));
        let mut writer = Writer::of(&log);
        let batch = writer.batch([event(1).with_body(body)]);
        writer.write(&mut log, &batch).unwrap();
        for (name, content) in [("packs/abc/pack.yaml", "name: a"), ("outputs/00/x", "printed"), ("views.sqlite", "v"), ("begun", "b")] {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::set_permissions(from.packs().join("abc/pack.yaml"), fs::Permissions::from_mode(0o444)).unwrap();
        from
    }

    fn copy_as_v0_1(from: &DataDir, to: &Path) -> Result<Vec<CopiedLog>, CopyError> {
        copy(from, to, Format::V0_1, &mut |_, _, _| ())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn copy_has_the_log_and_what_it_refers_to_and_nothing_of_a_process() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (source(&folder), folder.path().join("new/to"));
        let logs = copy_as_v0_1(&from, &to).unwrap();
        assert_eq!(logs.iter().map(|log| (log.id, log.verified.records)).collect::<Vec<_>>(), [(LOG, 1)]);
        let names: Vec<String> = names(&to).into_iter().filter(|name| name != "spare").collect();
        assert_eq!(names, ["lock", "log.sqlite", "outputs", "packs"]);
        let pack = to.join("packs/abc/pack.yaml");
        assert_eq!(fs::metadata(&pack).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(
            (fs::read_to_string(pack).unwrap(), fs::read_to_string(to.join("outputs/00/x")).unwrap()),
            ("name: a".into(), "printed".into())
        );
    }

    #[test]
    fn target_with_content_is_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (source(&folder), folder.path().join("to"));
        fs::create_dir(&to).unwrap();
        fs::write(to.join("theirs"), "").unwrap();
        assert!(matches!(copy_as_v0_1(&from, &to), Err(CopyError::NotEmpty(_))));
        assert_eq!(names(&to), ["theirs"]);
        assert!(matches!(copy_as_v0_1(&from, from.path()), Err(CopyError::NotEmpty(_))));
    }

    #[test]
    fn directory_that_another_process_filled_is_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let target = DataDir::open(&folder.path().join("to")).unwrap();
        assert!(demand_unused(&target).is_ok(), "it has only what opening it creates");
        fs::write(target.vault(), "theirs").unwrap();
        assert!(matches!(demand_unused(&target), Err(CopyError::NotEmpty(_))));
    }

    #[test]
    fn target_inside_the_source_is_refused_and_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let from = source(&folder);
        for inside in ["new", "outputs/new/deeper"] {
            let to = from.path().join(inside);
            assert!(matches!(copy_as_v0_1(&from, &to), Err(CopyError::Inside { .. })), "{inside}");
            assert!(!to.exists(), "{inside}");
        }
        assert!(copy_as_v0_1(&from, &folder.path().join("from-too")).is_ok(), "only the beginning of its name is the same");
    }

    #[test]
    fn failed_copy_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (source(&folder), folder.path().join("to"));
        // A checksum shows that this is not the content that was written.
        let connection = rusqlite::Connection::open(from.log()).unwrap();
        connection.execute_batch("UPDATE records SET content = x'00'").unwrap();
        drop(connection);
        assert!(matches!(copy_as_v0_1(&from, &to), Err(CopyError::Log(CopyLogError::Read(_)))));
        assert!(!to.exists());
        fs::create_dir(&to).unwrap();
        assert!(copy_as_v0_1(&from, &to).is_err());
        assert!(names(&to).is_empty(), "an empty folder stays an empty folder");
    }
}

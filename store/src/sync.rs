//! Durable files: a file that is written separately and renamed is there completely or not at all, even after
//! a power failure.
//!
//! It does not depend on the contents of files. SQLite syncs its own.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

/// How much of a file is written before it is synced. A sync of another file on the disk, as the log does
/// with each commit, may have to wait for the unsynced part of this one.
const SYNC_EVERY_BYTES: usize = 512 * 1024;

/// Something that was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting<'p> {
    /// The content of a file.
    File(&'p Path),
    /// The names in a folder.
    Folder(&'p Path),
}

/// A function that is called with everything that was made durable.
pub type Witness = fn(Lasting<'_>);

static WITNESS: OnceLock<Witness> = OnceLock::new();

/// Sets the witness, for tests that model what a power failure leaves. Only the first call has an effect.
pub fn set_witness(witness: Witness) {
    let _ = WITNESS.set(witness);
}

fn notify_witness(lasting: Lasting<'_>) {
    if let Some(witness) = WITNESS.get() {
        witness(lasting);
    }
}

/// Makes the written content of a file durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    notify_witness(Lasting::File(path));
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    notify_witness(Lasting::Folder(folder));
    Ok(())
}

/// Makes everything in a folder durable: at once where the system can do that, because a call for each file
/// waits for the disk each time. `opened` is the folder, opened before anything was written to it: the system
/// reports errors of writing back from then on.
pub(crate) fn sync_tree(opened: &File, folder: &Path) -> io::Result<()> {
    #[cfg(not(target_os = "linux"))]
    let _ = opened;
    #[cfg(target_os = "linux")]
    match rustix::fs::syncfs(opened) {
        Err(rustix::io::Errno::NOSYS) => {}
        synced => return Ok(synced?),
    }
    sync_each(folder)
}

fn sync_each(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_each(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Creates a folder that only its owner can use, with its missing parents, and makes all their names durable.
/// The name of an existing folder is made durable as well, because its creator may have ended before doing
/// so.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.ancestors().take(missing.max(1)).try_for_each(|made| sync_folder(parent(made)))
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces the file at `path` with `content`, completely or not at all, readable by the owner only.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = parent(path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    // A file that was left there may have another mode.
    existing(fs::remove_file(&beside))?;
    let mut file = create_private(&beside, Existing::Kept)?;
    for part in content.chunks(SYNC_EVERY_BYTES) {
        file.write_all(part)?;
        file.sync_data()?;
    }
    sync_file(&file, &beside)?;
    fs::rename(&beside, path)?;
    sync_folder(folder)
}

/// What happens to an existing file.
#[derive(Clone, Copy)]
pub(crate) enum Existing {
    /// It is truncated.
    Replaced,
    /// It causes an error.
    Kept,
}

/// Creates a file that only its owner can read.
pub(crate) fn create_private(path: &Path, existing: Existing) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).mode(0o600);
    match existing {
        Existing::Replaced => options.create(true).truncate(true),
        Existing::Kept => options.create_new(true),
    };
    options.open(path)
}

/// Creates a folder and its parents, which only their owner can enter. An existing folder is not changed.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Returns `None` if the result is a not-found error.
pub(crate) fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    static LASTING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// Starts recording the folders whose names are made durable.
    pub(crate) fn note_folders() {
        set_witness(|lasting| {
            if let Lasting::Folder(folder) = lasting {
                LASTING.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
            }
        });
    }

    /// Returns true if the name of a file or a folder was made durable since recording started.
    pub(crate) fn name_lasts(path: &Path) -> bool {
        LASTING.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|folder| folder == parent(path))
    }

    #[test]
    fn names_of_all_created_folders_are_durable() {
        note_folders();
        let base = tempfile::tempdir().unwrap();
        let deepest = base.path().join("a/b/c");
        create_folder(&deepest).unwrap();
        assert!(deepest.is_dir());
        assert!(deepest.ancestors().take(3).all(name_lasts));
    }

    #[test]
    fn name_of_an_existing_folder_is_made_durable_as_well() {
        note_folders();
        let base = tempfile::tempdir().unwrap();
        let there = base.path().join("there");
        fs::create_dir(&there).unwrap();
        create_folder(&there).unwrap();
        assert!(name_lasts(&there));
    }
}

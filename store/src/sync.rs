//! Making files last: a file that was written beside and renamed is there whole or not at all, also after a power cut.
//!
//! It knows nothing of what the files hold.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// How much of a file is written before it is synced: who syncs another file of the disk meanwhile, as the log does with each
/// commit, may have to wait for what is dirty of this one.
const SYNC_EVERY_BYTES: usize = 512 * 1024;

/// Makes the names in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts `content` in the place of what stands at `path`, whole or not at all, readable by the owner only.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut file = create_private(&beside, Existing::Replaced)?;
    for part in content.chunks(SYNC_EVERY_BYTES) {
        file.write_all(part)?;
        file.sync_data()?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(folder)
}

/// What becomes of a file that is there.
#[derive(Clone, Copy)]
pub(crate) enum Existing {
    /// It is emptied.
    Replaced,
    /// It is an error.
    Kept,
}

/// Creates a file that its owner alone can read.
pub(crate) fn create_private(path: &Path, existing: Existing) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).mode(0o600);
    match existing {
        Existing::Replaced => options.create(true).truncate(true),
        Existing::Kept => options.create_new(true),
    };
    options.open(path)
}

/// Makes a folder and those above it that only their owner can enter; one that is there stays as it is.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Gives none for what is not there.
pub(crate) fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

//! Finds disks by path: SQLite knows files by their paths, so a path names its disk.
//!
//! The functions are the file operations of a store outside of SQLite.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::disk::{Disk, DiskInner, Names, Opening};

const BASE: &str = "/ensue-disk";

/// How much is read and written at once when a file is rewritten.
const CHUNK_BYTES: usize = 64 * 1024;

type Disks = BTreeMap<String, Weak<DiskInner>>;

fn disks() -> MutexGuard<'static, Disks> {
    static DISKS: Mutex<Disks> = Mutex::new(BTreeMap::new());
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn enlist(name: &str, disk: &Disk) {
    let mut disks = disks();
    disks.retain(|_, disk| disk.strong_count() > 0);
    let before = disks.insert(name.to_owned(), Arc::downgrade(&disk.0));
    assert!(before.is_none(), "a disk named `{name}` is still in use");
}

pub(crate) fn path(disk: &str, file: &str) -> PathBuf {
    Path::new(BASE).join(disk).join(file)
}

/// Returns the disk that a path names, and the file's name on it.
pub(crate) fn find_disk(path: &Path) -> io::Result<(Disk, String)> {
    let mut parts = path.strip_prefix(BASE).map_err(|_| ErrorKind::NotFound)?.iter().map(|part| part.to_string_lossy().into_owned());
    let disk = parts.next().and_then(|name| disks().get(&name)?.upgrade()).ok_or(ErrorKind::NotFound)?;
    Ok((Disk(disk), parts.next().unwrap_or_default()))
}

/// Returns true if the file exists.
pub fn exists(path: &Path) -> bool {
    find_disk(path).is_ok_and(|(disk, name)| disk.exists(&name))
}

/// Creates an empty file; it is an error if it already exists.
pub fn create(path: &Path) -> io::Result<()> {
    let (disk, name) = find_disk(path)?;
    disk.create(&name)
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    let (disk, name) = find_disk(path)?;
    disk.remove(&name)
}

/// Renames a file on the same disk and replaces any file of the new name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let ((disk, from), (_, to)) = (find_disk(from)?, find_disk(to)?);
    disk.rename(&from, &to)
}

/// Makes the names in the folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    find_disk(folder)?.0.sync_folder()
}

/// Rewrites a file's content in place and syncs it; does nothing if the file does not exist.
pub fn write_again(path: &Path) -> io::Result<()> {
    let (disk, name) = find_disk(path)?;
    let handle = match disk.open(&name, Opening::There) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let size = disk.size(handle)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < size {
        let count = CHUNK_BYTES.min((size - at) as usize);
        disk.read(handle, &mut chunk[..count], at)?;
        disk.write(handle, &chunk[..count], at)?;
        at += count as u64;
    }
    let synced = disk.sync(handle, Names::Not);
    disk.close(handle);
    synced
}

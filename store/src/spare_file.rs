//! A file that reserves some disk space. It is removed when the data directory is opened on a full disk, so
//! that the files there can be opened and read.
//!
//! A database that was killed needs space to be opened again, even by a process that only reads, because its
//! write-ahead log is written back into its file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::space::free_bytes;

/// How much it reserves: the size of the write-ahead logs of the log and the views, unless someone reads for
/// very long.
pub const SPARE_BYTES: u64 = 16 * 1024 * 1024;
/// It is created if at least this much is free.
const MADE_FROM_BYTES: u64 = 2 * SPARE_BYTES;

/// Removes the file if less is free than it holds, and creates it if there is plenty of space. If neither is
/// possible (for example, ZFS cannot reserve space), only a start on a full disk is affected.
pub(crate) fn keep(folder: &Path) {
    // The files are opened next, and report any problem with the disk.
    let _ = keep_by(free_bytes(folder), &path(folder));
}

fn keep_by(free_bytes: u64, file: &Path) -> io::Result<()> {
    let holds = fs::metadata(file).map_or(0, |about| about.len());
    if free_bytes < SPARE_BYTES {
        return remove(file);
    }
    if holds == SPARE_BYTES || free_bytes < MADE_FROM_BYTES {
        return Ok(());
    }
    // An incomplete file reserves less than is needed.
    remove(file)?;
    make(file).or_else(|_| remove(file))
}

fn make(file: &Path) -> io::Result<()> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(file)?;
    Ok(fallocate(&made, FallocateFlags::empty(), 0, SPARE_BYTES)?)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("spare")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn spare_space_is_reserved_and_released_when_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path());
        keep_by(MADE_FROM_BYTES - 1, &file).unwrap();
        assert!(!file.exists(), "there is too little to hold any of it");
        keep_by(MADE_FROM_BYTES, &file).unwrap();
        let made = fs::metadata(&file).unwrap();
        assert_eq!(
            (made.blocks() * 512, made.mode() & 0o777),
            (SPARE_BYTES, 0o600),
            "the file has no holes, and only its owner can open it"
        );
        keep_by(SPARE_BYTES, &file).unwrap();
        assert!(file.exists(), "there is still room");
        keep_by(SPARE_BYTES - 1, &file).unwrap();
        assert!(!file.exists());
        keep_by(0, &file).unwrap();
    }

    #[test]
    fn truncated_spare_file_is_recreated() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path());
        fs::write(&file, "short").unwrap();
        keep_by(u64::MAX, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), SPARE_BYTES);
    }
}

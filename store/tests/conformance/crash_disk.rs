//! Paths on an in-memory disk that fails as disks do.
//!
//! The crate `ensue-disk` describes the behavior of such a disk.

use ensue_disk::{Disk, Sectors};

use ensue_store::sqlite::{FileSystem, SqliteFile};

/// Such disks, as SQLite accesses their files.
pub(crate) const CRASH_DISKS: FileSystem = FileSystem {
    vfs: Some(ensue_disk::VFS),
    exists: ensue_disk::exists,
    create: ensue_disk::create,
    sync_folder: ensue_disk::sync_folder,
    remove: ensue_disk::remove,
    rename: ensue_disk::rename,
    write_again: ensue_disk::write_again,
};

/// Returns the place of a file on a disk.
pub(crate) fn place(disk: &Disk, file: &str) -> SqliteFile {
    SqliteFile { path: disk.path(file), files: CRASH_DISKS }
}

/// Creates a disk for the test that runs on this thread.
pub(crate) fn disk_of_this_test(seed: u64) -> Disk {
    let name = std::thread::current().name().expect("tests have names").replace("::", "-");
    Disk::new(&name, seed, if seed.is_multiple_of(2) { Sectors::Bytes4096 } else { Sectors::Bytes512 })
}

//! Places on a disk in memory that fails as disks fail.
//!
//! What such a disk does is said by the crate `ensue-disk`.

use ensue_disk::{Disk, Sectors};

use crate::sqlite::{FileSystem, Place};

/// Such disks, as SQLite's files are reached on them.
pub(crate) const CRASH_DISKS: FileSystem = FileSystem {
    vfs: Some(ensue_disk::VFS),
    exists: ensue_disk::exists,
    create: ensue_disk::create,
    sync_folder: ensue_disk::sync_folder,
    remove: ensue_disk::remove,
    rename: ensue_disk::rename,
    write_again: ensue_disk::write_again,
};

/// Gives a file's place on a disk.
pub(crate) fn place(disk: &Disk, file: &str) -> Place {
    Place { path: disk.path(file), files: CRASH_DISKS }
}

/// Makes a disk for the test that runs on this thread.
pub(crate) fn disk_of_this_test(seed: u64) -> Disk {
    let name = std::thread::current().name().expect("tests have names").replace("::", "-");
    Disk::new(&name, seed, if seed.is_multiple_of(2) { Sectors::Bytes4096 } else { Sectors::Bytes512 })
}

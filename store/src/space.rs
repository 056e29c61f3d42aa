//! What files take of a disk, and how much of it is free.
//!
//! Who may take how much is not known here.

use std::path::Path;

/// What a file takes of the disk is a multiple of this.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// After how many bytes is looked again how much of the disk is free.
pub(crate) const LOOKED_AT_EVERY_BYTES: u64 = 1024 * 1024;

/// What a file of so many bytes takes of the disk.
pub(crate) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// How much of the disk is free; all of it on a machine that does not say so, where a file tells when the disk is full.
pub(crate) fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |about| about.f_bavail.saturating_mul(about.f_frsize))
}

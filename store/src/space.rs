//! The disk space that files take, and how much is free.
//!
//! Limits are not defined here.

use std::path::Path;

/// The disk space of a file is a multiple of this.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// After how many bytes the free disk space is checked again.
pub(crate) const LOOKED_AT_EVERY_BYTES: u64 = 1024 * 1024;

/// Returns the disk space of a file with so many bytes.
pub(crate) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Returns the free disk space. On a machine that does not report it, the maximum; there, writes fail when
/// the disk is full.
pub(crate) fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |about| about.f_bavail.saturating_mul(about.f_frsize))
}

//! The files that attempts publish as artifacts, stored by the hash of their bytes, in a folder or in memory.
//! Equal files are stored once.
//!
//! Their names and owners are in the log. A blob that no record names is garbage, and retention removes it by
//! its age.

mod folder;
mod memory;

pub use folder::{BlobLimits, FolderBlobs};
pub use memory::MemoryBlobs;

/// The maximum number of bytes read at once: 4 MiB.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

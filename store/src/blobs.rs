//! The files that attempts gave away: by the hash of their bytes, each once however often it was given, in a folder or in memory.
//!
//! What they are called and whose they are stands in the log. A blob that no record names is garbage, which goes with its age.

mod folder;
mod memory;

pub use folder::{BlobLimits, FolderBlobs};
pub use memory::MemoryBlobs;

/// The most bytes that are read at once: 4 MiB.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

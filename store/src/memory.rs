//! Stores in memory: for tests, and as a model of the stores on disk that is short enough to be obviously
//! right.
//!
//! Nothing here outlives the process.

mod log;
mod vault;
mod views;

pub use log::{MemoryLog, MemoryLogReader, MemoryLogs};
pub use vault::MemoryVault;
pub use views::{MemoryViewReader, MemoryViews};

//! Everything in memory: for tests, and to say what the stores on disk must do in so few words that it is obviously right.
//!
//! Nothing here outlives the process.

mod log;
mod vault;
mod views;

pub use log::{MemoryLog, MemoryLogReader, MemoryLogs};
pub use vault::MemoryVault;
pub use views::{MemoryViewReader, MemoryViews};

//! Where logs, secrets and read models are kept, by what it can do. What it is stands in one file alone: `backend/sqlite.rs`.
//!
//! The node knows these traits, and the writer's and readers' own of `ensue-engine` and `ensue-views`. A batch costs one call through
//! them.

pub mod sqlite;

use std::any::Any;
use std::sync::Arc;

use ensue_engine::ids::LogId;
use ensue_engine::ports::{Log, LogError, LogReader, Vault};
use ensue_store::master_key::MasterKey;
use ensue_views::retention::RetainedViews;
use ensue_views::{ViewError, ViewReader};

pub use sqlite::{Folder, FolderError, OpenError};

/// What keeps a log, its secrets and its read models.
pub trait Backend: Send + Sync {
    /// Returns the logs that are there; none where one is to be made.
    fn logs(&self) -> Result<Vec<LogId>, OpenError>;
    /// Returns the log that is there; none where it is to be made. Fails where one is missing that must have been there.
    fn log(&self) -> Result<Option<LogId>, OpenError>;
    /// Returns true if there are secrets, so that there must be a key for them.
    fn has_secrets(&self) -> bool;
    /// Opens the log to be written to, under a new epoch; makes it where it is not there.
    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, OpenError>;
    /// Opens the log to be read.
    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, OpenError>;
    /// Opens the secrets, sealed under this key.
    fn vault(&self, log: LogId, master: MasterKey) -> Result<Arc<dyn Vault>, OpenError>;
    /// Opens the read models; makes them where they are not there.
    fn views(&self, log: LogId) -> Result<Box<dyn Views>, OpenError>;
    /// Opens read models beside the live ones, to take their place once they have come as far.
    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, OpenError>;
}

/// Read models, as their one follower holds them.
pub trait Views: RetainedViews {
    /// Returns a reader with connections of its own.
    fn reader(&self) -> Arc<dyn ViewReader>;
    /// Returns what looks through all of them, on whichever thread it is called: what it finds damaged is told by
    /// [`is_damaged`](Self::is_damaged).
    fn look(&self) -> Look;
    /// Returns true if a reader came upon damage.
    fn is_damaged(&self) -> bool;
    /// Forgets what is at hand beside the rows: a bug of ours may have left it other than what is kept.
    fn forget_what_is_at_hand(&mut self);
    /// Takes the place of these views by ones that were made beside them, and have come as far.
    fn adopt(&mut self, beside: Box<dyn Views>) -> Result<(), ViewError>;
    /// Gives back the space of what was taken out.
    fn shrink(&mut self) -> Result<(), ViewError>;
    /// Returns itself as what it is, for the backend whose it is.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A look through read models; see [`Views::look`].
pub type Look = Box<dyn FnOnce() -> Result<(), ViewError> + Send>;

/// What opens read models beside the live ones.
pub type OpenBeside = Box<dyn Fn() -> Result<Box<dyn Views>, OpenError> + Send + Sync>;

/// Returns what opens readers of a log.
pub fn readers_of(backend: Arc<dyn Backend>, log: LogId) -> impl Fn() -> Result<Box<dyn LogReader>, LogError> + Send + Sync {
    move || backend.reader(log).map_err(|error| LogError::Store(error.to_string()))
}

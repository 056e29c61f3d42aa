//! Traits for the storage of logs, secrets, read models, outputs and artifacts. The implementation is in one file:
//! `backend/sqlite.rs`.
//!
//! The node uses these traits, and the writer and reader traits of `ensue-engine` and `ensue-views`. A batch costs
//! one call through them.

pub mod sqlite;

use std::any::Any;
use std::io;
use std::sync::Arc;

use ensue_engine::ids::{AttemptId, LogId};
use ensue_engine::ports::{Blobs, Log, LogError, LogReader, OutputError, Outputs};
use ensue_store::blobs::BlobLimits;
use ensue_store::master_key::MasterKeys;
use ensue_store::outputs::{Now, OutputLimits};
use ensue_store::retention::{Round, Step};
use ensue_store::vault::SealedVault;
use ensue_views::retention::RetainedViews;
use ensue_views::{ViewError, ViewReader};

pub use sqlite::{CopiedLog, FillError, Folder, FolderError, Format, LogSource, OpenError, filled, in_folder, insert_rate, sources_in};

/// The storage of a log, its secrets, its read models, and the outputs and artifacts of its attempts.
pub trait Backend: Send + Sync {
    /// Returns the existing logs; empty if the log is still to be created.
    fn logs(&self) -> Result<Vec<LogId>, OpenError>;
    /// Returns the existing log, or `None` if it is still to be created. Fails if a log is missing that must have
    /// existed.
    fn log(&self) -> Result<Option<LogId>, OpenError>;
    /// Returns true if there are stored secrets, which require a key.
    fn has_secrets(&self) -> bool;
    /// Opens the log for writing, under a new epoch. Creates it if it does not exist.
    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, OpenError>;
    /// Opens the log for reading.
    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, OpenError>;
    /// Opens the secrets, which are encrypted with these keys.
    fn vault(&self, log: LogId, masters: MasterKeys) -> Result<Arc<dyn SealedVault>, OpenError>;
    /// Opens the read models. Creates them if they do not exist.
    fn views(&self, log: LogId) -> Result<Box<dyn Views>, OpenError>;
    /// Opens a second set of read models next to the live ones, which it replaces once it has caught up.
    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, OpenError>;
    /// Opens the outputs of attempts. Creates their store if it does not exist.
    fn outputs(&self, limits: OutputLimits, now: Now) -> io::Result<Arc<dyn KeptOutputs>>;
    /// Opens the artifacts of attempts. Creates their store if it does not exist.
    fn blobs(&self, limits: BlobLimits, now: Now) -> io::Result<Arc<dyn KeptBlobs>>;
}

/// A store from which the housekeeper removes old items.
pub trait Expiring: Send + Sync {
    /// Returns the space in use.
    fn used_bytes(&self) -> u64;
    /// Does the next part of a round that removes old items.
    fn step(&self, round: &mut Round) -> io::Result<Step>;
}

/// The outputs of attempts.
pub trait KeptOutputs: Outputs + Expiring {
    /// Registers the attempts that may print more, and returns the errors of those whose output cannot be read.
    fn go_on(&self, attempts: Vec<AttemptId>) -> Vec<OutputError>;
}

/// The artifacts of attempts.
pub trait KeptBlobs: Blobs + Expiring {}

/// Read models, as their only follower owns them.
pub trait Views: RetainedViews {
    /// Returns a reader with its own connections.
    fn reader(&self) -> Arc<dyn ViewReader>;
    /// Returns a check of all read models, which can run on any thread. [`is_damaged`](Self::is_damaged) reports the
    /// damage that it finds.
    fn look(&self) -> Look;
    /// Returns true if a reader found damage.
    fn is_damaged(&self) -> bool;
    /// Clears the in-memory caches: after an internal error they may differ from the stored rows.
    fn forget_what_is_at_hand(&mut self);
    /// Releases the memory of all caches, and closes connections that are not in use. All of it comes back as it is used.
    fn release_caches(&mut self);
    /// Replaces these views with ones that were built next to them and have caught up.
    fn adopt(&mut self, beside: Box<dyn Views>) -> Result<(), ViewError>;
    /// Releases the space of removed rows.
    fn shrink(&mut self) -> Result<(), ViewError>;
    /// Returns itself as `Any`, so that its backend can downcast it.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A check of read models; see [`Views::look`].
pub type Look = Box<dyn FnOnce() -> Result<(), ViewError> + Send>;

/// Opens read models next to the live ones.
pub type OpenBeside = Box<dyn Fn() -> Result<Box<dyn Views>, OpenError> + Send + Sync>;

/// Returns a function that opens readers of a log.
pub fn readers_of(backend: Arc<dyn Backend>, log: LogId) -> impl Fn() -> Result<Box<dyn LogReader>, LogError> + Send + Sync {
    move || backend.reader(log).map_err(|error| LogError::Store(error.to_string()))
}

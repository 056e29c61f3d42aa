//! Traits for the storage of logs, secrets, read models, outputs and artifacts. The implementations are in
//! `backend/sqlite.rs`, a data directory, and `backend/postgres.rs`, a database beside one.
//!
//! The node uses these traits, and the writer and reader traits of `ensue-engine` and `ensue-views`. A batch costs
//! one call through them.

pub mod postgres;
pub mod sqlite;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_engine::explain::Explain;
use ensue_engine::ids::{AttemptId, LogId};
use ensue_engine::ports::{Blobs, Log, LogError, LogReader, OutputError, Outputs, Vault};
use ensue_engine::record::Position;
use ensue_objects::Bucket;
use ensue_packs::PackSource;
use ensue_postgres::{DatabaseError, Health, LeadWatch};
use ensue_store::blobs::BlobLimits;
use ensue_store::disk_retention::Expiring;
use ensue_store::master_key::MasterKeys;
use ensue_store::objects::SharedStates;
use ensue_store::outputs::{Now, OutputLimits};
use ensue_store::vault::SealedVault;
use ensue_views::view_retention::RetainedViews;
use ensue_views::{ViewError, ViewReader};
use thiserror::Error;

pub use sqlite::{
    CopiedLog, FillError, Folder, FolderError, Format, LogSource, OpenError, Places, fill_log, in_folder, insert_rate, new_secrets,
    secrets_in, sources_in,
};

/// Why a storage cannot be opened.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum StorageError {
    /// A file of the data directory cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    File(#[from] OpenError),
    /// The database cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Database(#[from] DatabaseError),
    /// The data directory belongs to another log than the database.
    #[error(
        "the data directory belongs to log {directory}, but {at} has {}",
        .found.map_or_else(|| "no log".to_owned(), |found| format!("log {found}"))
    )]
    #[explain(
        slug = "log-elsewhere",
        fault = Conflict,
        hint = "name the database of that log, or another data directory with --data; `ensue log copy --from DIR --to postgres://…` copies a log"
    )]
    OtherLog {
        /// The server and the database.
        at: String,
        /// The log that the directory belongs to.
        directory: LogId,
        /// The log in the database.
        found: Option<LogId>,
    },
    /// The log of the data directory is in a database.
    #[error("the log {log} of this data directory is in a database")]
    #[explain(
        slug = "log-elsewhere",
        fault = Conflict,
        hint = "name the database with --database; to go back to a data directory, `ensue log copy --from postgres://… --to NEW-DIR`"
    )]
    InDatabase {
        /// The log.
        log: LogId,
    },
    /// The log of the directory became longer after it was copied into the database.
    #[error("the log in the data directory ends at position {local}, but its copy in {at} ends at position {found}")]
    #[explain(
        slug = "log-elsewhere",
        fault = Conflict,
        hint = "copy the log again into an empty database: `ensue log copy --from DIR --to postgres://…`"
    )]
    Newer {
        /// The server and the database.
        at: String,
        /// The newest position in the directory.
        local: Position,
        /// The newest position in the database.
        found: Position,
    },
    /// The object store cannot be used.
    #[error("the object store {at} cannot be used: {why}")]
    #[explain(
        slug = "objects-unusable",
        fault = World,
        hint = "check the address in `objects`, and the variables with the region, the endpoint and the credentials: the guide to PostgreSQL lists those of each service"
    )]
    Objects {
        /// Its address.
        at: String,
        /// The reason.
        why: String,
    },
    /// An object store is set, but the log is in the data directory.
    #[error("`objects` is set, but `database` is not")]
    #[explain(
        slug = "config-invalid",
        fault = Malformed,
        hint = "only nodes that share a database share outputs and artifacts; set `database`, or remove `objects`"
    )]
    ObjectsAlone,
    /// A file of the data directory cannot be used.
    #[error("the file {} cannot be used: {why}", .path.display())]
    #[explain(slug = "data-unusable", fault = World)]
    Note {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// The storage of a log, its secrets, its read models, and the outputs and artifacts of its attempts.
pub trait Backend: Send + Sync {
    /// Returns the existing logs; empty if the log is still to be created.
    fn logs(&self) -> Result<Vec<LogId>, StorageError>;
    /// Returns the existing log, or `None` if it is still to be created. Fails if a log is missing that must have
    /// existed.
    fn log(&self) -> Result<Option<LogId>, StorageError>;
    /// Returns true if there are stored secrets, which require a key.
    fn has_secrets(&self) -> bool;
    /// Returns true if other machines can use the storage: then the files of this one may be out of date.
    fn is_shared(&self) -> bool {
        false
    }
    /// Opens the log for writing, under a new epoch. If another node leads it, waits for its end. Creates it if it does not exist.
    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, StorageError>;
    /// Opens the log for writing as [`writer`](Self::writer) does, and calls `meanwhile` again and again while it waits.
    fn writer_after(&self, log: LogId, _meanwhile: &mut dyn FnMut()) -> Result<Box<dyn Log>, StorageError> {
        self.writer(log)
    }
    /// Opens what another node wrote to the log for certain, for a node that waits; `None` if no other node can write to it.
    fn open_confirmed(&self, _log: LogId) -> Result<Option<Box<dyn LogReader>>, StorageError> {
        Ok(None)
    }
    /// Returns the watch that says whether another node leads the log by now; `None` if no other one can.
    fn lead_watch(&self) -> Option<LeadWatch> {
        None
    }
    /// Notes that everything is open that the node needs to serve.
    fn has_started(&self) {}
    /// Asks the database of the storage about its safety; `None` if the storage has none.
    fn health(&self) -> Option<Result<Health, DatabaseError>> {
        None
    }
    /// Returns the bucket for outputs and artifacts; `None` if they are elsewhere.
    fn bucket(&self) -> Option<&Bucket> {
        None
    }
    /// Opens the saved states that other machines can use; `None` if they are only in the data directory.
    fn shared_states(&self, _log: LogId, _masters: MasterKeys) -> Option<SharedStates> {
        None
    }
    /// Opens the log for reading.
    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, StorageError>;
    /// Opens the secrets, which are encrypted with these keys.
    fn vault(&self, log: LogId, masters: MasterKeys) -> Result<Arc<dyn SealedVault>, StorageError>;
    /// Opens the files of packs that other machines need; `None` if the copies in the data directory are all there is.
    fn pack_archive(&self, _log: LogId) -> Result<Option<Arc<dyn PackArchive>>, StorageError> {
        Ok(None)
    }
    /// Opens the read models. Creates them if they do not exist.
    fn views(&self, log: LogId) -> Result<Box<dyn Views>, StorageError>;
    /// Opens a second set of read models next to the live ones, which it replaces once it has caught up.
    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, StorageError>;
    /// Opens the outputs of attempts. Creates their store if it does not exist. The vault has the key that seals those which
    /// nodes share.
    fn outputs(&self, of: (LogId, &dyn Vault), limits: OutputLimits, now: Now) -> io::Result<Arc<dyn KeptOutputs>>;
    /// Opens the artifacts of attempts. Creates their store if it does not exist.
    fn blobs(&self, log: LogId, limits: BlobLimits, now: Now) -> io::Result<Arc<dyn KeptBlobs>>;
}

/// The files of the packs that are or were installed, where other machines find them.
pub trait PackArchive: Send + Sync {
    /// Keeps the files of a pack.
    fn keep(&self, source: &PackSource) -> Result<(), String>;
    /// Writes the packs that a folder of copies lacks into it, and keeps those that only the folder has.
    fn exchange(&self, copies: &Path) -> Result<(), String>;
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
pub type OpenBeside = Box<dyn Fn() -> Result<Box<dyn Views>, StorageError> + Send + Sync>;

/// Returns a function that opens readers of a log.
pub fn readers_of(backend: Arc<dyn Backend>, log: LogId) -> impl Fn() -> Result<Box<dyn LogReader>, LogError> + Send + Sync {
    move || backend.reader(log).map_err(|error| LogError::Store(error.to_string()))
}

//! The backend in a data directory: the log, the secrets and the read models in SQLite files, the outputs and
//! artifacts in folders. Beside `postgres.rs`, no other file of the node names a concrete store.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_engine::ids::{AttemptId, LogId};
use ensue_engine::ports::{Log, LogReader, OutputError, Vault};
use ensue_store::blobs::{BlobLimits, FolderBlobs};
use ensue_store::master_key::MasterKeys;
use ensue_store::outputs::{FolderOutputs, Now, OutputLimits};
use ensue_store::settling_log::SettlingLog;
use ensue_store::sqlite::SqliteFile;
use ensue_store::sqlite::log::{SqliteLog, SqliteLogReader, logs_at};
use ensue_store::sqlite::vault::{SqliteEnvelopes, SqliteVault};
use ensue_store::sqlite::views::SqliteViews;
use ensue_store::stored_vault::Envelopes;
use ensue_store::transfer::{Source, TransferError, transfer};
use ensue_store::vault::SealedVault;
use ensue_views::{ViewError, ViewReader};

use super::postgres::read_note;
use super::{Backend, KeptBlobs, KeptOutputs, Look, StorageError, Views};

/// The data directory of a node, held exclusively by this process.
pub use ensue_store::data_dir::DataDir as Folder;
/// Why the data directory cannot be opened.
pub use ensue_store::data_dir::DataDirError as FolderError;
/// Why a file in the data directory cannot be opened.
pub use ensue_store::sqlite::OpenError;
/// How fast this machine inserts rows.
pub use ensue_store::sqlite::insert_rate;
/// The forms in which a log can be copied, and what was copied.
pub use ensue_store::sqlite::log::{Format, copy::CopiedLog};

/// Returns the storage in a data directory.
pub fn in_folder(folder: &Folder) -> Arc<dyn Backend> {
    Arc::new(Places::of(folder))
}

/// A log that is copied to another store.
pub type LogSource = (LogId, Box<dyn Source>);

/// Opens all logs of a data directory that no node uses, the oldest first, to copy them to another store.
pub fn sources_in(folder: &Folder) -> Result<Vec<LogSource>, OpenError> {
    let place = Places::of(folder).log;
    let open = |log: LogId| Ok((log, Box::new(SqliteLogReader::open_at(&place, log)?) as Box<dyn Source>));
    logs_at(&place)?.into_iter().map(open).collect()
}

/// Opens the sealed secrets of a data directory that no node uses; `None` if it has none.
pub fn secrets_in(folder: &Folder, log: LogId) -> Result<Option<Box<dyn Envelopes>>, OpenError> {
    let place = Places::of(folder).vault;
    if !(place.files.exists)(&place.path) {
        return Ok(None);
    }
    Ok(Some(Box::new(SqliteEnvelopes::open_at(&place, log)?)))
}

/// Creates the file for sealed secrets that are copied from another store, beside the file of their log.
pub fn new_secrets(log_file: &Path, log: LogId) -> Result<Box<dyn Envelopes>, OpenError> {
    let path = log_file.with_file_name("vault.sqlite");
    Ok(Box::new(SqliteEnvelopes::open_at(&path.as_path().into(), log)?))
}

/// Why a log was not copied into a file.
#[derive(Debug)]
pub enum FillError {
    /// The file cannot be opened.
    Open(OpenError),
    /// The records were not copied.
    Transfer(TransferError),
}

/// Creates the file of a log that is copied from another store, and returns a reader of the copy.
pub fn fill_log(path: &Path, log: LogId, from: &dyn Source, progress: impl FnMut(u64)) -> Result<Box<dyn LogReader>, FillError> {
    let mut target = SqliteLog::open(path, log).map_err(FillError::Open)?;
    transfer(from, &mut target, progress).map_err(FillError::Transfer)?;
    drop(target);
    Ok(Box::new(SqliteLogReader::open(path, log).map_err(FillError::Open)?))
}

/// Where the files and folders of a data directory are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The log.
    pub log: SqliteFile,
    /// The vault.
    pub vault: SqliteFile,
    /// The read models.
    pub views: SqliteFile,
    /// The folder of the outputs.
    pub outputs: PathBuf,
    /// The folder of the artifacts.
    pub blobs: PathBuf,
    /// The note of a log in a database, if the directory belongs to one.
    pub note: PathBuf,
}

impl Places {
    /// Returns the places in the directory itself.
    pub fn of(folder: &Folder) -> Self {
        let place = |path: PathBuf| path.as_path().into();
        let (log, vault, views) = (place(folder.log()), place(folder.vault()), place(folder.views()));
        Self { log, vault, views, outputs: folder.outputs(), blobs: folder.blobs(), note: folder.log_elsewhere() }
    }

    /// Opens the outputs in their folder.
    pub(super) fn open_outputs(&self, limits: OutputLimits, now: Now) -> io::Result<FolderOutputs> {
        FolderOutputs::open(&self.outputs, limits, now)
    }

    /// Opens the artifacts in their folder.
    pub(super) fn open_blobs(&self, limits: BlobLimits, now: Now) -> io::Result<FolderBlobs> {
        FolderBlobs::open(&self.blobs, limits, now)
    }

    fn views_beside(&self) -> SqliteFile {
        SqliteFile { path: self.views.path.with_extension("rebuilt.sqlite"), ..self.views.clone() }
    }
}

impl Backend for Places {
    fn logs(&self) -> Result<Vec<LogId>, StorageError> {
        Ok(logs_at(&self.log)?)
    }

    fn log(&self) -> Result<Option<LogId>, StorageError> {
        if let Some(log) = read_note(&self.note)? {
            return Err(StorageError::InDatabase { log });
        }
        let known = self.logs()?.first().copied();
        let is_there = |place: &SqliteFile| (place.files.exists)(&place.path);
        if known.is_none() && is_there(&self.log) && is_there(&self.vault) {
            // The vault is created after the log, so a log must have existed.
            let why = "it contains no log, but the vault next to it belongs to one".to_owned();
            return Err(OpenError::Damaged { path: self.log.path.clone(), why }.into());
        }
        Ok(known)
    }

    fn has_secrets(&self) -> bool {
        (self.vault.files.exists)(&self.vault.path)
    }

    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, StorageError> {
        Ok(Box::new(SettlingLog::of(SqliteLog::open_at(self.log.clone(), log)?)))
    }

    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, StorageError> {
        Ok(Box::new(SqliteLogReader::open_at(&self.log, log)?))
    }

    fn vault(&self, log: LogId, masters: MasterKeys) -> Result<Arc<dyn SealedVault>, StorageError> {
        Ok(Arc::new(SqliteVault::open_at(&self.vault, log, masters)?))
    }

    fn views(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        Ok(Box::new(SqliteViews::open_at(&self.views, log)?))
    }

    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        Ok(Box::new(SqliteViews::open_at(&Places::views_beside(self), log)?))
    }

    fn outputs(&self, _of: (LogId, &dyn Vault), limits: OutputLimits, now: Now) -> io::Result<Arc<dyn KeptOutputs>> {
        Ok(Arc::new(self.open_outputs(limits, now)?))
    }

    fn blobs(&self, _log: LogId, limits: BlobLimits, now: Now) -> io::Result<Arc<dyn KeptBlobs>> {
        Ok(Arc::new(self.open_blobs(limits, now)?))
    }
}

impl KeptOutputs for FolderOutputs {
    fn go_on(&self, attempts: Vec<AttemptId>) -> Vec<OutputError> {
        Self::go_on(self, attempts)
    }
}

impl KeptBlobs for FolderBlobs {}

impl Views for SqliteViews {
    fn reader(&self) -> Arc<dyn ViewReader> {
        Arc::new(Self::reader(self))
    }

    fn look(&self) -> Look {
        let reader = Self::reader(self);
        Box::new(move || reader.look_through())
    }

    fn is_damaged(&self) -> bool {
        Self::is_damaged(self)
    }

    fn forget_what_is_at_hand(&mut self) {
        Self::forget_what_is_at_hand(self);
    }

    fn release_caches(&mut self) {
        Self::release_caches(self);
    }

    fn adopt(&mut self, beside: Box<dyn Views>) -> Result<(), ViewError> {
        match beside.into_any().downcast::<Self>() {
            Ok(beside) => Self::adopt(self, *beside),
            Err(_) => Err(ViewError::Store("the views beside are of another store".to_owned())),
        }
    }

    fn shrink(&mut self) -> Result<(), ViewError> {
        Self::shrink(self)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

//! The SQLite backend of a log, its secrets and its read models. No other file of the node names the storage engine.

use std::any::Any;
use std::sync::Arc;

use ensue_engine::ids::LogId;
use ensue_engine::ports::{Log, LogReader, Vault};
use ensue_store::master_key::MasterKey;
use ensue_store::sqlite::Place;
use ensue_store::sqlite::log::{SqliteLog, SqliteLogReader, logs_at};
use ensue_store::sqlite::vault::SqliteVault;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::{ViewError, ViewReader};

use super::{Backend, Look, Views};

/// The data directory of a node, held exclusively by this process.
pub use ensue_store::data_dir::DataDir as Folder;
/// Why the data directory cannot be opened.
pub use ensue_store::data_dir::DataDirError as FolderError;
/// Why a file in the data directory cannot be opened.
pub use ensue_store::sqlite::OpenError;

/// Where the SQLite files of a data directory are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The log.
    pub log: Place,
    /// The vault.
    pub vault: Place,
    /// The read models.
    pub views: Place,
}

impl Places {
    /// Returns the places in the directory itself.
    pub fn of(folder: &Folder) -> Self {
        Self { log: folder.log().as_path().into(), vault: folder.vault().as_path().into(), views: folder.views().as_path().into() }
    }

    fn views_beside(&self) -> Place {
        Place { path: self.views.path.with_extension("rebuilt.sqlite"), ..self.views.clone() }
    }
}

impl Backend for Places {
    fn logs(&self) -> Result<Vec<LogId>, OpenError> {
        logs_at(&self.log)
    }

    fn log(&self) -> Result<Option<LogId>, OpenError> {
        let known = self.logs()?.first().copied();
        let is_there = |place: &Place| (place.files.exists)(&place.path);
        if known.is_none() && is_there(&self.log) && is_there(&self.vault) {
            // The vault is created after the log, so a log must have existed.
            let why = "it contains no log, but the vault next to it belongs to one".to_owned();
            return Err(OpenError::Damaged { path: self.log.path.clone(), why });
        }
        Ok(known)
    }

    fn has_secrets(&self) -> bool {
        (self.vault.files.exists)(&self.vault.path)
    }

    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(SqliteLog::open_at(self.log.clone(), log)?))
    }

    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, OpenError> {
        Ok(Box::new(SqliteLogReader::open_at(&self.log, log)?))
    }

    fn vault(&self, log: LogId, master: MasterKey) -> Result<Arc<dyn Vault>, OpenError> {
        Ok(Arc::new(SqliteVault::open_at(&self.vault, log, master)?))
    }

    fn views(&self, log: LogId) -> Result<Box<dyn Views>, OpenError> {
        Ok(Box::new(SqliteViews::open_at(&self.views, log)?))
    }

    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, OpenError> {
        Ok(Box::new(SqliteViews::open_at(&Places::views_beside(self), log)?))
    }
}

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

//! Opens a data directory: its lock, its master key, its log, and the state that the log folds to.
//!
//! A running node and the commands that work on an offline directory open it in the same way.

use std::path::PathBuf;
use std::sync::Arc;

use ensue_engine::engine::Engine;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{Log, LogReader, ReadLimit};
use ensue_engine::record::{Head, Position, Record, verify_link};
use ensue_store::checkpoints::{Checkpoint, Checkpoints};
use ensue_store::master_key::{MasterKey, MasterKeyError, MasterKeyFile, MasterKeys};
use ensue_store::objects::SharedStates;
use ensue_store::rotation::check_master_key;
use ensue_store::state_folder::{Data, OutsideHead, StateFolder, StateFolderError};
use ensue_store::vault::SealedVault;

use crate::backend::postgres::InDatabase;
use crate::backend::{Backend, Folder, PackArchive, StorageError, Views, in_folder};
use crate::clock::SteppedClock;
use crate::config::Config;
use crate::log_runtime::standby::Standby;
use crate::log_runtime::warm_up::Warm;
use crate::snapshots;
use crate::start_error::{StartError, machine};

/// An opened data directory with its log folded.
pub struct OpenedDirectory {
    /// The directory, held exclusively by this process.
    pub data: Folder,
    /// The storage of the log, the secrets and the read models.
    pub backend: Arc<dyn Backend>,
    /// The log's writer.
    pub log: Box<dyn Log>,
    /// The state, folded up to the head.
    pub engine: Engine,
    /// The log's head.
    pub head: Head,
    /// The head that is stored outside the directory.
    pub outside: OutsideHead,
    /// The folder of the files that are stored outside the directory.
    pub state: PathBuf,
    /// The read models, if this node folded them while it waited for its log.
    pub views: Option<Box<dyn Views>>,
    /// The secrets.
    pub vault: Arc<dyn SealedVault>,
    /// The file of the master key that they are sealed under.
    pub master_key: MasterKeyFile,
    /// The files of packs that other machines need.
    pub packs: Option<Arc<dyn PackArchive>>,
    /// The snapshots of the state.
    pub checkpoints: Checkpoints,
    /// The snapshots that other machines can use.
    pub shared: Option<SharedStates>,
    /// The position of the newest snapshot; 0 if there is none.
    pub saved_at: Position,
}

/// Opens the data directory that the settings name. Creates the parts that do not exist yet. Fails if another node
/// leads its log, and does not end within its lease.
pub fn open(config: &Config, clock: &dyn SteppedClock) -> Result<OpenedDirectory, StartError> {
    open_after(config, clock, &Arc::new(Standby::brief()))
}

/// Opens the data directory that the settings name, once no other node leads its log.
pub fn open_after(config: &Config, clock: &dyn SteppedClock, standby: &Arc<Standby>) -> Result<OpenedDirectory, StartError> {
    let data = Folder::open(&config.data)?;
    let backend = storage(config, &data, clock, standby)?;
    let (is_empty, new) = (backend.log()?.is_none(), new_log(clock));
    match open_if(config, (data, backend.clone()), new, compare_with_outside) {
        // Another node began its log at the same moment. This one waits for it.
        Err(_) if is_empty && matches!(backend.log(), Ok(Some(begun)) if begun != new) => {
            open_if(config, (Folder::open(&config.data)?, backend), new, compare_with_outside)
        }
        opened => opened,
    }
}

/// Opens the storage that the settings name: the data directory, or a database beside it.
pub(crate) fn storage(
    config: &Config,
    folder: &Folder,
    clock: &dyn SteppedClock,
    standby: &Arc<Standby>,
) -> Result<Arc<dyn Backend>, StorageError> {
    Ok(match (&config.database, &config.objects) {
        (Some(address), objects) => Arc::new(InDatabase::open((address.reveal(), objects.as_ref()), folder, clock, standby.clone())?),
        (None, None) => in_folder(folder),
        (None, Some(_)) => return Err(StorageError::ObjectsAlone),
    })
}

/// Opens a data directory whose storage may be in another place.
pub fn open_on(
    config: &Config,
    clock: &dyn SteppedClock,
    storage: impl FnOnce(&Folder) -> Arc<dyn Backend>,
) -> Result<OpenedDirectory, StartError> {
    let data = Folder::open(&config.data)?;
    let backend = storage(&data);
    open_if(config, (data, backend), new_log(clock), compare_with_outside)
}

/// Opens a data directory without comparing it with the head that is stored outside it: a restored backup is older.
pub fn open_restored(config: &Config, clock: &dyn SteppedClock) -> Result<OpenedDirectory, StartError> {
    let data = Folder::open(&config.data)?;
    let backend = storage(config, &data, clock, &Arc::new(Standby::brief()))?;
    open_if(config, (data, backend), new_log(clock), |_, _, _| Ok(()))
}

/// Returns the id of a log that has not begun.
fn new_log(clock: &dyn SteppedClock) -> LogId {
    let moment = clock.moment();
    LogId(Id::root(moment.time, moment.entropy))
}

/// Opens the log of a data directory, and begins it under the id `new` if it has none.
fn open_if(
    config: &Config,
    (data, backend): (Folder, Arc<dyn Backend>),
    new: LogId,
    is_expected: impl FnOnce(&dyn LogReader, Head, Option<Head>) -> Result<(), StartError>,
) -> Result<OpenedDirectory, StartError> {
    let known = backend.log()?;
    let existing = if known.is_none() && !backend.has_secrets() { Data::New } else { Data::Existing };
    let id = known.unwrap_or(new);
    let folder = state_folder(config, id)?;
    let (file, masters) = master_keys(config.master_key.clone(), &folder, existing)?;
    // The vault is created after the log. An existing one is opened first, so that a wrong master key changes nothing.
    let stored = if backend.has_secrets() { Some(backend.vault(id, masters.clone())?) } else { None };
    if let Some(vault) = &stored {
        check_master_key(&file, &masters, &vault.named_keys()?)?;
    }
    let checkpoints = Checkpoints::open(&data.checkpoints(), id).map_err(|error| machine("opening the saved states", &error))?;
    let mut outside = folder.outside_head()?;
    if let (Some(shared), Data::Existing) = (backend.shared_states(id, masters.clone()), existing) {
        snapshots::fetch_shared(shared, &checkpoints);
    }
    let mut warm = Warm::new(&*backend, id, &checkpoints, &mut outside);
    let log = backend.writer_after(id, &mut || warm.step())?;
    let (warm, views) = warm.into_parts();
    // A node that led the log while this one waited may have replaced the master key.
    let (file, masters, stored) = match stored {
        Some(_) if backend.is_shared() => {
            let (file, masters) = master_keys(config.master_key.clone(), &folder, Data::Existing)?;
            let vault = backend.vault(id, masters.clone())?;
            check_master_key(&file, &masters, &vault.named_keys()?)?;
            (file, masters, Some(vault))
        }
        stored => (file, masters, stored),
    };
    let shared = backend.shared_states(id, masters.clone());
    let vault = stored.map_or_else(|| backend.vault(id, masters), Ok)?;
    let packs = backend.pack_archive(id)?;
    if let Some(packs) = &packs {
        packs.exchange(&data.packs()).map_err(StartError::PackArchive)?;
    }
    let reader = log.reader()?;
    let head = reader.head()?;
    let known = outside.read()?;
    if known.is_none() && head.position > Position(0) {
        // After a power failure during the very first write there is no head; the same happens if somebody truncates
        // or removes the file.
        tracing::warn!(
            position = %head.position,
            "the state folder does not have the log's last known head: the node cannot tell whether the log was truncated before this start"
        );
    }
    is_expected(&*reader, head, known)?;
    let folded = warm.map_or_else(|| from_checkpoint(id, &*reader, &checkpoints), Ok)?;
    let FoldedState { engine, saved_at, .. } = folded.up_to(&*reader, head)?;
    let state = folder.path().to_owned();
    Ok(OpenedDirectory {
        data,
        backend,
        log,
        engine,
        head,
        outside,
        state,
        views,
        vault,
        master_key: file,
        packs,
        checkpoints,
        shared,
        saved_at,
    })
}

/// Returns the folder in which a log stores files outside its data directory.
pub(crate) fn state_folder(config: &Config, id: LogId) -> Result<StateFolder, StateFolderError> {
    match &config.state_base {
        Some(base) => Ok(StateFolder::under(base, id)),
        None => StateFolder::of(id),
    }
}

fn master_keys(named: Option<PathBuf>, folder: &StateFolder, data: Data) -> Result<(MasterKeyFile, MasterKeys), StartError> {
    let Some(path) = named else { return Ok((MasterKeyFile::new(folder.master_key_path()), folder.master_keys(data)?)) };
    let file = MasterKeyFile::new(path);
    let masters = match (file.load(), data) {
        (Err(MasterKeyError::Missing(path)), Data::New) if path == file.path() => match MasterKey::create(&path) {
            // Another node that shares the file created it at the same moment.
            Err(MasterKeyError::Exists(_)) => file.load()?,
            created => created?.into(),
        },
        (loaded, Data::New | Data::Existing) => loaded?,
    };
    Ok((file, masters))
}

/// Compares the log with the head that is stored outside its directory. Rejects a log that is shorter or different.
pub fn compare_with_outside(reader: &dyn LogReader, head: Head, outside: Option<Head>) -> Result<(), StartError> {
    let Some(outside) = outside.filter(|outside| outside.position > Position(0)) else { return Ok(()) };
    if outside.position > head.position {
        return Err(StartError::TailMissing { found: head.position, known: outside.position });
    }
    let before = Position(outside.position.0 - 1);
    let record = reader.read(before, ReadLimit { records: 1, ..ReadLimit::default() })?.into_iter().next();
    match record {
        Some(record) if record.position == outside.position && record.chain == outside.chain => Ok(()),
        Some(_) | None => Err(StartError::Chain(format!(
            "the record at position {} differs from the one known outside the data directory",
            outside.position
        ))),
    }
}

/// A state, and how much of the log is folded into it.
pub(crate) struct FoldedState {
    /// The state.
    pub(crate) engine: Engine,
    /// The newest record that is folded.
    pub(crate) at: Head,
    /// The position of the snapshot that the fold began with.
    pub(crate) saved_at: Position,
}

impl FoldedState {
    /// Folds the records that follow; each must continue the chain.
    pub(crate) fn fold_in(&mut self, records: &[Record]) -> Result<(), StartError> {
        self.at = fold_in(&mut self.engine, self.at, records)?;
        Ok(())
    }

    /// Folds the rest of the log, up to its head.
    fn up_to(mut self, reader: &dyn LogReader, head: Head) -> Result<Self, StartError> {
        if self.at.position > head.position {
            return Err(StartError::TailMissing { found: head.position, known: self.at.position });
        }
        while self.at.position < head.position {
            let records = reader.read(self.at.position, ReadLimit::default())?;
            if records.is_empty() {
                return Err(StartError::TailMissing { found: self.at.position, known: head.position });
            }
            self.fold_in(&records)?;
        }
        if self.at.chain != head.chain {
            let why = format!("the record at position {} differs from the one that was folded before", head.position);
            return Err(StartError::Chain(why));
        }
        Ok(self)
    }
}

/// Returns the newest snapshot that belongs to a log, or an empty state.
pub(crate) fn from_checkpoint(id: LogId, reader: &dyn LogReader, checkpoints: &Checkpoints) -> Result<FoldedState, StartError> {
    let found = checkpoints.newest(reader, |saved| snapshots::load_engine(id, saved));
    let found = found.map_err(|error| machine("looking for a saved state", &error))?;
    for skipped in found.skipped {
        tracing::warn!(file = %skipped.path.display(), why = %skipped.why, "a saved state was not used");
    }
    let loaded = found.checkpoint.map(|Checkpoint { at, state, .. }| (state, at));
    let (engine, at) = loaded.unwrap_or_else(|| (Engine::new(id), Head::default()));
    Ok(FoldedState { engine, at, saved_at: at.position })
}

/// Folds the records after `at` into a state; each must continue the chain. If one does not, the state stays as it was.
pub fn fold_in(engine: &mut Engine, at: Head, records: &[Record]) -> Result<Head, StartError> {
    let at = records.iter().try_fold(at, verify_link).map_err(|error| StartError::Chain(error.to_string()))?;
    for record in records {
        engine.apply(record);
    }
    engine.commit();
    Ok(at)
}

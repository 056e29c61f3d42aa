//! Opening a data directory: its lock, its master key, its log, and the state that the log folds to.
//!
//! A running node and the commands that work on a directory at rest open it in the same way.

use std::path::PathBuf;
use std::sync::Arc;

use ensue_engine::engine::Engine;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{Log, LogError, LogReader, ReadLimit, Vault, VaultError};
use ensue_engine::record::{Head, Position, Record, verify_link};
use ensue_store::checkpoints::{Checkpoint, Checkpoints};
use ensue_store::data_dir::{DataDir, DataDirError};
use ensue_store::master_key::{MasterKey, MasterKeyError};
use ensue_store::sqlite::OpenError;
use ensue_store::sqlite::Place;
use ensue_store::sqlite::log::{SqliteLog, logs_at};
use ensue_store::sqlite::vault::SqliteVault;
use ensue_store::state_folder::{Data, OutsideHead, StateFolder, StateFolderError};
use thiserror::Error;

use crate::catalogs::CatalogError;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::snapshots;

/// Why a node does not start, or a directory cannot be worked on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be had.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file of it cannot be opened.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The state folder cannot be used.
    #[error(transparent)]
    StateFolder(#[from] StateFolderError),
    /// The master key cannot be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A catalog cannot be built.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The log ends before what was once acknowledged.
    #[error("the log ends at position {found}, but position {known} was already written: its tail is missing")]
    TailMissing {
        /// The newest position of the log.
        found: Position,
        /// The newest position known outside of it.
        known: Position,
    },
    /// The log is not the one that was written.
    #[error("the log is not the one that was written: {0}")]
    Chain(String),
    /// Something of the machine cannot be used.
    #[error("{doing}: {why}")]
    Machine {
        /// What was tried.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// Nothing can wall programs off here, and the operator demands that they are.
    #[error("`actions.isolation` is `required`, but programs run as children of the node, without walls around them: {why}")]
    NoWalls {
        /// Why there is no supervisor to raise them.
        why: &'static str,
    },
    /// Programs cannot run as the user that the operator says.
    #[error("programs cannot run as `actions.user` requires: {why}")]
    NoUsers {
        /// Why not.
        why: String,
    },
    /// What has to be noted at the start was refused.
    #[error("{doing}: {why}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// Why it was refused.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Explain for StartError {
    fn slug(&self) -> &'static str {
        match self {
            Self::DataDir(error) => error.slug(),
            Self::File(error) => error.slug(),
            Self::StateFolder(error) => error.slug(),
            Self::MasterKey(error) => error.slug(),
            Self::Config(error) => error.slug(),
            Self::Log(error) => error.slug(),
            Self::Vault(error) => error.slug(),
            Self::Catalog(_) => "catalog-unbuildable",
            Self::TailMissing { .. } => "log-tail-missing",
            Self::Chain(_) => "log-chain-broken",
            Self::Machine { .. } | Self::NoWalls { .. } | Self::NoUsers { .. } => "machine-unusable",
            Self::Refused { .. } => "start-refused",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::DataDir(error) => error.fault(),
            Self::File(error) => error.fault(),
            Self::StateFolder(error) => error.fault(),
            Self::MasterKey(error) => error.fault(),
            Self::Config(error) => error.fault(),
            Self::Log(error) => error.fault(),
            Self::Vault(error) => error.fault(),
            Self::Catalog(_)
            | Self::TailMissing { .. }
            | Self::Chain(_)
            | Self::Machine { .. }
            | Self::NoWalls { .. }
            | Self::NoUsers { .. } => Fault::World,
            Self::Refused { .. } => Fault::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::DataDir(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::StateFolder(error) => error.hint(),
            Self::MasterKey(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Vault(error) => error.hint(),
            Self::Catalog(_) => None,
            Self::TailMissing { .. } => {
                Some("if you restored this backup, run `ensue restore accept --data DIR`; otherwise restore the newest backup first".into())
            }
            Self::Chain(_) => Some(
                "keep a copy; `ensue log verify --data DIR` reports where it differs; if you restored a backup, run `ensue restore accept --data DIR`"
                    .into(),
            ),
            Self::Machine { .. } => None,
            Self::NoWalls { .. } => {
                Some("run the node on Linux with /proc, or set `actions.isolation: auto` and run packs that you trust".into())
            }
            Self::NoUsers { .. } => {
                Some("fix this, or leave `actions.user` out of ensue.yaml; `ensue doctor` shows what then applies".into())
            }
            Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// An opened data directory, its log folded.
pub struct Opened {
    /// The directory, for this process alone.
    pub data: DataDir,
    /// Where its SQLite files are.
    pub places: Places,
    /// The log's writer.
    pub log: SqliteLog,
    /// The state, folded up to the head.
    pub engine: Engine,
    /// The log's head.
    pub head: Head,
    /// The head that is kept outside.
    pub outside: OutsideHead,
    /// The folder of what is kept outside of the directory.
    pub state: PathBuf,
    /// The secrets.
    pub vault: Arc<dyn Vault>,
    /// The saved states.
    pub checkpoints: Checkpoints,
    /// The position of the newest saved state; 0 where there is none.
    pub saved_at: Position,
}

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
    /// Gives the places in the directory itself.
    pub fn of(data: &DataDir) -> Self {
        Self { log: data.log().as_path().into(), vault: data.vault().as_path().into(), views: data.views().as_path().into() }
    }
}

/// Opens the data directory that the settings name; makes what is not there yet.
pub fn open(config: &Config, clock: &dyn Clock) -> Result<Opened, StartError> {
    open_on(config, clock, Places::of)
}

/// Opens a data directory whose SQLite files may be elsewhere than in it.
pub fn open_on(config: &Config, clock: &dyn Clock, places: impl FnOnce(&DataDir) -> Places) -> Result<Opened, StartError> {
    open_if(config, clock, places, compare_with_outside)
}

/// Opens a data directory whatever the head says that is kept outside of it: a backup that was put back is older.
pub fn open_restored(config: &Config, clock: &dyn Clock) -> Result<Opened, StartError> {
    open_if(config, clock, Places::of, |_, _, _| Ok(()))
}

fn open_if(
    config: &Config,
    clock: &dyn Clock,
    places: impl FnOnce(&DataDir) -> Places,
    is_expected: impl FnOnce(&dyn LogReader, Head, Option<Head>) -> Result<(), StartError>,
) -> Result<Opened, StartError> {
    let data = DataDir::open(&config.data)?;
    let places = places(&data);
    let known = logs_at(&places.log)?;
    if known.is_empty() && data.log().exists() && data.vault().exists() {
        // The vault is made after the log, so there was one.
        let why = "it contains no log, but the vault next to it belongs to one".to_owned();
        return Err(OpenError::Damaged { path: data.log(), why }.into());
    }
    let existing = if known.is_empty() && !(places.vault.files.exists)(&places.vault.path) { Data::New } else { Data::Existing };
    let id = known.first().copied().unwrap_or_else(|| {
        let moment = clock.moment();
        LogId(Id::root(moment.time, moment.entropy))
    });
    let folder = state_folder(config, id)?;
    let master = master_key(config.master_key.clone(), &folder, existing)?;
    let log = SqliteLog::open_at(places.log.clone(), id)?;
    let vault = Arc::new(SqliteVault::open_at(&places.vault, id, master)?);
    let outside = folder.outside_head()?;
    let reader = log.reader()?;
    let head = reader.head()?;
    let known = outside.read()?;
    if known.is_none() && head.position > Position(0) {
        // A power cut in the very first note leaves none; so does somebody who cuts it short or takes it away.
        tracing::warn!(
            position = %head.position,
            "the state folder does not have the log's last known head: the node cannot tell whether the log was truncated before this start"
        );
    }
    is_expected(&*reader, head, known)?;
    let checkpoints = Checkpoints::open(&data.checkpoints(), id).map_err(|error| machine("opening the saved states", &error))?;
    let (engine, saved_at) = fold(id, &*reader, head, &checkpoints)?;
    let state = folder.path().to_owned();
    Ok(Opened { data, places, log, engine, head, outside, state, vault, checkpoints, saved_at })
}

/// Returns the folder that a log keeps outside of its data directory.
pub(crate) fn state_folder(config: &Config, id: LogId) -> Result<StateFolder, StateFolderError> {
    match &config.state_base {
        Some(base) => Ok(StateFolder::under(base, id)),
        None => StateFolder::of(id),
    }
}

/// Says that something of the machine cannot be used.
pub fn machine(doing: &str, why: &dyn std::fmt::Display) -> StartError {
    StartError::Machine { doing: doing.to_owned(), why: why.to_string() }
}

fn master_key(named: Option<PathBuf>, folder: &StateFolder, data: Data) -> Result<MasterKey, StartError> {
    let Some(path) = named else { return Ok(folder.master_key(data)?) };
    match (MasterKey::load(&path), data) {
        (Err(MasterKeyError::Missing(_)), Data::New) => Ok(MasterKey::create(&path)?),
        (loaded, Data::New | Data::Existing) => Ok(loaded?),
    }
}

/// Holds the log against the head that is kept outside its directory: a log that is shorter, or another, is refused.
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

/// Folds the log up to its head, from the newest saved state that belongs to it.
fn fold(id: LogId, reader: &dyn LogReader, head: Head, checkpoints: &Checkpoints) -> Result<(Engine, Position), StartError> {
    let found = checkpoints.newest(reader, |saved| snapshots::loaded(id, saved));
    let found = found.map_err(|error| machine("looking for a saved state", &error))?;
    for skipped in found.skipped {
        tracing::warn!(file = %skipped.path.display(), why = %skipped.why, "a saved state was not used");
    }
    let loaded = found.checkpoint.map(|Checkpoint { at, state, .. }| (state, at));
    let (mut engine, mut at) = loaded.unwrap_or_else(|| (Engine::new(id), Head::default()));
    let saved_at = at.position;
    if ensue_engine::mutants::is("snapshot off by one")
        && saved_at.0 > 0
        && let Some(passed_over) = reader.read(at.position, ReadLimit { records: 1, ..ReadLimit::default() })?.first()
    {
        at = Head { position: passed_over.position, chain: passed_over.chain };
    }
    while at.position < head.position {
        let records = reader.read(at.position, ReadLimit::default())?;
        if records.is_empty() {
            return Err(StartError::TailMissing { found: at.position, known: head.position });
        }
        at = fold_in(&mut engine, at, &records)?;
    }
    Ok((engine, saved_at))
}

/// Folds records behind `at` into a state; each must follow in the chain.
pub fn fold_in(engine: &mut Engine, mut at: Head, records: &[Record]) -> Result<Head, StartError> {
    for record in records {
        at = verify_link(at, record).map_err(|error| StartError::Chain(error.to_string()))?;
        engine.apply(record);
    }
    engine.commit();
    Ok(at)
}

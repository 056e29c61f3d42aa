//! Work on a data directory without a running node: the same lock, the same core, no network and no threads.
//!
//! The other work of a running node (running actions, reading packs) does not happen here.

mod copy;

use std::path::PathBuf;
use std::sync::Arc;

use ensue_api::ports::{AskedToken, Finding};
use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::access::keys::state::KeyVersions;
use ensue_engine::access::state::{ADMIN, Standing, Token};
use ensue_engine::access::subject::Subject;
use ensue_engine::batch::{BatchInputs, OfferOutcome, Sequencing};
use ensue_engine::command::{Ask, Command, KeyRotation, NewGrant, Nothing, Refusal, Settings};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{AppendError, Log, ReadLimit, Secret, VaultError};
use ensue_engine::record::{Actor, Chain, Head, Position};
use ensue_engine::time::Timestamp;
use ensue_postgres::{CopyIntoError, DatabaseError};
use ensue_store::copy::CopyError;
use ensue_store::master_key::MasterKeyFile;
use ensue_store::rotation::{CompletedRotation, RotateError, rotate};
use ensue_store::state_folder::{Durability, OutsideHead};
use ensue_store::transfer::TransferError;
use ensue_store::vault::{Rotation, SealedVault};
use ensue_store::verify::{VerifyError, VerifySummary, verify};
use ensue_views::{Projector, ViewError};
use thiserror::Error;

use crate::access::Profile;
use crate::backend::{Backend, Folder, OpenError};
use crate::clock::{ClockStep, SteppedClock, SystemClock};
use crate::config::Config;
use crate::database_health;
use crate::log_runtime::open::{OpenedDirectory, compare_with_outside, open, open_restored, state_folder, storage};
use crate::log_runtime::standby::Standby;
use crate::master_key::left_over;
use crate::start_error::{StartError, machine};
use crate::tokens::{TokenRefusal, asked_as, check_name, check_token, new_token};

pub use copy::{CopyStage, Format, Location, copy_log};

/// Why work on a directory without a node failed.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum OfflineError {
    /// The directory cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    Start(#[from] StartError),
    /// The operation is not allowed.
    #[error(transparent)]
    #[explain(transparent)]
    Refused(#[from] Refusal),
    /// A token's name or a role has an invalid form.
    #[error(transparent)]
    #[explain(transparent)]
    Token(#[from] TokenRefusal),
    /// The log did not accept it.
    #[error("the log rejected the change: {0}")]
    #[explain(slug = "log-refused", fault = World)]
    Append(#[from] AppendError),
    /// The log differs from what was written.
    #[error(transparent)]
    #[explain(transparent)]
    Verify(#[from] VerifyError),
    /// The read models cannot be built.
    #[error(transparent)]
    #[explain(transparent)]
    Views(#[from] ViewError),
    /// It was not copied.
    #[error(transparent)]
    #[explain(transparent)]
    Copy(#[from] CopyError),
    /// A database cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Database(#[from] DatabaseError),
    /// The log was not copied into a database.
    #[error(transparent)]
    #[explain(transparent)]
    CopyInto(#[from] CopyIntoError),
    /// The log was not copied out of a database.
    #[error(transparent)]
    #[explain(transparent)]
    Transfer(#[from] TransferError),
    /// A file of a log cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    File(#[from] OpenError),
    /// An older format was requested for a database.
    #[error("a log in a database has no older format: `--format` is for data directories")]
    #[explain(slug = "database-address", fault = Invalid, hint = "copy the log into a directory first, and then copy that with --format")]
    FormatOfDatabase,
    /// Several logs were to be copied into one database.
    #[error("the source has {0} logs, and a node uses the only log of its database")]
    #[explain(slug = "several-logs", fault = Conflict, hint = "remove the logs that no node uses from the source; the page of this error says how")]
    SeveralToCopy(usize),
    /// Programs of the stopped node still run, or their results are not in the log.
    #[error("{programs} programs that the node started in {} still run, or their results are not in the log yet", .data.display())]
    #[explain(
        slug = "programs-left",
        fault = Conflict,
        hint = "start the node, wait until `ensue executions list --status running` is empty, and stop the node"
    )]
    ProgramsLeft {
        /// The data directory.
        data: PathBuf,
        /// How many there are.
        programs: usize,
    },
    /// All values are sealed under the next master key, whose file is in the wrong place.
    #[error("{0}")]
    #[explain(slug = "master-key-unusable", fault = World)]
    MasterKeyLeft(String),
    /// Nothing is missing.
    #[error("no records are missing: the log ends at position {0}, where it was last seen")]
    #[explain(slug = "nothing-restored", fault = Conflict, hint = "start the node with `ensue serve`")]
    NothingRestored(Position),
}

/// How many executions one batch pauses.
const PAUSED_AT_ONCE: usize = 500;

/// An opened data directory without a running node.
pub struct Offline {
    data: Folder,
    backend: Arc<dyn Backend>,
    log: Box<dyn Log>,
    sequencing: Sequencing,
    outside: OutsideHead,
    vault: Arc<dyn SealedVault>,
    master_key: MasterKeyFile,
    clock: SystemClock,
    /// The clock step that happened while no node ran, until it is in the log.
    set_back: Option<ClockStep>,
    settings: Settings,
}

/// The part that is missing from a log that was restored from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The newest position of the restored log.
    pub after: Position,
    /// When the record at that position was written.
    pub newest: Timestamp,
    /// The newest head that is known to have been written.
    pub known: Head,
    /// The open executions to pause, because the missing records may have continued them.
    pub to_pause: Vec<ExecutionId>,
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key: KeyRef,
    /// The versions: the current one, and the one before it during an overlap.
    pub versions: KeyVersions,
}

/// A valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenState {
    /// The token's id.
    pub id: TokenId,
    /// The holder's name.
    pub name: String,
    /// The holder's roles; none if an identity holds it.
    pub roles: Vec<String>,
    /// The scopes beyond which it allows nothing.
    pub scopes: Option<Vec<String>>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// What the end of a log is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadReference {
    /// The newest head that this machine's state folder knows, if any.
    StateFolder,
    /// Nothing: the directory is a copy, and older than what this machine knows.
    Nothing,
}

/// Verifies the log of a data directory without a running node; after each part `step` is called with the
/// part's end and the log's end.
///
/// It needs no master key, and the state folder need not exist. A log that is shorter than the state folder
/// says fails only after its records were found intact.
pub fn verify_directory(
    config: &Config,
    against: HeadReference,
    mut step: impl FnMut(Position, Position),
) -> Result<VerifySummary, OfflineError> {
    let data = Folder::open(&config.data).map_err(StartError::from)?;
    let backend = storage(config, &data, &SystemClock::default(), &Arc::new(Standby::impatient())).map_err(StartError::from)?;
    let id = backend.logs().map_err(StartError::from)?.first().copied();
    let id = id.ok_or_else(|| machine("opening the log", &format!("there is no log in {}", data.path().display())))?;
    let reader = backend.reader(id).map_err(StartError::from)?;
    let seen = match against {
        HeadReference::Nothing => None,
        HeadReference::StateFolder => {
            state_folder(config, id).ok().and_then(|folder| folder.known_head().transpose()).transpose().map_err(StartError::from)?
        }
    };
    let end = reader.head().map_err(StartError::from)?.position;
    Ok(verify(&*reader, seen, |position| step(position, end))?)
}

/// Returns the chain's hash at each of these positions of a data directory's log, without a running node; `None` beyond
/// the end of the log.
pub fn chains_at(config: &Config, positions: &[Position]) -> Result<Vec<Option<Chain>>, OfflineError> {
    let data = Folder::open(&config.data).map_err(StartError::from)?;
    let backend = storage(config, &data, &SystemClock::default(), &Arc::new(Standby::impatient())).map_err(StartError::from)?;
    let id = backend.logs().map_err(StartError::from)?.first().copied();
    let id = id.ok_or_else(|| machine("opening the log", &format!("there is no log in {}", data.path().display())))?;
    let reader = backend.reader(id).map_err(StartError::from)?;
    let at = |position: &Position| {
        let Some(before) = position.0.checked_sub(1) else { return Ok(Some(Chain::default())) };
        let read = reader.read(Position(before), ReadLimit { records: 1, ..ReadLimit::default() }).map_err(StartError::from)?;
        Ok(read.first().map(|record| record.chain))
    };
    positions.iter().map(at).collect()
}

impl Offline {
    /// Opens the data directory that the settings name, under its lock.
    pub fn open(config: &Config) -> Result<Self, OfflineError> {
        let clock = SystemClock::default();
        let OpenedDirectory { data, backend, log, engine, head, outside, vault, master_key, .. } = open(config, &clock)?;
        let epoch = log.epoch();
        let set_back = clock.go_on_from(engine.time());
        let sequencing = Sequencing::new(engine, head, epoch);
        Ok(Self { data, backend, log, sequencing, outside, vault, master_key, clock, set_back, settings: Settings::default() })
    }

    /// Opens a data directory that was restored from a backup, even if its log is older than the newest known
    /// head or differs from it. Fails if the log is as it was last seen: there is nothing to accept.
    pub fn open_restored(config: &Config) -> Result<(Self, Missing), OfflineError> {
        let clock = SystemClock::default();
        let OpenedDirectory { data, backend, log, engine, head, outside, vault, master_key, .. } = open_restored(config, &clock)?;
        let reader = log.reader().map_err(StartError::from)?;
        let known = outside.read().map_err(StartError::from)?.unwrap_or_default();
        if compare_with_outside(&*reader, head, Some(known)).is_ok() {
            return Err(OfflineError::NothingRestored(head.position));
        }
        let epoch = log.epoch();
        let set_back = clock.go_on_from(engine.time());
        let newest = engine.time();
        let sequencing = Sequencing::new(engine, head, epoch);
        let offline = Self { data, backend, log, sequencing, outside, vault, master_key, clock, set_back, settings: Settings::default() };
        let missing = Missing { after: head.position, newest, known, to_pause: offline.may_have_begun() };
        Ok((offline, missing))
    }

    /// Accepts that records are missing: records the fact, voids the fencing tokens that the missing records
    /// issued, and pauses the executions that they may have started.
    ///
    /// The note of the newest head is replaced last. If the process ends before that, the operation can be
    /// repeated.
    pub fn accept_restored(&mut self, missing: &Missing) -> Result<(), OfflineError> {
        // Without this file nothing proves that an attempt never began.
        match std::fs::remove_file(self.data.begun_attempts()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(machine("removing the list of begun attempts", &error).into());
            }
            Ok(()) | Err(_) => {}
        }
        self.clear_views_beyond(missing.after)?;
        self.append([Ask::NoteRestore { known: missing.known }])?;
        for executions in missing.to_pause.chunks(PAUSED_AT_ONCE) {
            self.append(executions.iter().map(|execution| Ask::PauseExecution { execution: *execution }))?;
        }
        Ok(self.outside.replace(self.head()).map_err(StartError::from)?)
    }

    /// Clears the read models if they may have records that the log lacks. The next start folds the log into them again.
    fn clear_views_beyond(&self, end: Position) -> Result<(), OfflineError> {
        let mut views = self.backend.views(self.log()).map_err(StartError::from)?;
        // In a database, other nodes may have written to the restored log since, so that positions say nothing.
        if self.backend.is_shared() || views.position() > end {
            views.clear()?;
        }
        Ok(())
    }

    /// Lists the open executions that the missing records may have continued: all that are not contained and
    /// that may not run twice.
    fn may_have_begun(&self) -> Vec<ExecutionId> {
        let engine = self.sequencing.engine();
        let open = engine.executions().iter().filter(|(_, execution)| execution.part_of.is_none() && !execution.idempotent);
        open.filter(|(id, _)| !engine.is_ending(id)).map(|(id, _)| *id).collect()
    }

    /// Returns the log's id.
    pub fn log(&self) -> LogId {
        self.sequencing.engine().log()
    }

    /// Returns the newest position and the chain's hash there.
    pub fn head(&self) -> Head {
        self.sequencing.committed_head()
    }

    /// Lists the keys that are set.
    pub fn keys(&self) -> Vec<KeyState> {
        let keys = self.sequencing.engine().access().keys();
        let is_set = |versions: &KeyVersions| versions.current.is_some();
        keys.filter(|(_, versions)| is_set(versions)).map(|(key, versions)| KeyState { key: key.clone(), versions: *versions }).collect()
    }

    /// Sets a key and returns its version.
    pub fn set_key(&mut self, key: &KeyRef, value: &Secret, expires_at: Option<Timestamp>) -> Result<u32, OfflineError> {
        let before = self.versions(key);
        let version = before.newest + 1;
        self.vault.put_key(key, version, value).map_err(StartError::from)?;
        self.record(Ask::SetKey { key: key.clone(), version, expires_at })?;
        self.destroy(key, [before.current, before.previous.map(|previous| previous.version)])?;
        Ok(version)
    }

    /// Replaces the value of a key that is set, accepts the value before it for some milliseconds, and returns
    /// the new version.
    pub fn rotate_key(
        &mut self,
        key: &KeyRef,
        value: &Secret,
        overlap_millis: u64,
        expires_at: Option<Timestamp>,
    ) -> Result<u32, OfflineError> {
        let before = self.versions(key);
        if before.current.is_none() {
            return Err(Refusal::NoKey(key.clone()).into());
        }
        let version = before.newest + 1;
        self.vault.put_key(key, version, value).map_err(StartError::from)?;
        self.record(Ask::RotateKey(KeyRotation { key: key.clone(), version, overlap_millis, expires_at }))?;
        let replaced = if overlap_millis > 0 { None } else { before.current };
        self.destroy(key, [replaced, before.previous.map(|previous| previous.version)])?;
        Ok(version)
    }

    /// Records that a version of a key is shown, and then returns the version and its value: the current one
    /// if none is named.
    pub fn reveal_key(&mut self, key: &KeyRef, version: Option<u32>) -> Result<(u32, Secret), OfflineError> {
        let versions = self.versions(key);
        let version = version.or(versions.current).ok_or_else(|| Refusal::NoKey(key.clone()))?;
        if !versions.needs(version, self.clock.now()) {
            return Err(Refusal::NoKeyVersion { key: key.clone(), version }.into());
        }
        let value = self.vault.open_key(key, version).map_err(StartError::from)?;
        let value = value.ok_or_else(|| StartError::from(VaultError::Integrity(key.to_string())))?;
        self.record(Ask::RevealKey { key: key.clone(), version })?;
        Ok((version, value))
    }

    fn versions(&self, key: &KeyRef) -> KeyVersions {
        self.sequencing.engine().access().key(key).unwrap_or_default()
    }

    fn destroy(&self, key: &KeyRef, versions: impl IntoIterator<Item = Option<u32>>) -> Result<(), OfflineError> {
        for version in versions.into_iter().flatten() {
            self.vault.destroy_key(key, version).map_err(StartError::from)?;
        }
        Ok(())
    }

    /// Removes a key.
    pub fn remove_key(&mut self, key: &KeyRef) -> Result<(), OfflineError> {
        let before = self.versions(key);
        self.record(Ask::RemoveKey { key: key.clone() })?;
        self.destroy(key, [before.current, before.previous.map(|previous| previous.version)])
    }

    /// Replaces the master key of the vault, or completes a rotation that was interrupted. Returns the ids of the key
    /// before and of the new one.
    pub fn rotate_master_key(&mut self) -> Result<(MasterKeyId, MasterKeyId), OfflineError> {
        let (file, vault) = (self.master_key.clone(), self.vault.clone());
        let rotated = rotate(&file, &*vault, |Rotation { from, to }| self.record(Ask::NoteMasterKey { from, to }));
        let CompletedRotation { from, to, left, .. } = rotated.map_err(|error| match error {
            RotateError::Key(error) => StartError::from(error).into(),
            RotateError::Vault(error) => StartError::from(error).into(),
            RotateError::Record(error) => error,
            _ => StartError::from(VaultError::Store(error.to_string())).into(),
        })?;
        match left {
            None => Ok((from, to)),
            Some(error) => Err(OfflineError::MasterKeyLeft(left_over(&file, &error))),
        }
    }

    /// Lists the valid tokens.
    pub fn tokens(&self) -> Vec<TokenState> {
        let tokens = self.sequencing.engine().access().tokens();
        let in_force = tokens.filter(|(_, token)| token.successor.is_none());
        let state = |(id, token): (&TokenId, &Token)| TokenState {
            id: *id,
            name: token.name.clone(),
            roles: token.roles.clone(),
            scopes: token.scopes.clone(),
            expires_at: token.expires_at,
        };
        in_force.map(state).collect()
    }

    /// Creates a token; its secret is returned only this once.
    pub fn add_token(&mut self, asked: &AskedToken) -> Result<Secret, OfflineError> {
        check_token(asked)?;
        let moment = self.clock.moment();
        let made = new_token(TokenId(Id::root(moment.time, moment.entropy)));
        self.vault.put_token(made.id, made.hash).map_err(StartError::from)?;
        self.record(Ask::AddToken(asked_as(asked, made.id, moment.time)))?;
        Ok(made.token)
    }

    /// Gives an identity access as an administrator again: creates it if it does not exist, enables it, grants it the
    /// role, and returns the secret of a new token of it, which is shown only this once.
    pub fn recover(&mut self, name: &str) -> Result<Secret, OfflineError> {
        check_name(name)?;
        let profiles = self.vault.profiles().map_err(StartError::from)?;
        let known = profiles.iter().find(|(_, profile)| Profile::parse(profile).is_some_and(|profile| profile.name == name));
        let known = known.map(|(id, _)| *id).filter(|id| self.sequencing.engine().access().identity(id).is_some());
        let fresh = || {
            let moment = self.clock.moment();
            Id::root(moment.time, moment.entropy)
        };
        let (id, grant, made) = (known.unwrap_or_else(|| IdentityId(fresh())), GrantId(fresh()), new_token(TokenId(fresh())));
        let mut asks = Vec::new();
        if known.is_none() {
            self.vault.put_profile(id, &Profile::with_name(name.to_owned()).sealed_form()).map_err(StartError::from)?;
            asks.push(Ask::AddIdentity { id, kind: IdentityKind::Person, groups: Vec::new() });
        }
        asks.push(Ask::SetIdentityStanding { id, standing: Standing::Enabled });
        let role = ADMIN.parse().expect("the name of a built-in role is a valid name");
        asks.push(Ask::AddGrant(NewGrant { id: grant, subject: Subject::Identity(id), role, on: None, until: None }));
        self.vault.put_token(made.id, made.hash).map_err(StartError::from)?;
        // The name of the token is its own id, so it is never in use.
        let token = AskedToken { name: made.id.to_string(), identity: Some(id), ..AskedToken::default() };
        asks.push(Ask::AddToken(asked_as(&token, made.id, self.clock.moment().time)));
        self.append(asks)?;
        self.outside.write(self.head(), Durability::Synced).map_err(StartError::from)?;
        Ok(made.token)
    }

    /// Revokes a token.
    pub fn revoke_token(&mut self, name: &str) -> Result<(), OfflineError> {
        self.record(Ask::RevokeToken { name: name.to_owned() })
    }

    /// Rebuilds the read models and returns their position; `step` is called after each part.
    pub fn rebuild_views(&self, mut step: impl FnMut(Position)) -> Result<Position, OfflineError> {
        let mut views = self.backend.views(self.log()).map_err(StartError::from)?;
        views.clear()?;
        let reader = self.log.reader().map_err(StartError::from)?;
        let mut projector = Projector::new();
        loop {
            let records = reader.read(views.position(), ensue_engine::ports::ReadLimit::default()).map_err(StartError::from)?;
            if records.is_empty() {
                return Ok(views.position());
            }
            projector.advance(&mut *views, &records)?;
            step(views.position());
        }
    }

    /// Verifies the log; after each part `step` is called with the part's end.
    pub fn verify(&self, step: impl FnMut(Position)) -> Result<VerifySummary, OfflineError> {
        let reader = self.log.reader().map_err(StartError::from)?;
        let seen = self.outside.read().map_err(StartError::from)?;
        Ok(verify(&*reader, seen, step)?)
    }

    /// Returns how many bytes are free on the directory's disk.
    pub fn free_bytes(&self) -> Result<u64, OfflineError> {
        Ok(self.data.free_bytes().map_err(StartError::from)?)
    }

    /// Checks the database that has the log, as a running node does. Empty if the log is in the directory.
    pub fn database_findings(&self) -> Vec<Finding> {
        self.backend.health().map(|asked| database_health::findings(asked, self.clock.now())).unwrap_or_default()
    }

    /// Executes a command of the operator and waits for the disk.
    fn record(&mut self, ask: Ask) -> Result<(), OfflineError> {
        self.append([ask])?;
        Ok(self.outside.write(self.head(), Durability::Synced).map_err(StartError::from)?)
    }

    /// Executes commands as one batch; the caller updates the note of the newest head.
    fn append(&mut self, asks: impl IntoIterator<Item = Ask>) -> Result<(), OfflineError> {
        let step = self.set_back.map(|step| (Actor::Engine, Ask::NoteClockStep { from: step.from, to: step.to }));
        let beside = BatchInputs { catalogs: &Nothing, bodies: &Nothing, seen: &Nothing, settings: &self.settings };
        for (actor, ask) in step.into_iter().chain(asks.into_iter().map(|ask| (Actor::Operator, ask))) {
            let command = Command { actor, trace: None, ask };
            let refusal = match self.sequencing.offer(&command, &self.clock.moment(), &beside) {
                OfferOutcome::Taken { .. } => continue,
                OfferOutcome::Refused(refusal) => refusal,
                OfferOutcome::Needs(_) => Refusal::Bug("the command needs a body".to_owned()),
            };
            self.sequencing.undo();
            return Err(refusal.into());
        }
        let before = self.head().position;
        if let Err(error) = self.log.append(self.sequencing.batch(), before, self.sequencing.epoch()) {
            self.sequencing.undo();
            return Err(error.into());
        }
        self.sequencing.mark_committed();
        self.set_back = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ensue_engine::ports::ReadLimit;

    use super::*;

    fn viewer(name: &str) -> AskedToken {
        AskedToken { name: name.to_owned(), roles: vec!["viewer".to_owned()], ..AskedToken::default() }
    }

    #[test]
    fn offline_change_records_a_clock_that_was_set_back_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("data"));
        config.state_base = Some(folder.path().join("state"));
        let mut offline = Offline::open(&config).unwrap();
        let ahead = |offline: &Offline| assert_eq!(offline.clock.go_on_from(offline.clock.now().plus_millis(59_000)), None);
        ahead(&offline);
        offline.add_token(&viewer("one")).unwrap();
        drop(offline);
        let mut offline = Offline::open(&config).unwrap();
        offline.add_token(&viewer("two")).unwrap();
        ahead(&offline);
        offline.add_token(&viewer("three")).unwrap();
        drop(offline);
        let mut offline = Offline::open(&config).unwrap();
        offline.add_token(&viewer("four")).unwrap();
        offline.add_token(&viewer("five")).unwrap();
        let records = offline.log.reader().unwrap().read(Position(0), ReadLimit::default()).unwrap();
        let kinds: Vec<&str> = records.iter().map(ensue_engine::record::Record::kind).collect();
        assert_eq!(kinds, ["token.added", "token.added", "token.added", "clock.stepped", "token.added", "token.added"]);
        assert!(records[..3].is_sorted_by_key(|record| record.time), "it continues from the log if it is slightly behind");
        assert!(records[4].time < records[2].time);
    }

    /// Copies a folder with all its contents.
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    fn add_tokens(config: &Config, names: &[&str]) {
        let mut offline = Offline::open(config).unwrap();
        for name in names {
            offline.add_token(&viewer(name)).unwrap();
        }
    }

    #[test]
    fn log_with_another_record_at_the_known_position_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("data"));
        config.state_base = Some(folder.path().join("state"));
        add_tokens(&config, &["one"]);
        let copies = tempfile::tempdir().unwrap();
        let before = copies.path();
        copy(folder.path(), before);
        add_tokens(&config, &["two"]);

        // The copy continues on its own, with a state folder that does not know the second token of the
        // original.
        let mut copied = Config::new(before.join("data"));
        copied.state_base = Some(before.join("state"));
        add_tokens(&copied, &["three"]);
        std::fs::remove_dir_all(&config.data).unwrap();
        copy(&copied.data, &config.data);

        let refused = Offline::open(&config).err().expect("a rewritten log must not open");
        assert!(matches!(refused, OfflineError::Start(StartError::Chain(_))), "{refused}");
        assert_eq!(refused.slug(), "log-chain-broken");
        let verified = verify_directory(&config, HeadReference::StateFolder, |_, _| ());
        assert!(matches!(verified, Err(OfflineError::Verify(VerifyError::Rewritten { at: Position(2) }))), "{verified:?}");

        let (mut offline, missing) = Offline::open_restored(&config).unwrap();
        offline.accept_restored(&missing).unwrap();
        drop(offline);
        Offline::open(&config).unwrap();
    }
}

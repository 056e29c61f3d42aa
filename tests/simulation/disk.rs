//! The disk of a world: a folder in memory-backed space if there is one. In most worlds SQLite's files are on
//! a disk that fails as real disks fail, and the log and vault fail according to the plan.
//!
//! The crate `ensue-disk` describes what such a disk does, and `small_files.rs` what a power cut leaves of
//! the other files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_disk::Sectors;
use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_disk::trace::Kind;
use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, SealedKind, Secret, Vault, VaultError};
use ensue_engine::record::{Epoch, Head, Position, Record};
use ensue_node::backend::sqlite::Places;
use ensue_store::checkpoints::{self, Checkpoints};
use ensue_store::data_dir::DataDir;
use ensue_store::sqlite::{FileSystem, SqliteFile};
use tempfile::TempDir;

use crate::databases::Servers;
use crate::ground::WorldGround;
use crate::life::Life;
use crate::plan::Plan;
use crate::random::Random;
use crate::small_files::SmallFiles;
use crate::sometimes;

/// A copy of the crash file as it was when a reaction ended the process.
pub(crate) const CRASH_NOTE: &str = "crash.json.noted";
/// With this many records of a kind in the log, the node dies half as often after one of them.
const OWING_MANY: f64 = 10.0;
/// How many times a kind of record may have been stored and still count as rare.
const RARE_MAX: u64 = 20;

/// The folder of a world; it is removed with the world.
pub(crate) struct Disk {
    files: Option<ensue_disk::Disk>,
    small: SmallFiles,
    // Notes about the folder are dropped before the folder.
    folder: TempDir,
}

/// Creates a folder in memory-backed space, if there is any. It is removed with the world.
pub(crate) fn folder() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::Builder::new().prefix("ensue-sim-").tempdir_in(memory) } else { TempDir::new() }
}

/// Access to SQLite's files on a disk that fails.
const CRASH_DISKS: FileSystem = FileSystem {
    vfs: Some(ensue_disk::VFS),
    exists: ensue_disk::exists,
    create: ensue_disk::create,
    sync_folder: ensue_disk::sync_folder,
    remove: ensue_disk::remove,
    rename: ensue_disk::rename,
    write_again: ensue_disk::write_again,
};

impl Disk {
    /// Creates an empty disk.
    pub(crate) fn new(seed: u64, plan: &Plan) -> std::io::Result<Self> {
        let folder = folder()?;
        let sectors = if seed.is_multiple_of(2) { Sectors::Bytes4096 } else { Sectors::Bytes512 };
        let files = plan.has_crash_disk.then(|| ensue_disk::Disk::new(&format!("world-{seed}"), seed, sectors));
        Ok(Self { files, small: SmallFiles::below(folder.path())?, folder })
    }

    /// Returns the paths of SQLite's files.
    pub(crate) fn places(&self, data: &DataDir) -> Places {
        let Some(files) = &self.files else { return Places::of(data) };
        let place = |name: &str| SqliteFile { path: files.path(name), files: CRASH_DISKS };
        Places { log: place("log.sqlite"), vault: place("vault.sqlite"), views: place("views.sqlite"), ..Places::of(data) }
    }

    /// Ends the process that uses the disk; its handles become invalid.
    pub(crate) fn kill(&self) {
        if let Some(files) = &self.files {
            files.kill();
        }
    }

    /// Cuts the power: only some of the unflushed data survives.
    pub(crate) fn cut_power(&self, ground: &WorldGround) -> std::io::Result<()> {
        let cut = self.small.cut_power(&mut ground.random())?;
        ground.trace("disk", format!("{} names of small files are as they were, {} files lost something", cut.names, cut.contents));
        sometimes!(cut.names > 0, "a power cut undid a rename of a small file");
        sometimes!(cut.contents > 0, "a power cut lost the content of a small file");
        if let Some(files) = &self.files {
            let cut = files.cut_power();
            ground.trace("disk", format!("{} sectors are kept, {} are lost, {} are torn", cut.kept, cut.lost, cut.torn));
            sometimes!(cut.lost > 0, "a power cut lost sectors that were not flushed");
            sometimes!(cut.torn > 0, "a power cut tore a sector");
        }
        Ok(())
    }

    /// Lets a second pass: now and then the kernel writes small files back by itself.
    pub(crate) fn tick(&self, ground: &WorldGround) -> std::io::Result<()> {
        let mut random = ground.random();
        if random.chance(0.2) { self.small.write_back(&mut random) } else { Ok(()) }
    }

    /// Makes one of SQLite's next operations fail, once or from then on.
    pub(crate) fn fail(&self, random: &mut Random, ground: &WorldGround) {
        let Some(files) = &self.files else { return };
        let of =
            [None, Some(Kind::Sync), Some(Kind::Write), Some(Kind::Read), Some(Kind::Truncate)][random.pick_weighted(&[3, 4, 3, 1, 1])];
        let failure = if random.chance(0.7) { Failure::Io } else { Failure::Part };
        let lasting = if random.chance(0.7) { Lasting::Once } else { Lasting::ForEver };
        let fault = Fault { nth: random.between(1, 12), of, failure, lasting };
        ground.trace("disk", format!("{fault:?}"));
        sometimes!(of == Some(Kind::Sync), "a flush failed");
        files.fail(fault);
    }

    /// Limits the free space to so many bytes, or removes the limit.
    pub(crate) fn leave_room(&self, bytes: Option<u64>) {
        if let Some(files) = &self.files {
            files.set_space(bytes.map(|bytes| files.used_bytes() + bytes));
        }
    }

    /// Repairs the disk, as a person does before starting the node again.
    pub(crate) fn mend(&self) {
        if let Some(files) = &self.files {
            files.mend();
        }
    }

    /// Returns a checksum of all operations on the disk: equal for equal seeds.
    pub(crate) fn sum(&self) -> u64 {
        self.files.as_ref().map_or(0, ensue_disk::Disk::sum)
    }

    /// Removes the folder's name, which differs in each run, from a text.
    pub(crate) fn without_place(&self, text: &str) -> String {
        text.replace(&*self.folder.path().to_string_lossy(), "")
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of packs.
    pub(crate) fn packs(&self) -> PathBuf {
        self.folder.path().join("packs")
    }

    /// The path of the state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Restores the crash file as it was when a reaction ended the process: the code of a dead node keeps
    /// running and removes it.
    pub(crate) fn leave_crash_note(&self) {
        let note = self.data().join(CRASH_NOTE);
        if note.exists() {
            // A rename on one file system with no other user does not fail; if it did, one end would not be
            // counted.
            let _ = std::fs::rename(note, self.data().join("crash.json"));
        }
    }

    /// Returns every file of the node with its name and content; a saved state of the log also in its
    /// uncompressed form.
    pub(crate) fn contents(&self, log: LogId) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut contents = Vec::new();
        if let Some(files) = &self.files {
            contents.extend(files.names().into_iter().filter_map(|name| files.content(&name).map(|content| (name, content))));
        }
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    if let Some(state) = saved_state(&path, log) {
                        contents.push((format!("{}, read", self.without_place(&path.to_string_lossy())), state));
                    }
                    contents.push((self.without_place(&path.to_string_lossy()), std::fs::read(&path)?));
                }
            }
        }
        Ok(contents)
    }

    /// Removes the views, as an operator may.
    pub(crate) fn lose_views(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = match &self.files {
                Some(files) => ensue_disk::remove(&files.path(&format!("views.sqlite{end}"))),
                None => std::fs::remove_file(self.data().join(format!("views.sqlite{end}"))),
            };
        }
    }

    /// Removes the snapshots, as an operator may.
    pub(crate) fn lose_snapshots(&self) {
        let _ = std::fs::remove_dir_all(self.data().join("checkpoints"));
    }

    /// Removes the lock file, as nobody should.
    pub(crate) fn lose_lock(&self) {
        let _ = std::fs::remove_file(self.data().join("lock"));
    }
}

/// Returns the state that a file holds, or `None` if it holds none or a power cut has damaged it.
fn saved_state(file: &Path, log: LogId) -> Option<Vec<u8>> {
    let folder = file.parent().filter(|_| file.extension().is_some_and(|end| end == checkpoints::SUFFIX))?;
    let bytes = |state: &mut dyn Read| {
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.to_string())
    };
    let read = Checkpoints::open(folder, log).ok()?.read(file, bytes);
    sometimes!(read.is_ok(), "a saved state was searched for secrets");
    read.ok().map(|checkpoint| checkpoint.state)
}

/// A log whose appends fail as the plan says.
pub(crate) struct FailingLog {
    log: Box<dyn Log>,
    servers: Option<Arc<Servers>>,
    ground: Arc<WorldGround>,
    life: Arc<Life>,
    is_dead: bool,
}

impl FailingLog {
    /// Takes the log of a node, and the servers that it is on, if it is not on the disk.
    pub(crate) fn new(log: Box<dyn Log>, servers: Option<Arc<Servers>>, ground: Arc<WorldGround>, life: Arc<Life>) -> Self {
        Self { log, servers, ground, life, is_dead: false }
    }

    fn append_to_log(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        self.ground.note_head(head.0);
        let appended = match &self.servers {
            Some(servers) => servers.disturb(|| self.log.append(batch, head, epoch)),
            None => self.log.append(batch, head, epoch),
        };
        match &appended {
            Ok(position) => self.ground.note_commit(position.0),
            Err(AppendError::Deposed(_) | AppendError::Behind(_)) => sometimes!("a write under an old epoch was refused"),
            Err(_) => self.ground.note_failed_append(head.0 + batch.records.len() as u64),
        }
        appended
    }

    fn append_with_faults(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let (ground, plan) = (self.ground.clone(), self.ground.plan.clone());
        let told = |what: &str| ground.trace("disk", format!("{what} at the append of {} records after {head}", batch.records.len()));
        if self.life.is_over() || self.is_dead {
            return Err(AppendError::Dead("the node is dead".to_owned()));
        }
        if ground.strikes(plan.append_kill_before) {
            told("the node dies before anything is kept");
            sometimes!("killed at an append, nothing kept");
            self.life.end();
            return Err(AppendError::Dead("the node is dead".to_owned()));
        }
        if ground.strikes(plan.append_kill_after) {
            let appended = self.append_to_log(batch, head, epoch);
            told("the node dies after all is kept");
            sometimes!("killed at an append, all kept");
            self.life.end();
            return appended.and(Err(AppendError::Dead("the node is dead".to_owned())));
        }
        if ground.strikes(plan.append_full) {
            told("no room");
            sometimes!("an append found no room");
            return Err(AppendError::Full);
        }
        if ground.strikes(plan.append_unknown_kept) {
            told("kept, and not said");
            sometimes!("an unknown commit was kept");
            self.append_to_log(batch, head, epoch)?;
            return Err(AppendError::Unknown);
        }
        if ground.strikes(plan.append_unknown_lost) {
            told("lost, and not said");
            sometimes!("an unknown commit was lost");
            return Err(AppendError::Unknown);
        }
        if ground.strikes(plan.append_dead) {
            told("the store fails for good");
            sometimes!("the store failed for good");
            self.is_dead = true;
            return Err(AppendError::Dead("a fault of the simulated disk".to_owned()));
        }
        let appended = self.append_to_log(batch, head, epoch)?;
        let rarest = ground.witness().note_kinds(batch.records.iter().map(Record::kind));
        if let Some(of) = plan.append_kill_of
            && batch.records.iter().any(|record| record.kind() == of.kind.as_str())
            && ground.strikes(of.chance / (1.0 + ground.witness().count_stored(of.kind.as_str()) as f64 / OWING_MANY))
        {
            told("the node dies before the consequences of a kept record");
            sometimes!("killed between a record and its consequences");
            self.life.end();
            return Err(AppendError::Dead("the node is dead".to_owned()));
        }
        if rarest < RARE_MAX && ground.strikes(plan.append_kill_rare / (rarest + 1) as f64) {
            told("the node dies after something rare is kept");
            sometimes!("killed after a rare record");
            self.life.end();
            return Err(AppendError::Dead("the node is dead".to_owned()));
        }
        Ok(appended)
    }
}

impl Log for FailingLog {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn head(&self) -> Result<Head, LogError> {
        self.log.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let appended = self.append_with_faults(batch, head, epoch);
        if appended.is_err() {
            self.ground.witness().note_unkept(self.ground.now());
        }
        appended
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.log.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }

    fn release_caches(&mut self) {
        self.log.release_caches();
    }
}

/// A vault whose writes fail according to the plan.
pub(crate) struct FailingVault {
    vault: Arc<dyn Vault>,
    ground: Arc<WorldGround>,
    life: Arc<Life>,
}

impl FailingVault {
    /// Wraps the vault of a node.
    pub(crate) fn new(vault: Arc<dyn Vault>, ground: Arc<WorldGround>, life: Arc<Life>) -> Self {
        Self { vault, ground, life }
    }

    fn write_with_faults(&self, write: impl FnOnce() -> Result<(), VaultError>) -> Result<(), VaultError> {
        let failed = |why: &str| Err(VaultError::Store(why.to_owned()));
        if self.life.is_over() {
            return failed("the node is dead");
        }
        if self.ground.strikes(self.ground.plan.vault_fails) {
            self.ground.trace("disk", "the vault cannot be written");
            sometimes!("the vault could not be written");
            return failed("a fault of the simulated disk");
        }
        let kills = self.ground.strikes(self.ground.plan.vault_kill);
        if kills && self.ground.random().chance(0.5) {
            self.ground.trace("disk", "the node dies before the vault is written");
            self.life.end();
            return failed("the node is dead");
        }
        let done = write();
        if kills && !self.life.is_over() {
            self.ground.trace("disk", "the node dies after the vault is written");
            sometimes!("killed after a write of the vault");
            self.life.end();
            return failed("the node is dead");
        }
        done
    }
}

impl Vault for FailingVault {
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.put_key(key, version, value))
    }

    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
        self.vault.open_key(key, version)
    }

    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
        self.vault.key_versions()
    }

    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.destroy_key(key, version))
    }

    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.put_token(token, hash))
    }

    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
        self.vault.tokens()
    }

    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.destroy_token(token))
    }

    fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.put_profile(identity, profile))
    }

    fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError> {
        self.vault.profiles()
    }

    fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.destroy_profile(identity))
    }

    fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.put_all(kind, values))
    }

    fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError> {
        self.vault.list(kind)
    }

    fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError> {
        self.write_with_faults(|| self.vault.destroy(kind, name))
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::record::Chain;
    use ensue_engine::time::Timestamp;

    use super::*;
    use crate::secrets::{holds_secret, key_value};

    #[test]
    fn secret_in_a_compressed_saved_state_is_detected() {
        let disk = Disk::new(1, &Plan::draw(&mut Random::new(1))).unwrap();
        let log = LogId(Id::root(Timestamp::from_micros(1), 1));
        let state = (0..100).map(key_value).collect::<String>().chars().rev().collect::<String>();
        let state = format!("{state}{}", key_value(7)).into_bytes();
        let at = Head { position: Position(1), chain: Chain::default() };
        let folder = disk.data().join("checkpoints");
        let written = Checkpoints::open(&folder, log).unwrap().write(at, "any", |into| into.write_all(&state)).unwrap();
        assert!(!holds_secret(&std::fs::read(written).unwrap()), "the file itself shows nothing, so the state must");
        assert!(disk.contents(log).unwrap().iter().any(|(_, content)| holds_secret(content)));
    }
}

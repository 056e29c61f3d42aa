//! The disk of a world: a folder in memory-backed space where there is one, and a log and a vault that fail as the plan says.
//!
//! What is written stays when a node dies; what a power cut takes is said where the cut is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_engine::command::{DedupeKey, Seen};
use ensue_engine::ids::{LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, Secret, Vault, VaultError};
use ensue_engine::record::{Epoch, Head, Position};
use tempfile::TempDir;

use crate::ground::Ground;
use crate::life::Life;
use crate::sometimes;

/// The folder of a world; it goes with the world.
pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Makes an empty disk.
    pub(crate) fn new() -> std::io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::Builder::new().prefix("ensue-sim-").tempdir_in(memory) } else { TempDir::new() };
        Ok(Self { folder: folder? })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of packs.
    pub(crate) fn packs(&self) -> PathBuf {
        self.folder.path().join("packs")
    }

    /// Where the state folder lies.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Takes the views away, as an operator may.
    pub(crate) fn lose_views(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.data().join(format!("views.sqlite{end}")));
        }
    }

    /// Takes the snapshots away, as an operator may.
    pub(crate) fn lose_snapshots(&self) {
        let _ = std::fs::remove_dir_all(self.data().join("checkpoints"));
    }

    /// Takes the lock file away, as nobody should.
    pub(crate) fn lose_lock(&self) {
        let _ = std::fs::remove_file(self.data().join("lock"));
    }
}

/// A log whose appends fail as the plan says.
pub(crate) struct FailingLog<L> {
    log: L,
    ground: Arc<Ground>,
    life: Arc<Life>,
    is_dead: bool,
}

impl<L: Log> FailingLog<L> {
    /// Takes the log of a node.
    pub(crate) fn new(log: L, ground: Arc<Ground>, life: Arc<Life>) -> Self {
        Self { log, ground, life, is_dead: false }
    }

    fn kept(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let appended = self.log.append(batch, head, epoch);
        match &appended {
            Ok(position) => self.ground.note_commit(position.0),
            Err(AppendError::Deposed(_) | AppendError::Behind(_)) => sometimes!("a write under an old epoch was refused"),
            Err(_) => {}
        }
        appended
    }
}

impl<L: Log> Log for FailingLog<L> {
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
        let (ground, plan) = (self.ground.clone(), self.ground.plan.clone());
        let told = |what: &str| ground.tell("disk", format!("{what} at the append of {} records after {head}", batch.records.len()));
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
            let appended = self.kept(batch, head, epoch);
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
            self.kept(batch, head, epoch)?;
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
        self.kept(batch, head, epoch)
    }

    fn seen(&self, keys: &[DedupeKey]) -> Result<Vec<Option<Seen>>, LogError> {
        self.log.seen(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }
}

/// A vault whose writes fail as the plan says.
pub(crate) struct FailingVault {
    vault: Arc<dyn Vault>,
    ground: Arc<Ground>,
    life: Arc<Life>,
}

impl FailingVault {
    /// Takes the vault of a node.
    pub(crate) fn new(vault: Arc<dyn Vault>, ground: Arc<Ground>, life: Arc<Life>) -> Self {
        Self { vault, ground, life }
    }

    fn written(&self, write: impl FnOnce() -> Result<(), VaultError>) -> Result<(), VaultError> {
        let failed = |why: &str| Err(VaultError::Store(why.to_owned()));
        if self.life.is_over() {
            return failed("the node is dead");
        }
        if self.ground.strikes(self.ground.plan.vault_fails) {
            self.ground.tell("disk", "the vault cannot be written");
            sometimes!("the vault could not be written");
            return failed("a fault of the simulated disk");
        }
        let kills = self.ground.strikes(self.ground.plan.vault_kill);
        if kills && self.ground.random().chance(0.5) {
            self.ground.tell("disk", "the node dies before the vault is written");
            self.life.end();
            return failed("the node is dead");
        }
        let done = write();
        if kills && !self.life.is_over() {
            self.ground.tell("disk", "the node dies after the vault is written");
            sometimes!("killed after a write of the vault");
            self.life.end();
            return failed("the node is dead");
        }
        done
    }
}

impl Vault for FailingVault {
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
        self.written(|| self.vault.put_key(key, version, value))
    }

    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
        self.vault.open_key(key, version)
    }

    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
        self.vault.key_versions()
    }

    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError> {
        self.written(|| self.vault.destroy_key(key, version))
    }

    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
        self.written(|| self.vault.put_token(token, hash))
    }

    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
        self.vault.tokens()
    }

    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.written(|| self.vault.destroy_token(token))
    }
}

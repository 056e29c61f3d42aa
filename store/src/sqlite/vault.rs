//! A vault in a SQLite file: one row per envelope.
//!
//! [`crate::vault`] defines the sealed content and what it is bound to.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use rusqlite::{Connection, OptionalExtension, params};

use super::{OpenError, PageSize, Place, Schema, open_to_write};
use crate::master_key::MasterKey;
use crate::vault::{Purpose, Sealer, token_hash};

pub(super) const SCHEMA: Schema = Schema {
    name: "vault",
    migrations: &[include_str!("../../../migrations/sqlite/vault_0001.sql")],
    definitions: "2c0a6826e71ce5c74afa603cfd79688033337da13ea306ce876c976d3b54fa3b",
    page: PageSize::Kib8,
};

/// A vault in a SQLite file.
pub struct SqliteVault {
    sealer: Sealer,
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteVault {
    /// Opens the vault of a log in the file at `path`, creating it if necessary.
    pub fn open(path: &Path, log: LogId, master: MasterKey) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), log, master)
    }

    /// Opens a vault as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: &Place, log: LogId, master: MasterKey) -> Result<Self, OpenError> {
        let connection = open_to_write(place, &SCHEMA)?;
        let path = place.path.as_path();
        // Destroyed values must not be found in the file's free pages.
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())).map_err(|error| OpenError::of(path, &error))?;
        Ok(Self { sealer: Sealer::new(master, log), path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, purpose: &Purpose, value: &[u8]) -> Result<(), VaultError> {
        let sealed = self.sealer.seal(purpose, value)?;
        self.insert(&self.connection(), purpose, &sealed)
    }

    fn insert(&self, connection: &Connection, purpose: &Purpose, sealed: &[u8]) -> Result<(), VaultError> {
        connection
            .execute(
                "INSERT INTO secrets (log, purpose, name, version, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET sealed = excluded.sealed",
                params![self.sealer.log().0.as_bytes(), purpose.as_str(), purpose.name(), purpose.version(), sealed],
            )
            .map(|_| ())
            .map_err(|error| self.failed(&error))
    }

    fn destroy_of(&self, purpose: &Purpose) -> Result<(), VaultError> {
        self.connection()
            .execute(
                "DELETE FROM secrets WHERE log = ?1 AND purpose = ?2 AND name = ?3 AND version = ?4",
                params![self.sealer.log().0.as_bytes(), purpose.as_str(), purpose.name(), purpose.version()],
            )
            .map(|_| ())
            .map_err(|error| self.failed(&error))
    }

    /// Lists the envelopes of one purpose. A row that this release would not write is an error and is not
    /// skipped.
    fn list_of(&self, purpose: &str) -> Result<Vec<(Purpose, Vec<u8>)>, VaultError> {
        let connection = self.connection();
        let rows = || -> rusqlite::Result<Vec<(String, i64, Vec<u8>)>> {
            connection
                .prepare("SELECT name, version, sealed FROM secrets WHERE log = ?1 AND purpose = ?2 ORDER BY name, version")?
                .query_map(params![self.sealer.log().0.as_bytes(), purpose], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        };
        let parse = |(name, version, sealed): (String, i64, Vec<u8>)| match Purpose::parse(purpose, &name, version) {
            Some(purpose) => Ok((purpose, sealed)),
            None => Err(VaultError::Integrity(format!("{purpose} {name}"))),
        };
        rows().map_err(|error| self.failed(&error))?.into_iter().map(parse).collect()
    }

    fn failed(&self, error: &rusqlite::Error) -> VaultError {
        VaultError::Store(format!("{}: {error}", self.path.display()))
    }
}

impl Vault for SqliteVault {
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
        self.put(&Purpose::Key(key.clone(), version), value.reveal())
    }

    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
        let purpose = Purpose::Key(key.clone(), version);
        let sealed: Option<Vec<u8>> = self
            .connection()
            .query_row(
                "SELECT sealed FROM secrets WHERE log = ?1 AND purpose = ?2 AND name = ?3 AND version = ?4",
                params![self.sealer.log().0.as_bytes(), purpose.as_str(), purpose.name(), version],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.failed(&error))?;
        sealed.map(|sealed| self.sealer.open(&purpose, &sealed)).transpose()
    }

    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
        let mut versions = Vec::new();
        for (purpose, _) in self.list_of("key")? {
            match purpose {
                Purpose::Key(key, version) => versions.push((key, version)),
                Purpose::Token(_) | Purpose::Profile(_) | Purpose::Sealed(..) => {}
            }
        }
        Ok(versions)
    }

    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError> {
        self.destroy_of(&Purpose::Key(key.clone(), version))
    }

    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
        self.put(&Purpose::Token(token), &hash)
    }

    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
        let mut tokens = Vec::new();
        for (purpose, sealed) in self.list_of("token")? {
            match purpose {
                Purpose::Token(token) => tokens.push((token, token_hash(&self.sealer, token, &sealed)?)),
                Purpose::Key(..) | Purpose::Profile(_) | Purpose::Sealed(..) => {}
            }
        }
        Ok(tokens)
    }

    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.destroy_of(&Purpose::Token(token))
    }

    fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError> {
        self.put(&Purpose::Profile(identity), profile.reveal())
    }

    fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError> {
        let mut profiles = Vec::new();
        for (purpose, sealed) in self.list_of("profile")? {
            match purpose {
                Purpose::Profile(identity) => profiles.push((identity, self.sealer.open(&purpose, &sealed)?)),
                Purpose::Key(..) | Purpose::Token(_) | Purpose::Sealed(..) => {}
            }
        }
        Ok(profiles)
    }

    fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError> {
        self.destroy_of(&Purpose::Profile(identity))
    }

    fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError> {
        let seal = |(name, value): &(String, Secret)| {
            let purpose = Purpose::Sealed(kind, name.clone());
            self.sealer.seal(&purpose, value.reveal()).map(|sealed| (purpose, sealed))
        };
        let sealed = values.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|error| self.failed(&error))?;
        for (purpose, sealed) in sealed {
            self.insert(&transaction, &purpose, &sealed)?;
        }
        transaction.commit().map_err(|error| self.failed(&error))
    }

    fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError> {
        let open = |(purpose, sealed): (Purpose, Vec<u8>)| Ok((purpose.name(), self.sealer.open(&purpose, &sealed)?));
        self.list_of(kind.as_str())?.into_iter().map(open).collect()
    }

    fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError> {
        self.destroy_of(&Purpose::Sealed(kind, name.to_owned()))
    }
}

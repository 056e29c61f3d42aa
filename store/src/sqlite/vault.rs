//! A vault in a SQLite file: one row per envelope.
//!
//! [`crate::vault`] defines the sealed content and what it is bound to.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use rusqlite::{Connection, OptionalExtension, params};

use super::{OpenError, PageSize, Place, Schema, open_to_write};
use crate::master_key::{MasterKey, MasterKeys};
use crate::vault::{
    KEY_ID_BYTES, Place as VaultPlace, Purpose, REWRAPPED_AT_ONCE, Rotation, SealedVault, Sealer, Step, named_key, token_hash,
};

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
    pub fn open(path: &Path, log: LogId, masters: impl Into<MasterKeys>) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), log, masters)
    }

    /// Opens a vault as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: &Place, log: LogId, masters: impl Into<MasterKeys>) -> Result<Self, OpenError> {
        let connection = open_to_write(place, &SCHEMA)?;
        let path = place.path.as_path();
        // Destroyed values must not be found in the file's free pages.
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())).map_err(|error| OpenError::of(path, &error))?;
        Ok(Self { sealer: Sealer::new(masters, log), path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, purpose: &Purpose, value: &[u8]) -> Result<(), VaultError> {
        // Sealed under the lock, so that no value is sealed under the master key before while a rotation begins.
        let connection = self.connection();
        let sealed = self.sealer.seal(purpose, value)?;
        self.insert(&connection, purpose, &sealed)
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

    /// Returns the next envelopes after a place, in their order.
    fn next_envelopes(&self, connection: &Connection, after: Option<&VaultPlace>) -> Result<Vec<(Purpose, Vec<u8>)>, VaultError> {
        type Row = (String, String, i64, Vec<u8>);
        let (purpose, name, version) =
            after.map_or(("", String::new(), 0), |VaultPlace(purpose)| (purpose.as_str(), purpose.name(), i64::from(purpose.version())));
        let rows = || -> rusqlite::Result<Vec<Row>> {
            connection
                .prepare_cached(
                    "SELECT purpose, name, version, sealed FROM secrets WHERE log = ?1 AND (purpose, name, version) > (?2, ?3, ?4) \
                     ORDER BY purpose, name, version LIMIT ?5",
                )?
                .query_map(params![self.sealer.log().0.as_bytes(), purpose, name, version, REWRAPPED_AT_ONCE as i64], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
        };
        let parse = |(purpose, name, version, sealed): Row| {
            let parsed = Purpose::parse(&purpose, &name, version);
            parsed.map(|parsed| (parsed, sealed)).ok_or_else(|| VaultError::Integrity(format!("{purpose} {name}")))
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
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|error| self.failed(&error))?;
        for (name, value) in values {
            let purpose = Purpose::Sealed(kind, name.clone());
            let sealed = self.sealer.seal(&purpose, value.reveal())?;
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

impl SealedVault for SqliteVault {
    fn named_keys(&self) -> Result<Vec<MasterKeyId>, VaultError> {
        let connection = self.connection();
        let ids = || -> rusqlite::Result<Vec<Vec<u8>>> {
            connection
                .prepare("SELECT DISTINCT substr(sealed, 1, ?2) FROM secrets WHERE log = ?1")?
                .query_map(params![self.sealer.log().0.as_bytes(), (KEY_ID_BYTES + 1) as i64], |row| row.get(0))?
                .collect()
        };
        let mut ids: Vec<MasterKeyId> = ids().map_err(|error| self.failed(&error))?.iter().filter_map(|head| named_key(head)).collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    fn check(&self) -> Result<(), VaultError> {
        let mut after = None;
        loop {
            let envelopes = self.next_envelopes(&self.connection(), after.as_ref())?;
            for (purpose, sealed) in &envelopes {
                self.sealer.open(purpose, sealed)?;
            }
            let Some((last, _)) = envelopes.into_iter().next_back() else { return Ok(()) };
            after = Some(VaultPlace(last));
        }
    }

    fn rotation(&self) -> Option<Rotation> {
        self.sealer.rotation()
    }

    fn begin_rotation(&self, next: MasterKey) -> Rotation {
        let _held = self.connection();
        self.sealer.begin_rotation(next)
    }

    fn rewrap(&self, after: Option<&VaultPlace>) -> Result<Option<Step>, VaultError> {
        let mut connection = self.connection();
        let envelopes = self.next_envelopes(&connection, after)?;
        let mut rewrapped = Vec::with_capacity(envelopes.len());
        for (purpose, sealed) in &envelopes {
            rewrapped.extend(self.sealer.rewrapped(purpose, sealed)?.map(|sealed| (purpose, sealed)));
        }
        let mut replace = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for (purpose, sealed) in &rewrapped {
                transaction
                    .prepare_cached("UPDATE secrets SET sealed = ?5 WHERE log = ?1 AND purpose = ?2 AND name = ?3 AND version = ?4")?
                    .execute(params![self.sealer.log().0.as_bytes(), purpose.as_str(), purpose.name(), purpose.version(), sealed])?;
            }
            transaction.commit()
        };
        if !rewrapped.is_empty() {
            replace().map_err(|error| self.failed(&error))?;
        }
        let rewrapped = rewrapped.len();
        Ok(envelopes.into_iter().next_back().map(|(last, _)| Step { last: VaultPlace(last), rewrapped }))
    }

    fn end_rotation(&self) -> Result<(), VaultError> {
        let connection = self.connection();
        // The envelopes of the key before must not be found in the write-ahead log.
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(|error| self.failed(&error))?;
        self.sealer.end_rotation();
        Ok(())
    }
}

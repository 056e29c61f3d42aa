//! The envelopes of a vault in a SQLite file: one row per envelope.
//!
//! [`crate::stored_vault`] says what is written when.

use std::path::{Path, PathBuf};

use ensue_engine::ids::LogId;
use ensue_engine::ports::VaultError;
use rusqlite::{Connection, OptionalExtension, params};

use super::{OpenError, PageSize, Schema, SqliteFile, open_to_write, write_back};
use crate::master_key::MasterKeys;
use crate::stored_vault::{ENVELOPE_HEAD_BYTES, Envelope, EnvelopeName, Envelopes, StoredVault};

pub(super) const SCHEMA: Schema = Schema {
    name: "vault",
    migrations: &[include_str!("../../../migrations/sqlite/vault_0001.sql")],
    definitions: "2c0a6826e71ce5c74afa603cfd79688033337da13ea306ce876c976d3b54fa3b",
    page: PageSize::Kib8,
};

/// A vault in a SQLite file.
pub type SqliteVault = StoredVault<SqliteEnvelopes>;

/// The envelopes of one log in a SQLite file.
pub struct SqliteEnvelopes {
    log: LogId,
    path: PathBuf,
    connection: Connection,
}

impl StoredVault<SqliteEnvelopes> {
    /// Opens the vault of a log in the file at `path`, creating it if necessary.
    pub fn open(path: &Path, log: LogId, masters: impl Into<MasterKeys>) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), log, masters)
    }

    /// Opens a vault as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: &SqliteFile, log: LogId, masters: impl Into<MasterKeys>) -> Result<Self, OpenError> {
        Ok(Self::of(log, masters, SqliteEnvelopes::open_at(place, log)?))
    }
}

impl SqliteEnvelopes {
    /// Opens the envelopes without a key, creating their file if necessary.
    pub fn open_at(place: &SqliteFile, log: LogId) -> Result<Self, OpenError> {
        let connection = open_to_write(place, &SCHEMA)?;
        let path = place.path.as_path();
        // Destroyed values must not be found in the file's free pages.
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())).map_err(|error| OpenError::of(path, &error))?;
        Ok(Self { log, path: path.to_owned(), connection })
    }

    fn error_from(&self, error: &rusqlite::Error) -> VaultError {
        VaultError::Store(format!("{}: {error}", self.path.display()))
    }
}

impl Envelopes for SqliteEnvelopes {
    fn put(&mut self, envelopes: &[(EnvelopeName, Vec<u8>)]) -> Result<(), VaultError> {
        let log = *self.log.0.as_bytes();
        let mut put = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            for (EnvelopeName { purpose, name, version }, sealed) in envelopes {
                transaction
                    .prepare_cached(
                        "INSERT INTO secrets (log, purpose, name, version, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
                         ON CONFLICT DO UPDATE SET sealed = excluded.sealed",
                    )?
                    .execute(params![log, purpose, name, version, sealed])?;
            }
            transaction.commit()
        };
        put().map_err(|error| self.error_from(&error))
    }

    fn get(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName) -> Result<Option<Vec<u8>>, VaultError> {
        const SQL: &str = "SELECT sealed FROM secrets WHERE log = ?1 AND purpose = ?2 AND name = ?3 AND version = ?4";
        let found = self.connection.query_row(SQL, params![self.log.0.as_bytes(), purpose, name, version], |row| row.get(0));
        found.optional().map_err(|error| self.error_from(&error))
    }

    fn remove(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName) -> Result<(), VaultError> {
        const SQL: &str = "DELETE FROM secrets WHERE log = ?1 AND purpose = ?2 AND name = ?3 AND version = ?4";
        let removed = self.connection.execute(SQL, params![self.log.0.as_bytes(), purpose, name, version]);
        removed.map(|_| ()).map_err(|error| self.error_from(&error))
    }

    fn list(&mut self, purpose: &str) -> Result<Vec<Envelope>, VaultError> {
        let rows = || -> rusqlite::Result<Vec<Envelope>> {
            self.connection
                .prepare("SELECT purpose, name, version, sealed FROM secrets WHERE log = ?1 AND purpose = ?2 ORDER BY name, version")?
                .query_map(params![self.log.0.as_bytes(), purpose], envelope)?
                .collect()
        };
        rows().map_err(|error| self.error_from(&error))
    }

    fn after(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName, most: usize) -> Result<Vec<Envelope>, VaultError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = || -> rusqlite::Result<Vec<Envelope>> {
            self.connection
                .prepare_cached(
                    "SELECT purpose, name, version, sealed FROM secrets WHERE log = ?1 AND (purpose, name, version) > (?2, ?3, ?4) \
                     ORDER BY purpose, name, version LIMIT ?5",
                )?
                .query_map(params![self.log.0.as_bytes(), purpose, name, version, most], envelope)?
                .collect()
        };
        rows().map_err(|error| self.error_from(&error))
    }

    fn heads(&mut self) -> Result<Vec<Vec<u8>>, VaultError> {
        let bytes = i64::try_from(ENVELOPE_HEAD_BYTES).unwrap_or(i64::MAX);
        let heads = || -> rusqlite::Result<Vec<Vec<u8>>> {
            self.connection
                .prepare("SELECT DISTINCT substr(sealed, 1, ?2) FROM secrets WHERE log = ?1")?
                .query_map(params![self.log.0.as_bytes(), bytes], |row| row.get(0))?
                .collect()
        };
        heads().map_err(|error| self.error_from(&error))
    }

    fn forget_replaced(&mut self) -> Result<(), VaultError> {
        // The envelopes of the key before must not be found in the write-ahead log.
        write_back(&self.connection).map_err(|error| self.error_from(&error))?;
        Ok(())
    }
}

fn envelope(row: &rusqlite::Row<'_>) -> rusqlite::Result<Envelope> {
    Ok(Envelope { purpose: row.get(0)?, name: row.get(1)?, version: row.get(2)?, sealed: row.get(3)? })
}

//! SQLite files: how they are opened, migrated and checked.
//!
//! `log`, `vault` and `views` define the contents, one file each.

mod file;
#[cfg(test)]
pub(crate) mod forge;
pub mod insert_rate;
pub mod log;
mod row;
mod seen_keys;
pub mod vault;
pub mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ensue_engine::explain::Explain;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

pub use file::{FileSystem, SqliteFile};

/// The oldest SQLite version that is accepted. Earlier ones could lose commits when the write-ahead log was
/// reset.
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How long a statement waits for another connection before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size to which the write-ahead log is truncated on disk after it was written back, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// The application id that marks a file of Ensue: `Ensu`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Ensu");

/// A kind of file, with every migration of its tables.
pub(crate) struct Schema {
    /// The name of the file in messages.
    pub(crate) name: &'static str,
    /// The migrations: number n creates version n. A released one is never edited,
    /// except comments outside of its statements, which no file contains.
    pub(crate) migrations: &'static [&'static str],
    /// The digest of the definitions that all migrations create, as [`digest_of`] returns it: with it, a file is
    /// compared without creating the tables once more.
    pub(crate) definitions: &'static str,
    /// The size of a page of a new file.
    pub(crate) page: PageSize,
}

/// The size of a file's pages. It is set when the file is created.
#[derive(Clone, Copy)]
pub(crate) enum PageSize {
    /// For short rows.
    Kib8,
    /// For rows of some kilobytes: of the smaller pages, each row would leave a large part unused.
    Kib16,
}

impl PageSize {
    fn bytes(self) -> u32 {
        match self {
            Self::Kib8 => 8 * 1024,
            Self::Kib16 => 16 * 1024,
        }
    }
}

impl Schema {
    fn version(&self) -> i64 {
        self.migrations.len() as i64
    }
}

/// Why a file cannot be opened.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum OpenError {
    /// The SQLite that this program was built with is too old.
    #[error("SQLite {found} can lose commits; the oldest supported version is {SQLITE_VERSION_MIN}")]
    #[explain(slug = "sqlite-too-old", fault = Bug, hint = "build Ensue with its bundled SQLite")]
    OldSqlite {
        /// Its version, as the one number that SQLite uses.
        found: i32,
    },
    /// A newer release wrote it.
    #[error("{path} has tables of version {found}, but this release knows versions only up to {known}: a newer release wrote it")]
    #[explain(slug = "data-from-a-newer-release", fault = Conflict, hint = "start the release that wrote it, or a newer one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// It is not what this release makes.
    #[error("{path} is not Ensue's {name}: {why}")]
    #[explain(slug = "foreign-file", fault = Conflict, hint = "move the file away, or name another data directory with --data")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        name: &'static str,
        /// The difference.
        why: String,
    },
    /// It is damaged.
    #[error("{path} is damaged: {why}")]
    #[explain(slug = "damaged-file", fault = World, hint = "keep a copy, run `ensue log verify --data DIR`, and restore a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        why: String,
    },
    /// Its disk is full.
    #[error("{path} cannot be opened: its disk is full")]
    #[explain(slug = "storage-full", fault = Unavailable, hint = "free some space on the disk of the data directory, then start again")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It is in use.
    #[error("{path} is in use by another process")]
    #[explain(slug = "data-in-use", fault = Conflict, hint = "stop the other process, or use --server to connect to its node")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is unusable for another reason.
    #[error("{path} cannot be opened: {why}")]
    #[explain(slug = "file-unusable", fault = World)]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

impl OpenError {
    fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, why },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(_) | None => Self::Unusable { path, why },
        }
    }
}

/// Opens a file for writing, creating it if necessary, and migrates its tables.
///
/// Whatever an unclean stop left in the write-ahead log is written back before any new commit, because new
/// commits after a frame that is not on the disk would be lost. First the write-ahead log itself is written
/// once more: after a failed sync, the system still returns data that is not on the disk, and a power failure
/// while that is written back would leave half of it.
pub(crate) fn open_to_write(place: &SqliteFile, schema: &Schema) -> Result<Connection, OpenError> {
    demand_version()?;
    let path = place.path.as_path();
    let unusable = |error: std::io::Error| OpenError::Unusable { path: path.to_owned(), why: error.to_string() };
    if place.exists() {
        (place.files.write_again)(&place.beside("-wal")).map_err(unusable)?;
    } else {
        place.create().map_err(unusable)?;
    }
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(place, flags).map_err(failed)?;
    distrust(&connection).map_err(failed)?;
    settle(&connection, path, schema.page)?;
    migrate(&mut connection, path, schema)?;
    compare(&connection, path, schema)?;
    Ok(connection)
}

/// Opens a file for reading only.
pub(crate) fn open_to_read(place: &SqliteFile, schema: &Schema) -> Result<Connection, OpenError> {
    let (connection, found) = connect_to_read(place, schema)?;
    if found < schema.version() {
        let why = format!("it has tables of version {found}, but version {} is required; start a node on it once", schema.version());
        return Err(OpenError::Unusable { path: place.path.clone(), why });
    }
    compare(&connection, &place.path, schema)?;
    Ok(connection)
}

/// Opens a file for reading only, and returns the version of its tables, which are still to be compared.
fn connect_to_read(place: &SqliteFile, newest: &Schema) -> Result<(Connection, i64), OpenError> {
    demand_version()?;
    let path = place.path.as_path();
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let connection = connect(place, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    distrust(&connection).map_err(failed)?;
    let found = version(&connection).map_err(failed)?;
    demand_known(found, path, newest)?;
    Ok((connection, found))
}

fn demand_version() -> Result<(), OpenError> {
    let found = rusqlite::version_number();
    if found < SQLITE_VERSION_MIN { Err(OpenError::OldSqlite { found }) } else { Ok(()) }
}

fn connect(place: &SqliteFile, flags: OpenFlags) -> rusqlite::Result<Connection> {
    match place.files.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(&place.path, flags, vfs),
        None => Connection::open_with_flags(&place.path, flags),
    }
}

/// Prevents code in the file's schema from running, because the file may have been made by someone else.
fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    // Otherwise SQLite may plan a cached statement again for each bound value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Damage must be noticed at once, and a page that is read must be the page on the disk.
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON;")
}

/// Makes commits durable, and writes back the write-ahead log.
fn settle(connection: &Connection, path: &Path, page: PageSize) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    connection.pragma_update(None, "page_size", page.bytes()).map_err(failed)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(failed)?;
    let busy = made_lasting(connection).map_err(failed)?;
    // SQLite answers the switch before it commits it, so the mode is queried once the file has been used. In
    // another mode a power failure can revert a commit.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let why = format!("it stays in the journal mode `{mode}`, which can happen after a disk failure");
        return Err(OpenError::Unusable { path: path.to_owned(), why });
    }
    if busy == 0 { Ok(()) } else { Err(OpenError::InUse { path: path.to_owned() }) }
}

/// Returns 0 if the whole write-ahead log is written back. A reader can prevent that.
fn made_lasting(connection: &Connection) -> rusqlite::Result<i64> {
    // There is no relaxed mode: acknowledged commits are on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    write_back(connection)
}

/// Writes back the write-ahead log, and frees its space on the disk. Returns 0 if all of it is written back. A reader can prevent that.
pub(crate) fn write_back(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
}

/// Writes back the write-ahead log if no reader prevents it and the disk has room for the pages. What is not written back stays in the
/// write-ahead log.
pub(crate) fn write_back_if_possible(connection: &Connection) {
    // The writer does not wait for readers.
    let freed = connection.busy_timeout(Duration::ZERO).and_then(|()| write_back(connection)).and(connection.busy_timeout(BUSY_TIMEOUT));
    if let Err(error) = freed {
        tracing::debug!(%error, "the write-ahead log cannot be written back");
    }
}

/// Releases the statements and the pages that a connection caches.
pub(crate) fn release_caches(connection: &Connection) {
    connection.flush_prepared_statement_cache();
    // It cannot fail for a reason that matters: whatever stays is only memory.
    let _ = connection.release_memory();
}

/// Returns the problem with a table and its indexes, if there is one: a row missing from an index would
/// appear not to exist.
pub(crate) fn wrong_with(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let said: String = connection.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn demand_known(found: i64, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let known = schema.version();
    if found > known || found < 0 {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let found = version(connection).map_err(failed)?;
    demand_known(found, path, schema)?;
    if found == schema.version() {
        return Ok(());
    }
    let step = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    for migration in &schema.migrations[found as usize..] {
        step.execute_batch(migration).map_err(failed)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    step.pragma_update(None, "user_version", schema.version()).map_err(failed)?;
    step.commit().map_err(failed)
}

/// Compares the tables with those that the migrations create. A trigger or view smuggled into a restored file
/// is rejected.
fn compare(connection: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let foreign = |why: String| OpenError::Foreign { path: path.to_owned(), name: schema.name, why };
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    if id != APPLICATION_ID {
        return Err(foreign("it has the application id of another program".to_owned()));
    }
    let theirs = definitions(connection).map_err(failed)?;
    if digest_of(&theirs) == schema.definitions {
        return Ok(());
    }
    // Another release of SQLite may have written the same definitions in other words.
    let ours = model(schema).map_err(failed)?;
    match theirs.iter().find(|definition| !ours.contains(definition)) {
        Some((_, name, _)) => Err(foreign(format!("`{name}` has another definition"))),
        None if theirs.len() < ours.len() => Err(foreign("a table or an index is missing".to_owned())),
        None => Ok(()),
    }
}

type Definition = (String, String, Option<String>);

/// Returns the definitions that the migrations of a schema create.
fn model(schema: &Schema) -> rusqlite::Result<Vec<Definition>> {
    let model = Connection::open_in_memory()?;
    for migration in schema.migrations {
        model.execute_batch(migration)?;
    }
    definitions(&model)
}

/// Returns the digest of definitions: BLAKE3 over their parts, each with its length before it, in hexadecimal.
fn digest_of(definitions: &[Definition]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (kind, name, sql) in definitions {
        for part in [Some(kind), Some(name), sql.as_ref()] {
            let part = part.map_or("", String::as_str);
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

fn definitions(connection: &Connection) -> rusqlite::Result<Vec<Definition>> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name <> 'sqlite_stat1' ORDER BY type, name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATS: Schema = Schema {
        name: "list of cats",
        migrations: &["CREATE TABLE cats (name TEXT) STRICT;"],
        definitions: "not computed, so the tables are always compared",
        page: PageSize::Kib8,
    };
    const CATS_FED: Schema =
        Schema { migrations: &["CREATE TABLE cats (name TEXT) STRICT;", "ALTER TABLE cats ADD COLUMN fed INTEGER;"], ..CATS };

    fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> T {
        connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn digest_of_each_schema_is_that_of_its_migrations() {
        for schema in [&log::SCHEMA, log::Format::V0_1.schema(), &vault::SCHEMA, &views::VIEWS, &insert_rate::SCHEMA] {
            assert_eq!(digest_of(&model(schema).unwrap()), schema.definitions, "the definitions of the {}", schema.name);
        }
    }

    #[test]
    fn sqlite_is_built_with_the_flags_of_this_project() {
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        for option in ["DEFAULT_MEMSTATUS=0", "DEFAULT_PCACHE_INITSZ=0"] {
            assert!(options.iter().any(|one| one == option), "{option} is not among {options:?}: see `.cargo/config.toml`");
        }
        assert!(!options.iter().any(|one| one == "ENABLE_API_ARMOR"), "{options:?}");
    }

    #[test]
    fn file_is_written_with_full_durability_and_without_memory_mapping() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("cats.sqlite").as_path().into(), &CATS).unwrap();
        assert_eq!(pragma::<String>(&connection, "journal_mode"), "wal");
        assert_eq!(pragma::<i64>(&connection, "synchronous"), 2);
        assert_eq!(pragma::<i64>(&connection, "page_size"), 8192);
        assert_eq!(pragma::<i64>(&connection, "trusted_schema"), 0);
        assert_eq!(pragma::<i64>(&connection, "foreign_keys"), 1);
        // Where memory mapping is not available, the pragma returns no row.
        let mapped: Option<i64> = connection.pragma_query_value(None, "mmap_size", |row| row.get(0)).ok();
        assert_eq!(mapped.unwrap_or(0), 0);
    }

    #[test]
    fn file_is_readable_only_by_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        let connection = open_to_write(&path.as_path().into(), &CATS).unwrap();
        connection.execute("INSERT INTO cats VALUES ('tom')", []).unwrap();
        for name in ["cats.sqlite", "cats.sqlite-wal", "cats.sqlite-shm"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn older_file_is_migrated_and_keeps_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        open_to_write(&path.as_path().into(), &CATS).unwrap().execute("INSERT INTO cats VALUES ('tom')", []).unwrap();
        let newer = open_to_write(&path.as_path().into(), &CATS_FED).unwrap();
        let fed: Option<i64> = newer.query_row("SELECT fed FROM cats WHERE name = 'tom'", [], |row| row.get(0)).unwrap();
        assert_eq!(fed, None);
    }

    #[test]
    fn data_of_a_newer_release_is_rejected_for_readers_and_writers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        drop(open_to_write(&path.as_path().into(), &CATS_FED).unwrap());
        for refusal in [open_to_write(&path.as_path().into(), &CATS), open_to_read(&path.as_path().into(), &CATS)] {
            assert!(matches!(refusal, Err(OpenError::Newer { found: 2, known: 1, .. })));
        }
    }

    #[test]
    fn file_with_a_foreign_trigger_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        drop(open_to_write(&path.as_path().into(), &CATS).unwrap());
        let smuggler = Connection::open(&path).unwrap();
        smuggler.execute_batch("CREATE TRIGGER eat AFTER INSERT ON cats BEGIN DELETE FROM cats; END;").unwrap();
        drop(smuggler);
        assert!(matches!(open_to_write(&path.as_path().into(), &CATS), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn file_of_another_program_is_rejected_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        let theirs = Connection::open(&path).unwrap();
        theirs.execute_batch("CREATE TABLE cats (name TEXT) STRICT; PRAGMA user_version = 1;").unwrap();
        drop(theirs);
        assert!(matches!(open_to_write(&path.as_path().into(), &CATS), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn file_that_is_not_a_database_is_reported_as_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        std::fs::write(&path, "meow ".repeat(10_000)).unwrap();
        assert!(matches!(open_to_write(&path.as_path().into(), &CATS), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        drop(open_to_write(&path.as_path().into(), &CATS).unwrap());
        let reader = open_to_read(&path.as_path().into(), &CATS).unwrap();
        assert!(reader.execute("INSERT INTO cats VALUES ('tom')", []).is_err());
    }

    #[test]
    fn reading_a_missing_file_does_not_create_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.sqlite");
        assert!(matches!(open_to_read(&path.as_path().into(), &CATS), Err(OpenError::Unusable { .. })));
        assert!(!path.exists());
    }
}

//! What lies beside the records of a log: the sealed secrets, the files of packs, and the outputs and artifacts of attempts.
//!
//! Each has a connection of its own, so that nothing here waits for an append. Secrets and packs are written with the epoch
//! of their writer: a node that another one deposed changes nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::LogId;
use ensue_engine::ports::VaultError;
use ensue_engine::record::{Digest, Epoch};
use ensue_engine::time::Timestamp;
use ensue_store::disk_retention::RetentionLimits;
use ensue_store::objects::{Object, ObjectError, ObjectKind, ObjectOwner, ObjectPart, Objects};
use ensue_store::stored_vault::{ENVELOPE_HEAD_BYTES, Envelope, EnvelopeName, Envelopes};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::classify::Meaning;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::schema::schema_of;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};

/// How often a statement is tried. Each can be repeated: it writes the same rows again.
const TRIES_MAX: usize = 5;

/// The pause before another try.
const PAUSE: Duration = Duration::from_millis(200);

/// The epoch under which this process leads a log, once it does; a clone refers to the same one.
#[derive(Clone, Default)]
pub struct Lead(Arc<AtomicI64>);

impl Lead {
    /// Notes the epoch that the node was given.
    pub fn note(&self, epoch: Epoch) {
        self.0.store(epoch.0.cast_signed(), Ordering::Relaxed);
    }

    fn epoch(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its path in the pack.
    pub path: String,
    /// Whether it is a program.
    pub is_program: bool,
    /// Its content.
    pub content: Vec<u8>,
}

/// The tables beside the records of a log.
struct Tables {
    database: Database,
    log: LogId,
    schema: String,
    lead: Lead,
    session: Option<Session>,
}

impl Tables {
    fn open(database: &Database, log: LogId, lead: Lead) -> Result<Self, DatabaseError> {
        let mut session = database.connect(ConnectionPurpose::Write, &format!("{log}/beside"))?;
        let row = database.row(&mut session, log)?;
        let row = row.ok_or_else(|| DatabaseError::NoLog { at: database.display_name().to_owned(), log })?;
        Ok(Self { database: database.clone(), log, schema: schema_of(row.number), lead, session: Some(session) })
    }

    /// Returns the same tables over a connection of their own, which is opened when it is needed.
    fn beside(&self) -> Self {
        Self { database: self.database.clone(), log: self.log, schema: self.schema.clone(), lead: self.lead.clone(), session: None }
    }

    /// Runs a statement until its outcome is known, for some tries.
    fn run(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DatabaseError> {
        self.run_for(TRIES_MAX, sql, parameters)
    }

    fn run_for(&mut self, tries_max: usize, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DatabaseError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let meaning = match self.try_to_run(sql, parameters) {
                Ok(rows) => return Ok(rows),
                Err(meaning) => meaning,
            };
            if tries >= tries_max || matches!(meaning, Meaning::Refused(_) | Meaning::Constraint(_) | Meaning::Full | Meaning::Rewritten(_))
            {
                return Err(self.database.error_from(&meaning));
            }
            thread::sleep(PAUSE);
        }
    }

    fn try_to_run(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Meaning> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            let connected = self.database.connect(ConnectionPurpose::Write, &format!("{}/beside", self.log));
            self.session = Some(connected.map_err(|error| match error {
                DatabaseError::Rewritten { .. } => Meaning::Rewritten(error.to_string()),
                _ => Meaning::Again(error.to_string()),
            })?);
        }
        let Some(session) = self.session.as_mut() else { return Err(Meaning::Again("not connected".to_owned())) };
        let done = session.commit(sql, parameters, Instant::now() + STATEMENT_TIMEOUT);
        if matches!(done, Err(Meaning::Unknown(_) | Meaning::NotPrimary(_))) {
            self.session = None;
        }
        done
    }

    /// Runs a statement that returns whether this node still leads the log.
    fn write(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), DatabaseError> {
        match self.run(sql, parameters)?.first().is_some_and(|row| row.get(0)) {
            true => Ok(()),
            false => Err(DatabaseError::NotLeading { log: self.log }),
        }
    }
}

/// The sealed secrets of a log in PostgreSQL.
pub struct PostgresEnvelopes(Tables);

impl PostgresEnvelopes {
    /// Opens them. Writing fails until `lead` has the epoch of the log.
    pub fn open(database: &Database, log: LogId, lead: Lead) -> Result<Self, DatabaseError> {
        Tables::open(database, log, lead).map(Self)
    }
}

fn vault_error(error: &DatabaseError) -> VaultError {
    VaultError::Store(error.to_string())
}

impl Envelopes for PostgresEnvelopes {
    fn put(&mut self, envelopes: &[(EnvelopeName, Vec<u8>)]) -> Result<(), VaultError> {
        let sql = format!("SELECT {}.put_secrets($1, $2, $3, $4, $5)", self.0.schema);
        let purposes: Vec<&[u8]> = envelopes.iter().map(|(name, _)| name.purpose.as_bytes()).collect();
        let names: Vec<&[u8]> = envelopes.iter().map(|(name, _)| name.name.as_bytes()).collect();
        let versions: Vec<i64> = envelopes.iter().map(|(name, _)| i64::from(name.version)).collect();
        let seals: Vec<&[u8]> = envelopes.iter().map(|(_, sealed)| sealed.as_slice()).collect();
        let epoch = self.0.lead.epoch();
        self.0.write(&sql, &[&epoch, &purposes, &names, &versions, &seals]).map_err(|error| vault_error(&error))
    }

    fn get(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName) -> Result<Option<Vec<u8>>, VaultError> {
        let sql = format!("SELECT sealed FROM {}.secrets WHERE purpose = $1 AND name = $2 AND version = $3", self.0.schema);
        let rows = self.0.run(&sql, &[&purpose.as_bytes(), &name.as_bytes(), &i64::from(*version)]).map_err(|error| vault_error(&error))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn remove(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName) -> Result<(), VaultError> {
        let sql = format!("SELECT {}.remove_secret($1, $2, $3, $4)", self.0.schema);
        let epoch = self.0.lead.epoch();
        self.0.write(&sql, &[&epoch, &purpose.as_bytes(), &name.as_bytes(), &i64::from(*version)]).map_err(|error| vault_error(&error))
    }

    fn list(&mut self, purpose: &str) -> Result<Vec<Envelope>, VaultError> {
        let sql = format!("SELECT purpose, name, version, sealed FROM {}.secrets WHERE purpose = $1 ORDER BY name, version", self.0.schema);
        self.0.run(&sql, &[&purpose.as_bytes()]).map_err(|error| vault_error(&error))?.iter().map(envelope).collect()
    }

    fn after(&mut self, EnvelopeName { purpose, name, version }: &EnvelopeName, most: usize) -> Result<Vec<Envelope>, VaultError> {
        let sql = format!(
            "SELECT purpose, name, version, sealed FROM {}.secrets WHERE (purpose, name, version) > ($1, $2, $3) \
             ORDER BY purpose, name, version LIMIT $4",
            self.0.schema
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows =
            self.0.run(&sql, &[&purpose.as_bytes(), &name.as_bytes(), &i64::from(*version), &most]).map_err(|error| vault_error(&error))?;
        rows.iter().map(envelope).collect()
    }

    fn heads(&mut self) -> Result<Vec<Vec<u8>>, VaultError> {
        let sql = format!("SELECT DISTINCT substr(sealed, 1, {ENVELOPE_HEAD_BYTES}) FROM {}.secrets", self.0.schema);
        Ok(self.0.run(&sql, &[]).map_err(|error| vault_error(&error))?.iter().map(|row| row.get(0)).collect())
    }

    /// The server removes replaced rows itself, when it vacuums the table; its write-ahead log and its backups are its
    /// operator's.
    fn forget_replaced(&mut self) -> Result<(), VaultError> {
        Ok(())
    }
}

fn envelope(row: &Row) -> Result<Envelope, VaultError> {
    let text = |at: usize| String::from_utf8(row.get(at)).map_err(|_| VaultError::Integrity("the name of a secret is not text".to_owned()));
    Ok(Envelope { purpose: text(0)?, name: text(1)?, version: row.get(2), sealed: row.get(3) })
}

/// The files of the packs of a log in PostgreSQL.
pub struct PostgresPacks(Tables);

impl PostgresPacks {
    /// Opens them. Writing fails until `lead` has the epoch of the log.
    pub fn open(database: &Database, log: LogId, lead: Lead) -> Result<Self, DatabaseError> {
        Tables::open(database, log, lead).map(Self)
    }

    /// Lists the packs.
    pub fn packs(&mut self) -> Result<Vec<Digest>, DatabaseError> {
        let sql = format!("SELECT DISTINCT pack FROM {}.pack_files ORDER BY pack", self.0.schema);
        let rows = self.0.run(&sql, &[])?;
        let digest = |row: &Row| <[u8; 32]>::try_from(row.get::<_, &[u8]>(0)).ok().map(Digest::from_bytes);
        Ok(rows.iter().filter_map(digest).collect())
    }

    /// Reads the files of a pack; none if it is not there.
    pub fn files(&mut self, pack: &Digest) -> Result<Vec<StoredFile>, DatabaseError> {
        let sql = format!("SELECT path, is_program, content FROM {}.pack_files WHERE pack = $1 ORDER BY path", self.0.schema);
        let rows = self.0.run(&sql, &[&&pack.as_bytes()[..]])?;
        let file = |row: &Row| {
            let path = String::from_utf8(row.get(0)).map_err(|_| DatabaseError::Failed {
                at: self.0.database.display_name().to_owned(),
                why: format!("a path in the pack {pack} is not text"),
            })?;
            Ok(StoredFile { path, is_program: row.get(1), content: row.get(2) })
        };
        rows.iter().map(file).collect()
    }

    /// Writes the files of a pack.
    pub fn put(&mut self, pack: &Digest, files: &[StoredFile]) -> Result<(), DatabaseError> {
        let sql = format!("SELECT {}.put_pack($1, $2, $3, $4, $5)", self.0.schema);
        let paths: Vec<&[u8]> = files.iter().map(|file| file.path.as_bytes()).collect();
        let programs: Vec<bool> = files.iter().map(|file| file.is_program).collect();
        let contents: Vec<&[u8]> = files.iter().map(|file| file.content.as_slice()).collect();
        let epoch = self.0.lead.epoch();
        self.0.write(&sql, &[&epoch, &&pack.as_bytes()[..], &paths, &programs, &contents])
    }
}

/// The longest stream of output, and the longest artifact, that are stored in PostgreSQL, in bytes. More would burden the
/// write-ahead log that the records share.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const ARTIFACT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of each kind is stored, in bytes, if the operator allows more in the data directory.
const QUOTA_BYTES: u64 = 1024 * 1024 * 1024;

/// The outputs and artifacts of attempts in PostgreSQL.
///
/// They are not fenced: what an attempt printed is the same whoever writes it, and an artifact is named by its bytes.
pub struct PostgresObjects {
    written: Mutex<Tables>,
    read: Mutex<Tables>,
}

impl PostgresObjects {
    /// Opens them.
    pub fn open(database: &Database, log: LogId) -> Result<Self, DatabaseError> {
        let tables = Tables::open(database, log, Lead::default())?;
        Ok(Self { read: Mutex::new(tables.beside()), written: Mutex::new(tables) })
    }
}

fn part_of(row: &Row) -> Result<String, ObjectError> {
    String::from_utf8(row.get(0)).map_err(|_| ObjectError("the name of a part is not text".to_owned()))
}

fn unusable(error: &DatabaseError) -> ObjectError {
    ObjectError(error.to_string())
}

impl Objects for PostgresObjects {
    fn bytes_max(&self, kind: ObjectKind) -> u64 {
        match kind {
            ObjectKind::Output => OUTPUT_BYTES_MAX,
            ObjectKind::Artifact => ARTIFACT_BYTES_MAX,
            // A state has many megabytes, which the write-ahead log would have too.
            ObjectKind::State => 0,
        }
    }

    fn put(&self, objects: &[Object], now: Timestamp) -> Result<(), ObjectError> {
        let mut tables = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!(
            "INSERT INTO {}.objects (kind, owner, part, at, content) \
             SELECT n.kind, n.owner, n.part, $4, n.content FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $5::bytea[]) \
               AS n(kind, owner, part, content) \
             ON CONFLICT (kind, owner, part) DO UPDATE SET at = excluded.at, content = excluded.content",
            tables.schema
        );
        let kinds: Vec<&[u8]> = objects.iter().map(|object| object.owner.kind.as_str().as_bytes()).collect();
        let owners: Vec<&[u8]> = objects.iter().map(|object| object.owner.name.as_bytes()).collect();
        let parts: Vec<&[u8]> = objects.iter().map(|object| object.part.as_bytes()).collect();
        let contents: Vec<&[u8]> = objects.iter().map(|object| object.content.as_slice()).collect();
        // Outputs are copied again by the next round.
        let tries_max = if objects.iter().any(|object| object.owner.kind == ObjectKind::Artifact) { TRIES_MAX } else { 1 };
        let done = tables.run_for(tries_max, &sql, &[&kinds, &owners, &parts, &now.micros(), &contents]);
        done.map(drop).map_err(|error| unusable(&error))
    }

    fn parts(&self, owner: &ObjectOwner) -> Result<Vec<ObjectPart>, ObjectError> {
        let mut tables = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!(
            "SELECT part, octet_length(content)::bigint FROM {}.objects WHERE kind = $1 AND owner = $2 ORDER BY part",
            tables.schema
        );
        let (kind, name) = (owner.kind.as_str().as_bytes(), owner.name.as_bytes());
        let rows = tables.run(&sql, &[&kind, &name]).map_err(|error| unusable(&error))?;
        rows.iter().map(|row| Ok(ObjectPart { name: part_of(row)?, bytes: row.get::<_, i64>(1).unsigned_abs() })).collect()
    }

    fn get(&self, owner: &ObjectOwner, parts: &[String]) -> Result<Vec<Object>, ObjectError> {
        let mut tables = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let schema = &tables.schema;
        let sql = format!("SELECT part, content FROM {schema}.objects WHERE kind = $1 AND owner = $2 AND part = ANY($3) ORDER BY part");
        let (kind, name) = (owner.kind.as_str().as_bytes(), owner.name.as_bytes());
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        let rows = tables.run(&sql, &[&kind, &name, &parts]).map_err(|error| unusable(&error))?;
        rows.iter().map(|row| Ok(Object { owner: owner.clone(), part: part_of(row)?, content: row.get(1) })).collect()
    }

    fn expire(&self, kind: ObjectKind, limits: RetentionLimits, now: Timestamp) -> Result<u64, ObjectError> {
        let mut tables = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let schema = &tables.schema;
        let sql = format!(
            "WITH owners AS (SELECT owner, max(at) AS at, sum(octet_length(content)) AS bytes FROM {schema}.objects WHERE kind = $1 GROUP BY owner), \
                  aged AS (SELECT owner, at, sum(bytes) OVER (ORDER BY at DESC, owner) AS newer FROM owners), \
                  due AS (SELECT owner FROM aged WHERE at <= $2::bigint OR newer > $3::bigint), \
                  removed AS (DELETE FROM {schema}.objects o USING due d WHERE o.kind = $1 AND o.owner = d.owner) \
             SELECT count(*) FROM due"
        );
        let too_old = limits.too_old(now).map_or(i64::MIN, |time| time.micros());
        let quota = i64::try_from(limits.quota_bytes.min(QUOTA_BYTES)).unwrap_or(i64::MAX);
        let rows = tables.run(&sql, &[&kind.as_str().as_bytes(), &too_old, &quota]).map_err(|error| unusable(&error))?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }
}

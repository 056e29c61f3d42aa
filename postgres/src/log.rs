//! A log in PostgreSQL: one call of a function for each batch, which is its own transaction.
//!
//! If the outcome of a call is unknown, it is settled here, so that the writer of the log never has to.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader, ReadLimit};
use ensue_engine::record::{Chain, Epoch, Head, Position, Record};
use ensue_engine::time::Timestamp;
use ensue_store::batch::{self, SEEN_KEYS_MAX};
use ensue_store::row::{array, count};
use ensue_store::transfer::Target;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::append::{AppendReply, Calls, LogTail, append};
use crate::classify::Meaning;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::lease::{Beating, LeadWatch, Node, release};
use crate::patience::{Pauses, patiently};
use crate::reader::PostgresLogReader;
use crate::schema::schema_of;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};
use crate::wire::{Wire, prefix, seen_of};

/// How long an append is tried, by default. A failover of the database takes 5 to 60 seconds.
pub const APPEND_PATIENCE: Duration = Duration::from_secs(30);

/// How many calls without an answer fit into the patience.
const ANSWERS_IN_PATIENCE: u32 = 3;

/// How often keys that are over are removed.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The most keys that are removed in one transaction.
const FORGET_ROWS_MAX: i64 = 5_000;

/// How long the removal may hold up the writer.
const FORGET_PATIENCE: Duration = Duration::from_secs(1);

/// A log in PostgreSQL, held by its one writer.
pub struct PostgresLog {
    database: Database,
    session: RefCell<Option<Session>>,
    id: LogId,
    number: i32,
    node: Node,
    epoch: Epoch,
    patience: Duration,
    /// How long one call may go without an answer. After that it is settled on another connection.
    answer_patience: Duration,
    forgetting: Forgetting,
    statements: Statements,
    /// The time of the newest batch: keys that expired by then are unknown.
    now: Timestamp,
    /// The first position before which another part must be made.
    parts_end: u64,
    /// Absent for the target of a copy, which nobody else may lead.
    beating: Option<Beating>,
}

/// When keys are removed.
struct Forgetting {
    keys_max: u64,
    every: Duration,
    last: Instant,
}

/// The statements of a log, which name its schema.
struct Statements {
    append: String,
    settle: String,
    seen: String,
    head: String,
    forget: String,
    make_parts: String,
    known_ids: String,
}

impl Statements {
    fn of(number: i32) -> Self {
        let schema = schema_of(number);
        let marks: Vec<String> = (1..=Wire::COUNT).map(|mark| format!("${mark}")).collect();
        Self {
            append: format!("SELECT outcome, now_epoch, now_head, now_chain, bad_step, newest FROM {schema}.append({})", marks.join(", ")),
            settle: format!("SELECT now_epoch, now_head, now_chain, found_batch FROM {schema}.settle($1)"),
            // Each key is looked up in the index by its prefix; the newest row of it counts.
            seen: format!(
                "SELECT k.o, f.position, f.event, f.content, f.until, f.sum \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS k(scope, prefix, hash, o) \
                 JOIN {schema}.scopes c ON c.name = k.scope CROSS JOIN LATERAL \
                 (SELECT s.position, s.event, s.content, s.until, s.sum FROM {schema}.seen s \
                  WHERE s.scope = c.number AND s.prefix = k.prefix AND s.hash = k.hash AND s.until > $4 ORDER BY s.number DESC LIMIT 1) f"
            ),
            head: format!("SELECT last, chain FROM {schema}.batches ORDER BY first DESC LIMIT 1"),
            forget: format!("SELECT {schema}.forget($1, $2, $3)"),
            // The function makes one part more than is asked for. The next call is due when positions reach that one.
            make_parts: format!(
                "SELECT (f.made - 1) * l.part_positions FROM ensue.logs l, LATERAL (SELECT {schema}.make_parts($1) AS made) f \
                 WHERE l.number = {number}"
            ),
            known_ids: format!(
                "SELECT k.o FROM unnest($1::uuid[]) WITH ORDINALITY AS k(id, o) WHERE EXISTS \
                (SELECT 1 FROM {schema}.records r WHERE r.id = k.id) ORDER BY k.o LIMIT 1"
            ),
        }
    }
}

/// A log that a node was given: what [`PostgresLog`] is made of.
pub(crate) struct Led {
    pub(crate) session: Session,
    pub(crate) id: LogId,
    pub(crate) number: i32,
    pub(crate) epoch: Epoch,
    pub(crate) node: Node,
    pub(crate) beating: Option<Beating>,
}

impl PostgresLog {
    /// Makes the writer of a log whose new epoch was committed. Only then is the head read: what was visible before may
    /// have been lost with a server.
    pub(crate) fn of(database: Database, led: Led) -> Result<Self, DatabaseError> {
        let Led { session, id, number, epoch, node, beating } = led;
        let mut log = Self {
            database,
            session: RefCell::new(Some(session)),
            id,
            number,
            node,
            epoch,
            patience: APPEND_PATIENCE,
            answer_patience: APPEND_PATIENCE / ANSWERS_IN_PATIENCE,
            forgetting: Forgetting { keys_max: SEEN_KEYS_MAX, every: FORGET_EVERY, last: Instant::now() },
            statements: Statements::of(number),
            now: Timestamp::from_micros(i64::MIN),
            parts_end: 0,
            beating,
        };
        let failed = |why: String| DatabaseError::Failed { at: log.database.display_name().to_owned(), why };
        let head = log.head().map_err(|error| failed(error.to_string()))?;
        log.database.known_logs().has_appended(number, head);
        if head.position > Position(0) {
            let reader = PostgresLogReader::open(&log.database, id)?;
            let newest = reader.read(Position(head.position.0 - 1), ReadLimit { records: 1, bytes: 0 });
            let newest = newest.map_err(|error| failed(error.to_string()))?;
            log.now = newest.first().map_or(log.now, |record| record.time);
        }
        Ok(log)
    }

    /// Sets how long an append is tried before its outcome is reported as unknown.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        (self.patience, self.answer_patience) = (patience, patience / ANSWERS_IN_PATIENCE);
        self
    }

    /// Limits the number of remembered keys in each scope, and sets how often the keys beyond it are removed.
    #[must_use]
    pub fn with_seen_keys_max(mut self, keys_max: u64, every: Duration) -> Self {
        (self.forgetting.keys_max, self.forgetting.every) = (keys_max, every);
        self
    }

    /// Runs a job with the connection, which is made if there is none. A connection that was lost, or on which an answer is
    /// still owed, is never used again.
    fn with_session<T>(&self, job: impl FnOnce(&mut Session) -> Result<T, Meaning>) -> Result<T, Meaning> {
        let mut slot = self.session.borrow_mut();
        if slot.as_ref().is_none_or(Session::is_closed) {
            *slot = None;
            let what = format!("{}/{}", self.node.name, self.id);
            *slot = Some(self.database.connect(ConnectionPurpose::Write, &what).map_err(|error| match error {
                DatabaseError::NotPrimary { .. } | DatabaseError::Unsuitable { .. } => Meaning::NotPrimary(error.to_string()),
                DatabaseError::Rewritten { .. } => Meaning::Rewritten(error.to_string()),
                _ => Meaning::Again(error.to_string()),
            })?);
        }
        let Some(session) = slot.as_mut() else { return Err(Meaning::Again("there is no connection".to_owned())) };
        let done = job(session);
        if matches!(done, Err(Meaning::Unknown(_))) {
            session.leave_server();
        }
        if matches!(done, Err(Meaning::Unknown(_) | Meaning::NotPrimary(_))) || session.is_closed() {
            *slot = None;
        }
        done
    }

    /// Runs a query that changes nothing, on another connection if the first one is lost. The writer reads as patiently as
    /// it appends: an outage that an append survives must not end the node at a read.
    fn ask(&self, sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<Vec<Row>, LogError> {
        patiently(self.patience, || self.with_session(|session| session.query(sql, parameters, Instant::now() + STATEMENT_TIMEOUT)))
    }

    /// Returns the watch that says whether another node leads the log by now.
    pub fn lead_watch(&self) -> LeadWatch {
        self.beating.as_ref().map(|beating| beating.watch.clone()).unwrap_or_default()
    }

    /// Returns the number of the log in its database.
    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    fn answer_by(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.answer_patience)
    }

    /// Appends until the outcome is known, or the patience is used up.
    fn write(&mut self, batch: &Batch, wire: &Wire, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let begin = Instant::now();
        let (watch, deadline) = (self.lead_watch(), begin + self.patience);
        let known = self.database.known_logs().head(self.number).position;
        watch.append_began(Some(begin));
        let appended = append(&mut Sending { log: self, batch, wire, head, deadline, pauses: Pauses::until(deadline) }, batch, head, epoch);
        watch.append_began(None);
        match appended {
            // The log did not move on: it went back.
            Err(AppendError::Behind(found)) if found.position < known => {
                let rewritten = DatabaseError::Rewritten { at: self.database.display_name().to_owned(), position: known };
                Err(AppendError::Rewritten(rewritten.to_string()))
            }
            appended => appended,
        }
    }

    /// Makes the parts of the records up to a position. Asks when the log is opened, and then once for each part.
    fn make_parts(&mut self, up_to: u64, deadline: Instant) -> Result<(), Meaning> {
        if up_to < self.parts_end {
            return Ok(());
        }
        let last = up_to.min(ensue_store::POSITION_MAX).cast_signed();
        // A part that was not acknowledged may be lost with its server.
        let rows = self.with_session(|session| session.commit(&self.statements.make_parts, &[&last], self.answer_by(deadline)));
        let rows = rows.map_err(|meaning| match meaning {
            // It can be called again at any time.
            Meaning::Unknown(why) => Meaning::Again(why),
            other => other,
        })?;
        self.parts_end = rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
        Ok(())
    }

    /// Removes keys that are over, and those beyond the limit, if it is time to.
    fn forget(&mut self) {
        if self.forgetting.last.elapsed() < self.forgetting.every {
            return;
        }
        let deadline = Instant::now() + FORGET_PATIENCE;
        let keys_max = i64::try_from(self.forgetting.keys_max).unwrap_or(i64::MAX);
        loop {
            let forget = |session: &mut Session| {
                session.query(
                    &self.statements.forget,
                    &[&self.now.micros(), &keys_max, &FORGET_ROWS_MAX],
                    Instant::now() + STATEMENT_TIMEOUT,
                )
            };
            match self.with_session(forget) {
                Ok(rows) if rows.first().is_some_and(|row| row.get::<_, i64>(0) >= FORGET_ROWS_MAX) && Instant::now() < deadline => {}
                Ok(_) => break,
                Err(why) => {
                    tracing::warn!(why = %why, "keys that are over were not removed; the node tries again later");
                    break;
                }
            }
        }
        self.forgetting.last = Instant::now();
    }
}

impl Log for PostgresLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn head(&self) -> Result<Head, LogError> {
        match self.ask(&self.statements.head, &[])?.first() {
            Some(row) => head_of(row, 0, 1).map_err(|meaning| LogError::Store(meaning.to_string())),
            None => Ok(Head::default()),
        }
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let wire = match Wire::of(batch, self.id, head, epoch) {
            Ok(wire) => wire,
            Err(refusal) => {
                // A writer that is deposed or behind hears that first.
                self.write(&Batch::default(), &Wire::check(head, epoch), head, epoch)?;
                return Err(refusal);
            }
        };
        let position = self.write(batch, &wire, head, epoch)?;
        if let Some(newest) = batch.records.last() {
            self.database.known_logs().has_appended(self.number, Head { position, chain: newest.chain });
        }
        if let Some(now) = batch::time_of(batch).filter(|_| !wire.is_empty()) {
            self.now = now;
            self.forget();
        }
        Ok(position)
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        let mut found = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        let scopes: Vec<&[u8]> = keys.iter().map(|key| key.scope.as_bytes()).collect();
        let prefixes: Vec<i64> = keys.iter().map(prefix).collect();
        let hashes: Vec<&[u8]> = keys.iter().map(|key| &key.hash.as_bytes()[..]).collect();
        for row in self.ask(&self.statements.seen, &[&scopes, &prefixes, &hashes, &self.now.micros()])? {
            let at = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let Some((key, slot)) = keys.get(at).zip(found.get_mut(at)) else { continue };
            let seen = seen_of(&row, key).map_err(|why| LogError::Store(format!("the row of a known key is damaged: {why}")))?;
            *slot = Some(seen);
        }
        Ok(found)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(PostgresLogReader::led(&self.database, (self.id, self.number), self.patience)))
    }

    fn release_caches(&mut self) {
        // The connection has the prepared statements. The next call makes another one.
        *self.session.borrow_mut() = None;
    }
}

impl Drop for PostgresLog {
    /// Releases the log, so that the next node need not wait. If that fails, the lease runs out.
    fn drop(&mut self) {
        // The thread must not beat again after the node is forgotten.
        if self.beating.take().is_none() {
            return;
        }
        // An idle node has no connection.
        let _ = self.with_session(|session| release(session, self.number, self.node.id, self.epoch));
    }
}

impl Target for PostgresLog {
    fn set_epoch(&mut self, epoch: Epoch) -> Result<(), LogError> {
        let set = "UPDATE ensue.logs SET epoch = $2 WHERE number = $1 AND state = 'copying' RETURNING epoch";
        match self.ask(set, &[&self.number, &epoch.0.cast_signed()])?.first() {
            Some(_) => self.epoch = epoch,
            None => return Err(LogError::Store("the log is no longer the target of a copy".to_owned())),
        }
        Ok(())
    }
}

/// A batch on its way to the database.
struct Sending<'a> {
    log: &'a mut PostgresLog,
    batch: &'a Batch,
    wire: &'a Wire,
    head: Position,
    deadline: Instant,
    pauses: Pauses,
}

impl Calls for Sending<'_> {
    fn append(&mut self) -> Result<AppendReply, Meaning> {
        if self.wire.has_records() {
            self.log.make_parts(self.head.0.saturating_add(self.batch.records.len() as u64), self.deadline)?;
        }
        let (log, answer_by) = (&self.log, self.log.answer_by(self.deadline));
        let rows = log.with_session(|session| session.commit(&log.statements.append, &self.wire.arguments(), answer_by))?;
        let row = rows.first().ok_or_else(|| Meaning::Refused("the function `append` said nothing".to_owned()))?;
        read_reply(row, self.batch)
    }

    fn settle(&mut self) -> Result<LogTail, Meaning> {
        let before = self.head.0.cast_signed();
        let (log, answer_by) = (&self.log, self.log.answer_by(self.deadline));
        let rows = log.with_session(|session| session.commit(&log.statements.settle, &[&before], answer_by))?;
        let row = rows.first().ok_or_else(|| Meaning::Refused("the function `settle` said nothing".to_owned()))?;
        Ok(LogTail {
            epoch: Epoch(row.get::<_, i64>(0).unsigned_abs()),
            head: head_of(row, 1, 2)?,
            batch: row.get::<_, Option<Uuid>>(3).map(|id| Id::from_bytes(*id.as_bytes())),
        })
    }

    fn find_rejected(&mut self) -> Option<usize> {
        let found = self.log.ask(&self.log.statements.known_ids, &[&self.wire.ids()]).ok()?;
        usize::try_from(found.first()?.get::<_, i64>(0) - 1).ok()
    }

    fn pause(&mut self) -> bool {
        self.pauses.wait()
    }
}

/// Reads the answer of `append`.
fn read_reply(row: &Row, batch: &Batch) -> Result<AppendReply, Meaning> {
    let step = usize::try_from(row.get::<_, Option<i32>>(4).unwrap_or(0)).unwrap_or(0);
    let rejected = |error: &dyn Fn(&Record) -> AppendError, why: &str| {
        let why = || AppendError::Refused { record: step, why: why.to_owned() };
        AppendReply::Rejected(batch.records.get(step).map_or_else(why, error))
    };
    Ok(match row.get::<_, &str>(0) {
        "kept" => AppendReply::Kept,
        "deposed" => AppendReply::Deposed(Epoch(row.get::<_, i64>(1).unsigned_abs())),
        "behind" => AppendReply::Behind(head_of(row, 2, 3)?),
        "revision" => {
            let newest = row.get::<_, Option<i64>>(5).unwrap_or(0).unsigned_abs();
            rejected(&|record| batch::revision_refused(step, record, newest), "its revision does not follow")
        }
        "id" => rejected(&|record| batch::id_refused(step, record.id), "its id exists already"),
        other => return Err(Meaning::Refused(format!("the function `append` said `{other}`"))),
    })
}

/// Reads a head from two columns.
fn head_of(row: &Row, position: usize, chain: usize) -> Result<Head, Meaning> {
    let read = || -> Result<Head, String> {
        let position = Position(count(row.get(position), "position")?);
        match row.get::<_, Option<&[u8]>>(chain) {
            Some(bytes) => Ok(Head { position, chain: Chain::from_bytes(array(bytes, "chain")?) }),
            None => Ok(Head { position, ..Head::default() }),
        }
    };
    read().map_err(|why| Meaning::Refused(format!("the head of the log is damaged: {why}")))
}

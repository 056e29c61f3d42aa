//! A database, by its address: what is checked when it is opened, and the logs in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ensue_engine::ids::{Id, LogId};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use uuid::Uuid;

use crate::check::{Server, Unsuitable, pooler};
use crate::classify::Meaning;
use crate::connect::Servers;
use crate::error::DatabaseError;
use crate::io::Io;
use crate::known_logs::{KnownLogs, ServerComparison};
use crate::schema::{self, NewLog, SchemaFault};
use crate::session::{CONNECT_TIMEOUT, ConnectionPurpose, STATEMENT_TIMEOUT, Session};
use crate::tls::{Endpoint, Verification};

/// How many positions a part of the records holds.
const PART_POSITIONS: i64 = 1 << 24;

/// How often a waiting node looks at the beats of the leader. The server notifies it of a release at once.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A database; a clone is the same one.
#[derive(Clone)]
pub struct Database {
    io: Arc<Io>,
    endpoint: Endpoint,
    at: String,
    part_positions: i64,
    look_every: Duration,
    idle: Arc<Mutex<Vec<(ConnectionPurpose, Session)>>>,
    servers: Servers,
    known: KnownLogs,
}

/// How many unused connections of each purpose stay open.
const IDLE_MAX: usize = 4;

/// The connections that a node needs at once when it begins to lead: for secrets, packs, outputs, and those that read.
const READY: [(ConnectionPurpose, usize); 2] = [(ConnectionPurpose::Write, 3), (ConnectionPurpose::Read, 4)];

/// The row of a log.
pub(crate) struct LogRow {
    pub(crate) number: i32,
    pub(crate) format: i32,
    pub(crate) epoch: i64,
    pub(crate) leader: Option<Uuid>,
    pub(crate) state: String,
}

impl Database {
    /// Reads the address of a database. Nothing is connected.
    pub fn at(address: &str) -> Result<Self, DatabaseError> {
        let mut endpoint = Endpoint::at(address).map_err(DatabaseError::Address)?;
        if endpoint.config.get_hosts().len() > 1 {
            endpoint.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let io = Io::start().map_err(|error| DatabaseError::Unavailable("the database".to_owned(), error.to_string()))?;
        let at = describe_address(&endpoint.config);
        Ok(Self {
            io,
            endpoint,
            at,
            part_positions: PART_POSITIONS,
            look_every: LOOK_EVERY,
            idle: Arc::default(),
            servers: Servers::default(),
            known: KnownLogs::default(),
        })
    }

    /// Sets how many positions a part of the records of a new log holds. For tests, which fill several.
    #[must_use]
    pub fn with_part_positions(self, part_positions: u32) -> Self {
        Self { part_positions: i64::from(part_positions.max(1)), ..self }
    }

    /// Sets how often a waiting node looks at the beats of the leader. For tests of what wakes it between two looks.
    #[must_use]
    pub fn with_looks_every(self, look_every: Duration) -> Self {
        Self { look_every, ..self }
    }

    pub(crate) fn look_every(&self) -> Duration {
        self.look_every
    }

    /// Checks the server and the connection to it, and creates the tables that all logs have in common.
    pub fn prepare(&self) -> Result<(), DatabaseError> {
        // First, because it prepares no statement: a pooler may give a connection that has one of the same name.
        let found = pooler(&self.io, &self.endpoint, &self.servers).map_err(|why| DatabaseError::Unavailable(self.at.clone(), why))?;
        if let Some(problem) = found {
            return Err(DatabaseError::Unsuitable { at: self.at.clone(), why: problem.why, todo: problem.todo });
        }
        let mut session = self.connect(ConnectionPurpose::Write, "setup")?;
        schema::prepare_cell(&mut session).map_err(|fault| self.schema_failed(fault))?;
        self.put_back(ConnectionPurpose::Write, session);
        Ok(())
    }

    /// Lists the logs, the oldest first.
    pub fn logs(&self) -> Result<Vec<LogId>, DatabaseError> {
        let mut session = self.connect(ConnectionPurpose::Read, "setup")?;
        let is_there = session
            .query("SELECT to_regclass('ensue.logs') IS NOT NULL", &[], Instant::now() + STATEMENT_TIMEOUT)
            .map_err(|meaning| self.error_from(&meaning))?;
        if !is_there.first().is_some_and(|row| row.get(0)) {
            return Ok(Vec::new());
        }
        let rows = session
            .query("SELECT id FROM ensue.logs ORDER BY number", &[], Instant::now() + STATEMENT_TIMEOUT)
            .map_err(|meaning| self.error_from(&meaning))?;
        self.put_back(ConnectionPurpose::Read, session);
        Ok(rows.iter().map(|row| LogId(Id::from_bytes(*row.get::<_, Uuid>(0).as_bytes()))).collect())
    }

    /// Creates the log of an empty database. Fails if another node created one at the same moment.
    pub fn begin(&self, log: LogId) -> Result<(), DatabaseError> {
        let mut session = self.connect(ConnectionPurpose::Write, "setup")?;
        self.create(&mut session, log, NewLog::Only).map(|_| ())
    }

    /// Returns the server and the database, as messages name them.
    pub fn display_name(&self) -> &str {
        &self.at
    }

    /// Returns a connection to a server that was checked: an unused one, or a new one.
    pub(crate) fn connect(&self, purpose: ConnectionPurpose, what: &str) -> Result<Session, DatabaseError> {
        while let Some(mut session) = self.idle_one(purpose) {
            let is_named = session.rename(&format!("ensue/{what}"), Instant::now() + CONNECT_TIMEOUT).is_ok();
            if is_named && self.check(&mut session).is_ok() {
                return Ok(session);
            }
            // The others are probably connections to the same server. If it is frozen, each would cost this time.
            self.close_idle();
        }
        self.connect_new(purpose, what)
    }

    /// Keeps a connection for its next use. Nothing may be open on it.
    pub(crate) fn put_back(&self, purpose: ConnectionPurpose, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !session.is_closed() && idle.iter().filter(|(of, _)| *of == purpose).count() < IDLE_MAX {
            idle.push((purpose, session));
        }
    }

    /// Opens the connections that are needed at once when this node begins to lead. What fails is opened then.
    pub(crate) fn get_ready(&self) {
        for (purpose, count) in READY {
            let open: Result<Vec<Session>, DatabaseError> = (0..count).map(|_| self.connect(purpose, "waits")).collect();
            open.into_iter().flatten().for_each(|session| self.put_back(purpose, session));
        }
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn idle_one(&self, purpose: ConnectionPurpose) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|(of, _)| *of == purpose)?;
        Some(idle.swap_remove(at).1)
    }

    /// Connects, and checks the server.
    fn connect_new(&self, purpose: ConnectionPurpose, what: &str) -> Result<Session, DatabaseError> {
        let mut endpoint = self.endpoint.clone();
        endpoint.config.application_name(format!("ensue/{what}"));
        let mut tries = 0;
        loop {
            tries += 1;
            let connected = Session::connect(&self.io, &endpoint, purpose, &self.servers);
            let mut session = connected.map_err(|why| DatabaseError::Unavailable(self.at.clone(), why))?;
            match self.check(&mut session) {
                // An old primary may answer for long. Another server of the address may be the new one.
                Err(DatabaseError::NotPrimary { .. }) if tries < session.servers() => session.leave_server(),
                checked => return checked.map(|()| session),
            }
        }
    }

    /// Returns what this process knows of the logs. No connection to a server that lacks it is used.
    pub(crate) fn known_logs(&self) -> &KnownLogs {
        &self.known
    }

    /// Fails if a server cannot be written to, or lacks what this process knows. While an old primary is not stopped yet, two
    /// servers accept connections: the take-over was committed on the other one.
    pub(crate) fn check(&self, session: &mut Session) -> Result<(), DatabaseError> {
        let not_primary = |what| Err(DatabaseError::NotPrimary { at: self.at.clone(), what });
        let server = Server::ask(session).map_err(|meaning| self.error_from(&meaning))?;
        if server.is_standby {
            return not_primary("a standby, which cannot write");
        }
        if let Some(Unsuitable { why, todo }) = server.problem() {
            return Err(DatabaseError::Unsuitable { at: self.at.clone(), why, todo });
        }
        match self.known.compare(session).map_err(|meaning| self.error_from(&meaning))? {
            ServerComparison::Complete => Ok(()),
            ServerComparison::Old => not_primary("an old primary: it lacks the newest records of the log"),
            ServerComparison::Rewritten(position) => Err(DatabaseError::Rewritten { at: self.at.clone(), position }),
        }
    }

    /// Returns what is checked of the server's certificate.
    pub(crate) fn verification(&self) -> Verification {
        self.endpoint.verification
    }

    /// Finds the row of a log, and compares its tables with this release.
    pub(crate) fn find(&self, session: &mut Session, log: LogId) -> Result<Option<LogRow>, DatabaseError> {
        let row = self.row(session, log)?;
        if let Some(row) = &row {
            schema::demand_log(session, row.number, row.format).map_err(|fault| self.schema_failed(fault))?;
        }
        Ok(row)
    }

    /// Finds the row of a log.
    pub(crate) fn row(&self, session: &mut Session, log: LogId) -> Result<Option<LogRow>, DatabaseError> {
        const SQL: &str = "SELECT number, format, epoch, leader, state FROM ensue.logs WHERE id = $1";
        let id = Uuid::from_bytes(*log.0.as_bytes());
        let rows = session.query(SQL, &[&id], Instant::now() + STATEMENT_TIMEOUT).map_err(|meaning| self.error_from(&meaning))?;
        Ok(rows.first().map(|row| LogRow {
            number: row.get(0),
            format: row.get(1),
            epoch: row.get(2),
            leader: row.get(3),
            state: row.get(4),
        }))
    }

    /// Creates a log. If another node creates it at the same moment, its row is found.
    pub(crate) fn create(&self, session: &mut Session, log: LogId, new: NewLog) -> Result<LogRow, DatabaseError> {
        let id = Uuid::from_bytes(*log.0.as_bytes());
        let created = schema::create_log(session, id, new, self.part_positions);
        match (self.find(session, log)?, created) {
            (Some(row), _) => Ok(row),
            (None, Err(SchemaFault::Failed(Meaning::Constraint(_)))) if new == NewLog::Only => {
                Err(DatabaseError::CreatedElsewhere { at: self.at.clone() })
            }
            (None, Err(fault)) => Err(self.schema_failed(fault)),
            (None, Ok(_)) => Err(DatabaseError::NoLog { at: self.at.clone(), log }),
        }
    }

    pub(crate) fn error_from(&self, meaning: &Meaning) -> DatabaseError {
        DatabaseError::Failed { at: self.at.clone(), why: meaning.to_string() }
    }

    fn schema_failed(&self, fault: SchemaFault) -> DatabaseError {
        let at = self.at.clone();
        match fault {
            SchemaFault::Failed(meaning) => self.error_from(&meaning),
            SchemaFault::Newer { found, known } => DatabaseError::Newer { at, found, known },
            SchemaFault::Foreign(why) => DatabaseError::Foreign { at, why },
        }
    }
}

/// Returns the hosts and the database of an address, without its password.
fn describe_address(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("the database `{database}` on {}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use ensue_engine::explain::Explain;

    use super::*;

    #[test]
    fn address_is_shown_without_its_password() {
        let database = Database::at("postgres://ada:secret@db.example:5433/cats").unwrap();
        assert_eq!(database.display_name(), "the database `cats` on db.example");
    }

    #[test]
    fn address_that_cannot_be_read_is_an_error_without_its_password() {
        for address in ["postgres://ada:secret@db.example:what/cats", "mysql://ada:secret@db/cats", "postgres:///cats", ""] {
            let Err(error) = Database::at(address) else { panic!("{address} was read") };
            assert_eq!(error.slug(), "database-address");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

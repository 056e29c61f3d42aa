//! One connection: how it is made, which settings it has, and how a statement is sent and its outcome is heard.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage, Statement};

use crate::classify::{Meaning, meaning, text};
use crate::connect::{ServerChoice, Servers, connect};
use crate::io::{Io, wait};
use crate::tls::Endpoint;

/// How long a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement that is not an append may take.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// After this time without an answer of the network, a connection is lost.
const SILENCE: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionPurpose {
    /// It writes. The client has the deadline: a statement that the server ends may have been committed.
    Write,
    /// It reads.
    Read,
    /// It renews a lease. Nobody waits for the disk or for a standby: a lost beat is harmless, a late one is not.
    Beat,
}

impl ConnectionPurpose {
    /// The settings of the session. No statement is compiled: with `enable_seqscan = off` the server takes a scan of the
    /// smallest table for so expensive that it would compile it, which takes 50 to 100 ms.
    fn settings(self) -> &'static str {
        match self {
            Self::Write => {
                "SET statement_timeout = 0; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '10s'; \
                 SET TimeZone = 'UTC'; SET synchronous_commit = on; SET jit = off"
            }
            Self::Beat => "SET statement_timeout = '10s'; SET lock_timeout = '2s'; SET synchronous_commit = off; SET jit = off",
            Self::Read => {
                "SET statement_timeout = '10s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '10s'; \
                 SET TimeZone = 'UTC'; SET default_transaction_read_only = on; SET enable_seqscan = off; SET jit = off"
            }
        }
    }
}

/// A connection.
pub(crate) struct Session {
    client: Client,
    servers: Servers,
    place: ServerChoice,
    warnings: Arc<Mutex<Vec<String>>>,
    notified: Arc<Notify>,
    statements: HashMap<String, Statement>,
}

impl Session {
    /// Connects to one of the servers.
    pub(crate) fn connect(io: &Arc<Io>, endpoint: &Endpoint, purpose: ConnectionPurpose, servers: &Servers) -> Result<Self, String> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let Endpoint { mut config, tls, .. } = endpoint.clone();
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(1)).keepalives_retries(3);
        let first = servers.clone();
        let connecting = io.spawn(async move { connect(&config, &tls, &first).await });
        let abort = connecting.abort_handle();
        let connected = wait(connecting, deadline).ok_or_else(|| {
            abort.abort();
            format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())
        })?;
        let ((client, mut connection), place) = connected.map_err(|error| error.to_string())?.map_err(|error| text(&error))?;
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let notified = Arc::new(Notify::new());
        let (heard, notify) = (warnings.clone(), notified.clone());
        // A warning is noted before its statement ends, because both arrive in order on one connection.
        io.spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    AsyncMessage::Notice(notice) => {
                        if matches!(notice.parsed_severity(), Some(Severity::Warning)) {
                            heard.lock().unwrap_or_else(PoisonError::into_inner).push(notice.message().to_owned());
                        }
                    }
                    AsyncMessage::Notification(_) => notify.notify_one(),
                    _ => {}
                }
            }
        });
        let session = Self { client, servers: servers.clone(), place, warnings, notified, statements: HashMap::new() };
        session.batch(purpose.settings(), deadline).map_err(|meaning| meaning.to_string())?;
        Ok(session)
    }

    /// Returns true if the connection is lost, or its server was left because it did not answer.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.servers.has_left(self.place)
    }

    /// Returns how many servers the address has.
    pub(crate) fn servers(&self) -> usize {
        self.place.count()
    }

    /// Leaves the server: the next connection is to another one, if that is a primary.
    pub(crate) fn leave_server(&self) {
        self.servers.leave(self.place);
    }

    /// Changes the name under which the server lists the connection.
    pub(crate) fn rename(&mut self, name: &str, deadline: Instant) -> Result<(), Meaning> {
        self.query("SELECT set_config('application_name', $1, false)", &[&name], deadline).map(drop)
    }

    /// Waits until the server notifies this connection, at most until a time. A notification that came before counts.
    pub(crate) fn wait_for_notification(&self, until: Instant) {
        // Without one the caller looks for itself.
        let _ = wait(self.notified.notified(), until);
    }

    /// Runs statements without parameters.
    pub(crate) fn batch(&self, sql: &str, deadline: Instant) -> Result<(), Meaning> {
        match wait(self.client.batch_execute(sql), deadline) {
            Some(done) => done.map_err(|error| meaning(&error)),
            None => Err(Meaning::Unknown("no answer in time".to_owned())),
        }
    }

    /// Returns the process of the server that answers.
    pub(crate) fn process(&self, deadline: Instant) -> Result<String, Meaning> {
        let asked = wait(self.client.simple_query("SELECT pg_backend_pid()"), deadline);
        let told = asked.ok_or_else(|| Meaning::Again("no answer in time".to_owned()))?.map_err(|error| meaning(&error))?;
        let row = told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        row.ok_or_else(|| Meaning::Refused("the server does not tell its process".to_owned()))
    }

    /// Runs a statement that reads, or whose warnings do not matter.
    pub(crate) fn query(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)], deadline: Instant) -> Result<Vec<Row>, Meaning> {
        let statement = self.prepare(sql, deadline)?;
        match wait(self.client.query(&statement, parameters), deadline) {
            Some(rows) => rows.map_err(|error| meaning(&error)),
            None => Err(Meaning::Unknown("no answer in time".to_owned())),
        }
    }

    /// Runs a statement whose commit must be acknowledged. With a warning it is not: the server says in that way that it
    /// stopped waiting for a standby.
    pub(crate) fn commit(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)], deadline: Instant) -> Result<Vec<Row>, Meaning> {
        self.statement(sql, deadline)?;
        self.take_warnings();
        let rows = self.query(sql, parameters, deadline)?;
        match self.take_warnings() {
            Some(warning) => Err(Meaning::Unknown(format!("the server warned: {warning}"))),
            None => Ok(rows),
        }
    }

    fn take_warnings(&self) -> Option<String> {
        let taken = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        (!taken.is_empty()).then(|| taken.join("; "))
    }

    fn prepare(&mut self, sql: &str, deadline: Instant) -> Result<Statement, Meaning> {
        self.statement(sql, deadline).cloned()
    }

    /// Prepares a statement once. Nothing of it runs, so its failure is never unknown, but for the connection.
    fn statement(&mut self, sql: &str, deadline: Instant) -> Result<&Statement, Meaning> {
        if !self.statements.contains_key(sql) {
            let prepared = wait(self.client.prepare(sql), deadline).ok_or_else(|| Meaning::Again("no answer in time".to_owned()))?;
            let statement = prepared.map_err(|error| match meaning(&error) {
                Meaning::Unknown(why) => Meaning::Again(why),
                other => other,
            })?;
            self.statements.insert(sql.to_owned(), statement);
        }
        Ok(&self.statements[sql])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_session_lets_the_server_compile_statements() {
        for purpose in [ConnectionPurpose::Write, ConnectionPurpose::Beat, ConnectionPurpose::Read] {
            assert!(purpose.settings().contains("SET jit = off"), "{purpose:?}");
        }
    }
}

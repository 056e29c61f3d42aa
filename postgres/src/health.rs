//! The safety of the database that holds the log, for `ensue doctor`.

use std::time::Instant;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT};
pub use crate::tls::Verification;

/// The safety of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The version of the server, as people write it.
    pub version: String,
    /// The servers that have each commit before it is acknowledged.
    pub standbys: Standbys,
    /// How the connection to the server is protected.
    pub protection: Protection,
    /// The time of the server, in microseconds since 1970.
    pub clock_micros: i64,
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It does not leave the machine.
    Local,
    /// It is not encrypted.
    None,
    /// It is encrypted with this version of TLS.
    Tls {
        /// The version.
        version: String,
        /// What is checked of the server's certificate.
        verification: Verification,
    },
}

/// The synchronous standbys of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standbys {
    /// It waits for none.
    None,
    /// It waits for some, and the role of the node may not see them.
    Hidden,
    /// It waits for some, and so many are connected.
    Connected(i64),
}

impl Database {
    /// Queries the server. Fails if it is unreachable, or no longer meets the requirements of a log.
    pub fn health(&self) -> Result<Health, DatabaseError> {
        const SQL: &str = "SELECT current_setting('server_version'), current_setting('synchronous_standby_names') <> '', \
             pg_has_role('pg_monitor', 'USAGE'), \
             (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
             coalesce(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1', true), \
             (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)";
        let mut session = self.connect(ConnectionPurpose::Read, "doctor")?;
        let rows = session.query(SQL, &[], Instant::now() + STATEMENT_TIMEOUT).map_err(|meaning| self.error_from(&meaning))?;
        let row = rows.first().ok_or_else(|| DatabaseError::Failed {
            at: self.display_name().to_owned(),
            why: "the server says nothing about itself".to_owned(),
        })?;
        let standbys = match (row.get::<_, bool>(1), row.get::<_, bool>(2)) {
            (false, _) => Standbys::None,
            (true, false) => Standbys::Hidden,
            (true, true) => Standbys::Connected(row.get(3)),
        };
        let protection = match (row.get::<_, Option<String>>(6), row.get::<_, bool>(5)) {
            (Some(version), _) => Protection::Tls { version, verification: self.verification() },
            (None, true) => Protection::Local,
            (None, false) => Protection::None,
        };
        Ok(Health { version: row.get(0), standbys, protection, clock_micros: row.get(4) })
    }
}

//! The state of connections, for operators. It holds no secret.

use std::collections::BTreeSet;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, Names, PackName};
use ensue_engine::time::Timestamp;

use super::{BreakerState, Connection, Connections, NotLent};

/// The state of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Its name.
    pub name: ConnectionName,
    /// Its kind.
    pub kind: ConnectionKind,
    /// Its address.
    pub address: String,
    /// How it proves who uses it.
    pub auth: &'static str,
    /// The only packs that may use it.
    pub packs: Option<BTreeSet<PackName>>,
    /// How many uses there may be at once.
    pub max: usize,
    /// How many uses there are.
    pub in_use: usize,
    /// Since when its pool is open; `None` if it is closed.
    pub opened_at: Option<Timestamp>,
    /// What its breaker lets through.
    pub breaker: BreakerState,
    /// When the breaker lets something through again, while it is open.
    pub retry_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// How many uses succeeded since the start.
    pub succeeded: u64,
    /// How many uses failed since the start.
    pub failed: u64,
    /// The last error since the start.
    pub last_error: Option<ConnectionError>,
    /// Whether its newest use failed.
    pub is_failing: bool,
}

/// Why a use of a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// When the use began.
    pub time: Timestamp,
    /// What kind of problem it is.
    pub kind: ConnectionErrorKind,
    /// The problem, for people, without secrets.
    pub message: String,
}

/// What kind of problem a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum ConnectionErrorKind {
    /// The server could not be reached, or closed the connection.
    Connect,
    /// The server's certificate cannot be verified, or the file of authorities cannot be used.
    Tls,
    /// The server rejected the credentials.
    Auth,
    /// The server did not answer in time.
    Timeout,
    /// The server answered with an error of its own.
    Server,
    /// The server did not accept a request.
    Rejected,
    /// The server sent something that its protocol does not allow.
    Protocol,
    /// The address is not an allowed destination.
    EgressDenied,
    /// A key is not set, or cannot be used.
    KeyMissing,
}

impl NotLent {
    /// Returns the kind of problem that a test reports.
    pub(crate) fn kind(&self) -> ConnectionErrorKind {
        match self {
            Self::KeyMissing { .. } | Self::KeyUnusable(_) | Self::KeyUnfit { .. } => ConnectionErrorKind::KeyMissing,
            Self::NoTrust { .. } => ConnectionErrorKind::Tls,
            Self::Unknown(_) | Self::OtherKind { .. } | Self::NotAllowed { .. } => ConnectionErrorKind::Rejected,
            Self::KeyUnavailable(_) | Self::Paused { .. } => ConnectionErrorKind::Connect,
        }
    }
}

impl Connections {
    /// Returns the states of all connections, by their names. Quick.
    pub fn statuses(&self) -> Vec<ConnectionStatus> {
        self.all.values().map(|connection| self.status_of(connection)).collect()
    }

    /// Returns the state of a connection; `None` if there is none with this name. Quick.
    pub fn status(&self, name: &ConnectionName) -> Option<ConnectionStatus> {
        self.all.get(name).map(|connection| self.status_of(connection))
    }

    fn status_of(&self, connection: &Connection) -> ConnectionStatus {
        let (settings, changing) = (&connection.settings, connection.changing());
        let (breaker, wait) = changing.breaker.state(self.clock.now());
        let retry_at = wait.map(|wait| self.host.now().plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
        ConnectionStatus {
            name: connection.name.clone(),
            kind: settings.endpoint.kind(),
            address: settings.endpoint.address(),
            auth: settings.endpoint.auth(),
            packs: settings.packs.clone(),
            max: settings.max,
            in_use: connection.in_use(),
            opened_at: changing.pool.as_ref().map(|pool| pool.opened_at),
            breaker,
            retry_at,
            last_used_at: changing.last_used_at,
            succeeded: changing.succeeded,
            failed: changing.failed,
            is_failing: changing.is_failing,
            last_error: changing.last_error.clone(),
        }
    }
}

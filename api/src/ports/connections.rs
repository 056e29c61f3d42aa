//! The connections of the node: the endpoints with credentials that the operator defines.

use std::pin::Pin;
use std::time::Duration;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, Names, PackName};
use ensue_engine::time::Timestamp;

/// The connections of the node.
pub trait Connections: Send + Sync {
    /// Returns all of them, by their names. Quick.
    fn all(&self) -> Vec<ConnectionStatus>;
    /// Returns one; `None` if there is none with this name. Quick.
    fn status(&self, name: &ConnectionName) -> Option<ConnectionStatus>;
    /// Tests one with an exchange that changes nothing at the server, for at most a minute. Returns `None` if there is none
    /// with this name.
    fn test(&self, name: ConnectionName) -> Pin<Box<dyn Future<Output = Option<TestedConnection>> + Send>>;
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Its name.
    pub name: ConnectionName,
    /// Its kind.
    pub kind: ConnectionKind,
    /// Its address, without credentials.
    pub address: String,
    /// How it proves who uses it, in a word.
    pub auth: &'static str,
    /// The only packs that may use it; `None` if every pack that lists it may.
    pub packs: Option<Vec<PackName>>,
    /// How many uses there may be at once.
    pub max: u64,
    /// How many uses there are.
    pub in_use: u64,
    /// Since when its pool is open.
    pub opened_at: Option<Timestamp>,
    /// What its breaker lets through.
    pub breaker: BreakerState,
    /// When its breaker lets something through again.
    pub retry_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// How many uses succeeded since the start.
    pub succeeded: u64,
    /// How many uses failed since the start.
    pub failed: u64,
    /// Its last error since the start.
    pub last_error: Option<ConnectionError>,
}

/// Why a use of a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// When the use began.
    pub time: Timestamp,
    /// The kind of problem, in a word.
    pub kind: &'static str,
    /// The problem, for people, without secrets.
    pub message: String,
}

/// What the circuit breaker of a connection lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One use, whose outcome decides.
    HalfOpen,
}

/// The outcome of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestedConnection {
    /// What the server said, or why the test failed.
    pub message: String,
    /// The kind of problem, in a word; `None` if the test succeeded.
    pub error: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
}

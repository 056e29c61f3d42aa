//! Connections and the outcomes of their tests.

use ensue_derive::wire;
use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, PackName};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ports::{BreakerState, ConnectionError, ConnectionStatus, TestedConnection};

/// A connection with its state since the start of the node.
#[wire(Serialize)]
pub(crate) struct WireConnection {
    name: ConnectionName,
    kind: WireConnectionKind,
    /// Without credentials.
    address: String,
    /// How it proves who uses it: `none`, `bearer`, `basic`, `header`, `json_field`, `oauth2` or `login`.
    auth: &'static str,
    /// The only packs that may use it; null if every pack that lists it may.
    packs: Option<Vec<PackName>>,
    in_use_max: u64,
    in_use_count: u64,
    /// Since when its pool is open; null if it is closed.
    opened_at: Option<Timestamp>,
    breaker: WireBreaker,
    /// When the breaker lets something through again, while it is open.
    retry_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    succeeded_count: u64,
    failed_count: u64,
    last_error: Option<WireConnectionError>,
}

/// What kind of server a connection leads to.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireConnectionKind {
    /// A server that speaks HTTP.
    Http,
    /// A server that takes mail.
    Smtp,
}

/// What the circuit breaker of a connection lets through.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireBreaker {
    /// Everything.
    Closed,
    /// Nothing: uses fail at once.
    Open,
    /// One use, whose outcome decides.
    HalfOpen,
}

/// Why a use of a connection failed.
#[wire(Serialize)]
pub(crate) struct WireConnectionError {
    time: Timestamp,
    kind: &'static str,
    message: String,
}

/// The outcome of a test of a connection.
#[wire(Serialize)]
pub(crate) struct WireConnectionTest {
    name: ConnectionName,
    ok: bool,
    /// The kind of problem; null if the test succeeded.
    error: Option<&'static str>,
    /// What the server said, or why the test failed.
    message: String,
    took_ms: u64,
}

impl From<ConnectionKind> for WireConnectionKind {
    fn from(kind: ConnectionKind) -> Self {
        match kind {
            ConnectionKind::Http => Self::Http,
            ConnectionKind::Smtp => Self::Smtp,
        }
    }
}

impl From<BreakerState> for WireBreaker {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

impl From<ConnectionError> for WireConnectionError {
    fn from(error: ConnectionError) -> Self {
        let ConnectionError { time, kind, message } = error;
        Self { time, kind, message }
    }
}

impl From<ConnectionStatus> for WireConnection {
    fn from(status: ConnectionStatus) -> Self {
        Self {
            name: status.name,
            kind: status.kind.into(),
            address: status.address,
            auth: status.auth,
            packs: status.packs,
            in_use_max: status.max,
            in_use_count: status.in_use,
            opened_at: status.opened_at,
            breaker: status.breaker.into(),
            retry_at: status.retry_at,
            last_used_at: status.last_used_at,
            succeeded_count: status.succeeded,
            failed_count: status.failed,
            last_error: status.last_error.map(Into::into),
        }
    }
}

impl WireConnectionTest {
    /// Shows the outcome of a test.
    pub(crate) fn new(name: ConnectionName, tested: TestedConnection) -> Self {
        let TestedConnection { message, error, took } = tested;
        Self { name, ok: error.is_none(), error, message, took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) }
    }
}

//! The connections of this node: their keys, and what the API, `ensue doctor` and the metrics show of them.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ensue_api::ports::{BreakerState, ConnectionError, ConnectionStatus, Finding, TestedConnection};
use ensue_engine::catalog::Catalog;
use ensue_engine::names::{ConnectionName, KeyRef};
use ensue_engine::ports::{Secret, VaultError};
use ensue_engine::time::Timestamp;
use ensue_executor::connections::{self, ConnectionUser, Connections, ConnectionsHost};
use ensue_executor::ports::{KeyError, Keys};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::SteppedClock;
use crate::key_ring::KeyRing;
use crate::machine::{bad, good};
use crate::pack_credentials::unknown_connections;

/// How many connections a finding names.
const NAMES_MAX: usize = 3;
/// The longest time that the caller of a test waits.
const TEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The keys of connections, from those of the node.
pub(crate) struct KeysOfConnections {
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) clock: Arc<dyn SteppedClock>,
}

impl ConnectionsHost for KeysOfConnections {
    fn open(&self, key: &KeyRef, user: &ConnectionUser) -> Result<Option<Secret>, KeyError> {
        match user {
            ConnectionUser::Attempt(user) => Keys::open(&*self.keys, key, user),
            ConnectionUser::Sensor(_) | ConnectionUser::Test => match KeyRing::open(&self.keys, key) {
                Ok(value) => Ok(value.map(|value| (*value).clone())),
                Err(error @ VaultError::Unavailable { .. }) => Err(KeyError::Unavailable(error.to_string())),
                Err(error) => Err(KeyError::Unusable { key: key.clone(), why: error.to_string() }),
            },
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The connections as the API sees them.
#[derive(Clone)]
pub(crate) struct NodeConnections(pub(crate) Arc<Connections>);

impl ensue_api::ports::Connections for NodeConnections {
    fn all(&self) -> Vec<ConnectionStatus> {
        self.0.statuses().into_iter().map(to_wire).collect()
    }

    fn status(&self, name: &ConnectionName) -> Option<ConnectionStatus> {
        self.0.status(name).map(to_wire)
    }

    fn test(&self, name: ConnectionName) -> Pin<Box<dyn Future<Output = Option<TestedConnection>> + Send>> {
        let connections = Arc::clone(&self.0);
        Box::pin(async move {
            let tested = tokio::time::timeout(TEST_TIME_MAX, connections.test(&name)).await;
            let Ok(tested) = tested else {
                let message = format!("no complete answer within {} seconds", TEST_TIME_MAX.as_secs());
                return Some(TestedConnection { message, error: Some("timeout"), took: TEST_TIME_MAX });
            };
            tested.map(|tested| TestedConnection {
                message: tested.message,
                error: tested.error.map(connections::ConnectionErrorKind::as_str),
                took: tested.took,
            })
        })
    }
}

fn to_wire(status: connections::ConnectionStatus) -> ConnectionStatus {
    ConnectionStatus {
        name: status.name,
        kind: status.kind,
        address: status.address,
        auth: status.auth,
        packs: status.packs.map(|packs| packs.into_iter().collect()),
        max: status.max as u64,
        in_use: status.in_use as u64,
        opened_at: status.opened_at,
        breaker: match status.breaker {
            connections::BreakerState::Closed => BreakerState::Closed,
            connections::BreakerState::Open => BreakerState::Open,
            connections::BreakerState::HalfOpen => BreakerState::HalfOpen,
        },
        retry_at: status.retry_at,
        last_used_at: status.last_used_at,
        succeeded: status.succeeded,
        failed: status.failed,
        last_error: status.last_error.map(|error| ConnectionError { time: error.time, kind: error.kind.as_str(), message: error.message }),
    }
}

impl NodeConnections {
    /// Returns what `ensue doctor` says about the connections: those that fail, and those that packs list or name in their settings and
    /// nobody defines.
    pub(crate) fn finding(&self, catalog: &Catalog) -> Finding {
        let statuses = self.0.statuses();
        let known: BTreeSet<&ConnectionName> = statuses.iter().map(|status| &status.name).collect();
        let failing = statuses.iter().filter(|status| status.is_failing).map(|status| {
            let why = status.last_error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
            format!("`{}` fails{why}", status.name)
        });
        let listed = catalog.packs().values().flat_map(|pack| pack.connections.iter().map(move |name| (pack, name)));
        let missing = listed
            .filter(|(_, name)| !known.contains(name))
            .map(|(pack, name)| format!("the pack `{}` lists `{name}`, which `ensue.yaml` does not declare", pack.name));
        let found: Vec<String> = failing.chain(missing).chain(unknown_connections(catalog, &known)).collect();
        if found.is_empty() {
            return good("connections", "no connection fails");
        }
        let more = found.len().saturating_sub(NAMES_MAX);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let named: Vec<String> = found.into_iter().take(NAMES_MAX).collect();
        let hint = "try a connection with `ensue connections test <name>`; declare connections in `ensue.yaml`";
        bad("connections", format!("{}{more}", named.join("; ")), hint)
    }

    /// Registers the metrics of the connections.
    pub(crate) fn register(&self, metrics: &mut Registry) {
        let statuses = self.0.statuses();
        let mut of_each = |name: &str, help: &str, figure: fn(&connections::ConnectionStatus) -> u64| {
            let family = Family::<Vec<(String, String)>, Gauge>::default();
            for status in &statuses {
                let labels = vec![("connection".to_owned(), status.name.to_string())];
                family.get_or_create(&labels).set(i64::try_from(figure(status)).unwrap_or(i64::MAX));
            }
            metrics.register(name, help, family);
        };
        of_each("connection_state", "0 if the breaker of a connection is closed, 1 if it is half open, 2 if it is open", |status| {
            match status.breaker {
                connections::BreakerState::Closed => 0,
                connections::BreakerState::HalfOpen => 1,
                connections::BreakerState::Open => 2,
            }
        });
        of_each("connection_in_use", "The uses of a connection that are under way", |status| status.in_use as u64);
        of_each("connection_uses", "The uses of a connection since the start that succeeded", |status| status.succeeded);
        of_each("connection_failures", "The uses of a connection since the start that failed", |status| status.failed);
    }
}

//! Connections: the endpoints that the operator defines, with their credentials, pools and circuit breakers.
//!
//! A request names a connection, and gets a server and credentials that its pack never sees. This module decides who may use
//! a connection, opens its keys, and keeps a pool of sockets per connection. What an attempt or a sensor sends is in
//! `runners/http` and `pulling/web.rs`. Reading `ensue.yaml` is left to the node.

mod breaker;
mod connection_test;
mod http;
mod oauth;
mod settings;
mod smtp;
mod status;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blocking::Blocking;
use crate::clock::Clock;
use crate::destinations::Destinations;
use crate::egress::EgressPolicy;
use crate::key_opening::{KeyError, KeyUser};
use crate::masks::Masks;
use breaker::{Breaker, Pass};
use oauth::Token;

pub use breaker::BreakerState;
pub use connection_test::ConnectionTestOutcome;
pub use settings::{BreakerSettings, ConnectionSettings, Endpoint, HttpAuth, HttpEndpoint, OAuthClient, SmtpEndpoint, SmtpTls};
pub use status::{ConnectionError, ConnectionErrorKind, ConnectionStatus};

pub(crate) use connection_test::kind_of_broken;
pub(crate) use http::{CredentialPlacement, Credentials, NoCredentials};

/// How long the sockets of a connection that nobody uses are kept.
pub const UNUSED_FOR: Duration = Duration::from_secs(600);

/// What connections need from the node.
pub trait ConnectionsHost: Send + Sync {
    /// Opens a key's current value. Returns `None` if the key is not set. Blocks.
    ///
    /// # Errors
    /// If the key is set, but cannot be opened.
    fn open(&self, key: &KeyRef, user: &ConnectionUser) -> Result<Option<Secret>, KeyError>;
    /// Returns the time of day.
    fn now(&self) -> Timestamp;
}

/// For whom the keys of a connection are opened.
#[derive(Clone, Debug)]
pub enum ConnectionUser {
    /// An attempt.
    Attempt(KeyUser),
    /// A sensor.
    Sensor(SensorRef),
    /// A test that a caller asked for.
    Test,
}

/// The packs that ask for a connection.
pub(crate) struct Asker<'a> {
    /// The packs on whose behalf it is used, each with whether it lists the connection.
    pub(crate) packs: Vec<(&'a PackName, Lists)>,
    /// Whether the operator's word alone is enough for them.
    pub(crate) word: OperatorsWord,
}

/// Whether a pack lists a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    Yes,
    No,
}

/// Whether a pack that does not list a connection may use it if the operator names the pack in `packs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperatorsWord {
    /// Yes: a person chose the connection.
    Counts,
    /// Yes, also if `packs` is not set: the operator chose the connection in the settings of the pack.
    Given,
    /// No: another pack chose the connection.
    NotAlone,
}

/// Why a connection cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum NotLent {
    /// There is no such connection.
    #[error("there is no connection `{0}`; the operator declares it in `ensue.yaml` under `connections`")]
    Unknown(String),
    /// It is of another kind.
    #[error("the connection `{name}` is of the kind `{is}`, not `{wanted}`")]
    OtherKind { name: ConnectionName, is: &'static str, wanted: &'static str },
    /// The asker may not use it.
    #[error("the connection `{name}` may not be used here: {why}")]
    NotAllowed { name: ConnectionName, why: String },
    /// A key of it is not set.
    #[error("the key `{key}` of the connection `{name}` is not set; set it with `ensue keys set {key}`")]
    KeyMissing { name: ConnectionName, key: KeyRef },
    /// A key of it cannot be opened.
    #[error("{0}")]
    KeyUnusable(String),
    /// A key of it cannot be opened now.
    #[error("{0}")]
    KeyUnavailable(String),
    /// A key of it has a value that cannot be sent.
    #[error("the key `{key}` of the connection `{name}` has a value that cannot be sent")]
    KeyUnfit { name: ConnectionName, key: KeyRef },
    /// Its file of authorities cannot be used.
    #[error("the connection `{name}` cannot be opened: {why}")]
    NoTrust { name: ConnectionName, why: String },
    /// Its breaker is open.
    #[error("the connection `{name}` is paused after repeated failures; it is tried again in {} s", .retry_after.as_secs_f64().ceil())]
    Paused { name: ConnectionName, retry_after: Duration },
}

/// The connections of a node.
pub struct Connections {
    all: BTreeMap<ConnectionName, Arc<Connection>>,
    egress: EgressPolicy,
    clock: Arc<dyn Clock>,
    host: Arc<dyn ConnectionsHost>,
    blocking: Blocking,
}

/// One connection.
pub(crate) struct Connection {
    name: ConnectionName,
    settings: ConnectionSettings,
    slots: Arc<Semaphore>,
    changing: Mutex<Changing>,
}

/// What changes about a connection while the node runs.
struct Changing {
    breaker: Breaker,
    pool: Option<Arc<Pool>>,
    used_at: Duration,
    last_used_at: Option<Timestamp>,
    last_error: Option<ConnectionError>,
    /// Whether the newest use failed.
    is_failing: bool,
    succeeded: u64,
    failed: u64,
}

/// The sockets of a connection, for one set of credentials.
pub(crate) struct Pool {
    pub(crate) web: Destinations,
    secrets: BTreeMap<KeyRef, Secret>,
    token: tokio::sync::Mutex<Option<Token>>,
    opened_at: Timestamp,
}

/// A connection in use. Its slot is free again when this is dropped.
pub(crate) struct LentConnection {
    pub(crate) connection: Arc<Connection>,
    pub(crate) pool: Arc<Pool>,
    pass: Option<Pass>,
    now: Timestamp,
    clock: Arc<dyn Clock>,
    _slot: OwnedSemaphorePermit,
}

/// How a use of a connection ended.
#[derive(Debug)]
pub(crate) enum UseOutcome {
    /// The server answered.
    Well,
    /// The server failed, or could not be reached.
    Fault(ConnectionErrorKind, String),
    /// The server answered, but did not accept the request.
    Rejected(ConnectionErrorKind, String),
}

impl Connections {
    /// Returns connections of these settings. Nothing is opened before the first use.
    pub fn new(
        settings: BTreeMap<ConnectionName, ConnectionSettings>,
        egress: EgressPolicy,
        clock: Arc<dyn Clock>,
        host: Arc<dyn ConnectionsHost>,
    ) -> Self {
        let all = settings.into_iter().map(|(name, settings)| {
            let changing = Changing {
                breaker: Breaker::new(settings.breaker),
                pool: None,
                used_at: Duration::ZERO,
                last_used_at: None,
                last_error: None,
                is_failing: false,
                succeeded: 0,
                failed: 0,
            };
            let slots = Arc::new(Semaphore::new(settings.max));
            (name.clone(), Arc::new(Connection { name, settings, slots, changing: Mutex::new(changing) }))
        });
        Self { all: all.collect(), egress, clock, host, blocking: Blocking::default() }
    }

    /// Returns no connections, for a node or a world that has none.
    pub fn none(clock: Arc<dyn Clock>) -> Self {
        Self::new(BTreeMap::new(), EgressPolicy::default(), clock, Arc::new(NoHost))
    }

    /// Returns the names of the connections that use a key.
    pub fn with_key(&self, key: &KeyRef) -> Vec<ConnectionName> {
        let with_it = self.all.values().filter(|connection| connection.settings.endpoint.keys().contains(&key));
        with_it.map(|connection| connection.name.clone()).collect()
    }

    /// Returns the connection of this kind that somebody asks for, if they may use it.
    pub(crate) fn find(&self, name: &str, kind: ConnectionKind, asker: &Asker<'_>) -> Result<Arc<Connection>, NotLent> {
        let unknown = || NotLent::Unknown(name.chars().take(80).collect());
        let connection = self.all.iter().find(|(known, _)| known.as_str() == name).map(|(_, connection)| connection).ok_or_else(unknown)?;
        connection.check(asker)?;
        let is = connection.settings.endpoint.kind();
        if is != kind {
            return Err(NotLent::OtherKind { name: connection.name.clone(), is: is.as_str(), wanted: kind.as_str() });
        }
        Ok(Arc::clone(connection))
    }

    /// Lends a connection: waits for a slot, opens its keys, and opens its pool at the first use or after a key changed.
    pub(crate) async fn lend(&self, connection: &Arc<Connection>, user: ConnectionUser) -> Result<LentConnection, NotLent> {
        // While it is paused, nobody waits for a slot.
        connection.changing().breaker.check(self.clock.now()).map_err(|retry_after| connection.paused_error(retry_after))?;
        let slot = Arc::clone(&connection.slots).acquire_owned().await;
        // The semaphore is never closed.
        let slot = slot.map_err(|_| connection.paused_error(Duration::ZERO))?;
        let pool = self.pool(connection, user).await?;
        let pass = connection.changing().breaker.enter(self.clock.now()).map_err(|retry_after| connection.paused_error(retry_after))?;
        Ok(self.start_use(connection, pool, pass, slot))
    }

    fn start_use(&self, connection: &Arc<Connection>, pool: Arc<Pool>, pass: Pass, slot: OwnedSemaphorePermit) -> LentConnection {
        let now = self.host.now();
        {
            let mut changing = connection.changing();
            (changing.used_at, changing.last_used_at) = (self.clock.now(), Some(now));
        }
        let clock = Arc::clone(&self.clock);
        LentConnection { connection: Arc::clone(connection), pool, pass: Some(pass), now, clock, _slot: slot }
    }

    /// Closes the pools that nobody has used for ten minutes. Called about once a second.
    pub fn close_unused(&self) {
        let now = self.clock.now();
        for connection in self.all.values() {
            let mut changing = connection.changing();
            if connection.in_use() == 0 && now >= changing.used_at + UNUSED_FOR {
                changing.pool = None;
            }
        }
    }

    /// Returns the pool of a connection for the current values of its keys.
    async fn pool(&self, connection: &Arc<Connection>, user: ConnectionUser) -> Result<Arc<Pool>, NotLent> {
        let (host, egress, clock) = (Arc::clone(&self.host), self.egress.clone(), Arc::clone(&self.clock));
        let of = Arc::clone(connection);
        // Keys and files may wait for the disk.
        let opened = self.blocking.run(move || of.open(&*host, &user, egress, clock)).await;
        opened.unwrap_or_else(|| {
            let why = "opening it stopped at an internal error".to_owned();
            Err(NotLent::NoTrust { name: connection.name.clone(), why })
        })
    }
}

impl Connection {
    /// Returns its settings.
    pub(crate) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &ConnectionName {
        &self.name
    }

    /// Returns its endpoint, if it is of the kind `http`.
    pub(crate) fn http(&self) -> Option<&HttpEndpoint> {
        match &self.settings.endpoint {
            Endpoint::Http(http) => Some(http),
            Endpoint::Smtp(_) => None,
        }
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused_error(&self, retry_after: Duration) -> NotLent {
        NotLent::Paused { name: self.name.clone(), retry_after }
    }

    fn in_use(&self) -> usize {
        self.settings.max.saturating_sub(self.slots.available_permits())
    }

    /// Checks that somebody may use it.
    fn check(&self, asker: &Asker<'_>) -> Result<(), NotLent> {
        let allowed = self.settings.packs.as_ref();
        let may = |(pack, lists): &(&PackName, Lists)| match (allowed, lists, asker.word) {
            (None, Lists::Yes, _) | (None, Lists::No, OperatorsWord::Given) => true,
            (None, Lists::No, OperatorsWord::Counts | OperatorsWord::NotAlone) => false,
            (Some(_), Lists::No, OperatorsWord::NotAlone) => false,
            (Some(allowed), _, _) => allowed.contains(*pack),
        };
        if asker.packs.iter().any(may) {
            return Ok(());
        }
        let names: Vec<String> = asker.packs.iter().map(|(pack, _)| format!("`{pack}`")).collect();
        let why = match (asker.packs.iter().any(|(_, lists)| *lists == Lists::Yes), allowed) {
            (true, Some(_)) => format!("its `packs` in `ensue.yaml` do not name {}", names.join(" or ")),
            (_, _) => format!("`pack.yaml` of {} does not list it in `connections`", names.join(" or ")),
        };
        Err(NotLent::NotAllowed { name: self.name.clone(), why })
    }

    /// Opens the keys, and a new pool if their values are others than those of the pool that there is. Blocks.
    fn open(
        &self,
        host: &dyn ConnectionsHost,
        user: &ConnectionUser,
        egress: EgressPolicy,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Pool>, NotLent> {
        let mut secrets = BTreeMap::new();
        for key in self.settings.endpoint.keys() {
            let value = host.open(key, user).map_err(|error| match error {
                KeyError::Unavailable(_) => NotLent::KeyUnavailable(error.to_string()),
                KeyError::Unusable { .. } => NotLent::KeyUnusable(error.to_string()),
            });
            let missing = || NotLent::KeyMissing { name: self.name.clone(), key: key.clone() };
            secrets.insert(key.clone(), value?.ok_or_else(missing)?);
        }
        let is_current = |pool: &Arc<Pool>| {
            let are_same = pool.secrets.iter().zip(&secrets).all(|(one, other)| one.0 == other.0 && one.1.reveal() == other.1.reveal());
            pool.secrets.len() == secrets.len() && are_same
        };
        if let Some(pool) = self.changing().pool.as_ref().filter(|pool| is_current(pool)) {
            return Ok(Arc::clone(pool));
        }
        let no_trust = |why: String| NotLent::NoTrust { name: self.name.clone(), why };
        let mut web = Destinations::new(egress, clock).connecting_within(self.settings.endpoint.connect_timeout());
        if let Some(file) = self.settings.endpoint.ca() {
            web = web.trusting(authorities(file).map_err(no_trust)?).map_err(|error| no_trust(error.to_string()))?;
        }
        let pool = Arc::new(Pool { web, secrets, token: tokio::sync::Mutex::default(), opened_at: host.now() });
        self.changing().pool = Some(Arc::clone(&pool));
        Ok(pool)
    }
}

impl Pool {
    /// Returns the value of a key of the connection.
    fn secret(&self, key: &KeyRef) -> &[u8] {
        // All keys of the endpoint were opened with the pool.
        self.secrets.get(key).map_or(&[], Secret::reveal)
    }

    /// Returns the keys with their values.
    pub(crate) fn secrets(&self) -> &BTreeMap<KeyRef, Secret> {
        &self.secrets
    }

    fn mask(&self, text: &str) -> String {
        let masks = Masks::of_values(self.secrets.iter().map(|(key, value)| (key.as_str(), value.reveal())));
        masks.map_or_else(|| text.to_owned(), |masks| masks.text(text))
    }
}

impl LentConnection {
    /// Notes how the use ended.
    pub(crate) fn finish(mut self, used: &UseOutcome) {
        let pass = self.pass.take();
        let error = match used {
            UseOutcome::Well => None,
            UseOutcome::Fault(kind, message) | UseOutcome::Rejected(kind, message) => {
                Some(ConnectionError { time: self.now, kind: *kind, message: self.pool.mask(message) })
            }
        };
        let now = self.clock.now();
        let mut changing = self.connection.changing();
        changing.used_at = now;
        if let Some(pass) = pass {
            match used {
                UseOutcome::Fault(..) => changing.breaker.fault(now, pass),
                UseOutcome::Well | UseOutcome::Rejected(..) => changing.breaker.success(now, pass),
            }
        }
        changing.is_failing = error.is_some();
        match error {
            None => changing.succeeded += 1,
            Some(error) => {
                changing.failed += 1;
                changing.last_error = Some(error);
            }
        }
    }
}

impl Drop for LentConnection {
    fn drop(&mut self) {
        // It was cut off: nothing is known about the server.
        if let Some(pass) = self.pass.take() {
            self.connection.changing().breaker.nothing(pass);
        }
    }
}

/// Reads the certificates of authorities.
fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let unusable = |why: String| format!("the file of authorities `{}` cannot be used: {why}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it has no certificate in PEM".to_owned())) } else { Ok(roots) }
}

/// The host of no connections.
struct NoHost;

impl ConnectionsHost for NoHost {
    fn open(&self, _: &KeyRef, _: &ConnectionUser) -> Result<Option<Secret>, KeyError> {
        Ok(None)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

//! Destinations: the real web, with a connection pool for each server that connects only to checked
//! addresses.
//!
//! A name is resolved once, its addresses are checked, and the pool connects to these and no others. If the
//! name resolves to something else a moment later, the pool does not follow. Proxies are not read from the
//! environment, and redirects are not followed.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use thiserror::Error;
use url::{Host, Position, Url};

use crate::checked_line::CheckedLine;
use crate::clock::Clock;
use crate::egress::EgressPolicy;
use crate::programs::Pending;
use crate::web::{AnsweredBody, BrokenOff, HttpAnswer, HttpTransport, Letter, Line, NoWay, Web};

/// The number of servers that are remembered. The least recently used one is dropped to make room.
pub(crate) const DESTINATIONS_MAX: usize = 256;
/// How long the resolved addresses of a name are valid.
pub(crate) const RESOLVED_FOR: Duration = Duration::from_secs(30);
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of idle connections kept for each server.
const IDLE_MAX: usize = 64;

/// The servers that requests were sent to.
pub struct Destinations {
    policy: EgressPolicy,
    clock: Arc<dyn Clock>,
    names: Box<dyn Names>,
    known: Mutex<BTreeMap<String, KnownServer>>,
    connect_timeout: Duration,
    tls: OnceLock<ClientConfig>,
}

struct KnownServer {
    client: Client,
    addresses: Vec<IpAddr>,
    checked_at: Duration,
    used_at: Duration,
}

/// Resolves names to addresses.
trait Names: Send + Sync {
    /// Returns the addresses.
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The machine's own resolver.
struct SystemNames;

impl Names for SystemNames {
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Why a server cannot be reached.
#[derive(Debug, Error)]
enum DestinationError {
    /// It may not be reached.
    #[error("is not an allowed destination")]
    Denied,
    /// Its name does not resolve to an address.
    #[error("has no address: {0}")]
    NoAddress(io::Error),
    /// The certificates that the machine trusts cannot be read.
    #[error("cannot be verified: {0}")]
    NoTrust(String),
    /// The client cannot be built.
    #[error("cannot be connected to: {0}")]
    NoClient(reqwest::Error),
}

impl Web for Destinations {
    fn way<'a>(&'a self, to: &'a Url) -> Pending<'a, Result<Box<dyn HttpTransport>, NoWay>> {
        Box::pin(async move {
            let client = self.client(to).await?;
            Ok(Box::new(client) as Box<dyn HttpTransport>)
        })
    }

    fn line<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Result<Box<dyn Line>, NoWay>> {
        Box::pin(async move {
            let sockets = self.sockets(host, port).await?;
            // A server may be trusted by its own authority, or not be encrypted at all.
            let trust = self.trusted_config().await.map_err(|error| error.to_string());
            Ok(Box::new(CheckedLine::new(host, sockets, trust)) as Box<dyn Line>)
        })
    }
}

impl HttpTransport for Client {
    fn send(&self, letter: Letter) -> Pending<'_, Result<HttpAnswer, BrokenOff>> {
        let mut request = reqwest::Request::new(letter.method, letter.url);
        *request.headers_mut() = letter.headers;
        *request.body_mut() = letter.body.map(Into::into);
        Box::pin(async move {
            let mut answer = self.execute(request).await.map_err(broken_off)?;
            let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
            Ok(HttpAnswer { status, headers, body: Box::new(answer) })
        })
    }
}

impl AnsweredBody for reqwest::Response {
    fn piece(&mut self) -> Pending<'_, Result<Option<Bytes>, BrokenOff>> {
        Box::pin(async move { self.chunk().await.map_err(broken_off) })
    }
}

/// Describes why an exchange broke off, down to its root cause.
fn broken_off(error: reqwest::Error) -> BrokenOff {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        message.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    BrokenOff(message)
}

impl From<DestinationError> for NoWay {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Denied => Self::Denied,
            DestinationError::NoAddress(_) | DestinationError::NoTrust(_) | DestinationError::NoClient(_) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

impl Destinations {
    /// Returns a pool that knows no server yet and uses the machine's own resolver.
    pub fn new(policy: EgressPolicy, clock: Arc<dyn Clock>) -> Self {
        Self::with_names(policy, clock, Box::new(SystemNames))
    }

    /// Returns the pool with these authorities trusted instead of those of the machine.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn trusting(mut self, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        self.tls = OnceLock::from(builder.with_root_certificates(roots).with_no_client_auth());
        Ok(self)
    }

    /// Returns the pool with another limit of the time to wait for a socket.
    pub(crate) fn connecting_within(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Returns the addresses of a host, after checking that they may be reached.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NoWay> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.names.resolve(host).await.map_err(DestinationError::NoAddress)?,
        };
        self.policy.check(host, port, &addresses).map_err(|_| NoWay::Denied)?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Returns the TLS configuration for a stream that is not one of HTTP.
    pub(crate) async fn tls_config(&self) -> Result<ClientConfig, NoWay> {
        Ok(self.tls("https").await?)
    }

    fn with_names(policy: EgressPolicy, clock: Arc<dyn Clock>, names: Box<dyn Names>) -> Self {
        Self { policy, clock, names, known: Mutex::default(), connect_timeout: CONNECT_TIMEOUT, tls: OnceLock::new() }
    }

    /// Returns the client for a URL's server, after checking its addresses.
    async fn client(&self, url: &Url) -> Result<Client, DestinationError> {
        let name = &url[..Position::BeforePath];
        let now = self.clock.now();
        if let Some(client) = self.recent_client(name, now) {
            return Ok(client);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(DestinationError::Denied);
        };
        let (addresses, domain) = self.resolve(&host).await?;
        let text = domain.map_or_else(|| host.to_string(), str::to_owned);
        self.policy.check(&text, port, &addresses).map_err(|_| DestinationError::Denied)?;
        if let Some(client) = self.confirm_client(name, &addresses, now) {
            return Ok(client);
        }
        let tls = self.tls(url.scheme()).await?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // The features of other crates must not choose the version.
            .http1_only()
            .referer(false)
            // Nor may they decompress: `answers.rs` does that, within limits.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .user_agent(concat!("ensue/", env!("CARGO_PKG_VERSION")));
        if let Some(domain) = domain {
            let sockets: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
            builder = builder.resolve_to_addrs(domain, &sockets);
        }
        let client = builder.build().map_err(DestinationError::NoClient)?;
        self.remember(name, KnownServer { client: client.clone(), addresses, checked_at: now, used_at: now });
        Ok(client)
    }

    /// Returns the addresses of a host, and its name if it is not an address.
    async fn resolve<'h>(&self, host: &Host<&'h str>) -> Result<(Vec<IpAddr>, Option<&'h str>), DestinationError> {
        match host {
            Host::Ipv4(address) => Ok((vec![IpAddr::V4(*address)], None)),
            Host::Ipv6(address) => Ok((vec![IpAddr::V6(*address)], None)),
            Host::Domain(domain) => {
                let mut addresses = self.names.resolve(domain).await.map_err(DestinationError::NoAddress)?;
                addresses.sort_unstable();
                addresses.dedup();
                Ok((addresses, Some(domain)))
            }
        }
    }

    /// Returns the checked addresses of a server that does not speak HTTP.
    async fn sockets(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DestinationError> {
        let literal = host.parse::<IpAddr>().ok();
        let parsed = literal.map_or(Host::Domain(host), |address| match address {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        });
        let (addresses, _) = self.resolve(&parsed).await?;
        self.policy.check(host, port, &addresses).map_err(|_| DestinationError::Denied)?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    fn recent_client(&self, name: &str, now: Duration) -> Option<Client> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_mut(name).filter(|known| now < known.checked_at + RESOLVED_FOR)?;
        known.used_at = now;
        Some(known.client.clone())
    }

    fn confirm_client(&self, name: &str, addresses: &[IpAddr], now: Duration) -> Option<Client> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_mut(name).filter(|known| known.addresses == addresses)?;
        (known.checked_at, known.used_at) = (now, now);
        Some(known.client.clone())
    }

    fn remember(&self, name: &str, server: KnownServer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DESTINATIONS_MAX && !known.contains_key(name) {
            let oldest = known.iter().min_by_key(|(_, server)| server.used_at).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        known.insert(name.to_owned(), server);
    }

    /// Returns the TLS configuration. It is shared by all servers, because reading the certificates that the
    /// machine trusts takes milliseconds.
    async fn tls(&self, scheme: &str) -> Result<ClientConfig, DestinationError> {
        if scheme != "https" {
            return untrusting();
        }
        self.trusted_config().await
    }

    async fn trusted_config(&self) -> Result<ClientConfig, DestinationError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let built = tokio::task::spawn_blocking(trusting).await;
        let built = built.unwrap_or_else(|error| Err(DestinationError::NoTrust(error.to_string())))?;
        Ok(self.tls.get_or_init(|| built).clone())
    }
}

fn trusting() -> Result<ClientConfig, DestinationError> {
    let no_trust = |error: rustls::Error| DestinationError::NoTrust(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(no_trust)?;
    Ok(builder.with_platform_verifier().map_err(no_trust)?.with_no_client_auth())
}

/// Returns a configuration that trusts nobody, for servers that are not connected to by TLS.
fn untrusting() -> Result<ClientConfig, DestinationError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| DestinationError::NoTrust(error.to_string()))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A resolver with scripted answers, one for each question.
    struct ScriptedNames(Mutex<VecDeque<Vec<IpAddr>>>);

    impl Names for ScriptedNames {
        fn resolve<'a>(&'a self, _host: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
            let answer = self.0.lock().unwrap().pop_front();
            Box::pin(async { answer.ok_or_else(|| io::Error::other("asked once too often")) })
        }
    }

    /// A clock that does not move until it is set.
    struct StandingClock(Mutex<Duration>);

    impl Clock for StandingClock {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn until(&self, _moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    const PUBLIC: &str = "93.184.216.34";

    fn destinations(answers: &[&[&str]]) -> (Destinations, Arc<StandingClock>) {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let names = ScriptedNames(Mutex::new(answers.iter().map(parse).collect()));
        let clock = Arc::new(StandingClock(Mutex::new(Duration::ZERO)));
        (Destinations::with_names(EgressPolicy::default(), clock.clone(), Box::new(names)), clock)
    }

    async fn reach(destinations: &Destinations, url: &str) -> Result<Client, DestinationError> {
        destinations.client(&Url::parse(url).unwrap()).await
    }

    #[tokio::test]
    async fn name_is_resolved_once_and_again_when_its_addresses_expire() {
        let (destinations, clock) = destinations(&[&[PUBLIC], &["127.0.0.1"]]);
        reach(&destinations, "http://a.example/x").await.unwrap();
        reach(&destinations, "http://a.example/y").await.unwrap();
        *clock.0.lock().unwrap() = RESOLVED_FOR;
        let error = reach(&destinations, "http://a.example/z").await.unwrap_err();
        assert!(matches!(error, DestinationError::Denied), "a name that moved inside leads nowhere");
    }

    #[tokio::test]
    async fn moved_name_resolves_to_its_new_addresses() {
        const MOVED: &str = "93.184.216.35";
        let (destinations, clock) = destinations(&[&[PUBLIC], &[MOVED], &[MOVED, PUBLIC], &[PUBLIC, MOVED]]);
        let addresses = || destinations.known.lock().unwrap()["http://a.example"].addresses.clone();
        let mut seen = Vec::new();
        for turn in 0..4 {
            *clock.0.lock().unwrap() = RESOLVED_FOR * turn;
            reach(&destinations, "http://a.example/x").await.unwrap();
            seen.push(addresses());
        }
        let expected = |texts: &[&str]| texts.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        assert_eq!(seen, [expected(&[PUBLIC]), expected(&[MOVED]), expected(&[PUBLIC, MOVED]), expected(&[PUBLIC, MOVED])]);
    }

    #[tokio::test]
    async fn name_is_resolved_again_when_its_addresses_expire() {
        let (destinations, clock) = destinations(&[&[PUBLIC], &[PUBLIC], &["10.0.0.1"]]);
        for turn in 0..2 {
            *clock.0.lock().unwrap() = RESOLVED_FOR * turn;
            reach(&destinations, "http://a.example/x").await.unwrap();
        }
        // The second answer confirmed the first one, so it is valid until its own time is over.
        *clock.0.lock().unwrap() = RESOLVED_FOR * 2 - Duration::from_nanos(1);
        reach(&destinations, "http://a.example/x").await.unwrap();
        *clock.0.lock().unwrap() = RESOLVED_FOR * 2;
        assert!(matches!(reach(&destinations, "http://a.example/x").await, Err(DestinationError::Denied)));
    }

    #[tokio::test]
    async fn one_private_address_among_public_ones_is_denied() {
        let (destinations, _) = destinations(&[&[PUBLIC, "10.0.0.1"]]);
        assert!(matches!(reach(&destinations, "http://a.example").await, Err(DestinationError::Denied)));
    }

    #[tokio::test]
    async fn addresses_in_odd_forms_are_denied() {
        let (destinations, _) = destinations(&[&["127.0.0.1"]]);
        for url in [
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0251.0376.0251.0376/",
            "http://127.1/",
            "http://0/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://①②⑦.0.0.1/",
            "http://[fd00:ec2::254]/",
            "http://169.254.169.254/",
            "http://localhost./",
        ] {
            assert!(matches!(reach(&destinations, url).await, Err(DestinationError::Denied)), "{url}");
        }
    }

    #[tokio::test]
    async fn cached_servers_are_limited_to_those_used_last() {
        let (destinations, clock) = destinations(&[]);
        let url = |number: usize| format!("http://93.184.{}.{}/", number / 256, number % 256);
        let uses = (0..DESTINATIONS_MAX).chain([0]).chain(DESTINATIONS_MAX..DESTINATIONS_MAX + 10);
        for number in uses {
            reach(&destinations, &url(number)).await.unwrap();
            *clock.0.lock().unwrap() += Duration::from_millis(1);
        }
        let known = destinations.known.lock().unwrap();
        assert_eq!(known.len(), DESTINATIONS_MAX);
        let is_known = |number: usize| {
            known.values().any(|known| known.addresses == [format!("93.184.{}.{}", number / 256, number % 256).parse::<IpAddr>().unwrap()])
        };
        assert!(is_known(0) && is_known(11) && is_known(DESTINATIONS_MAX + 9), "they were used last");
        assert!((1..11).all(|number| !is_known(number)), "they were used first");
    }
}

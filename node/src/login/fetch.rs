//! Requests to issuers, over the client that also guards where actions may connect.
//!
//! It keeps no keys and verifies no token: the crate `login` does that.

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use ensue_executor::web::{BrokenOff, Letter, NoWay, Web};
use ensue_executor::{Allowance, Destinations, EgressPolicy};
use ensue_login::Fetch;
use ensue_login::fetch::{FETCH_BYTES_MAX, FETCH_TIME_MAX, FetchError, HostBy, Method, Request, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Handle;

/// Sends requests to issuers. Callers must be on a thread where blocking is allowed.
pub(crate) struct IssuerWeb {
    runtime: Handle,
    clock: Arc<dyn ensue_executor::Clock>,
    /// What issuers may name, beyond public addresses.
    egress: EgressPolicy,
    /// The way to hosts that the operator named.
    named_by_operator: Destinations,
    /// The way to hosts that an issuer named.
    named_by_issuer: Destinations,
}

impl IssuerWeb {
    /// Creates it on the current runtime.
    pub(crate) fn new(egress: EgressPolicy) -> Self {
        let clock: Arc<dyn ensue_executor::Clock> = Arc::new(ensue_executor::SystemClock::new());
        Self {
            runtime: Handle::current(),
            named_by_operator: Destinations::new(anywhere(), clock.clone()),
            named_by_issuer: Destinations::new(egress.clone(), clock.clone()),
            clock,
            egress,
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, FetchError> {
        let own;
        let web = match (&request.ca, request.host_by) {
            (None, HostBy::Operator) => &self.named_by_operator,
            (None, HostBy::Issuer) => &self.named_by_issuer,
            (Some(file), by) => {
                let policy = if by == HostBy::Operator { anywhere() } else { self.egress.clone() };
                // The file may have been replaced since the last request.
                let web = Destinations::new(policy, self.clock.clone()).trusting(authorities(file)?);
                own = web.map_err(|error| FetchError::Unreachable(error.to_string()))?;
                &own
            }
        };
        let way = web.way(&request.url).await.map_err(|why| match why {
            NoWay::Denied => FetchError::Denied { host: request.url.host_str().unwrap_or_default().to_owned() },
            other => FetchError::Unreachable(other.to_string()),
        })?;
        let mut answered = way.send(letter(request)?).await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(piece) = answered.body.piece().await.map_err(unreachable)? {
            if body.len() + piece.len() > FETCH_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let cache_control = answered.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Response { status: answered.status.as_u16(), cache_control, body })
    }
}

impl Fetch for IssuerWeb {
    fn fetch(&self, request: &Request) -> Result<Response, FetchError> {
        let exchange = async { tokio::time::timeout(FETCH_TIME_MAX, self.exchange(request)).await };
        self.runtime.block_on(exchange).unwrap_or(Err(FetchError::Timeout))
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>, FetchError> {
        let unreadable = |error: std::io::Error| FetchError::Unreadable(error.to_string());
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        let mut bytes = Vec::new();
        opened.take(FETCH_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > FETCH_BYTES_MAX { Err(FetchError::TooLarge) } else { Ok(bytes) }
    }
}

/// The policy for hosts that an operator named.
fn anywhere() -> EgressPolicy {
    let all = [format!("{}/0", Ipv4Addr::UNSPECIFIED), format!("{}/0", Ipv6Addr::UNSPECIFIED)];
    EgressPolicy::allowing(all.iter().filter_map(|text| text.parse::<Allowance>().ok()).collect())
}

fn unreachable(BrokenOff(why): BrokenOff) -> FetchError {
    FetchError::Unreachable(why)
}

fn letter(request: &Request) -> Result<Letter, FetchError> {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let (method, body) = match &request.method {
        Method::Get => (reqwest::Method::GET, None),
        Method::Post { form, authorization } => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            if let Some(authorization) = authorization {
                let value = HeaderValue::from_bytes(authorization.reveal());
                let mut value = value.map_err(|_| FetchError::Unreachable("the client's secret is not a header".to_owned()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            (reqwest::Method::POST, Some(bytes::Bytes::copy_from_slice(form.reveal())))
        }
    };
    Ok(Letter {
        method,
        url: request.url.as_str().parse().map_err(|_| FetchError::Unreachable("the URL is malformed".to_owned()))?,
        headers,
        body,
    })
}

fn authorities(file: &Path) -> Result<RootCertStore, FetchError> {
    let unusable = |why: String| FetchError::Unreadable(format!("`ca` {}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it has no certificate".to_owned())) } else { Ok(roots) }
}

//! Lines: real connections to servers that do not speak HTTP, such as mail servers.
//!
//! Which addresses may be reached is decided before, in `destinations.rs`. What is said on a line is up to the
//! runner.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::programs::Pending;
use crate::web::{BrokenOff, Line, Stream};

/// How long to wait for a connection, and for its encryption.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The line to addresses that were checked.
pub(crate) struct CheckedLine {
    host: String,
    sockets: Vec<SocketAddr>,
    /// Whom the machine trusts, or why that cannot be read.
    trust: Result<ClientConfig, String>,
}

impl CheckedLine {
    /// Returns the line to these addresses of a host.
    pub(crate) fn new(host: &str, sockets: Vec<SocketAddr>, trust: Result<ClientConfig, String>) -> Self {
        Self { host: host.to_owned(), sockets, trust }
    }
}

impl Line for CheckedLine {
    fn open(&self) -> Pending<'_, Result<Box<dyn Stream>, BrokenOff>> {
        Box::pin(async move {
            let mut refused = BrokenOff("it has no address".to_owned());
            for socket in &self.sockets {
                match timeout(CONNECT_TIMEOUT, TcpStream::connect(socket)).await {
                    Ok(Ok(stream)) => return Ok(Box::new(stream) as Box<dyn Stream>),
                    Ok(Err(error)) => refused = BrokenOff(format!("it cannot be connected to: {error}")),
                    Err(_) => refused = BrokenOff(format!("it did not answer within {} seconds", CONNECT_TIMEOUT.as_secs())),
                }
            }
            Err(refused)
        })
    }

    fn encrypted<'a>(&'a self, stream: Box<dyn Stream>, authority: Option<&'a str>) -> Pending<'a, Result<Box<dyn Stream>, BrokenOff>> {
        Box::pin(async move {
            let trust = authority.map_or_else(|| self.trust.clone().map_err(BrokenOff), trusting_only)?;
            let name = ServerName::try_from(self.host.clone());
            let name = name.map_err(|_| BrokenOff(format!("`{}` is not a name that a certificate can have", self.host)))?;
            let handshake = TlsConnector::from(Arc::new(trust)).connect(name, stream);
            match timeout(CONNECT_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => Ok(Box::new(stream) as Box<dyn Stream>),
                Ok(Err(error)) => Err(BrokenOff(format!("TLS cannot be set up: {}", untrusted(&error)))),
                Err(_) => Err(BrokenOff(format!("TLS was not set up within {} seconds", CONNECT_TIMEOUT.as_secs()))),
            }
        })
    }
}

fn trusting_only(authority: &str) -> Result<ClientConfig, BrokenOff> {
    let invalid = |why: String| BrokenOff(format!("the certificate of its authority cannot be used: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(invalid("it is not PEM, which begins with `-----BEGIN CERTIFICATE-----`".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| invalid(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Describes a failed handshake.
fn untrusted(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

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

    fn encrypt<'a>(&'a self, stream: Box<dyn Stream>, authority: Option<&'a str>) -> Pending<'a, Result<Box<dyn Stream>, BrokenOff>> {
        Box::pin(async move {
            let trust = authority.map_or_else(|| self.trust.clone().map_err(BrokenOff), trusting_only)?;
            let name = ServerName::try_from(self.host.clone());
            let name = name.map_err(|_| BrokenOff(format!("`{}` is not a name that a certificate can have", self.host)))?;
            let handshake = TlsConnector::from(Arc::new(trust)).connect(name, stream);
            match timeout(CONNECT_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => Ok(Box::new(stream) as Box<dyn Stream>),
                Ok(Err(error)) => Err(BrokenOff(format!("TLS cannot be set up: {}", describe_tls_error(&error)))),
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
fn describe_tls_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn line(sockets: Vec<SocketAddr>) -> CheckedLine {
        CheckedLine::new("mail.example.test", sockets, Err("no encryption is needed".to_owned()))
    }

    /// Returns an address that refuses connections as long as its socket is kept.
    fn refusing() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn each_address_of_a_host_is_tried_until_one_answers() {
        let ((_first, first), (_second, second)) = (refusing(), refusing());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
        assert!(line(vec![first, second, listening]).open().await.is_ok());
        assert!(line(vec![listening, first]).open().await.is_ok());
    }

    #[tokio::test]
    async fn host_without_an_address_that_answers_is_an_error_with_the_reason() {
        let (_socket, address) = refusing();
        let error = |opened: Result<Box<dyn Stream>, BrokenOff>| opened.map(|_| ()).unwrap_err().0;
        let refused = error(line(vec![address]).open().await);
        assert!(refused.starts_with("it cannot be connected to: "), "{refused}");
        assert_eq!(error(line(Vec::new()).open().await), "it has no address");
    }
}

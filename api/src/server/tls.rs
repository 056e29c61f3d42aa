//! TLS: the handshake of a connection, with a certificate that can be replaced while the server runs.
//!
//! The files of the certificate are read by the wiring.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::addresses::PeerCertificates;

/// The names of the versions of HTTP in a handshake (RFC 7301, RFC 9113 §3.2), the preferred one first.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The TLS settings of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Creates the settings. The versions of HTTP in `config` are replaced.
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(RwLock::new(with_versions(config))))
    }

    /// Replaces the settings for connections that are opened from now on.
    pub fn replace(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = with_versions(config);
    }

    /// Performs the handshake. Fails if the caller has no version of TLS, cipher or certificate that is accepted.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Returns the certificates of the caller, its own first.
    pub(super) fn certificates<S>(stream: &TlsStream<S>) -> PeerCertificates {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        PeerCertificates(chain.iter().map(|certificate| certificate.to_vec()).collect())
    }

    /// Returns true if the caller chose HTTP/2.
    pub(super) fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(HTTP2)
    }
}

fn with_versions(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Arc::new(config)
}

//! One connection, from its first bytes on: with or without TLS, in the version of HTTP that the caller chose.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::addresses::{PeerCertificates, Scheme};
use crate::front::Front;
use crate::server::crowd::{AddressRoom, ConnectionPlace};
use crate::server::lingering::{Lingering, Unread};
use crate::server::stall::UnlessStalled;
use crate::server::tls::Tls;
use crate::server::{http1, http2};
use crate::settings::Limits;

/// The first byte of a TLS connection: a record with a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What belongs to a connection, besides its stream.
#[derive(Clone)]
pub(super) struct Connection {
    /// What answers its requests.
    pub(super) front: Arc<Front>,
    /// The address of the other side.
    pub(super) from: IpAddr,
    /// Whether it has TLS.
    pub(super) scheme: Scheme,
    /// The certificates of the other side.
    pub(super) certificates: PeerCertificates,
    /// Whether there is room for it among the others of its address.
    pub(super) room: AddressRoom,
    /// Its place among the others.
    pub(super) place: Arc<ConnectionPlace>,
    /// Turns true when the node stops.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Connection {
    /// Returns the limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.front.settings().limits
    }

    /// Answers a request.
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let sender = self.front.settings().addresses.sender(self.from, self.scheme, request.headers());
        request.extensions_mut().insert(sender);
        if !self.certificates.0.is_empty() {
            request.extensions_mut().insert(self.certificates.clone());
        }
        match self.room {
            AddressRoom::Free => self.front.answer_framed(request).await,
            AddressRoom::Over | AddressRoom::None => self.front.answer_crowded(&request),
        }
    }

    /// Returns true once the node stops.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns this long after the node began to stop.
    pub(super) async fn after_stop(&self, linger: Duration) {
        let mut stopping = self.stopping.clone();
        drop(stopping.wait_for(|stopping| *stopping).await);
        tokio::time::sleep(linger).await;
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(stream: TcpStream, tls: Option<Tls>, mut connection: Connection) {
    // Responses are small, and callers wait for them. A socket without this option is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return http1::serve(UnlessStalled::new(stream, connection.limits().write_timeout), connection).await;
    };
    let place = connection.place.clone();
    let opened = tokio::select! {
        opened = tokio::time::timeout(connection.limits().head_timeout, open(stream, &tls, &connection)) => opened,
        () = place.given_up() => return,
        () = connection.after_stop(connection.limits().linger) => return,
    };
    connection.scheme = Scheme::Https;
    match opened {
        Ok(OpenedConnection::Http1(stream, certificates)) => http1::serve(stream, Connection { certificates, ..connection }).await,
        Ok(OpenedConnection::Http2(stream, certificates)) => http2::serve(stream, Connection { certificates, ..connection }).await,
        Ok(OpenedConnection::Nothing) => {}
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// A connection after its TLS handshake.
enum OpenedConnection<S> {
    Http1(S, PeerCertificates),
    Http2(S, PeerCertificates),
    /// It has ended.
    Nothing,
}

async fn open(
    stream: TcpStream,
    tls: &Tls,
    connection: &Connection,
) -> OpenedConnection<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == TLS_HANDSHAKE => {}
        Ok(1) => {
            explain(stream, connection).await;
            return OpenedConnection::Nothing;
        }
        Ok(_) | Err(_) => return OpenedConnection::Nothing,
    }
    match tls.accept(UnlessStalled::new(stream, connection.limits().write_timeout)).await {
        Ok(stream) => {
            let certificates = Tls::certificates(&stream);
            if Tls::speaks_http2(&stream) {
                OpenedConnection::Http2(stream, certificates)
            } else {
                OpenedConnection::Http1(stream, certificates)
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            OpenedConnection::Nothing
        }
    }
}

/// Answers a caller that uses plain HTTP where only TLS is served.
async fn explain(stream: TcpStream, connection: &Connection) {
    let unread = Unread::default();
    unread.note();
    let mut stream = Lingering::new(UnlessStalled::new(stream, connection.limits().write_timeout), unread);
    let answer = connection.front.answer_without_tls();
    // The caller may be gone already.
    if stream.write_all(&answer).await.is_ok() {
        drop(stream.shutdown().await);
    }
}

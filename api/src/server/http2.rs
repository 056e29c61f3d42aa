//! A connection with HTTP/2, which a caller chooses in its TLS handshake.
//!
//! What concerns a single request and its response is in `streams.rs`.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::connection::Connection;
use crate::server::crowd::AddressRoom;
use crate::server::streams::{Streams, pace_body};

/// The maximum number of requests of a connection that are in progress at once.
const STREAMS_MAX: u32 = 100;
/// The maximum number of requests that a caller cancels before the node has read them.
const UNREAD_RESETS_MAX: usize = 20;
/// How many bytes of all bodies of a connection may arrive before a handler reads them: the least that the protocol allows.
const WINDOW_BYTES: u32 = 65_535;
/// How many bytes of a response are buffered while the caller does not read them.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// After how much silence the caller is asked for a sign of life, and how long it can take to respond.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, connection: Connection) {
    let limits = connection.limits().clone();
    let streams = Streams::new(limits.write_timeout);
    let at = connection.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let answering = at.place.asks();
        let at = at.clone();
        async move {
            with_host(&mut request);
            let is_head = request.method() == Method::HEAD;
            let mut response = at.answer(request).await;
            if is_head {
                response = without_body(response);
            }
            if at.room != AddressRoom::Free {
                at.place.leaves();
            }
            // It is a field of HTTP/1 (RFC 9113 §8.2.2). The rest of an unread body is not sent, and the connection continues.
            response.headers_mut().remove(header::CONNECTION);
            Ok::<_, Infallible>(response.map(|body| pace_body(body, answering)))
        }
    });
    let served = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(UNREAD_RESETS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let place = connection.place.clone();
    // A caller that has not sent a request yet may be sending one.
    let stopped = async {
        connection.after_stop(Duration::ZERO).await;
        if place.is_silent() {
            tokio::time::sleep(limits.linger).await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => return note(ended),
        () = place.given_up() => CloseReason::Waiting,
        () = place.wait_for_idle(limits.head_timeout) => CloseReason::Waiting,
        () = stopped => CloseReason::Stopped,
        () = streams.too_many_resets() => CloseReason::Resets,
        () = place.wait_for_rejection() => CloseReason::Refused,
    };
    if ended == CloseReason::Waiting && place.is_silent() {
        return;
    }
    if ended == CloseReason::Resets {
        tracing::warn!(from = %connection.from, "a connection was closed: its caller cancels too many requests");
    }
    // It names the last request that is answered, so that the caller can repeat later ones elsewhere.
    served.as_mut().graceful_shutdown();
    let patience = async {
        tokio::time::sleep(limits.linger).await;
        if ended != CloseReason::Resets {
            place.wait_for_idle(limits.linger).await;
        }
    };
    tokio::select! {
        biased;
        ended = served.as_mut() => note(ended),
        () = patience => {}
    }
}

/// Why the node ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseReason {
    /// No request is in progress.
    Waiting,
    /// The node stops.
    Stopped,
    /// The caller cancels too many requests.
    Resets,
    /// There was no room for the connection, and its caller knows by now.
    Refused,
}

/// Returns a response without its body, but with the length that the body has.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    if let Some(bytes) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(bytes));
    }
    response.map(|_| Body::empty())
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Writes the authority of a request as its `host`, if it has none (RFC 9113 §8.3.1).
fn with_host<B>(request: &mut hyper::Request<B>) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    if let Some(host) = request.uri().authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
}

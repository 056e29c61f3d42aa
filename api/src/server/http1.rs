//! A connection with HTTP/1.1.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::holding_body::Holding;
use crate::server::connection::Connection;
use crate::server::crowd::Answering;
use crate::server::gate::{Gate, Refuse};
use crate::server::lingering::{Lingering, Unread};
use crate::sizes::READ_BYTES_MAX;
use crate::websocket::{PromisedTalk, Talk};

/// Serves a connection until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, connection: Connection) {
    let unread = Unread::default();
    let in_part = unread.clone();
    let talks: Talks = Arc::default();
    let promised = talks.clone();
    let limits = connection.limits().clone();
    let of_unreadable = connection.front.clone();
    let refuse: Arc<Refuse> = Arc::new(move |unreadable| of_unreadable.answer_unreadable(unreadable.status, unreadable.why));
    let is_open: Arc<AtomicBool> = Arc::default();
    let opened = is_open.clone();
    let at = connection.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let answering = at.place.asks();
        let (at, unread, promised, opened) = (at.clone(), in_part.clone(), promised.clone(), opened.clone());
        async move {
            let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
            let mut response = at.answer(request).await;
            if let (Some(talk), Some(upgrade)) = (response.extensions_mut().remove::<PromisedTalk>().and_then(|talk| talk.take()), upgrade)
            {
                opened.store(true, Ordering::Relaxed);
                *promised.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, talk, answering));
                return Ok::<_, Infallible>(response);
            }
            // The front ends a connection only for this reason.
            if response.headers().contains_key(header::CONNECTION) {
                unread.note();
            }
            if at.is_stopping() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Body::new(Holding::new(body, answering))))
        }
    });
    let io = TokioIo::new(Lingering::new(Gate::new(stream, is_open, refuse), unread));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        // Received data is read first, so that requests that were sent get a response.
        biased;
        ended = served.as_mut() => ended,
        () = connection.place.given_up() => {
            if connection.place.is_silent() {
                return;
            }
            served.as_mut().graceful_shutdown();
            served.await
        }
        // If a connection is closed while a request is on its way, the request is lost and its sender cannot know. So the next
        // response closes the connection, and time closes it only if no request comes.
        () = connection.after_stop(limits.linger) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    go_on(&talks).await;
}

/// Continues on a connection that is no longer HTTP, if that was promised. It counts as a connection: it has its place among them,
/// and a stop waits for it.
async fn go_on(talks: &Talks) {
    let talk = talks.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((upgrade, talk, _answering)) = talk {
        match upgrade.await {
            Ok(connection) => talk.run(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a connection ended before it became a WebSocket"),
        }
    }
}

/// The work that continues on a connection that is no longer HTTP, which is busy until it ends.
type Talks = Arc<Mutex<Option<(OnUpgrade, Talk, Answering)>>>;

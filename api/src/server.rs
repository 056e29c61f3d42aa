//! Connections: accepts them, applies their limits, and lets them end when the node stops.
//!
//! The front handles the requests on them.

mod closing;
mod crowd;
mod gate;
mod lingering;
mod stall;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::front::{Front, Peer};
use crate::holding::Holding;
use crate::queues::{Queue, QueueName};
use crate::server::crowd::{Answering, CROWDED_GRACE, Crowd, Place};
use crate::server::gate::{Gate, Refuse};
use crate::server::lingering::{Lingering, Unread};
use crate::server::stall::UnlessStalled;
use crate::settings::Limits;
use crate::sizes::READ_BYTES_MAX;
use crate::websocket::{Promised, Talk};

/// How long the loop pauses when the machine accepts no more connections.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long a connection that is being opened may take once no new ones are accepted: a round trip.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// How many connections over the limit may be open while others are closed for them.
const GIVING_WAY_MAX: u64 = 64;

/// A server of the API.
pub struct Server {
    front: Arc<Front>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connections that were closed because their requests did not end in time.
    pub connections_cut: usize,
}

impl Server {
    /// Creates a server of the API.
    pub fn new(front: Front) -> Self {
        Self { front: Arc::new(front) }
    }

    /// Serves until `stop` resolves. From then on the node is not ready, and each response is the last on its connection. New
    /// connections are accepted while there are old ones, for at most [`Limits::linger`]: requests that were sent already get a
    /// response, and later ones are rejected. Requests in progress have [`Limits::stop_timeout`] to end.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Ended {
        let limits = self.front.settings().limits.clone();
        let places = Arc::clone(self.front.settings().queues.of(QueueName::Connections));
        let (stopping, _) = watch::channel(false);
        let crowd = Crowd::new(limits.silent_per_address);
        let mut open = Open { front: self.front, limits: limits.clone(), stopping, connections: JoinSet::new(), places, crowd };
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = open.go_on(&listener) => {}
            }
        }
        open.front.stop();
        open.stopping.send_replace(true);
        let linger = tokio::time::sleep(limits.linger);
        let mut linger = pin!(linger);
        while !open.connections.is_empty() {
            tokio::select! {
                biased;
                () = &mut linger => break,
                () = open.go_on(&listener) => {}
            }
        }
        if let Err(error) = closing::let_nobody_new_in(&listener) {
            tracing::debug!(%error, "callers that connect while the listener is closed may be reset");
        }
        let round_trip = tokio::time::sleep(ROUND_TRIP);
        let mut round_trip = pin!(round_trip);
        loop {
            tokio::select! {
                biased;
                () = &mut round_trip => break,
                () = open.go_on(&listener) => {}
            }
        }
        open.take_last(listener);
        let mut connections = open.connections;
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limits.linger + limits.stop_timeout, all_ended).await;
        let connections_cut = if in_time.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        Ended { connections_cut }
    }
}

/// The open connections.
struct Open {
    front: Arc<Front>,
    limits: Limits,
    stopping: watch::Sender<bool>,
    connections: JoinSet<()>,
    places: Arc<Queue>,
    crowd: Crowd,
}

impl Open {
    /// Waits for the next connection, or for the end of one. If all places are taken, an idle connection is closed for a new one.
    async fn go_on(&mut self, listener: &TcpListener) {
        self.places.set(self.connections.len() as u64);
        let (depth, capacity) = (self.places.depth(), self.places.capacity());
        let is_full = depth >= capacity;
        let may_come = !is_full || (depth < capacity + GIVING_WAY_MAX && self.crowd.least_needed().is_some());
        tokio::select! {
            biased;
            Some(ended) = self.connections.join_next_with_id(), if !self.connections.is_empty() => {
                self.crowd.remove(ended.map_or_else(|why| why.id(), |(id, ())| id));
            }
            accepted = listener.accept(), if may_come => match accepted {
                Ok((stream, from)) => {
                    if let Some(place) = is_full.then(|| self.crowd.least_needed()).flatten() {
                        place.give_way();
                    }
                    self.take(stream, from.ip());
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            },
            // By then one of the connections that have only just become idle may be closed.
            () = tokio::time::sleep(CROWDED_GRACE), if is_full => {}
        }
    }

    /// Closes the listener, and accepts the connections that the kernel has accepted for it. Otherwise they would be reset, with their requests.
    fn take_last(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for (stream, from) in all_of(|| listener.accept()) {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                self.take(stream, from.ip());
            }
        }
    }

    fn take(&mut self, stream: TcpStream, from: IpAddr) {
        let place = self.crowd.place();
        let served = connection(self.front.clone(), self.limits.clone(), (stream, from, place.clone()), self.stopping.subscribe());
        let id = self.connections.spawn(served).id();
        self.crowd.add(id, from, place);
    }
}

/// Accepts all connections that are waiting.
fn all_of<T>(mut accept: impl FnMut() -> io::Result<T>) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        loop {
            match accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return None,
            }
        }
    })
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

async fn connection(
    front: Arc<Front>,
    limits: Limits,
    (stream, from, place): (TcpStream, IpAddr, Arc<Place>),
    mut stopping: watch::Receiver<bool>,
) {
    // Responses are small, and callers wait for them. A socket without this option is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let is_stopping = stopping.clone();
    let unread = Unread::default();
    let in_part = unread.clone();
    let talks: Talks = Arc::default();
    let promised = talks.clone();
    let at = place.clone();
    let of_unreadable = front.clone();
    let refuse: Arc<Refuse> = Arc::new(move |unreadable| of_unreadable.answer_unreadable(unreadable.status, unreadable.why));
    let is_open: Arc<AtomicBool> = Arc::default();
    let opened = is_open.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        at.asks();
        let (front, is_stopping, unread, promised) = (front.clone(), is_stopping.clone(), in_part.clone(), promised.clone());
        let (place, opened) = (at.clone(), opened.clone());
        async move {
            request.extensions_mut().insert(Peer(from));
            let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
            let mut response = front.answer_framed(request).await;
            if let (Some(talk), Some(upgrade)) = (response.extensions_mut().remove::<Promised>().and_then(|talk| talk.take()), upgrade) {
                opened.store(true, Ordering::Relaxed);
                *promised.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, talk));
                return Ok::<_, Infallible>(response);
            }
            // The front ends a connection only for this reason.
            if response.headers().contains_key(header::CONNECTION) {
                unread.note();
            }
            if *is_stopping.borrow() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Body::new(Holding::new(body, Answering(place)))))
        }
    });
    let gate = Gate::new(UnlessStalled::new(stream, limits.write_timeout), is_open, refuse);
    let io = TokioIo::new(Lingering::new(gate, unread));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    let mut served = pin!(served);
    // If a connection is closed while a request is on its way, the request is lost and its sender cannot know. So the next response
    // closes the connection, and time closes it only if no request comes.
    let left_idle = async move {
        drop(stopping.wait_for(|stopping| *stopping).await);
        tokio::time::sleep(limits.linger).await;
    };
    let ended = tokio::select! {
        // Received data is read first, so that requests that were sent get a response.
        biased;
        ended = served.as_mut() => ended,
        () = place.given_up() => {
            if place.is_silent() {
                return;
            }
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = left_idle => {
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
    if let Some((upgrade, talk)) = talk {
        match upgrade.await {
            Ok(connection) => talk.run(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a connection ended before it became a WebSocket"),
        }
    }
}

/// The work that continues on a connection that is no longer HTTP.
type Talks = Arc<Mutex<Option<(OnUpgrade, Talk)>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborted_connection_does_not_hide_the_next_ones_in_the_backlog() {
        let mut waiting = vec![Ok(1), Err(io::ErrorKind::ConnectionAborted), Ok(2), Err(io::ErrorKind::WouldBlock), Ok(3)].into_iter();
        let accepted: Vec<i32> = all_of(|| waiting.next().expect("nobody asks for more").map_err(io::Error::from)).collect();
        assert_eq!(accepted, [1, 2]);
    }
}

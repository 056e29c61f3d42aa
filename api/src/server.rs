//! Connections: accepts them, applies their limits, and lets them end when the node stops.
//!
//! The front handles the requests on them.

mod closing;
mod connection;
mod crowd;
mod gate;
mod http1;
mod http2;
mod lingering;
mod stall;
mod streams;
mod tls;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::addresses::{PeerCertificates, Scheme};
use crate::front::Front;
use crate::queues::{Queue, QueueName};
use crate::server::connection::{Connection, serve};
use crate::server::crowd::{AddressRoom, CROWDED_GRACE, Crowd};

pub use crate::server::tls::Tls;

/// How long the loop pauses when the machine accepts no more connections.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long a connection that is being opened may take once no new ones are accepted: a round trip.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// How many connections over the limit may be open while others are closed for them.
const GIVING_WAY_MAX: u64 = 64;

/// A server of the API.
pub struct Server {
    front: Arc<Front>,
    tls: Option<Tls>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEnd {
    /// The connections that were closed because their requests did not end in time.
    pub connections_cut: usize,
}

impl Server {
    /// Creates a server of the API.
    pub fn new(front: Front) -> Self {
        Self { front: Arc::new(front), tls: None }
    }

    /// Lets it accept only connections with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Serves until `stop` resolves. From then on the node is not ready, and each response is the last on its connection. New
    /// connections are accepted while there are old ones, for at most [`Limits::linger`](crate::Limits::linger): requests that were sent already get a
    /// response, and later ones are rejected. Requests in progress have [`Limits::stop_timeout`](crate::Limits::stop_timeout) to end.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> ServerEnd {
        let limits = self.front.settings().limits.clone();
        let places = Arc::clone(self.front.settings().queues.of(QueueName::Connections));
        let (stopping, _) = watch::channel(false);
        let crowd = Crowd::new(&limits);
        let mut open = OpenConnections { front: self.front, tls: self.tls, stopping, connections: JoinSet::new(), places, crowd };
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
        ServerEnd { connections_cut }
    }
}

/// The open connections.
struct OpenConnections {
    front: Arc<Front>,
    tls: Option<Tls>,
    stopping: watch::Sender<bool>,
    connections: JoinSet<()>,
    places: Arc<Queue>,
    crowd: Crowd,
}

impl OpenConnections {
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
                    let leaves = is_full.then(|| self.crowd.least_needed()).flatten();
                    if self.take(stream, from.ip()) == AddressRoom::None {
                        return;
                    }
                    if let Some(place) = leaves {
                        place.give_way();
                    }
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

    /// Serves a connection, if there is room for it among those of its address.
    fn take(&mut self, stream: TcpStream, from: IpAddr) -> AddressRoom {
        let room = if self.front.settings().addresses.are_limited(from) { self.crowd.room(from) } else { AddressRoom::Free };
        if room == AddressRoom::None {
            return room;
        }
        let place = self.crowd.place();
        let stopping = self.stopping.subscribe();
        let served = serve(
            stream,
            self.tls.clone(),
            Connection {
                front: self.front.clone(),
                from,
                scheme: Scheme::Http,
                certificates: PeerCertificates::default(),
                room,
                place: place.clone(),
                stopping,
            },
        );
        let id = self.connections.spawn(served).id();
        self.crowd.add(id, from, place);
        room
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

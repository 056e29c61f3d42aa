//! Connections: accepting them, holding each to its limits, and letting them end when the node stops.
//!
//! What a request means is the front's.

mod stall;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::front::Front;
use crate::queues::QueueName;
use crate::server::stall::UnlessStalled;
use crate::settings::Limits;

/// How long the loop rests when the machine gives no more connections.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);
/// The most bytes that are held of a request before its handler takes them; a head must fit.
pub const READ_BYTES_MAX: usize = 32 * 1024;

/// A server of the API.
pub struct Server {
    front: Arc<Front>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connections that were cut because their requests did not end in time.
    pub connections_cut: usize,
}

impl Server {
    /// Makes a server of the API.
    pub fn new(front: Front) -> Self {
        Self { front: Arc::new(front) }
    }

    /// Serves until `stop` comes: then the node is not ready at once, no more connections are taken, and requests under way have
    /// [`Limits::stop_timeout`] to end.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Ended {
        let limits = self.front.settings().limits.clone();
        let open = Arc::clone(self.front.settings().queues.of(QueueName::Connections));
        let (stopping, _) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            open.set(connections.len() as u64);
            let has_room = open.depth() < open.capacity();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(self.front.clone(), limits.clone(), stream, stopping.subscribe()));
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection could be accepted");
                        tokio::time::sleep(REST_AFTER_ERROR).await;
                    }
                },
            }
        }
        self.front.stop();
        drop(listener);
        stopping.send_replace(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limits.stop_timeout, all_ended).await;
        let connections_cut = if in_time.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        Ended { connections_cut }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

async fn connection(front: Arc<Front>, limits: Limits, stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    // Answers are small and waited for; a socket that cannot do this is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let io = TokioIo::new(UnlessStalled::new(stream, limits.write_timeout));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(io, service);
    let mut served = pin!(served);
    let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

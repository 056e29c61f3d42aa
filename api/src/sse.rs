//! Server-Sent Events: the line on which a caller is told of what it follows, for as long as it lasts.
//!
//! What is told, and how far the caller is, is said by who tells: `live.rs` and `streams.rs`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::Api;
use crate::auth::Allowed;
use crate::permissions::Permission;
use crate::problem::Problem;
use crate::respond;

/// The media type.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The header with which a caller goes on behind the last event that it heard.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The header that has a proxy hand on each event at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How long a caller that does not read is waited for. Its place is the id of the last event that it got: it can go on from there.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// How often a caller hears at least that the line is still there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often its token is looked at again.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(5);

type Chunk = Result<Bytes, Infallible>;

/// The line to one caller.
pub(crate) struct Line<P> {
    api: Arc<Api>,
    allowed: Allowed<P>,
    to: mpsc::Sender<Chunk>,
    /// Room for the last event, which must not wait for a slow reader.
    last: mpsc::OwnedPermit<Chunk>,
    heard_at: Instant,
    checked_at: Instant,
}

/// Why nothing more can be told on a line, though there may be more to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The node stops.
    Stopping,
    /// The caller may not read this any more.
    NotAllowed,
    /// The caller is gone.
    Gone,
    /// The caller does not read.
    Slow,
}

impl<P: Permission> Line<P> {
    /// Opens a line, and gives the answer that it goes out with. So many events wait for a caller that reads slowly.
    pub(crate) fn open(api: &Arc<Api>, allowed: Allowed<P>, waiting_max: usize) -> Result<(Self, Response<Body>), Problem> {
        let (to, receive) = mpsc::channel(waiting_max + 1);
        let last = to.clone().try_reserve_owned().map_err(|why| Problem::bug(&why))?;
        let mut response = respond::streamed(receive, EVENT_STREAM);
        response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        let now = Instant::now();
        Ok((Self { api: api.clone(), allowed, to, last, heard_at: now, checked_at: now }, response))
    }

    /// Sends some events, and waits for a caller that reads slowly, but not for ever.
    pub(crate) async fn send(&mut self, events: Bytes) -> Result<(), Left> {
        self.heard_at = Instant::now();
        tokio::select! {
            biased;
            sent = tokio::time::timeout(READER_PATIENCE, self.to.send(Ok(events))) => match sent {
                Ok(sent) => sent.map_err(|_| Left::Gone),
                Err(_) => Err(Left::Slow),
            },
            // A node that stops waits for nobody.
            () = self.api.stopped() => Err(Left::Stopping),
        }
    }

    /// Says whether the line may go on, however much there is to tell: to be asked between any two things that are told.
    pub(crate) async fn turn(&mut self) -> Result<(), Left> {
        if self.api.is_stopping() {
            return Err(Left::Stopping);
        }
        if self.checked_at.elapsed() >= CHECK_EVERY {
            self.checked_at = Instant::now();
            if !self.allowed.still_holds(&*self.api.ports.access) {
                return Err(Left::NotAllowed);
            }
        }
        if self.heard_at.elapsed() >= HEARTBEAT_EVERY {
            self.send(Bytes::from_static(b":\n\n")).await?;
        }
        Ok(())
    }

    /// Waits for what there may be to tell, while there is somebody to tell it to.
    pub(crate) async fn rest<T>(&self, until: impl Future<Output = T>) -> Result<T, Left> {
        tokio::select! {
            came = until => Ok(came),
            () = self.to.closed() => Err(Left::Gone),
            () = self.api.stopped() => Err(Left::Stopping),
        }
    }

    /// Says how it ended. The last event has no id, so the caller's place stays where it is.
    pub(crate) fn end(self, end: &impl Serialize) {
        match serde_json::to_string(end) {
            Ok(data) => drop(self.last.send(Ok(Bytes::from(format!("event: end\ndata: {data}\n\n"))))),
            Err(why) => tracing::error!(error = %why, "the end of a stream has no JSON form"),
        }
    }
}

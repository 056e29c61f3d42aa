//! The line that sends a caller what it follows, for as long as it lasts, and its form as Server-Sent Events.
//!
//! `live.rs` and `streams.rs` decide what to send and how far the caller is. For WebSocket, `websocket.rs`
//! has the connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use ensue_engine::record::Position;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::Lasting;
use crate::ports::Access;
use crate::problem::Problem;
use crate::respond;
use crate::stopping::Stopping;
use crate::stream_message::StreamMessage;
use crate::websocket::Handshake;

/// The media type.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The header with which a caller continues after the last event that it received.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The header that makes a proxy forward each event immediately.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How long to wait for a caller that does not read. It can continue from the id of the last event that it
/// received.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// The interval of heartbeats, which show that the line is still open.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// The interval at which the caller's token is checked again.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The format in which a line is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFormat {
    /// Server-Sent Events without names.
    Events,
    /// Server-Sent Events, each named after the kind of its record.
    NamedEvents,
    /// Messages of a WebSocket.
    Messages,
}

/// Why the line ends, as a WebSocket close code (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseAs {
    /// Everything was sent.
    Normal,
    /// The node is going away.
    Away,
    /// The caller lacks the permission.
    Policy,
    /// An internal error.
    Error,
    /// The caller can continue later.
    TryAgain,
}

impl CloseAs {
    /// Returns its code.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Away => 1001,
            Self::Policy => 1008,
            Self::Error => 1011,
            Self::TryAgain => 1013,
        }
    }
}

/// The conditions that end a line early, apart from its caller.
pub(crate) struct EndConditions {
    /// The node is stopping.
    pub(crate) stopping: Stopping,
    /// The caller's token is no longer accepted.
    pub(crate) access: Arc<dyn Access>,
}

/// The line to one caller.
pub(crate) struct StreamLine<A> {
    ends: EndConditions,
    allowed: A,
    to: mpsc::Sender<StreamMessage>,
    /// Room for the last event, which must not wait for a slow reader.
    last: mpsc::OwnedPermit<StreamMessage>,
    form: StreamFormat,
    heard_at: Instant,
    checked_at: Instant,
    revocations: watch::Receiver<u64>,
}

/// Why a line ends although there may be more to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamInterruption {
    /// The node is stopping.
    Stopping,
    /// The caller may no longer read this.
    NotAllowed,
    /// The caller is gone.
    Gone,
    /// The caller does not read.
    Slow,
}

impl<A: Lasting> StreamLine<A> {
    /// Opens a line, and returns the answer that carries it. Up to `waiting_max` events wait for a caller
    /// that reads slowly.
    pub(crate) fn open(ends: EndConditions, allowed: A, waiting_max: usize, form: StreamFormat) -> Result<(Self, Response<Body>), Problem> {
        let (line, receive) = Self::with_channel(ends, allowed, waiting_max, form)?;
        let events = ReceiverStream::new(receive).map(|said| Ok::<_, Infallible>(said.into_events()));
        let mut response = respond::stream(events, EVENT_STREAM);
        response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        Ok((line, response))
    }

    /// Opens a line over a WebSocket, likewise, to a caller that knows everything up to `at`.
    pub(crate) fn open_websocket(
        ends: EndConditions,
        allowed: A,
        waiting_max: usize,
        (handshake, at): (Handshake, Position),
    ) -> Result<(Self, Response<Body>), Problem> {
        let (line, receive) = Self::with_channel(ends, allowed, waiting_max, StreamFormat::Messages)?;
        Ok((line, handshake.answer(at, receive)))
    }

    fn with_channel(
        ends: EndConditions,
        allowed: A,
        waiting_max: usize,
        form: StreamFormat,
    ) -> Result<(Self, mpsc::Receiver<StreamMessage>), Problem> {
        let (to, receive) = mpsc::channel(waiting_max + 1);
        let last = to.clone().try_reserve_owned().map_err(|why| Problem::bug(&why))?;
        let now = Instant::now();
        // A token that is revoked between authentication and this line is noticed at the first turn.
        let mut revocations = ends.access.revocations();
        revocations.mark_changed();
        Ok((Self { ends, allowed, to, last, form, heard_at: now, checked_at: now, revocations }, receive))
    }

    /// Returns its format.
    pub(crate) fn form(&self) -> StreamFormat {
        self.form
    }

    /// Sends a message; waits for a caller that reads slowly, but not indefinitely.
    pub(crate) async fn say(&mut self, said: StreamMessage) -> Result<(), StreamInterruption> {
        self.heard_at = Instant::now();
        tokio::select! {
            biased;
            sent = tokio::time::timeout(READER_PATIENCE, self.to.send(said)) => match sent {
                Ok(sent) => sent.map_err(|_| StreamInterruption::Gone),
                Err(_) => Err(StreamInterruption::Slow),
            },
            // A stopping node waits for nobody.
            () = self.ends.stopping.wait() => Err(StreamInterruption::Stopping),
            () = not_allowed(&mut self.revocations, &self.allowed, &*self.ends.access) => Err(StreamInterruption::NotAllowed),
        }
    }

    /// Returns true if the caller still has the permission.
    pub(crate) fn is_allowed(&self) -> bool {
        self.allowed.still_holds(&*self.ends.access)
    }

    /// Checks whether the line may continue, however much there is to send; call it between any two messages.
    pub(crate) async fn turn(&mut self) -> Result<(), StreamInterruption> {
        if self.ends.stopping.has_begun() {
            return Err(StreamInterruption::Stopping);
        }
        let is_revoked = self.revocations.has_changed().unwrap_or(false);
        if is_revoked || self.checked_at.elapsed() >= CHECK_EVERY {
            self.revocations.mark_unchanged();
            self.checked_at = Instant::now();
            if !self.allowed.still_holds(&*self.ends.access) {
                return Err(StreamInterruption::NotAllowed);
            }
        }
        if self.heard_at.elapsed() >= HEARTBEAT_EVERY {
            self.say(StreamMessage::Beat).await?;
        }
        Ok(())
    }

    /// Waits for new content, as long as the caller is there.
    pub(crate) async fn rest<T>(&mut self, until: impl Future<Output = T>) -> Result<T, StreamInterruption> {
        tokio::select! {
            came = until => Ok(came),
            () = self.to.closed() => Err(StreamInterruption::Gone),
            () = self.ends.stopping.wait() => Err(StreamInterruption::Stopping),
            () = not_allowed(&mut self.revocations, &self.allowed, &*self.ends.access) => Err(StreamInterruption::NotAllowed),
        }
    }

    /// Sends the end of the line.
    pub(crate) fn end(self, end: &impl Serialize, close: CloseAs) {
        match serde_json::to_string(end) {
            Ok(why) => drop(self.last.send(StreamMessage::End { why, code: close.code() })),
            Err(why) => tracing::error!(error = %why, "the end of a stream has no JSON form"),
        }
    }
}

/// Returns once the caller may not continue; wakes up at each revocation of a token.
async fn not_allowed(revocations: &mut watch::Receiver<u64>, allowed: &impl Lasting, access: &dyn Access) {
    loop {
        if revocations.changed().await.is_err() {
            // The sender of revocations ends with the node, which is reported in another way.
            return std::future::pending().await;
        }
        if !allowed.still_holds(access) {
            return;
        }
    }
}

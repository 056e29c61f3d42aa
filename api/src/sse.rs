//! The line on which a caller is told of what it follows, for as long as it lasts, and its form as Server-Sent Events.
//!
//! What is told, and how far the caller is, is said by who tells: `live.rs` and `streams.rs`. Over WebSocket, `websocket.rs` has the connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use ensue_engine::ids::TokenId;
use ensue_engine::record::Position;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::Allowed;
use crate::permissions::Permission;
use crate::ports::Access;
use crate::problem::Problem;
use crate::respond;
use crate::said::Said;
use crate::stopping::Stopping;
use crate::websocket::Handshake;

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

/// The form in which a line is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-Sent Events without names.
    Events,
    /// Server-Sent Events, each named after the kind of its record.
    NamedEvents,
    /// Messages of a WebSocket.
    Messages,
}

/// Why nothing more comes, as a WebSocket tells it (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseAs {
    /// All was told.
    Normal,
    /// The node goes away.
    Away,
    /// The caller may not.
    Policy,
    /// Something here went wrong.
    Error,
    /// It may go on later.
    TryAgain,
}

impl CloseAs {
    /// Gives its code.
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

/// What ends a line before all is told, besides its caller.
pub(crate) struct Ends {
    /// The node stops.
    pub(crate) stopping: Stopping,
    /// The caller's token lets it in no more.
    pub(crate) access: Arc<dyn Access>,
}

/// The line to one caller.
pub(crate) struct Line<P> {
    ends: Ends,
    allowed: Allowed<P>,
    to: mpsc::Sender<Said>,
    /// Room for the last event, which must not wait for a slow reader.
    last: mpsc::OwnedPermit<Said>,
    form: Form,
    heard_at: Instant,
    checked_at: Instant,
    revocations: watch::Receiver<u64>,
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
    pub(crate) fn open(ends: Ends, allowed: Allowed<P>, waiting_max: usize, form: Form) -> Result<(Self, Response<Body>), Problem> {
        let (line, receive) = Self::begun(ends, allowed, waiting_max, form)?;
        let events = ReceiverStream::new(receive).map(|said| Ok::<_, Infallible>(said.into_events()));
        let mut response = respond::streamed(events, EVENT_STREAM);
        response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        Ok((line, response))
    }

    /// Opens a line over a WebSocket, likewise, to a caller who knows everything up to `at`.
    pub(crate) fn upgraded(
        ends: Ends,
        allowed: Allowed<P>,
        waiting_max: usize,
        (handshake, at): (Handshake, Position),
    ) -> Result<(Self, Response<Body>), Problem> {
        let (line, receive) = Self::begun(ends, allowed, waiting_max, Form::Messages)?;
        Ok((line, handshake.answered(at, receive)))
    }

    fn begun(ends: Ends, allowed: Allowed<P>, waiting_max: usize, form: Form) -> Result<(Self, mpsc::Receiver<Said>), Problem> {
        let (to, receive) = mpsc::channel(waiting_max + 1);
        let last = to.clone().try_reserve_owned().map_err(|why| Problem::bug(&why))?;
        let now = Instant::now();
        // Whoever was revoked between being let in and this is seen at the first turn.
        let mut revocations = ends.access.revocations();
        revocations.mark_changed();
        Ok((Self { ends, allowed, to, last, form, heard_at: now, checked_at: now, revocations }, receive))
    }

    /// Gives the form in which it is heard.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Says something, and waits for a caller that reads slowly, but not for ever.
    pub(crate) async fn say(&mut self, said: Said) -> Result<(), Left> {
        self.heard_at = Instant::now();
        tokio::select! {
            biased;
            sent = tokio::time::timeout(READER_PATIENCE, self.to.send(said)) => match sent {
                Ok(sent) => sent.map_err(|_| Left::Gone),
                Err(_) => Err(Left::Slow),
            },
            // A node that stops waits for nobody.
            () = self.ends.stopping.begun() => Err(Left::Stopping),
            () = not_allowed(&mut self.revocations, &self.allowed, &*self.ends.access) => Err(Left::NotAllowed),
        }
    }

    /// Returns true where a record revokes the token of this caller.
    pub(crate) fn is_revoked_by(&self, token: TokenId) -> bool {
        self.allowed.is_of(token)
    }

    /// Says whether the line may go on, however much there is to tell: to be asked between any two things that are told.
    pub(crate) async fn turn(&mut self) -> Result<(), Left> {
        if self.ends.stopping.has_begun() {
            return Err(Left::Stopping);
        }
        let is_revoked = self.revocations.has_changed().unwrap_or(false);
        if is_revoked || self.checked_at.elapsed() >= CHECK_EVERY {
            self.revocations.mark_unchanged();
            self.checked_at = Instant::now();
            if !self.allowed.still_holds(&*self.ends.access) {
                return Err(Left::NotAllowed);
            }
        }
        if self.heard_at.elapsed() >= HEARTBEAT_EVERY {
            self.say(Said::Beat).await?;
        }
        Ok(())
    }

    /// Waits for what there may be to tell, while there is somebody to tell it to.
    pub(crate) async fn rest<T>(&mut self, until: impl Future<Output = T>) -> Result<T, Left> {
        tokio::select! {
            came = until => Ok(came),
            () = self.to.closed() => Err(Left::Gone),
            () = self.ends.stopping.begun() => Err(Left::Stopping),
            () = not_allowed(&mut self.revocations, &self.allowed, &*self.ends.access) => Err(Left::NotAllowed),
        }
    }

    /// Says how it ended.
    pub(crate) fn end(self, end: &impl Serialize, close: CloseAs) {
        match serde_json::to_string(end) {
            Ok(why) => drop(self.last.send(Said::End { why, code: close.code() })),
            Err(why) => tracing::error!(error = %why, "the end of a stream has no JSON form"),
        }
    }
}

/// Returns once the caller may not go on, woken by each token that is revoked.
async fn not_allowed<P: Permission>(revocations: &mut watch::Receiver<u64>, allowed: &Allowed<P>, access: &dyn Access) {
    loop {
        if revocations.changed().await.is_err() {
            // Who revokes tokens ends with the node, which says so otherwise.
            return std::future::pending().await;
        }
        if !allowed.still_holds(access) {
            return;
        }
    }
}

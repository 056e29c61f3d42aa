//! Streams of records, as Server-Sent Events: of the whole log, or of one execution until it has ended.
//!
//! An event's id is the position of its record, so a caller goes on where it was, also over a restart. What programs print is
//! `live.rs`'s.

mod tail;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::executions::Status;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::Api;
use crate::auth::Allowed;
use crate::permissions::Permission;
use crate::problem::Problem;
use crate::queues::{Held, Queue, QueueName, Queues};
use tail::{PAGE, Page, Tail, Unread};

/// The most streams of one caller.
pub(crate) const STREAMS_OF_ONE_MAX: u32 = 20;
/// How many pages wait for a caller that reads slowly.
pub(crate) const PAGES_WAITING_MAX: usize = 1;
/// How long a caller that does not read is waited for. Its place is the id of the last event that it got: it can go on from there.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// How often a caller hears at least that the stream is still there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often its token is looked at again, and the log, in case that nobody told of a record.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long a caller is asked to wait before it comes again, in milliseconds.
const RETRY_MILLIS: u32 = 1_000;

/// Why a stream is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum StreamRefusal {
    /// There are as many as there may be.
    #[error("too many streams of records are open at once")]
    Full,
    /// The caller has its share.
    #[error("you have {STREAMS_OF_ONE_MAX} streams of records open, the most for one caller")]
    OverShare,
}

impl Explain for StreamRefusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::Full => "busy",
            Self::OverShare => "over-share",
        }
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Full => "try again when another stream is done, or read `GET /log?after=` from time to time".into(),
            Self::OverShare => "end one, or follow several things in one stream of the whole log".into(),
        })
    }
}

/// The streams of a node: who holds how many, and the pages that they share.
pub(crate) struct Streams {
    open: Arc<Queue>,
    by_caller: Mutex<BTreeMap<String, u32>>,
    tail: Tail,
}

/// Room for one stream, until it is dropped.
pub(crate) struct Place {
    streams: Arc<Streams>,
    caller: String,
    _held: Held,
}

impl Streams {
    pub(crate) fn new(queues: &Queues) -> Arc<Self> {
        Arc::new(Self { open: queues.of(QueueName::LiveStreams).clone(), by_caller: Mutex::default(), tail: Tail::default() })
    }

    /// Takes room for a stream of a caller.
    pub(crate) fn enter(self: &Arc<Self>, caller: &str) -> Result<Place, StreamRefusal> {
        let mut by_caller = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = by_caller.get(caller).copied().unwrap_or(0);
        if mine >= STREAMS_OF_ONE_MAX {
            self.open.reject();
            return Err(StreamRefusal::OverShare);
        }
        let held = self.open.enter(1).ok_or(StreamRefusal::Full)?;
        by_caller.insert(caller.to_owned(), mine + 1);
        drop(by_caller);
        Ok(Place { streams: self.clone(), caller: caller.to_owned(), _held: held })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_caller = self.streams.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = by_caller.get_mut(&self.caller) {
            *mine -= 1;
            if *mine == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

/// What a stream tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Every record.
    Log,
    /// Those of one execution, with its attempts.
    Execution(ExecutionId),
}

/// Why a stream ended, as its last event says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum End {
    /// The execution has ended.
    Ended {
        /// How.
        status: Status,
    },
    /// The node stops.
    Stopping,
    /// The caller may not read this any more.
    NotAllowed,
    /// There is no memory for more of it now.
    Busy,
    /// The log cannot be read.
    Failed,
}

/// Why telling ends where it stands.
enum Left {
    /// The node stops.
    Stopping,
    /// The caller is gone.
    Gone,
    /// The caller does not read.
    Slow,
}

/// One caller that follows records.
pub(crate) struct RecordStream<P> {
    pub(crate) api: Arc<Api>,
    pub(crate) allowed: Allowed<P>,
    pub(crate) told: Told,
    /// The position behind which it goes on.
    pub(crate) at: Position,
    pub(crate) to: mpsc::Sender<Result<Bytes, Infallible>>,
    /// Room for the last event.
    pub(crate) leave: mpsc::OwnedPermit<Result<Bytes, Infallible>>,
    pub(crate) place: Place,
}

impl<P: Permission> RecordStream<P> {
    /// Tells of records until what it tells of has ended, the caller is gone or let in no more, or the node stops.
    pub(crate) async fn run(self) {
        let Self { api, allowed, told, at, to, leave, place } = self;
        let now = Instant::now();
        let mut teller = Teller { api, told, at, to, heard_at: now, checked_at: now };
        let may_go_on = |api: &Api| allowed.still_holds(&*api.ports.access);
        match teller.until_the_end(may_go_on).await {
            Ok(end) => take_leave(leave, end),
            Err(Left::Stopping) => take_leave(leave, End::Stopping),
            Err(Left::Gone) => {}
            Err(Left::Slow) => tracing::debug!(position = teller.at.0, "who follows records reads too slowly and is dropped"),
        }
        drop(place);
    }
}

/// What tells a caller of records.
struct Teller {
    api: Arc<Api>,
    told: Told,
    at: Position,
    to: mpsc::Sender<Result<Bytes, Infallible>>,
    heard_at: Instant,
    checked_at: Instant,
}

/// What telling some records came to.
enum Next {
    /// There may be more.
    GoOn,
    /// There will be nothing more.
    End(End),
}

impl Teller {
    async fn until_the_end(&mut self, may_go_on: impl Fn(&Api) -> bool) -> Result<End, Left> {
        // An id without data is an event that nobody sees: who is cut off before the first record still knows its place.
        self.send(Bytes::from(format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at))).await?;
        let mut views_at = self.api.ports.views_at.clone();
        if let Told::Execution(id) = self.told
            && let Next::End(end) = self.tell_so_far(id).await?
        {
            return Ok(end);
        }
        loop {
            views_at.mark_unchanged();
            let page = match self.api.streams.tail.after(&self.api, self.at).await {
                Ok(page) => page,
                Err(unread) => return Ok(unread.into()),
            };
            let was_read = page.is_some();
            if let Some(page) = page
                && let Next::End(end) = self.tell(&page).await?
            {
                return Ok(end);
            }
            if self.api.is_stopping() {
                return Ok(End::Stopping);
            }
            if self.checked_at.elapsed() >= CHECK_EVERY {
                self.checked_at = Instant::now();
                if !may_go_on(&self.api) {
                    return Ok(End::NotAllowed);
                }
            }
            if self.heard_at.elapsed() >= HEARTBEAT_EVERY {
                self.send(Bytes::from_static(b":\n\n")).await?;
            }
            if !was_read {
                tokio::select! {
                    // Who tells of positions ends with the node.
                    changed = views_at.changed() => if changed.is_err() { return Ok(End::Stopping) },
                    () = tokio::time::sleep(CHECK_EVERY) => {}
                    () = self.to.closed() => return Err(Left::Gone),
                    () = self.api.stopped() => return Ok(End::Stopping),
                }
            }
        }
    }

    /// Tells what an execution's own stream has, and goes on in the log behind that.
    async fn tell_so_far(&mut self, id: ExecutionId) -> Result<Next, Left> {
        let mut revision = Revision(0);
        let mut behind = None;
        loop {
            let stream = StreamId::Execution(id);
            // Where the log was before the stream was read: what the stream got since is behind that.
            let read = self
                .api
                .blocking(move |ports| {
                    let head = ports.log.head()?.position;
                    ports.log.read_stream(&stream, revision, PAGE).map(|records| (head, records))
                })
                .await
                .and_then(|read| read.map_err(Problem::from));
            let (head, records) = match read {
                Ok(read) => read,
                Err(problem) => return Ok(Next::End(Unread::Failed(problem).into())),
            };
            behind.get_or_insert(head);
            let Some(last) = records.last() else { break };
            revision = last.revision;
            let page = match Page::of(&records, &self.api) {
                Ok(page) => page,
                Err(unread) => return Ok(Next::End(unread.into())),
            };
            if let Next::End(end) = self.tell(&page).await? {
                return Ok(Next::End(end));
            }
        }
        self.at = self.at.max(behind.unwrap_or(self.at));
        Ok(Next::GoOn)
    }

    /// Tells what a page has behind the caller's place.
    async fn tell(&mut self, page: &Page) -> Result<Next, Left> {
        let after = self.at;
        match self.told {
            Told::Log => {
                self.at = page.last();
                if let Some(rest) = page.behind(after) {
                    self.send(rest).await?;
                }
            }
            Told::Execution(id) => {
                for frame in page.of_execution(id) {
                    if frame.position > after {
                        self.send(page.bytes_of(frame)).await?;
                        self.at = frame.position;
                    }
                    if let Some(status) = frame.ended {
                        return Ok(Next::End(End::Ended { status }));
                    }
                }
                self.at = self.at.max(page.last());
            }
        }
        Ok(Next::GoOn)
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Left> {
        self.heard_at = Instant::now();
        tokio::select! {
            biased;
            sent = tokio::time::timeout(READER_PATIENCE, self.to.send(Ok(bytes))) => match sent {
                Ok(sent) => sent.map_err(|_| Left::Gone),
                Err(_) => Err(Left::Slow),
            },
            // A node that stops waits for nobody.
            () = self.api.stopped() => Err(Left::Stopping),
        }
    }
}

/// Says why a stream ends. It has no id, so the caller's place stays where it is.
fn take_leave(leave: mpsc::OwnedPermit<Result<Bytes, Infallible>>, end: End) {
    match serde_json::to_string(&end) {
        Ok(data) => drop(leave.send(Ok(Bytes::from(format!("event: end\ndata: {data}\n\n"))))),
        Err(why) => tracing::error!(error = %why, "the end of a stream has no JSON form"),
    }
}

impl From<Unread> for End {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Busy => Self::Busy,
            Unread::Failed(problem) => {
                tracing::warn!(code = problem.code(), "a stream of records ended early");
                Self::Failed
            }
        }
    }
}

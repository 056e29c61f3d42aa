//! Streams of records, as Server-Sent Events or as messages of a WebSocket: of the whole log, or of one execution until it has ended.
//!
//! An event's id is the position of its record, so a caller goes on where it was, also over a restart. What programs print is
//! `live.rs`'s.

mod tail;

use std::sync::Arc;

use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::executions::Status;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;

use crate::permissions::Permission;
use crate::problem::Problem;
use crate::queues::{QueueName, Queues};
use crate::quotas::{Caller, NoRoom, Quotas, Room};
use crate::said::Said;
use crate::sse::{CHECK_EVERY, CloseAs, Form, Left, Line};
use crate::threads::Threads;
use tail::{NoPage, PAGE, Page, Tail};

/// The most streams of one caller.
pub(crate) const STREAMS_OF_ONE_MAX: u64 = 20;
/// How many pages wait for a caller that reads slowly.
pub(crate) const PAGES_WAITING_MAX: usize = 1;
/// How long a caller is asked to wait before it comes again, in milliseconds.
const RETRY_MILLIS: u32 = 1_000;

/// Why a stream is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum StreamRefusal {
    /// There are as many as there may be.
    #[error("too many streams of records are open")]
    Full,
    /// The caller has its share.
    #[error("you have {STREAMS_OF_ONE_MAX} streams of records open, which is the limit for one caller")]
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
            Self::Full => "try again when another stream has ended, or poll the log: `ensue log --after POSITION`".into(),
            Self::OverShare => "close one, or follow several things in one stream of the whole log".into(),
        })
    }
}

impl From<NoRoom> for StreamRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// The streams of a node: who holds how many, and the pages that they share.
pub(crate) struct Streams {
    open: Arc<Quotas>,
    threads: Arc<Threads>,
    tail: Tail,
    /// The position that the read models have reached: each new one is a sign that there is more to tell.
    views_at: watch::Receiver<Position>,
}

impl Streams {
    pub(crate) fn new(queues: &Queues, threads: Arc<Threads>, views_at: watch::Receiver<Position>) -> Self {
        Self {
            open: Quotas::of(queues.of(QueueName::LiveStreams).clone(), STREAMS_OF_ONE_MAX),
            tail: Tail::new(threads.clone(), queues.of(QueueName::AnswerBytes).clone()),
            threads,
            views_at,
        }
    }

    /// Takes room for a stream of the holder of a token.
    pub(crate) fn enter(&self, name: &str) -> Result<Room, StreamRefusal> {
        Ok(self.open.enter(Caller::Token(name.to_owned()), 1)?)
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
    /// The caller reads too slowly. Only a WebSocket says so: the end of events that nobody reads is read by nobody.
    Slow,
}

impl End {
    fn close(self) -> CloseAs {
        match self {
            Self::Ended { .. } => CloseAs::Normal,
            Self::Stopping => CloseAs::Away,
            Self::NotAllowed => CloseAs::Policy,
            Self::Busy | Self::Slow => CloseAs::TryAgain,
            Self::Failed => CloseAs::Error,
        }
    }
}

/// One caller that follows records.
pub(crate) struct RecordStream<P> {
    streams: Arc<Streams>,
    told: Told,
    /// The position behind which it goes on.
    at: Position,
    line: Line<P>,
    /// What it was told of last: the tail gives it to the others as long as anybody has it.
    page: Option<Arc<Page>>,
}

/// What telling some records came to.
enum Next {
    /// There may be more.
    GoOn,
    /// There will be nothing more.
    End(End),
}

impl<P: Permission> RecordStream<P> {
    pub(crate) fn new(streams: Arc<Streams>, told: Told, at: Position, line: Line<P>) -> Self {
        Self { streams, told, at, line, page: None }
    }

    /// Tells of records until what it tells of has ended, the caller is gone or let in no more, or the node stops.
    pub(crate) async fn run(mut self) {
        let end = match self.until_the_end().await {
            Ok(end) => end,
            Err(Left::Stopping) => End::Stopping,
            Err(Left::NotAllowed) => End::NotAllowed,
            Err(Left::Gone) => return,
            Err(Left::Slow) => {
                tracing::debug!(position = self.at.0, "a reader of records is too slow and is disconnected");
                if self.line.form() != Form::Messages {
                    return;
                }
                End::Slow
            }
        };
        self.line.end(&end, end.close());
    }

    async fn until_the_end(&mut self) -> Result<End, Left> {
        if self.line.form() != Form::Messages {
            // An id without data is an event that nobody sees: who is cut off before the first record still knows its place.
            self.line.say(Said::Events(format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at).into())).await?;
        }
        let mut views_at = self.streams.views_at.clone();
        if let Told::Execution(id) = self.told
            && let Next::End(end) = self.tell_so_far(id).await?
        {
            return Ok(end);
        }
        loop {
            self.line.turn().await?;
            let known = *views_at.borrow_and_update();
            let page = match self.streams.tail.after(self.at, known).await {
                Ok(page) => page,
                Err(why) => return Ok(why.into()),
            };
            if let Some(page) = &page
                && let Next::End(end) = self.tell(page).await?
            {
                return Ok(end);
            }
            if page.is_some() {
                self.page = page;
                continue;
            }
            match self.line.rest(tokio::time::timeout(CHECK_EVERY, views_at.changed())).await? {
                // Nobody told of a record: it is looked for all the same.
                Ok(Ok(())) | Err(_) => {}
                // Who tells of positions ends with the node.
                Ok(Err(_)) => return Ok(End::Stopping),
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
                .streams
                .threads
                .blocking(move |ports| {
                    let head = ports.log.head()?.position;
                    ports.log.read_stream(&stream, revision, PAGE).map(|records| (head, records))
                })
                .await
                .and_then(|read| read.map_err(Problem::from));
            let (head, records) = match read {
                Ok(read) => read,
                Err(problem) => return Ok(Next::End(NoPage::Failed(problem).into())),
            };
            behind.get_or_insert(head);
            let Some(last) = records.last() else { break };
            revision = last.revision;
            let page = match self.streams.tail.page(&records) {
                Ok(page) => page,
                Err(why) => return Ok(Next::End(why.into())),
            };
            self.line.turn().await?;
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
        // Records behind the revocation of the caller's token are not sent, whoever noticed the revocation first.
        let revoked_at = page.revocation(|token| self.line.is_revoked_by(token));
        let before = revoked_at.unwrap_or(page.last().next());
        match self.told {
            Told::Log => {
                let rest = match self.streams.tail.between(page, after, before, self.line.form()) {
                    Ok(rest) => rest,
                    Err(why) => return Ok(Next::End(why.into())),
                };
                if let Some(rest) = rest {
                    self.line.say(rest).await?;
                }
                self.at = page.last();
            }
            Told::Execution(id) => {
                for frame in page.of_execution(id).filter(|frame| frame.position < before) {
                    if frame.position > after {
                        match self.streams.tail.one(page, frame, self.line.form()) {
                            Ok(said) => self.line.say(said).await?,
                            Err(why) => return Ok(Next::End(why.into())),
                        }
                        self.at = frame.position;
                    }
                    if let Some(status) = frame.ended {
                        return Ok(Next::End(End::Ended { status }));
                    }
                }
                self.at = self.at.max(page.last());
            }
        }
        Ok(if revoked_at.is_some() { Next::End(End::NotAllowed) } else { Next::GoOn })
    }
}

impl From<NoPage> for End {
    fn from(why: NoPage) -> Self {
        match why {
            NoPage::Busy => Self::Busy,
            NoPage::Failed(problem) => {
                tracing::warn!(code = problem.code(), "a stream of records ended early");
                Self::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_end_has_its_documented_code_and_reason() {
        let reference = include_str!("../../docs/reference/rest-api.md");
        for (end, code) in [
            (End::Ended { status: Status::Succeeded }, 1000),
            (End::Stopping, 1001),
            (End::NotAllowed, 1008),
            (End::Failed, 1011),
            (End::Busy, 1013),
            (End::Slow, 1013),
        ] {
            assert_eq!(end.close().code(), code, "{end:?}");
            let reason = serde_json::to_value(end).unwrap()["reason"].as_str().unwrap().to_owned();
            let row = reference.lines().find(|line| line.starts_with(&format!("| {code} |"))).unwrap();
            assert!(row.contains(&format!("`{reason}`")), "{row} does not tell of {reason}");
        }
    }
}

//! Streams of records, as Server-Sent Events or as messages of a WebSocket: of the whole log, or of one execution until it has ended.
//!
//! The id of an event is the position of its record, so a caller can continue where it was, even after a restart of the node.
//! Output of programs is streamed by `live.rs`.

mod tail;

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::executions::Status;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::AllowedCaller;
use crate::permissions::Permission;
use crate::problem::Problem;
use crate::queues::{QueueName, Queues};
use crate::quotas::{Caller, NoRoom, Quotas, Room};
use crate::record_filter::RecordFilter;
use crate::sse::{CHECK_EVERY, CloseAs, StreamFormat, StreamInterruption, StreamLine};
use crate::stream_message::StreamMessage;
use crate::threads::Threads;
use tail::{NoPage, PAGE, Tail, TailPage};

/// The maximum number of streams of one caller.
pub(crate) const STREAMS_OF_ONE_MAX: u64 = 20;
/// How often a caller learns of its place in the log although it asks for none of the new records.
const PLACE_EVERY: Duration = Duration::from_secs(15);
/// How many pages are kept for a caller that reads slowly.
pub(crate) const PAGES_WAITING_MAX: usize = 1;
/// How long a caller is asked to wait before it reconnects, in milliseconds.
pub(crate) const RETRY_MILLIS: u32 = 1_000;

/// Why a stream cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Busy)]
pub(crate) enum StreamRefusal {
    /// The node has the maximum number of streams.
    #[error("too many streams of records are open")]
    #[explain(slug = "busy", hint = "try again when another stream has ended, or poll the log: `ensue log --after POSITION`")]
    Full,
    /// The caller has the maximum number of streams.
    #[error("you have {STREAMS_OF_ONE_MAX} streams of records open, which is the limit for one caller")]
    #[explain(slug = "over-share", hint = "close one, or follow several things in one stream of the whole log")]
    OverShare,
}

impl From<NoRoom> for StreamRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// The streams of a node: how many each caller has, and the pages that they share.
pub(crate) struct Streams {
    open: Arc<Quotas>,
    threads: Arc<Threads>,
    tail: Tail,
    /// The position that the read models have reached: each new position means that there may be more to send.
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

    /// Reserves a place for a stream of the holder of a token.
    pub(crate) fn enter(&self, name: &str) -> Result<Room, StreamRefusal> {
        Ok(self.open.enter(Caller::Token(name.to_owned()), 1)?)
    }
}

/// The records that a stream sends.
#[derive(Clone, Debug)]
pub(crate) enum StreamScope {
    /// All records, or those that the caller asks for.
    Log(Option<RecordFilter>),
    /// The records of one execution, with its attempts.
    Execution(ExecutionId),
}

/// Why a stream ended, as its last event reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum RecordStreamEnd {
    /// The execution has ended.
    Ended {
        /// How it ended.
        status: Status,
    },
    /// The node is stopping.
    Stopping,
    /// The caller is no longer allowed to read the records.
    NotAllowed,
    /// There is not enough memory to continue now.
    Busy,
    /// The log cannot be read.
    Failed,
    /// The caller reads too slowly. Only a WebSocket reports this: a caller that does not read events does not read the last one.
    Slow,
}

impl RecordStreamEnd {
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
    told: StreamScope,
    /// The stream continues after this position.
    at: Position,
    /// When the caller last learned of its position.
    placed_at: Instant,
    line: StreamLine<AllowedCaller<P>>,
    /// The page that was sent last. All callers at the tail share one page, which lives as long as one of them uses it.
    page: Option<Arc<TailPage>>,
}

/// The outcome of sending some records.
enum Next {
    /// There may be more to send.
    GoOn,
    /// There is nothing more to send.
    End(RecordStreamEnd),
}

impl<P: Permission> RecordStream<P> {
    pub(crate) fn new(streams: Arc<Streams>, told: StreamScope, at: Position, line: StreamLine<AllowedCaller<P>>) -> Self {
        Self { streams, told, at, placed_at: Instant::now(), line, page: None }
    }

    /// Sends records until the execution has ended, the caller is gone or loses its permission, or the node stops.
    pub(crate) async fn run(mut self) {
        let end = match self.until_the_end().await {
            Ok(end) => end,
            Err(StreamInterruption::Stopping) => RecordStreamEnd::Stopping,
            Err(StreamInterruption::NotAllowed) => RecordStreamEnd::NotAllowed,
            Err(StreamInterruption::Gone) => return,
            Err(StreamInterruption::Slow) => {
                tracing::debug!(position = self.at.0, "a reader of records is too slow and is disconnected");
                if self.line.form() != StreamFormat::Messages {
                    return;
                }
                RecordStreamEnd::Slow
            }
        };
        self.line.end(&end, end.close());
    }

    async fn until_the_end(&mut self) -> Result<RecordStreamEnd, StreamInterruption> {
        if self.line.form() != StreamFormat::Messages {
            // Clients do not show an id without data. A caller that is cut off before the first record still knows its position.
            self.line.say(StreamMessage::Events(format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at).into())).await?;
        }
        let mut views_at = self.streams.views_at.clone();
        if let StreamScope::Execution(id) = &self.told
            && let Next::End(end) = self.send_so_far(*id).await?
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
                && let Next::End(end) = self.send_page(page).await?
            {
                return Ok(end);
            }
            if page.is_some() {
                self.page = page;
                continue;
            }
            match self.line.rest(tokio::time::timeout(CHECK_EVERY, views_at.changed())).await? {
                // No new record was reported. Look for one anyway.
                Ok(Ok(())) | Err(_) => {}
                // The source of positions ends with the node.
                Ok(Err(_)) => return Ok(RecordStreamEnd::Stopping),
            }
        }
    }

    /// Sends the records of an execution's own stream, and continues in the log after them.
    async fn send_so_far(&mut self, id: ExecutionId) -> Result<Next, StreamInterruption> {
        let mut revision = Revision(0);
        let mut behind = None;
        loop {
            let stream = StreamId::Execution(id);
            // The log's position before the stream was read: later records of the stream come after it.
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
            if let Next::End(end) = self.send_page(&page).await? {
                return Ok(Next::End(end));
            }
        }
        self.at = self.at.max(behind.unwrap_or(self.at));
        Ok(Next::GoOn)
    }

    /// Sends the records of a page after the caller's position.
    async fn send_page(&mut self, page: &TailPage) -> Result<Next, StreamInterruption> {
        let after = self.at;
        // Records after the change that ended the caller's rights are not sent, even if that is noticed later.
        let ended_at = page.change_of_access().filter(|_| !self.line.is_allowed());
        let before = ended_at.unwrap_or(page.last().next());
        match &self.told {
            StreamScope::Log(wanted) => {
                let rest = match self.streams.tail.between(page, (after, before), wanted.as_ref(), self.line.form()) {
                    Ok(rest) => rest,
                    Err(why) => return Ok(Next::End(why.into())),
                };
                if let Some(rest) = rest {
                    self.line.say(rest).await?;
                    self.placed_at = Instant::now();
                } else if self.placed_at.elapsed() >= PLACE_EVERY && self.line.form() != StreamFormat::Messages {
                    // A caller that reconnects later need not have the log searched again from its last record.
                    self.line.say(StreamMessage::Events(format!("id: {}\n\n", page.last()).into())).await?;
                    self.placed_at = Instant::now();
                }
                self.at = page.last();
            }
            StreamScope::Execution(id) => {
                for frame in page.of_execution(*id).filter(|frame| frame.position < before) {
                    if frame.position > after {
                        match self.streams.tail.one(page, frame, self.line.form()) {
                            Ok(said) => self.line.say(said).await?,
                            Err(why) => return Ok(Next::End(why.into())),
                        }
                        self.at = frame.position;
                    }
                    if let Some(status) = frame.ended {
                        return Ok(Next::End(RecordStreamEnd::Ended { status }));
                    }
                }
                self.at = self.at.max(page.last());
            }
        }
        Ok(if ended_at.is_some() { Next::End(RecordStreamEnd::NotAllowed) } else { Next::GoOn })
    }
}

impl From<NoPage> for RecordStreamEnd {
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
        let reference = include_str!("../../docs/rest-api/streams.md");
        for (end, code) in [
            (RecordStreamEnd::Ended { status: Status::Succeeded }, 1000),
            (RecordStreamEnd::Stopping, 1001),
            (RecordStreamEnd::NotAllowed, 1008),
            (RecordStreamEnd::Failed, 1011),
            (RecordStreamEnd::Busy, 1013),
            (RecordStreamEnd::Slow, 1013),
        ] {
            assert_eq!(end.close().code(), code, "{end:?}");
            let reason = serde_json::to_value(end).unwrap()["reason"].as_str().unwrap().to_owned();
            let row = reference.lines().find(|line| line.starts_with(&format!("| {code} |"))).unwrap();
            assert!(row.contains(&format!("`{reason}`")), "{row} does not tell of {reason}");
        }
    }
}

//! Pages of records as events, read once for all clients that follow the end of the log.
//!
//! `streams.rs` decides which clients read them, and how far.

use std::io::Write as _;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use ensue_engine::fact::ByNoun;
use ensue_engine::ids::ExecutionId;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Position, Record, StreamId, WireRecord};
use ensue_views::executions::Status;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::Problem;
use crate::queues::{Queue, QueuePermit};
use crate::record_filter::{RecordFilter, RecordParts};
use crate::sse::{CHECK_EVERY, StreamFormat};
use crate::stream_message::StreamMessage;
use crate::threads::Threads;

/// The maximum size of one read.
pub(super) const PAGE: ReadLimit = ReadLimit { records: 128, bytes: 128 * 1024 };

/// The end of the log, read once for all clients that follow it.
pub(super) struct Tail {
    end: Mutex<TailState>,
    threads: Arc<Threads>,
    /// The responses that are not written yet: pages count towards them.
    unwritten: Arc<Queue>,
}

#[derive(Default)]
struct TailState {
    /// The newest page that was read, as long as a client still holds it.
    newest: Weak<TailPage>,
    /// When the log was last read.
    read_at: Option<Instant>,
}

/// Why no page is available.
pub(super) enum NoPage {
    /// There is not enough memory for it now.
    Busy,
    /// The log cannot be read.
    Failed(Problem),
}

impl Tail {
    pub(super) fn new(threads: Arc<Threads>, unwritten: Arc<Queue>) -> Self {
        Self { end: Mutex::default(), threads, unwritten }
    }

    /// Returns records after a position, not necessarily starting right after it; none if there are none. If
    /// none are `known` after it, the log is polled only from time to time, in case a notification was missed.
    pub(super) async fn after(&self, position: Position, known: Position) -> Result<Option<Arc<TailPage>>, NoPage> {
        let mut end = self.end.lock().await;
        let newest = end.newest.upgrade();
        if let Some(page) = &newest
            && page.after <= position
            && position < page.last()
        {
            return Ok(newest);
        }
        if position >= known && end.read_at.is_some_and(|read_at| read_at.elapsed() < CHECK_EVERY) {
            return Ok(None);
        }
        if newest.is_some_and(|page| position < page.after) {
            // A client that lags reads on its own, and does not delay clients at the end.
            drop(end);
            return self.read(position).await;
        }
        let page = self.read(position).await?;
        end.read_at = Some(Instant::now());
        if let Some(page) = &page {
            end.newest = Arc::downgrade(page);
        }
        Ok(page)
    }

    async fn read(&self, after: Position) -> Result<Option<Arc<TailPage>>, NoPage> {
        let records = self.threads.blocking(move |ports| ports.log.read(after, PAGE)).await.map_err(NoPage::Failed)?;
        let records = records.map_err(|error| NoPage::Failed(error.into()))?;
        if records.is_empty() {
            return Ok(None);
        }
        self.page(&records).map(|page| Some(Arc::new(TailPage { after, ..page })))
    }

    /// Formats records as events.
    pub(super) fn page(&self, records: &[Record]) -> Result<TailPage, NoPage> {
        let mut bytes = Vec::new();
        let mut frames = Vec::with_capacity(records.len());
        for record in records {
            let begins_at = bytes.len();
            let bug = |why: std::io::Error| NoPage::Failed(Problem::bug(&why));
            write!(bytes, "id: {}\ndata: ", record.position).map_err(bug)?;
            let data_at = bytes.len();
            serde_json::to_writer(&mut bytes, &WireRecord::from(record)).map_err(|why| bug(why.into()))?;
            let data = data_at..bytes.len();
            bytes.extend_from_slice(b"\n\n");
            frames.push(RecordFrame {
                position: record.position,
                ended: end_status(record),
                changes_access: changes_access(record),
                parts: RecordParts::from(record),
                begins_at,
                data,
                ends_at: bytes.len(),
            });
        }
        let held = self.unwritten.enter_however_large(bytes.len() as u64).ok_or(NoPage::Busy)?;
        Ok(TailPage { after: Position(0), bytes: Bytes::from_owner(CountedPage { bytes, _held: held }), frames })
    }

    /// Returns the wanted events of a page after a position and before another; none if there are none.
    pub(super) fn between(
        &self,
        page: &TailPage,
        (after, before): (Position, Position),
        wanted: Option<&RecordFilter>,
        form: StreamFormat,
    ) -> Result<Option<StreamMessage>, NoPage> {
        let from = page.frames.partition_point(|frame| frame.position <= after);
        let to = page.frames.partition_point(|frame| frame.position < before);
        let frames = page.frames.get(from..to).unwrap_or_default();
        if let Some(wanted) = wanted {
            let frames: Vec<&RecordFrame> = frames.iter().filter(|frame| wanted.has_at_any_time(&frame.parts)).collect();
            return if frames.is_empty() { Ok(None) } else { self.apart(page, &frames, form).map(Some) };
        }
        if frames.is_empty() { Ok(None) } else { self.build_message(page, frames, form).map(Some) }
    }

    fn build_message(&self, page: &TailPage, frames: &[RecordFrame], form: StreamFormat) -> Result<StreamMessage, NoPage> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(StreamMessage::Records(Vec::new())) };
        Ok(match form {
            StreamFormat::Events => StreamMessage::Events(page.bytes.slice(first.begins_at..last.ends_at)),
            StreamFormat::NamedEvents | StreamFormat::Messages => return self.apart(page, &frames.iter().collect::<Vec<_>>(), form),
        })
    }

    /// Returns records of a page that may not follow each other.
    fn apart(&self, page: &TailPage, frames: &[&RecordFrame], form: StreamFormat) -> Result<StreamMessage, NoPage> {
        if form == StreamFormat::Messages {
            return Ok(StreamMessage::Records(frames.iter().map(|frame| page.message(frame)).collect()));
        }
        let length: usize = frames.iter().map(|frame| frame.ends_at - frame.begins_at + NAME_BYTES).sum();
        let mut bytes = Vec::with_capacity(length);
        for frame in frames {
            if form == StreamFormat::NamedEvents {
                bytes.extend_from_slice(b"event: ");
                bytes.extend_from_slice(frame.parts.kind.as_bytes());
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(&page.bytes[frame.begins_at..frame.ends_at]);
        }
        let held = self.unwritten.enter_however_large(bytes.len() as u64).ok_or(NoPage::Busy)?;
        Ok(StreamMessage::Events(Bytes::from_owner(CountedPage { bytes, _held: held })))
    }

    /// Returns one record of a page.
    pub(super) fn one(&self, page: &TailPage, frame: &RecordFrame, form: StreamFormat) -> Result<StreamMessage, NoPage> {
        self.build_message(page, std::slice::from_ref(frame), form)
    }
}

/// Consecutive records as events.
pub(super) struct TailPage {
    /// The position after which it contains every record that was read.
    after: Position,
    bytes: Bytes,
    frames: Vec<RecordFrame>,
}

/// The event of one record.
pub(super) struct RecordFrame {
    /// The record's position.
    pub(super) position: Position,
    /// The status with which an execution ended, if the record ended one.
    pub(super) ended: Option<Status>,
    /// Whether the record can end the rights of a caller.
    pub(super) changes_access: bool,
    parts: RecordParts,
    begins_at: usize,
    /// The range of its JSON.
    data: Range<usize>,
    ends_at: usize,
}

/// The bytes of a page, which count as a response until the last client that received some of them has written
/// them.
struct CountedPage {
    bytes: Vec<u8>,
    _held: QueuePermit,
}

impl AsRef<[u8]> for CountedPage {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl TailPage {
    /// Returns the position of its last record.
    pub(super) fn last(&self) -> Position {
        self.frames.last().map_or(self.after, |frame| frame.position)
    }

    /// Returns the position of the first record that can end the rights of a caller, if there is one.
    pub(super) fn change_of_access(&self) -> Option<Position> {
        self.frames.iter().find(|frame| frame.changes_access).map(|frame| frame.position)
    }

    /// Iterates over the events of an execution.
    pub(super) fn of_execution(&self, id: ExecutionId) -> impl Iterator<Item = &RecordFrame> {
        let stream = StreamId::Execution(id);
        self.frames.iter().filter(move |frame| frame.parts.stream == stream)
    }

    fn message(&self, frame: &RecordFrame) -> (Position, Bytes) {
        (frame.position, self.bytes.slice(frame.data.clone()))
    }
}

/// The approximate maximum size of an event's name.
const NAME_BYTES: usize = 48;

/// Reports whether a record can end the rights of a caller.
fn changes_access(record: &Record) -> bool {
    matches!(record.fact.by_noun(), ByNoun::AccessFact(fact) if fact.can_end_rights())
}

/// Returns the status with which a record ended an execution, if it ended one.
fn end_status(record: &Record) -> Option<Status> {
    record.fact.execution_end().map(|end| end.how.into())
}

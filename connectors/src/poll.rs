//! The source `poll`: a server that is asked repeatedly. Each item of its answers is a message.
//!
//! A poll is complete or changes nothing: its pages are fetched first, and its items become messages afterwards. The
//! cursor is in `poll/cursor.rs`, and what one poll does is in `poll/asking.rs`.

mod cursor;
mod fetch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{PollSource, PollTimes, Sensor};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_sensors::message::{Body, HEAD_BYTES_MAX, Lag, MESSAGE_BYTES_MAX, Message, Room, Token};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use crate::Pending;
use crate::error::{SensorErrorKind, SourceError};
use crate::source::{Guarantee, MessageSource, PullOutcome};
use crate::world::{SourcePurpose, World};
use cursor::PollState;
use fetch::{Asking, NewItem, PollOutcome};

/// The longest time that a server may ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// The pause after an answer that asks to be left alone without saying for how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(60);
/// How often in a row a server may ask to be left alone before the sensor fails.
const THROTTLED_MAX: u32 = 5;

/// A server, over all its polls within one run.
pub(crate) struct Poll {
    asking: Arc<Asking>,
    world: Arc<World>,
    /// Where the newest complete poll ended.
    place: Arc<PollState>,
    /// What the log has.
    logged: Arc<PollState>,
    due: Timestamp,
    under_way: Option<JoinHandle<Result<PollOutcome, SourceError>>>,
    throttled: u32,
    /// The items of the newest poll that are not messages yet.
    waiting: VecDeque<NewItem>,
    /// The messages that are not settled, in order.
    held: VecDeque<UnsettledItem>,
    /// The place after all messages of the newest poll, until they are settled.
    next_place: Option<Arc<PollState>>,
    last: u64,
    newest_at: Option<Timestamp>,
}

struct UnsettledItem {
    token: Token,
    /// Identifies its item within the poll; `None` if it is no item.
    mark: Option<u64>,
    /// It is the last one of its poll.
    is_last: bool,
}

/// The form of the cursors of a poll, for people.
pub(crate) const CURSOR_FORM: &str =
    "it is an object like {\"polled\": true, \"value\": 8}, where `value` is the value of the sensor's `cursor`";

/// Returns true if a document is a cursor of a poll.
pub(crate) fn reads(cursor: &Document) -> bool {
    PollState::read(cursor).is_some()
}

/// Begins after a cursor.
pub(crate) fn open(
    sensor: Arc<Sensor>,
    poll: Arc<PollSource>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn MessageSource>, SourceError> {
    let place = match cursor {
        Some(cursor) => PollState::read(cursor).ok_or_else(|| {
            SourceError::new(SensorErrorKind::Protocol, "the stored cursor is not one of a poll; set it back with `ensue sensors rewind`")
        })?,
        None => PollState::default(),
    };
    let place = Arc::new(place);
    let now = world.clock.now();
    let due = match (&poll.times, world.purpose) {
        (PollTimes::Every(_), _) | (_, SourcePurpose::Test | SourcePurpose::End) => now,
        (PollTimes::Cron(cron), SourcePurpose::Run) => cron.next_after(now).unwrap_or(now),
    };
    Ok(Box::new(Poll {
        asking: Arc::new(Asking::new(sensor, poll, Arc::clone(&world))),
        world,
        logged: Arc::clone(&place),
        place,
        due,
        under_way: None,
        throttled: 0,
        waiting: VecDeque::new(),
        held: VecDeque::new(),
        next_place: None,
        last: 0,
        newest_at: None,
    }))
}

impl Poll {
    async fn pull(&mut self, room: Room) -> Result<PullOutcome, SourceError> {
        loop {
            if !self.waiting.is_empty() {
                return Ok(PullOutcome::Messages(self.messages(room)));
            }
            if !self.held.is_empty() {
                // The next poll begins where this one ends. Settling ends this wait.
                return std::future::pending().await;
            }
            let polled = self.await_poll().await?;
            if let Some(messages) = self.take_outcome(polled)? {
                return Ok(PullOutcome::Messages(messages));
            }
        }
    }

    /// Waits until a poll is due, and returns what it found. May be dropped while waiting: a poll that is under way
    /// continues.
    async fn await_poll(&mut self) -> Result<PollOutcome, SourceError> {
        let task = match &mut self.under_way {
            Some(task) => task,
            None => {
                let left = self.due.micros_since(self.world.clock.now());
                if let Ok(left @ 1..) = u64::try_from(left) {
                    self.world.clock.sleep(Duration::from_micros(left)).await;
                }
                let (asking, place) = (Arc::clone(&self.asking), Arc::clone(&self.place));
                self.under_way.insert(tokio::spawn(async move { asking.poll(&place).await }))
            }
        };
        let polled = task.await;
        self.under_way = None;
        polled.map_err(|why| SourceError::new(SensorErrorKind::Bug, format!("a poll stopped at an internal error: {why}")))?
    }

    /// Takes what a poll found. Returns its first messages, if there are any without an item.
    fn take_outcome(&mut self, polled: PollOutcome) -> Result<Option<Vec<Message>>, SourceError> {
        self.due = self.next_due();
        let (found, place) = match polled {
            PollOutcome::Throttled { retry_after } => {
                self.throttled += 1;
                let wait = retry_after.unwrap_or(RETRY_AFTER_DEFAULT).min(RETRY_AFTER_MAX);
                if self.throttled >= THROTTLED_MAX {
                    let message = format!("the server asked to be left alone {THROTTLED_MAX} times in a row");
                    return Err(SourceError::new(SensorErrorKind::Limit, message).after(Some(wait)));
                }
                let until = self.world.clock.now().plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                self.due = self.due.max(until);
                self.world.lines.add(format!("the server asks to be left alone for {} seconds", wait.as_secs()));
                return Ok(None);
            }
            PollOutcome::Unchanged => {
                self.throttled = 0;
                return Ok(None);
            }
            PollOutcome::Complete { found, place } => (found, place),
        };
        self.throttled = 0;
        if found.is_empty() {
            if self.logged.stands_for(&place) && self.world.purpose != SourcePurpose::End {
                // Only the times differ since when ids are gone, which need no record.
                self.place = Arc::new(place);
                return Ok(None);
            }
            self.next_place = Some(Arc::new(place));
            return Ok(Some(vec![self.message(Body::Progress, Map::new(), None)]));
        }
        self.newest_at = Some(self.world.clock.now());
        self.waiting = found.into();
        self.next_place = Some(Arc::new(place));
        Ok(None)
    }

    fn messages(&mut self, room: Room) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < room.messages && bytes < room.bytes {
            let Some(NewItem { item, index, page, mark }) = self.waiting.pop_front() else { break };
            bytes += item.bytes().len();
            let about = Map::from_iter([("index".to_owned(), Value::from(index)), ("page".to_owned(), page)]);
            messages.push(self.message(body(item), about, Some(mark)));
        }
        messages
    }

    fn message(&mut self, body: Body, about: Map<String, Value>, mark: Option<u64>) -> Message {
        self.last += 1;
        let token = Token(self.last);
        self.held.push_back(UnsettledItem { token, mark, is_last: self.waiting.is_empty() });
        Message { token, body, about, key: None, time: None }
    }

    fn next_due(&self) -> Timestamp {
        let now = self.world.clock.now();
        match &self.asking.source().times {
            PollTimes::Cron(cron) => cron.next_after(now).unwrap_or(now),
            PollTimes::Every(period) => {
                let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
                // The same within each period, and another one for each sensor.
                let phase = i64::try_from(self.world.seed % u64::try_from(period).unwrap_or(1)).unwrap_or(0);
                let periods = (now.micros() - phase).div_euclid(period) + 1;
                Timestamp::from_micros(periods.saturating_mul(period).saturating_add(phase))
            }
        }
    }
}

impl MessageSource for Poll {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactByCursor
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(self.pull(room))
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let until: Vec<&UnsettledItem> = self.held.iter().take_while(|held| held.token <= last).collect();
        match (until.last(), &self.next_place) {
            (Some(held), Some(next)) if held.is_last => Some(next.to_document()),
            _ => Some(self.place.with_seen(until.iter().filter_map(|held| held.mark)).to_document()),
        }
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let newest = done.iter().max().copied();
        let mut marks = Vec::new();
        while let Some(held) = self.held.front().filter(|held| Some(held.token) <= newest) {
            marks.extend(held.mark);
            if held.is_last
                && let Some(next) = self.next_place.take()
            {
                self.place = next;
                marks.clear();
            }
            self.held.pop_front();
        }
        if !marks.is_empty() {
            self.place = Arc::new(self.place.with_seen(marks.into_iter()));
        }
        self.logged = Arc::clone(&self.place);
        Box::pin(std::future::ready(Ok(())))
    }

    fn lag(&self) -> Lag {
        self.newest_at.map_or(Lag::Unknown, Lag::NewestAt)
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Returns an item as the body of a message, with its beginning only if it is too large.
fn body(item: Document) -> Body {
    let bytes = item.bytes();
    if bytes.len() <= MESSAGE_BYTES_MAX {
        return Body::Json(item);
    }
    Body::Cut { head: Bytes::copy_from_slice(&bytes[..HEAD_BYTES_MAX]), whole: bytes.len() as u64 }
}

impl Drop for Poll {
    fn drop(&mut self) {
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }
}

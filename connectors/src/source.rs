//! The trait behind which each source is. The node's supervisor drives it, one run after the other.
//!
//! A run is `open`, then `next` and `settle` in turns, then `close`. Between them the node commits the events of
//! the messages. If the node ends in between, the next run begins after the cursor that is in the log, and reads
//! everything after it again.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::Sensor;
use ensue_expression::Document;

use crate::Pending;
use crate::error::SourceError;
use crate::world::World;
use ensue_sensors::message::{Lag, Message, Room, Token};

/// Opens the sources of sensors.
pub trait Connect: Send + Sync {
    /// Begins a run after a cursor; `None` if the sensor never had one.
    ///
    /// # Errors
    /// If the source cannot be reached, or the cursor is not one of this source.
    fn open(
        &self,
        sensor: Arc<Sensor>,
        world: Arc<World>,
        cursor: Option<Document>,
    ) -> Pending<'_, Result<Box<dyn MessageSource>, SourceError>>;
}

/// A source during one run.
pub trait MessageSource: Send {
    /// Returns how often a message may make an event.
    fn guarantee(&self) -> Guarantee;

    /// Waits for messages, and returns at most as many as there is room for, in their order. May be dropped while
    /// waiting without losing anything. A message that was returned is not returned again in the same run.
    ///
    /// # Errors
    /// The run is over. Messages that were returned can still be settled.
    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>>;

    /// Returns the cursor after this message and all messages before it, or `None` for a source that has no order
    /// of its own. It can be asked for each message that was returned and is not settled.
    fn cursor_at(&self, last: Token) -> Option<Document>;

    /// Reports that the events of these messages are in the log. They are in order, and nothing before them is open.
    /// A repeated report does no harm.
    ///
    /// # Errors
    /// The run is over. Nothing is lost: the messages are in the log.
    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>>;

    /// Reports, before they are settled, that nothing of these messages is in the log but their number: the sensor has too
    /// many open dead letters. A source that destroys what is settled keeps them.
    fn leave(&mut self, _unkept: &[Token]) {}

    /// Returns how often [`keep`](Self::keep) must be called while messages are held, or `None` for never. It is at most a
    /// third of the time after which the other side gives up waiting: nothing is kept while messages are settled.
    fn keep_every(&self) -> Option<Duration> {
        None
    }

    /// Reports to the other side that these messages are still being worked on: all that were returned and are neither
    /// in the log nor given back.
    ///
    /// # Errors
    /// The run is over.
    fn keep(&mut self, _held: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns these messages to the other side, which will give them to somebody again. It is called at the end of a run,
    /// before [`close`](Self::close), with the messages that are not in the log.
    ///
    /// # Errors
    /// The other side takes them back by itself later.
    fn give_back(&mut self, _held: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns true if the source returns no further messages until some are settled.
    fn is_full(&self) -> bool {
        false
    }

    /// Returns how far the source is behind.
    fn lag(&self) -> Lag {
        Lag::Unknown
    }

    /// Ends the run in order. Dropping a source ends it, too, but without a grace period.
    fn close(self: Box<Self>) -> Pending<'static, ()>;
}

/// The result of a read: messages, or the end of the source.
#[derive(Clone, Debug)]
pub enum PullOutcome {
    /// These messages.
    Messages(Vec<Message>),
    /// No messages, and no more will follow: the sensor is done.
    Done,
}

/// How often a message may make an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Exactly once: its cursor is in the same commit as its events.
    ExactByCursor,
    /// Exactly once within a day: each message has a key of its own.
    ExactByKey,
    /// At least once: a message can come again, and only the sensor's `dedupe` notices.
    AtLeastOnce,
    /// At most once: what comes while nobody reads is lost.
    AtMostOnce,
}

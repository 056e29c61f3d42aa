//! A sensor that asks a server repeatedly: each item of the answers is a message.

use std::time::Duration;

use ensue_expression::Expression;

use super::Reading;
use crate::catalog::HttpRequest;
use crate::schedule::Cron;

/// The greatest `max_pages` of a poll.
pub const PAGES_MAX: u32 = 1_000;
/// The greatest `max_items` of a poll, which is also the number of ids that are remembered.
pub const POLL_ITEMS_MAX: u32 = 10_000;

/// A server that is asked repeatedly.
#[derive(Clone, Debug)]
pub struct PollSource {
    /// When it is asked.
    pub times: PollTimes,
    /// The request, which may read `cursor` and `page`.
    pub http: HttpRequest,
    /// The items of a page: a list. `None` means that the page's body is the one item.
    pub items: Option<Expression>,
    /// What `page` is in the request of the next page: null ends the poll. `None` means that there is one page.
    pub next_page: Option<Expression>,
    /// The maximum number of pages of a poll.
    pub pages_max: u32,
    /// The maximum number of items of a poll.
    pub items_max: u32,
    /// The value that a poll passes to the next one, if there is one.
    pub cursor: Option<PollCursor>,
    /// The id of an item, if items that were seen before make no message.
    pub only_new: Option<Expression>,
    /// What happens to the items of the first poll.
    pub first: FirstPoll,
    /// How items are read.
    pub reading: Reading,
}

/// When a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollTimes {
    /// Periodically. The phase is derived from the sensor's id, so that not all sensors ask at once.
    Every(Duration),
    /// By a cron expression in a time zone.
    Cron(Box<Cron>),
}

/// The value that a poll passes to the next one.
#[derive(Clone, Debug)]
pub struct PollCursor {
    /// Its value in the first poll.
    pub start: Expression,
    /// Its value after a poll that found items, which may read `items` and `cursor`.
    pub next: Expression,
}

/// What happens to the items of the first poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstPoll {
    /// They are remembered, and make no message.
    #[default]
    Skip,
    /// They make messages like those of any other poll.
    Emit,
}

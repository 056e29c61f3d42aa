//! A sensor that asks a server, or runs an action, repeatedly: each item of the answers is a message.

use std::sync::Arc;
use std::time::Duration;

use ensue_expression::{Expression, Template};

use super::Reading;
use crate::catalog::HttpRequest;
use crate::names::ActionRef;
use crate::schedule::Cron;

/// The greatest `max_pages` of a poll.
pub const PAGES_MAX: u32 = 1_000;
/// The greatest `max_items` of a poll, which is also the greatest number of ids that are remembered.
pub const POLL_ITEMS_MAX: u32 = 10_000;
/// The shortest time for which ids are remembered.
pub const REMEMBER_MIN: Duration = Duration::from_secs(10 * 60);
/// The longest time for which ids are remembered.
pub const REMEMBER_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A server that is asked, or an action that is run, repeatedly.
#[derive(Clone, Debug)]
pub struct PollSource {
    /// When it is asked.
    pub times: PollTimes,
    /// What returns a page.
    pub asked: PollTarget,
    /// The items of a page: a list. `None` means that the page's body is the one item; for an action, its result.
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
    /// How long ids are remembered.
    pub remember: PollMemory,
    /// What happens to the items of the first poll.
    pub first: FirstPoll,
    /// How items are read.
    pub reading: Reading,
}

/// What returns a page. It may read `cursor` and `page`.
#[derive(Clone, Debug)]
pub enum PollTarget {
    /// A server, by this request.
    Http(Arc<HttpRequest>),
    /// An action of the sensor's pack. Nothing of its runs is in the log.
    Action(PolledAction),
}

impl PollTarget {
    /// Returns the request, if a server is asked.
    pub fn http(&self) -> Option<&HttpRequest> {
        match self {
            Self::Http(request) => Some(request),
            Self::Action(_) => None,
        }
    }
}

/// An action that a poll runs.
#[derive(Clone, Debug)]
pub struct PolledAction {
    /// The action.
    pub action: ActionRef,
    /// Its parameters.
    pub with: Template,
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
    /// Its value after a poll that found items, which may read `items` and `cursor`. If an action is polled, it may read
    /// the `result` of the last page; then it is computed after each poll.
    pub next: Expression,
}

/// How long the ids of items are remembered that answers no longer have. Those of the newest answer always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollMemory {
    /// The maximum number of ids, at most [`POLL_ITEMS_MAX`].
    pub ids: u32,
    /// For how long, from [`REMEMBER_MIN`] to [`REMEMBER_MAX`]. `None` means a day, or ten polls if they take longer.
    pub long: Option<Duration>,
}

impl Default for PollMemory {
    fn default() -> Self {
        Self { ids: POLL_ITEMS_MAX, long: None }
    }
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

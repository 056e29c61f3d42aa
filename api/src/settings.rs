//! What the operator sets for the API, and the limits within which it takes anything.
//!
//! It reads no configuration: the wiring fills it in.

use std::time::Duration;

use crate::framing::Hosts;
use crate::queues::Queues;
use crate::rates::Rates;

/// What the operator sets.
#[derive(Clone)]
pub struct Settings {
    /// The address under which the node is known, for links: `https://ensue.example.test`, without a slash at its end.
    pub base_url: String,
    /// The names under which the node answers.
    pub hosts: Hosts,
    /// The release that the node runs.
    pub release: String,
    /// The key that cursors are signed with: random, the node's own, and the same after a restart.
    pub cursor_key: [u8; 32],
    /// The limits.
    pub limits: Limits,
    /// The queues, with their caps.
    pub queues: Queues,
    /// How many requests a caller may send in a while.
    pub rates: Rates,
    /// Where what blocks is done.
    pub blocking: Blocking,
}

/// Where a handler's work that blocks is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On the runtime's pool of threads.
    #[default]
    Pool,
    /// Where it is met: for a runtime whose every step is to be the same each time, as the simulator's. What is streamed, as outputs and
    /// artifacts are, is read on the pool all the same.
    InPlace,
}

/// The limits within which requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a body.
    pub body_bytes_max: usize,
    /// The most bytes of a request's target: path and query.
    pub target_bytes_max: usize,
    /// The most bytes of all headers of a request together.
    pub header_bytes_max: usize,
    /// How many connections of one address may be open over which no request has come yet: the oldest gives way where there are more.
    pub silent_per_address: usize,
    /// How long a request's head may take to come, from its connection's begin or the last answer on, also on a connection that is kept.
    pub head_timeout: Duration,
    /// How long a body may take to come.
    pub body_timeout: Duration,
    /// How long an answer may stand still because the caller does not read it.
    pub write_timeout: Duration,
    /// How long a stop leaves connections open on which nothing is asked, so that what is on its way arrives and is answered.
    pub linger: Duration,
    /// How long a stop waits for requests under way.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            target_bytes_max: 8 * 1024,
            header_bytes_max: 16 * 1024,
            silent_per_address: 64,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(500),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

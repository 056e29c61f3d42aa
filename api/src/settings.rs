//! The operator's settings for the API, and its limits.
//!
//! It reads no configuration: the wiring fills it in.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::addresses::Addresses;
use crate::cors::Cors;
use crate::framing::Hosts;
use crate::queues::Queues;
use crate::rates::Rates;

/// The operator's settings.
#[derive(Clone)]
pub struct Settings {
    /// The address of the node, for links: `https://ensue.example.test`, without a trailing slash.
    pub base_url: String,
    /// The host names that the node answers to.
    pub hosts: Hosts,
    /// The trusted proxies, and the addresses without limits.
    pub addresses: Addresses,
    /// The other sites whose pages may read answers.
    pub cors: Cors,
    /// The release that the node runs.
    pub release: String,
    /// The key that cursors are signed with: random, specific to the node, and the same after a restart.
    pub cursor_key: [u8; 32],
    /// The limits.
    pub limits: Limits,
    /// The queues, with their caps.
    pub queues: Queues,
    /// The rate limits of callers.
    pub rates: Rates,
    /// Where blocking work runs.
    pub blocking: Blocking,
    /// Whether the node serves the page.
    pub page: PageServing,
    /// The features outside the API that the operator switched on.
    pub features: BTreeSet<Feature>,
}

/// A part of a node that an operator can switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// The page for browsers.
    Page,
    /// Logins with a password.
    Passwords,
    /// Logins through issuers.
    Issuers,
    /// TLS of the node itself.
    Tls,
    /// A database that has the log.
    Database,
    /// An object store that has outputs and artifacts.
    Objects,
    /// A collector to which traces are sent.
    Traces,
}

/// Whether the node serves the page to browsers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageServing {
    /// It does.
    #[default]
    On,
    /// It does not: its paths do not exist.
    Off,
}

/// Where a handler's blocking work runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On the runtime's pool of threads.
    #[default]
    Pool,
    /// In place, for a deterministic runtime such as the simulator's. Streamed outputs and artifacts are read
    /// on the pool all the same.
    InPlace,
}

/// The limits for requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of a body in bytes, except that of a delivery.
    pub body_bytes_max: usize,
    /// The maximum size of the body of a delivery in bytes.
    pub delivery_bytes_max: usize,
    /// The maximum length in bytes of a request's target: path and query.
    pub target_bytes_max: usize,
    /// The maximum total size in bytes of a request's headers.
    pub header_bytes_max: usize,
    /// The maximum number of open connections from one address that have not sent a request yet; above that,
    /// the oldest is closed.
    pub silent_per_address: usize,
    /// The maximum number of open connections from one address. Above that, one that waits for a request is closed, and requests
    /// on further connections are rejected.
    pub connections_per_address: usize,
    /// How long a request's head can take to arrive, from the start of its connection or from the last answer
    /// on a kept-alive connection.
    pub head_timeout: Duration,
    /// How long a body can take to arrive.
    pub body_timeout: Duration,
    /// How long writing an answer can stall because the caller does not read it.
    pub write_timeout: Duration,
    /// How long a stop leaves idle connections open, so that requests on their way arrive and are answered.
    pub linger: Duration,
    /// How long a stop waits for requests in progress.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            delivery_bytes_max: ensue_engine::catalog::DELIVERY_BYTES_DEFAULT,
            target_bytes_max: 8 * 1024,
            header_bytes_max: 16 * 1024,
            silent_per_address: 64,
            connections_per_address: 50,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(500),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

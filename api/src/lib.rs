//! REST: commands in, views out.
//!
//! Read in this order:
//! - [`ports`] has the parts of the node that the API needs.
//! - [`routes`] has every route, `route` defines a route, [`permissions`] what a route can require, and `auth` the
//!   proof of a permission.
//! - [`front`] has the steps that every request goes through, `problem` the form of every error, and `query`,
//!   `body` and `paging` read requests.
//! - `routes/<noun>` answer requests, `wire/<noun>` define their JSON forms, and [`openapi`] documents all of it.
//! - `threads` runs blocking work; `sse`, `live` and `streams` serve long-lasting requests.
//! - [`metrics`] has the metrics, and [`server`] accepts connections.
//!
//! It decides nothing about events, rules or executions: commands go to the engine, answers come from views. It
//! opens no database and runs nothing.

mod addresses;
mod api;
mod as_of;
mod attention;
mod auth;
mod backtests;
mod body;
mod call;
mod changes;
mod cloudevents;
mod compression;
mod conditions;
mod context;
mod cookies;
mod cors;
pub mod deliveries;
mod drain;
mod execution_ends;
mod framing;
pub mod front;
mod handshake;
mod holding_body;
mod html;
mod idempotency;
mod intake;
mod item_lists;
mod listening;
mod listing;
mod live_output;
mod local_path;
pub mod metrics;
mod openapi;
mod operation;
mod page;
mod pages;
mod paging;
mod patience;
mod period;
pub mod permissions;
pub mod ports;
mod problem;
mod query;
pub mod queues;
mod quotas;
mod rate;
pub mod rates;
mod record_filter;
mod resource_locks;
mod respond;
mod route;
pub mod routes;
mod rows;
pub mod server;
pub mod settings;
mod shapes;
mod shared_answers;
mod sizes;
mod sse;
pub mod standby;
mod stopping;
mod stream_message;
mod streams;
mod tags;
mod threads;
mod websocket;
mod wire;
pub mod worker_queues;

pub use addresses::{Addresses, ProxyHeader};
pub use auth::TOKEN_PREFIX;
pub use changes::RecentChanges;
pub use cors::{Cors, Origin, OriginInvalid};
pub use deliveries::Deliveries;
pub use execution_ends::Ends;
pub use framing::Hosts;
pub use front::Front;
pub use intake::BODY_COPIES;
pub use page::{ANSWER_PATH, inquiries_path};
pub use pages::slugs;
pub use ports::Ports;
pub use queues::{Queue, QueueName, Queues};
pub use rate::{Rate, RateInvalid};
pub use rates::Rates;
pub use server::Server;
pub use settings::{Blocking, Feature, Limits, PageServing, Settings};

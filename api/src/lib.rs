//! REST: commands in, views out.
//!
//! Read in this order: [`ports`] is what the API needs of the node; [`routes`] has every route, `route` what one is,
//! [`permissions`] what may be demanded, `auth` the proof of it; [`front`] is what every request goes through, `problem` how
//! every error looks, `query`, `body` and `paging` how requests are read; `routes/<noun>` answer, `wire/<noun>` are the shapes, [`openapi`]
//! tells callers of all of it, `threads` is where work blocks, `sse`, `live` and `streams` are what lasts, [`metrics`] what is counted;
//! [`server`] accepts connections.
//!
//! It decides nothing about events, rules or executions: commands go to the engine, answers come from views. It opens no
//! database and runs nothing.

mod api;
mod attention;
mod auth;
mod body;
mod call;
mod cloudevents;
mod coding;
mod conditions;
mod context;
mod deliveries;
mod framing;
pub mod front;
mod handshake;
mod holding;
mod intake;
mod keyed;
mod leftover;
mod listing;
mod live;
pub mod metrics;
pub mod openapi;
mod operation;
mod pages;
mod paging;
mod patience;
pub mod permissions;
pub mod ports;
mod problem;
mod query;
pub mod queues;
mod quotas;
mod rate;
pub mod rates;
mod resource_locks;
mod respond;
mod route;
pub mod routes;
mod rows;
mod said;
pub mod server;
pub mod settings;
mod shapes;
mod sizes;
mod sse;
mod stopping;
mod streams;
mod tags;
mod threads;
mod websocket;
mod wire;
pub mod worker_queues;

pub use auth::TOKEN_PREFIX;
pub use framing::Hosts;
pub use front::Front;
pub use pages::slugs;
pub use ports::Ports;
pub use queues::{Queue, QueueName, Queues};
pub use rate::{Rate, RateInvalid};
pub use rates::Rates;
pub use server::Server;
pub use settings::{Blocking, Limits, Settings};

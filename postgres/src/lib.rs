//! The log on PostgreSQL.
//!
//! Read in this order: [`Database`] is a database by its address, with the checks of its server; `schema` creates the
//! tables and functions, which are in `migrations/postgres`; `lease` and `lead` give a log to one node at a time; `known` compares
//! servers with what this process knows of the log;
//! [`PostgresLog`] appends with one call of a function, and settles unknown outcomes (`append`); [`PostgresLogReader`] reads;
//! [`PostgresEnvelopes`], [`PostgresPacks`] and [`PostgresObjects`] are the secrets, packs, outputs and artifacts beside the
//! log. `session`, `io` and `classify` are the connection below them.
//!
//! [The decisions](../../docs/decisions/postgres-append.md) have the reasons.

mod append;
mod check;
mod classify;
mod connect;
mod copy;
mod credentials;
mod database;
mod error;
mod health;
mod io;
mod known_logs;
mod lead;
mod lease;
mod log;
mod patience;
mod reader;
mod schema;
mod scratch;
pub mod server_pair;
mod session;
mod side_stores;
mod tls;
mod wire;

pub use copy::{CopyIntoError, CopyStep};
pub use credentials::AddressCredentials;
pub use database::Database;
pub use error::DatabaseError;
pub use health::{Health, Protection, Standbys, Verification};
pub use lead::{IfLed, WaitDecision, WaitsFor};
pub use lease::{LEASE, LeadWatch, LeaseObserver, Node, SLOW};
pub use log::{APPEND_PATIENCE, PostgresLog};
pub use reader::PostgresLogReader;
pub use scratch::Scratch;
pub use side_stores::{Lead, PostgresEnvelopes, PostgresObjects, PostgresPacks, StoredFile};

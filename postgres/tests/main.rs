//! The log on a real PostgreSQL server, which the tests start themselves.
//!
//! Where the server's programs are missing, the tests are skipped by name; if `CI` is `true`, that is a failure.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started is a failed test")]

mod appending;
mod checks;
mod cluster;
mod conformance;
mod copies;
mod encryption;
mod faults;
mod hangs;
mod idle;
mod leases;
mod nodes;
mod objects;
mod patroni;
mod promotions;
mod proxy;
mod schedules;
mod secrets;
mod seeds;
#[allow(dead_code, reason = "the tests of the command line use the rest of it")]
mod server;
#[path = "../../tests/support/skipped.rs"]
mod skipped;

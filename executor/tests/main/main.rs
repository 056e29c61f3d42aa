//! The worker from the node's point of view: effects in, reports out, with real processes and a real server
//! on loopback.
//!
//! Behavior of a single module is tested next to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]
#![allow(clippy::disallowed_methods, reason = "what a test hears of is bounded by what it does")]

mod adoption;
mod answers;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod calls;
mod cuts;
#[cfg(target_os = "linux")]
mod hidden_files;
mod http;
#[cfg(target_os = "linux")]
mod kernel;
mod leases;
mod long_answers;
#[cfg(target_os = "linux")]
mod losses;
mod mail;
#[cfg(target_os = "linux")]
mod memory;
mod messages;
#[cfg(target_os = "linux")]
mod node;
#[cfg(target_os = "linux")]
mod port;
mod process;
#[cfg(target_os = "linux")]
#[path = "../../../tests/support/program_file.rs"]
mod program_file;
#[cfg(target_os = "linux")]
mod protocols;
#[cfg(target_os = "linux")]
mod pulling;
mod reports;
#[cfg(target_os = "linux")]
mod reservations;
#[cfg(target_os = "linux")]
mod reuse;
mod server;
mod shell;
#[cfg(target_os = "linux")]
#[path = "../../../tests/support/skipped.rs"]
mod skipped;
#[path = "../../../tests/support/smtp.rs"]
mod smtp;
mod tokens;
#[cfg(target_os = "linux")]
mod under_supervisors;
#[cfg(target_os = "linux")]
mod users;
#[cfg(target_os = "linux")]
mod walls;
mod world;

//! The worker: takes attempts and has them run by runners.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | [`ports`], `clock`, `blocking`, `settings` | what the worker needs from the node |
//! | `worker`, `adoption` | [`Executor`]: effects in, reports out; taking over what an earlier node left |
//! | `running`, `lease`, [`begun`], `report` | the running attempts: their owners, whether they have begun, and how their end is reported |
//! | `attempt`, `shared`, `render` | an attempt as its runner sees it; what all attempts share; rendering of `run` |
//! | `runners` | one file for each kind of action |
//! | [`programs`] | the port that runs programs, and its implementations |
//! | `masks` | the values of keys, replaced in what programs print and servers answer |
//! | `conduct`, `environment`, `output`, `messages`, `result` | a running program: its end, variables, output, messages and result |
//! | [`supervisor`] | the process beside the node that holds a program |
//! | [`probes`] | what this machine offers to isolate and limit programs |
//! | [`web`] | the port that sends requests, and that connects to other servers |
//! | [`pulling`] | the programs and the requests of sensors |
//! | [`connections`] | the endpoints and credentials that the operator defines |
//! | `egress`, `destinations`, `lines` | where requests may go, and the connections to those servers |
//!
//! Nothing here decides what an attempt's end means: the core does.

pub mod absent_ports;
mod adoption;
mod answer_body;
mod answer_links;
mod attempt;
pub mod begun_file;
mod blocking;
mod checked_line;
mod clock;
mod conduct;
pub mod connections;
mod destinations;
mod egress;
mod environment;
mod key_opening;
mod lease;
mod mapped_result;
mod masks;
mod messages;
mod output;
pub mod ports;
pub mod probes;
pub mod programs;
pub mod pulling;
mod render;
mod report;
mod result;
mod runners;
mod running_attempts;
mod settings;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../tests/support/skipped.rs"]
mod skipped;
#[cfg(target_os = "linux")]
pub mod supervisor;
pub mod web;
mod worker;
mod worker_context;

pub use attempt::LEAVING_GRACE_MAX;
pub use blocking::Blocking;
pub use clock::{Clock, SystemClock};
pub use destinations::Destinations;
pub use egress::{Allowance, AllowanceError, EgressPolicy};
pub use messages::LINE_BYTES_MAX;
pub use ports::{ExecutorPorts, RequestSpans, SentRequest};
pub use settings::{ARTIFACT_BYTES_MAX, AtStop, ExecutorSettings, TraceNesting};
pub use worker::{Executor, UnfinishedAttempts};

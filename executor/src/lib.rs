//! The worker: takes attempts and has them run by runners.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | [`ports`], `clock`, `blocking`, `settings` | what the worker needs of the node |
//! | `worker`, `adoption` | [`Executor`]: effects in, reports out; what an earlier node left |
//! | `running`, `lease`, [`begun`], `report` | what runs, whose it is, whether it has begun, and how the log learns its end |
//! | `attempt`, `means`, `render` | an attempt as its runner sees it, and what all share; what its action's `run` says, rendered |
//! | `runners` | one file for each kind of action |
//! | [`programs`] | the port through which programs are run, and what runs them |
//! | `masks` | the values of keys, replaced in what programs print and servers answer |
//! | `conduct`, `environment`, `output`, `messages`, `result` | a program that runs: its end, its variables, what it prints, what it says |
//! | [`supervisor`] | the process that holds a program beside the node |
//! | [`probes`] | what this machine has to hold programs with |
//! | [`web`] | the port through which requests are sent |
//! | `egress`, `destinations` | where requests may go, and the connections there |
//!
//! Nothing here decides what an attempt's end means: that is the core's.

mod adoption;
mod attempt;
pub mod begun;
mod blocking;
mod clock;
mod conduct;
mod destinations;
mod egress;
mod environment;
mod lease;
mod masks;
mod means;
mod messages;
mod output;
pub mod ports;
pub mod probes;
pub mod programs;
mod render;
mod report;
mod result;
mod runners;
mod running;
mod settings;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../tests/support/skipped.rs"]
mod skipped;
#[cfg(target_os = "linux")]
pub mod supervisor;
pub mod web;
mod worker;

pub use attempt::LEAVING_GRACE_MAX;
pub use blocking::Blocking;
pub use clock::{Clock, SystemClock};
pub use destinations::Destinations;
pub use egress::{Allowance, AllowanceError, EgressPolicy};
pub use messages::LINE_BYTES_MAX;
pub use ports::{ExecutorPorts, RequestSpans, SentRequest};
pub use settings::{ARTIFACT_BYTES_MAX, AtStop, ExecutorSettings, Traced};
pub use worker::{Executor, Stopped};

//! Measurements of a node: the cost of a webhook, the speed of its answer, and the speed of its work.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | `asked`, `watcher`, `unmeasured` | [`Bench`]: the arguments of `ensue bench`; the observer of its progress, and why a measurement failed |
//! | `measure` | one run of a scenario, from the start of its node to its figures |
//! | `child`, `cores`, `wire`, `kept` | a node as a separate process, its cores, connections to it, a folder that stays |
//! | `packs`, `github`, `flows`, `graph` | the work of the node: its packs, a webhook, workflows |
//! | `delivery`, `load`, `reads`, `streams`, `target` | the requests that it receives, the concurrent reads, and the server that it calls |
//! | `ends`, `figures`, `table`, `compare` | the records of a run, its figures, and those of two runs side by side |
//! | `limits` | the best that the machine can do |
//! | `makespans`, `timers` | workflows: graphs compared with their schedules, and pending timers |
//! | `judging`, `backtests` | rules: judging alone, and backtests of a million events |
//! | `pulling` | sensors: the lines of a program, and idle polls |
//! | `at_size`, `long`, `many_logs` | reads among a million executions; starts on a long log; several logs at once |
//! | `aims` | the goals, compared with all of these figures |
//!
//! The node is a separate process in a directory of its own. This process generates the load, runs the server
//! that is called, and reads the log. Nothing here is part of a running node.

mod aims;
mod arguments;
mod at_size;
mod backtests;
mod child;
mod compare;
mod cores;
mod delivery;
mod figures;
mod flows;
pub mod github;
mod graph;
mod judging;
mod limits;
mod load;
mod log_folder;
mod log_summary;
mod long_log;
mod makespans;
mod many_logs;
mod measure;
mod measurement_error;
mod packs;
mod pulling;
mod reads;
mod streams;
mod table;
mod target;
mod timers;
mod watcher;
mod wire;

pub use arguments::{Bench, Measurements};
pub use measurement_error::{Fault, MeasurementError};
pub use watcher::{Bar, Length, Watcher};

//! One running node: the sequencer's thread, followers, the clock, and the only wiring.
//!
//! Read in this order: [`config`] is what the operator sets; [`backend`] keeps the log and what is folded from it; [`seat`] has the stages in which a log is opened,
//! followed and led; `process` puts a node together around it; `sequencer` owns the core and the log; `followers` keep `views` and `snapshots` up, and `tally` counts beside them;
//! `heard` is what they hear of each commit; `edge` is where events come in, `keys` and `tokens` who may; `catalogs` what is installed and `packs_folder` how it gets there; `about` what the node says of
//! itself; [`offline`] works on a directory on which no node runs, and [`long_log`] makes its log long for a measurement;
//! [`parts`] are the pieces for who puts a node together in another way than `process` does: the simulator.
//!
//! It holds no domain logic and no HTTP route.

mod about;
pub mod backend;
mod backtest;
mod bodies;
mod catalogs;
mod clock;
pub mod config;
mod crash_file;
mod edge;
mod fold_guard;
mod followers;
mod heard;
mod jobs;
mod kept;
mod keys;
mod log_access;
pub mod long_log;
mod machine;
mod memory;
mod metrics;
pub mod offline;
mod outside;
mod packs_folder;
pub mod parts;
mod plain_body;
mod process;
mod programs;
mod release;
mod replays;
mod retention;
pub mod seat;
mod sequencer;
mod snapshots;
pub mod start_error;
mod tally;
mod telemetry;
mod tokens;
mod traces;
mod vars;
mod views;
mod whole_fold;

pub use config::Config;
pub use ensue_store::sqlite::insert_rate;
pub use packs_folder::{PacksNews, PacksRead};
pub use process::{Node, NodeFailure};
pub use seat::lead::LogOver;
pub use start_error::StartError;
pub use traces::{Collector, CollectorError, TraceSettings};

/// Runs a supervisor of programs in the folder that its node has made, to its end. It must be the first thing that its process does.
pub fn supervise(folder: &std::path::Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return ensue_executor::supervisor::run(folder, release::RELEASE);
    #[cfg(not(target_os = "linux"))]
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!("supervisors exist only on Linux; `{}` stays as it is", folder.display()),
    ))
}

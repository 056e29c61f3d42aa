//! One running node: the sequencer's thread, followers, the clock, and the only wiring.
//!
//! Read in this order: [`config`] is what the operator sets; [`opening`] opens a data directory and folds its log;
//! `wiring` puts a node together; `sequencer` owns the core and the log; `followers` keep `views` and `snapshots` up, and `tally` counts beside them;
//! `heard` is what they hear of each commit; `edge` is where events come in, `keys` and `tokens` who may; `catalogs` what is installed and `packs_folder` how it gets there; `about` what the node says of
//! itself; [`offline`] works on a directory on which no node runs, and [`long_log`] makes its log long for a measurement;
//! [`parts`] are the pieces for who puts a node together in another way than the wiring does: the simulator.
//!
//! It holds no domain logic and no HTTP route.

mod about;
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
pub mod opening;
mod outside;
mod packs_folder;
pub mod parts;
mod plain_body;
mod programs;
mod release;
mod replays;
mod retention;
mod sequencer;
mod snapshots;
mod tally;
mod telemetry;
mod tokens;
mod traces;
mod vars;
mod views;
mod whole_fold;
mod wiring;

pub use config::Config;
pub use ensue_store::sqlite::insert_rate;
pub use opening::StartError;
pub use packs_folder::{PacksNews, PacksRead};
pub use traces::{Collector, CollectorError, TraceSettings};
pub use wiring::{Node, NodeFailure};

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

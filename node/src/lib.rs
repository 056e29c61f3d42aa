//! One running node: the sequencer's thread, followers, the clock, and the only wiring.
//!
//! Read in this order: [`config`] holds the operator's settings; [`backend`] stores the log and the state
//! folded from it; [`log_runtime`] has the stages in which a log is opened, followed and led; `process` assembles a
//! node around it; `sequencer` owns the core and the log; `followers` keep `views` and `snapshots` up to date,
//! and `tally` counts next to them; `commit_listeners` notifies them of each commit; `edge` is where events come in, and
//! `keys` and `tokens` decide from whom; `catalogs` holds the installed packs and `packs_folder` gets them
//! there; `certificates` are what TLS is served with; `about` is what the node reports about itself; [`offline`] works on a directory without a running
//! node, and [`long_log`] and [`judging`] do for measurements; [`parts`] holds the pieces for the simulator,
//! which assembles a node differently from `process`.
//!
//! It holds no domain logic and no HTTP routes.

mod about;
mod access;
mod answer_links;
pub mod backend;
mod backtest;
mod bodies;
mod bucket_health;
mod catalogs;
mod certificates;
mod clock;
mod codes;
mod commit_listeners;
pub mod config;
mod connections;
mod crash_file;
mod database_health;
mod devices;
mod edge;
pub mod event_judge;
mod fold_guard;
mod followers;
mod hook_senders;
mod idle;
mod intake;
mod issuer_logins;
mod jobs;
mod kept_deliveries;
mod key_providers;
mod key_ring;
mod key_uses;
mod log_access;
pub mod log_runtime;
mod login;
mod logins;
pub mod long_log;
mod machine;
mod master_key;
mod memory_limits;
mod metrics;
pub mod offline;
mod output_stores;
mod outside_writer;
mod pack_credentials;
mod packs_folder;
pub mod parts;
mod passwords;
mod people;
mod plain_body;
mod process;
mod program_table;
mod programs;
mod real_actions;
mod refusals;
mod release;
mod renewals;
mod replays;
mod sensors;
mod sequencer;
mod session_table;
mod sessions;
mod snapshots;
pub mod start_error;
mod tally;
mod telemetry;
#[cfg(test)]
mod test_catalog;
mod token_form;
mod token_uses;
mod tokens;
mod traces;
mod usage;
mod vars;
mod view_retention;
mod views;
mod vouching;
mod whole_fold;

pub use backend::insert_rate;
pub use certificates::{CertificateNews, Certificates, TlsError};
pub use config::Config;
pub use ensue_api::PageServing;
pub use ensue_api::ports::{AskedToken, Finding, FindingVerdict};
pub use ensue_postgres::Scratch;
pub use log_runtime::lead::LogOver;
pub use log_runtime::standby::Standby;
pub use packs_folder::{PacksNews, PacksRead};
pub use process::{Node, NodeFailure};
pub use real_actions::{CaseConnection, RealActions, RealActionsError, RealCase};
pub use sensors::RehearsedMessages;
pub use start_error::StartError;
pub use traces::{Collector, CollectorError, TraceSettings};

/// Runs a supervisor of programs, until it ends, in the folder that its node created. It must be the first
/// thing that its process does.
pub fn supervise(folder: &std::path::Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return ensue_executor::supervisor::run(folder, release::RELEASE);
    #[cfg(not(target_os = "linux"))]
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!("supervisors exist only on Linux; `{}` stays as it is", folder.display()),
    ))
}

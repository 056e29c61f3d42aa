//! `ensue restore`: starts from a backup of the data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ensue_node::offline::{Missing, Offline};
use serde_json::{Value, json};

use super::Asking;
use super::at_rest::{DataLocationArgs, directory};
use crate::report::{CommandResult, Failure, eprint_line};

/// Start again from a backup of the data directory.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue restore accept --data ./ensue-data --dry-run    report what is missing
  ensue restore accept --data ./ensue-data")]
pub(crate) struct Restore {
    #[command(subcommand)]
    about: RestoreCommand,
}

#[derive(Debug, Subcommand)]
enum RestoreCommand {
    /// Accept that the newest records are missing, so that a node starts on a restored backup.
    #[command(after_help = "\
The node must be stopped. The command records in the log which records are
missing, invalidates the fencing tokens of older attempts, and pauses each open
execution that may have continued in the missing records. To let an execution
continue, run `ensue executions resume`.

Examples:
  ensue restore accept --data ./ensue-data --dry-run    report what is missing
  ensue restore accept --data ./ensue-data
  ensue restore accept --data ./ensue-data --database postgres://ensue@db/ensue")]
    Accept(Accept),
}

#[derive(Debug, Args)]
struct Accept {
    /// The restored data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    beside: DataLocationArgs,
    /// Report what is missing and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Restore {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let RestoreCommand::Accept(accept) = self.about;
        let config = directory(&accept.data, &accept.beside)?;
        let (mut offline, missing) = Offline::open_restored(&config).map_err(|error| Failure::from_error(&error))?;
        if !accept.dry_run {
            offline.accept_restored(&missing).map_err(|error| Failure::from_error(&error))?;
        }
        asking.output.print(&as_json(&missing, accept.dry_run), || explain(&missing, accept.dry_run));
        Ok(())
    }
}

fn as_json(missing: &Missing, is_dry_run: bool) -> Value {
    json!({
        "after": missing.after,
        "newest": missing.newest,
        "known": missing.known.position,
        "paused": missing.to_pause,
        "accepted": !is_dry_run,
    })
}

fn explain(missing: &Missing, is_dry_run: bool) {
    let lost = missing.known.position.0.saturating_sub(missing.after.0);
    eprint_line(format!("the log ends at position {}, written at {}", missing.after, missing.newest));
    match lost {
        0 => eprint_line(format!("the record at position {} is not the one that was last written there", missing.known.position)),
        1 => eprint_line("1 record is missing"),
        _ => eprint_line(format!("{lost} records are missing, up to position {}", missing.known.position)),
    }
    let paused = missing.to_pause.len();
    if is_dry_run {
        eprint_line(format!("{paused} open executions would be paused; nothing was changed"));
        return;
    }
    eprint_line("the node starts again; events and answers in the missing records are lost, and senders may send them again");
    eprint_line(format!("{paused} open executions are paused, because the missing records may have advanced them"));
    eprint_line("check each one, then run `ensue executions resume ID` or `ensue executions cancel ID`");
    eprint_line("tokens and keys are those of the backup: repeat any revocation or rotation that you made since then");
}

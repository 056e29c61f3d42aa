//! `ensue supervisor`: what a node starts to hold a program; nobody needs to call it.

use std::path::PathBuf;

use clap::Args;
use ensue_node::config::SupervisorCommand;

use crate::report::{Failure, Outcome};

/// Hold a program for a node. Nodes start this themselves.
#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    /// The supervisor's folder, which its node has made.
    folder: PathBuf,
}

impl Supervisor {
    pub(super) fn run(self) -> Outcome {
        ensue_node::supervise(&self.folder).map_err(|error| Failure::new(format!("the supervisor cannot go on: {error}")))
    }
}

/// Gives what a node of this binary starts its supervisors with: itself, also where its file was replaced meanwhile.
pub(crate) fn command() -> SupervisorCommand {
    SupervisorCommand { program: PathBuf::from("/proc/self/exe"), arguments: vec!["supervisor".into()] }
}

//! `ensue supervisor`: the process that a node starts to supervise a program; nobody needs to call it.

use std::path::PathBuf;

use clap::Args;
use ensue_node::config::SupervisorCommand;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::open_files::OpenFiles;
use crate::report::{CommandResult, Failure};

/// Run a program for a node. Nodes start this command themselves.
#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    /// The maximum number of open files of the program, if it is lower than that of the node.
    #[arg(long, value_name = "COUNT")]
    open_files: Option<u64>,
    /// The supervisor's folder, which its node created.
    folder: PathBuf,
}

impl Supervisor {
    pub(super) fn run(self) -> CommandResult {
        if let Some(current) = self.open_files {
            let before = getrlimit(Resource::Nofile);
            // Child processes inherit the limit, and may raise it again up to the node's maximum.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..before });
        }
        ensue_node::supervise(&self.folder).map_err(|error| Failure::new(format!("the supervisor cannot continue: {error}")))
    }
}

/// Returns the command with which a node of this binary starts its supervisors: the binary itself, even if
/// its file has been replaced since. The programs that they start may have `open_files` open files.
pub(crate) fn command(open_files: OpenFiles) -> SupervisorCommand {
    let mut arguments = vec!["supervisor".into()];
    arguments.extend(open_files.0.map(|count| format!("--open-files={count}").into()));
    // The allocator starts a thread of its own, and only a process without other threads can create a user namespace.
    let environment = vec![("_RJEM_MALLOC_CONF".to_owned(), "background_thread:false".into())];
    SupervisorCommand { program: PathBuf::from("/proc/self/exe"), arguments, environment }
}

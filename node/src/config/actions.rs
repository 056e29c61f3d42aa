//! How programs of actions are run: what they may use and reach, and what becomes of them when the node stops.
//!
//! It only reads what the operator says; the machine may have less.

use std::path::{Path, PathBuf};

use ensue_executor::AtStop;
use ensue_executor::programs::{IsolationMode, ProgramLimits};
use serde::Deserialize;

use super::ConfigError;

/// How many processes and threads a program may have, where nothing is said.
const PROCESSES: u64 = 1_000;

/// How the names of these settings' variables begin.
pub(super) const VARIABLES: &str = "ENSUE_ACTIONS_";

/// How programs of actions are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSettings {
    /// Whether they are walled off.
    pub isolation: IsolationMode,
    /// What they may read beside the system, their pack and their private directory.
    pub readable: Vec<PathBuf>,
    /// What they may write beside their private directory.
    pub writable: Vec<PathBuf>,
    /// What becomes of those that run when the node stops.
    pub at_stop: AtStop,
    /// What each of their processes may use.
    pub limits: ProgramLimits,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self {
            isolation: IsolationMode::default(),
            readable: Vec::new(),
            writable: Vec::new(),
            at_stop: AtStop::default(),
            limits: ProgramLimits { processes: Some(PROCESSES), ..ProgramLimits::default() },
        }
    }
}

/// `actions`, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenActions {
    isolation: Option<IsolationMode>,
    #[serde(default)]
    readable: Vec<PathBuf>,
    #[serde(default)]
    writable: Vec<PathBuf>,
    at_stop: Option<WrittenAtStop>,
    memory: Option<u64>,
    file_size: Option<u64>,
    open_files: Option<u64>,
    cpu_seconds: Option<u64>,
    processes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenAtStop {
    GoOn,
    End,
}

impl ActionSettings {
    pub(super) fn take(&mut self, written: WrittenActions, base: &Path) {
        let WrittenActions { isolation, readable, writable, at_stop, memory, file_size, open_files, cpu_seconds, processes } = written;
        let from_base = |paths: Vec<PathBuf>| paths.into_iter().map(|path| base.join(path)).collect();
        self.isolation = isolation.unwrap_or(self.isolation);
        self.readable = from_base(readable);
        self.writable = from_base(writable);
        self.at_stop = match at_stop {
            Some(WrittenAtStop::GoOn) => AtStop::GoOn,
            Some(WrittenAtStop::End) => AtStop::End,
            None => self.at_stop,
        };
        let processes = processes.or(self.limits.processes);
        self.limits = ProgramLimits { memory_bytes: memory, file_bytes: file_size, open_files, cpu_seconds, processes };
    }

    pub(super) fn take_variable(
        &mut self,
        name: &str,
        value: &str,
        wrong: &dyn Fn(&'static str) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let paths = || value.split(',').map(|path| PathBuf::from(path.trim())).collect();
        match name {
            "ENSUE_ACTIONS_ISOLATION" => {
                self.isolation = match value {
                    "auto" => IsolationMode::Auto,
                    "none" => IsolationMode::None,
                    "required" => IsolationMode::Required,
                    _ => return Err(wrong("auto, none or required")),
                }
            }
            "ENSUE_ACTIONS_AT_STOP" => {
                self.at_stop = match value {
                    "go_on" => AtStop::GoOn,
                    "end" => AtStop::End,
                    _ => return Err(wrong("go_on or end")),
                }
            }
            "ENSUE_ACTIONS_READABLE" => self.readable = paths(),
            "ENSUE_ACTIONS_WRITABLE" => self.writable = paths(),
            // Nobody's.
            _ => {}
        }
        Ok(())
    }
}

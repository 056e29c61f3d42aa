//! How programs of actions are run: what they may use and reach, and what becomes of them when the node stops.
//!
//! It only reads what the operator says; the machine may have less.

use std::io;
use std::path::{Path, PathBuf};

use ensue_executor::AtStop;
use ensue_executor::programs::{IsolationMode, ProgramLimits};
use serde::Deserialize;

use super::{ConfigError, variables};

/// How many processes and threads a program may have, where nothing is said.
const PROCESSES: u64 = 1_000;

/// How the names of these settings' variables begin.
pub(super) const VARIABLES: &str = "ENSUE_ACTIONS_";

/// How programs of actions are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSettings {
    /// Whether they are walled off.
    pub isolation: IsolationMode,
    /// What they may read beside the system, their pack and their private directory: absolute paths.
    pub readable: Vec<PathBuf>,
    /// What they may write beside their private directory: absolute paths.
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
    /// Takes what is written over it; the error is a path that cannot be meant.
    pub(super) fn take(&mut self, written: WrittenActions, base: &Path) -> Result<(), String> {
        let WrittenActions { isolation, readable, writable, at_stop, memory, file_size, open_files, cpu_seconds, processes } = written;
        let from_base = |setting: &str, paths: Vec<PathBuf>| {
            absolute(paths.iter().map(|path| base.join(path))).map_err(|why| format!("`actions.{setting}` has a path that is none: {why}"))
        };
        self.isolation = isolation.unwrap_or(self.isolation);
        self.readable = from_base("readable", readable)?;
        self.writable = from_base("writable", writable)?;
        self.at_stop = match at_stop {
            Some(WrittenAtStop::GoOn) => AtStop::GoOn,
            Some(WrittenAtStop::End) => AtStop::End,
            None => self.at_stop,
        };
        let processes = processes.or(self.limits.processes);
        self.limits = ProgramLimits { memory_bytes: memory, file_bytes: file_size, open_files, cpu_seconds, processes };
        Ok(())
    }

    pub(super) fn take_variable(
        &mut self,
        name: &str,
        value: &str,
        wrong: &dyn Fn(&'static str) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let paths =
            || absolute(value.split(',').map(|path| PathBuf::from(path.trim()))).map_err(|_| wrong("paths with commas between them"));
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
            "ENSUE_ACTIONS_READABLE" => self.readable = paths()?,
            "ENSUE_ACTIONS_WRITABLE" => self.writable = paths()?,
            _ => variables::known(name, value)?,
        }
        Ok(())
    }
}

/// Makes paths absolute: what raises walls works elsewhere than the node.
fn absolute(paths: impl Iterator<Item = PathBuf>) -> io::Result<Vec<PathBuf>> {
    paths.map(std::path::absolute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_meant_from_where_they_were_said_wherever_a_program_works() {
        let here = std::env::current_dir().unwrap();
        let mut settings = ActionSettings::default();
        let written = WrittenActions { readable: vec!["www".into(), "/srv".into()], writable: vec!["./out".into()], ..Default::default() };
        // The folder of a file that is named without one.
        settings.take(written, Path::new("")).unwrap();
        assert_eq!((settings.readable, settings.writable), (vec![here.join("www"), "/srv".into()], vec![here.join("out")]));
        let mut settings = ActionSettings::default();
        let wrong = |expected| ConfigError::Variable { name: String::new(), value: String::new(), expected };
        settings.take_variable("ENSUE_ACTIONS_READABLE", "www, /srv", &wrong).unwrap();
        settings.take_variable("ENSUE_ACTIONS_WRITABLE", "out", &wrong).unwrap();
        assert_eq!((settings.readable, settings.writable), (vec![here.join("www"), "/srv".into()], vec![here.join("out")]));
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        let wrong = |expected| ConfigError::Variable { name: String::new(), value: String::new(), expected };
        assert!(ActionSettings::default().take_variable("ENSUE_ACTIONS_READABLE", "/srv,,", &wrong).is_err());
        let written = WrittenActions { writable: vec!["".into()], ..Default::default() };
        assert!(ActionSettings::default().take(written, Path::new("")).is_err());
    }
}

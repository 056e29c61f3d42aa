//! Settings for the programs of actions: what they may use and reach, and what happens to them when the node stops.
//!
//! This module only reads the operator's settings; the machine may not support them.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use ensue_derive::Settings;
use ensue_executor::AtStop;
use ensue_executor::programs::{IsolationMode, ProgramLimits};
use serde::Deserialize;

use super::ConfigError;
use super::layer::SettingsLayer;
use super::paths::NamedPaths;

/// The default limit of processes and threads of a program.
const PROCESSES: u64 = 1_000;

/// The user that programs run as, as the operator sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UserSetting {
    /// Not set.
    #[default]
    Unsaid,
    /// The node's own user, which is root.
    Root,
    /// The user with this number.
    Number(u32),
    /// The user with this name.
    Name(String),
    /// A separate user for each program, from the first number to the last.
    Range(u32, u32),
}

/// The valid values of `actions.user`.
const USERS: &str = "root, a user name, a user number, or a range of numbers like 1900000000-1904194304";

impl FromStr for UserSetting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The highest number is not a valid user.
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| (1..u32::MAX).contains(number));
        if let Some((first, last)) = text.split_once('-')
            && let (Some(first), Some(last)) = (number(first), number(last))
        {
            return if first < last { Ok(Self::Range(first, last)) } else { Err(USERS) };
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        match text {
            "root" | "0" => Ok(Self::Root),
            _ if number(text).is_some() => number(text).map(Self::Number).ok_or(USERS),
            _ if text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.bytes().all(is_name) => {
                Ok(Self::Name(text.to_owned()))
            }
            _ => Err(USERS),
        }
    }
}

/// The settings for programs of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSettings {
    /// Whether they are isolated.
    pub isolation: IsolationMode,
    /// The absolute paths that they may read, in addition to the system, their pack and their private directory.
    pub readable: Vec<PathBuf>,
    /// The absolute paths that they may write, in addition to their private directory.
    pub writable: Vec<PathBuf>,
    /// The user that they run as.
    pub user: UserSetting,
    /// What happens to running programs when the node stops.
    pub at_stop: AtStop,
    /// The limits of each of their processes.
    pub limits: ProgramLimits,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self {
            isolation: IsolationMode::default(),
            readable: Vec::new(),
            writable: Vec::new(),
            user: UserSetting::default(),
            at_stop: AtStop::default(),
            limits: ProgramLimits { processes: Some(PROCESSES), ..ProgramLimits::default() },
        }
    }
}

/// The `actions` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenActions {
    /// Whether programs are isolated: as far as the machine supports it (`auto`, the default), not at all (`none`), or fully, or
    /// else they do not run (`required`).
    #[setting(variable = "ENSUE_ACTIONS_ISOLATION")]
    isolation: Option<IsolationMode>,
    /// Folders and files that programs may read, in addition to the system, their pack and their private directory.
    #[setting(variable = "ENSUE_ACTIONS_READABLE")]
    readable: Vec<PathBuf>,
    /// Folders and files that programs may write, in addition to their private directory.
    #[setting(variable = "ENSUE_ACTIONS_WRITABLE")]
    writable: Vec<PathBuf>,
    /// The user that programs run as if the node runs as root: `root`, a name, a number, or a range of numbers. Default: a range
    /// of their own.
    #[setting(variable = "ENSUE_ACTIONS_USER")]
    user: Option<String>,
    /// What happens to running programs when the node stops: they continue, and the next start adopts them (`go_on`, the
    /// default), or they end (`end`).
    #[setting(variable = "ENSUE_ACTIONS_AT_STOP")]
    at_stop: Option<WrittenAtStop>,
    /// How many bytes of address space each process of a program may have. Default: no limit.
    #[setting(from = 1)]
    memory: Option<u64>,
    /// How many bytes a file written by a program may have. Default: no limit.
    #[setting(from = 1)]
    file_size: Option<u64>,
    /// How many files each process of a program may have open. Default: the limit that the node was started with.
    #[setting(from = 1)]
    open_files: Option<u64>,
    /// How much CPU time each process of a program may use. Default: no limit.
    #[setting(from = 1)]
    cpu_seconds: Option<u64>,
    /// How many processes and threads a program may have, if the machine can limit them. Default: 1,000.
    #[setting(from = 1)]
    processes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Settings)]
#[serde(rename_all = "snake_case")]
enum WrittenAtStop {
    GoOn,
    End,
}

impl ActionSettings {
    /// Applies what is written. Fails if a path or the user is invalid.
    pub(super) fn take(&mut self, written: WrittenActions, layer: SettingsLayer<'_>, from: &NamedPaths) -> Result<(), ConfigError> {
        let WrittenActions { isolation, readable, writable, user, at_stop, memory, file_size, open_files, cpu_seconds, processes } =
            written;
        self.isolation = isolation.unwrap_or(self.isolation);
        for (setting, given, paths) in
            [("actions.readable", readable, &mut self.readable), ("actions.writable", writable, &mut self.writable)]
        {
            if !given.is_empty() {
                let invalid = |why| layer.refuse(setting, &format!("contains an invalid path: {why}"));
                *paths = absolute(given.iter().map(|path| from.share(path))).map_err(invalid)?;
            }
        }
        if let Some(user) = user {
            self.user = user.parse().map_err(|expected: &str| layer.reject("actions.user", user, expected))?;
        }
        self.at_stop = match at_stop {
            Some(WrittenAtStop::GoOn) => AtStop::GoOn,
            Some(WrittenAtStop::End) => AtStop::End,
            None => self.at_stop,
        };
        let before = self.limits;
        self.limits = ProgramLimits {
            memory_bytes: memory.or(before.memory_bytes),
            file_bytes: file_size.or(before.file_bytes),
            open_files: open_files.or(before.open_files),
            cpu_seconds: cpu_seconds.or(before.cpu_seconds),
            processes: processes.or(before.processes),
        };
        Ok(())
    }
}

/// Makes paths absolute: the isolation is set up in a process with another working directory.
fn absolute(paths: impl Iterator<Item = PathBuf>) -> io::Result<Vec<PathBuf>> {
    paths.map(std::path::absolute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn take(settings: &mut ActionSettings, written: WrittenActions) -> Result<(), ConfigError> {
        settings.take(written, SettingsLayer::Variables, &NamedPaths::default())
    }

    #[test]
    fn relative_paths_are_resolved_where_they_were_configured() {
        let here = std::env::current_dir().unwrap();
        let mut settings = ActionSettings::default();
        let written = WrittenActions { readable: vec!["www".into(), "/srv".into()], writable: vec!["./out".into()], ..Default::default() };
        // The folder of a configuration file whose path has no folder.
        take(&mut settings, written).unwrap();
        assert_eq!((settings.readable, settings.writable), (vec![here.join("www"), "/srv".into()], vec![here.join("out")]));
        let variables = [("ENSUE_ACTIONS_READABLE", "www, /srv"), ("ENSUE_ACTIONS_WRITABLE", "out")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Config::read(None, variables.into_iter()).unwrap().actions;
        assert_eq!((settings.readable, settings.writable), (vec![here.join("www"), "/srv".into()], vec![here.join("out")]));
    }

    #[test]
    fn user_of_programs_is_a_name_a_number_or_a_range() {
        let read = |text: &str| text.parse::<UserSetting>();
        assert_eq!(read("root"), Ok(UserSetting::Root));
        assert_eq!(read("0"), Ok(UserSetting::Root));
        assert_eq!(read("65534"), Ok(UserSetting::Number(65_534)));
        assert_eq!(read("www-data"), Ok(UserSetting::Name("www-data".into())));
        assert_eq!(read("1900000000-1904194304"), Ok(UserSetting::Range(1_900_000_000, 1_904_194_304)));
        for text in ["", "-", "5-", "9-8", "0-9", "-1", "4294967295", "4294967296", "a b", "../x", "7-4294967295"] {
            assert!(read(text).is_err(), "{text}");
        }
        let written = WrittenActions { user: Some("9-8".into()), ..Default::default() };
        let why = take(&mut ActionSettings::default(), written).unwrap_err().to_string();
        assert!(why.starts_with("ENSUE_ACTIONS_USER is `9-8`, but must be root, "), "{why}");
    }

    #[test]
    fn invalid_path_is_rejected() {
        let variable = [("ENSUE_ACTIONS_READABLE".to_owned(), "/srv,,".to_owned())];
        let why = Config::read(None, variable.into_iter()).unwrap_err().to_string();
        assert!(why.starts_with("ENSUE_ACTIONS_READABLE contains an invalid path: "), "{why}");
        let written = WrittenActions { writable: vec!["".into()], ..Default::default() };
        assert!(take(&mut ActionSettings::default(), written).is_err());
    }
}

//! The operator's settings for isolating programs, and the walls that a machine has.
//!
//! The supervisor raises the walls.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The operator's setting for walls around programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationMode {
    /// As many walls as the machine has.
    #[default]
    Auto,
    /// None.
    None,
    /// All walls: a program is not started if the machine lacks one of them.
    Required,
}

/// The users that programs run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramUsers {
    /// The node's own.
    #[default]
    Node,
    /// This user, with this group and no other.
    One {
        /// The user's number.
        user: u32,
        /// The group's number.
        group: u32,
    },
    /// A separate user for each supervisor: the first number plus the number of the supervisor's process. The
    /// first number is also the group of all.
    Range {
        /// The first number.
        first: u32,
        /// The last number.
        last: u32,
    },
}

impl ProgramUsers {
    /// Returns the group of all these users, or none if they are the node's own.
    pub fn group(self) -> Option<u32> {
        match self {
            Self::Node => None,
            Self::One { group, .. } => Some(group),
            Self::Range { first, .. } => Some(first),
        }
    }
}

/// What programs are isolated from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Whether there are walls.
    pub mode: IsolationMode,
    /// The paths that programs may read, in addition to the system, their pack and their private directory.
    pub readable: Vec<PathBuf>,
    /// The paths that programs may write, in addition to their private directory.
    pub writable: Vec<PathBuf>,
    /// The paths that programs may never reach, even if they lie inside readable or writable ones: the node's
    /// own files, and files that hold secrets. Each is an absolute path, which may be a link.
    pub hidden: Vec<PathBuf>,
    /// The users that programs run as.
    #[serde(default)]
    pub users: ProgramUsers,
}

impl Isolation {
    /// Returns the isolation of programs that have no walls and run as the node's user.
    pub fn none() -> &'static Self {
        static NONE: Isolation = Isolation {
            mode: IsolationMode::None,
            readable: Vec::new(),
            writable: Vec::new(),
            hidden: Vec::new(),
            users: ProgramUsers::Node,
        };
        &NONE
    }
}

/// The walls that a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walls {
    /// Files, by Landlock.
    pub files: Wall,
    /// Signals to processes outside, by Landlock.
    pub signals: Wall,
    /// System calls, by seccomp.
    pub system_calls: Wall,
    /// Modes, owners, times and attributes of files, by namespaces, or because programs have other users than the node.
    pub metadata: Wall,
}

/// Whether a wall is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wall {
    /// It is available.
    Stands,
    /// It is missing.
    Missing {
        /// The reason.
        why: String,
    },
}

impl Walls {
    /// Lists the missing walls, for people.
    pub fn missing(&self) -> Vec<String> {
        let walls = [
            ("files", &self.files),
            ("signals", &self.signals),
            ("system calls", &self.system_calls),
            ("modes and times of files", &self.metadata),
        ];
        walls
            .into_iter()
            .filter_map(|(what, wall)| match wall {
                Wall::Stands => None,
                Wall::Missing { why } => Some(format!("{what}: {why}")),
            })
            .collect()
    }
}

/// Returns the folders that programs found by a search path need: next to `X/bin` also `X` itself, because
/// the programs there keep their libraries next to them. A folder that is a user's home, or the root, is not
/// opened.
pub fn around_path(path: &OsStr) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        let is_of_programs = folder.file_name().is_some_and(|name| ["bin", "sbin", "shims"].iter().any(|usual| name == *usual));
        match folder.parent() {
            Some(parent) if is_of_programs && parent.components().count() > 2 && !is_home(parent) => folders.push(parent.to_owned()),
            Some(_) | None => folders.push(folder),
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

fn is_home(folder: &Path) -> bool {
    folder.parent() == Some(Path::new("/home")) || std::env::home_dir().is_some_and(|home| home.starts_with(folder))
}

//! What programs are to be walled off from, as the operator says it, and which walls a machine has.
//!
//! How walls are raised is the supervisor's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the operator says of walls around programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationMode {
    /// As many as the machine has.
    #[default]
    Auto,
    /// None.
    None,
    /// A program is not started where the machine has not all of them.
    Required,
}

/// The users that programs run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramUsers {
    /// The node's own.
    #[default]
    Node,
    /// This one, with this group and no other.
    One {
        /// The user's number.
        user: u32,
        /// The group's number.
        group: u32,
    },
    /// Each supervisor has one of its own: the first, plus the number of the supervisor's process. The first is the group of all.
    Range {
        /// The first number.
        first: u32,
        /// The last number.
        last: u32,
    },
}

impl ProgramUsers {
    /// Gives the group that all of these users are in; none where they are the node's own.
    pub fn group(self) -> Option<u32> {
        match self {
            Self::Node => None,
            Self::One { group, .. } => Some(group),
            Self::Range { first, .. } => Some(first),
        }
    }
}

/// What programs are walled off from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Whether there are walls.
    pub mode: IsolationMode,
    /// What programs may read beside the system, their pack and their private directory.
    pub readable: Vec<PathBuf>,
    /// What programs may write beside their private directory.
    pub writable: Vec<PathBuf>,
    /// What programs may never reach, though it may lie in what they may read or write: the node's own, and files that hold secrets.
    /// Each is an absolute path, which may be a link.
    pub hidden: Vec<PathBuf>,
    /// The users that programs run as.
    #[serde(default)]
    pub users: ProgramUsers,
}

/// What of the walls a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walls {
    /// Files by Landlock.
    pub files: Wall,
    /// Signals to processes outside by Landlock.
    pub signals: Wall,
    /// System calls by seccomp.
    pub system_calls: Wall,
}

/// Whether a wall stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wall {
    /// It does.
    Stands,
    /// It does not.
    Missing {
        /// Why.
        why: String,
    },
}

impl Walls {
    /// Lists what is missing, for people.
    pub fn missing(&self) -> Vec<String> {
        let walls = [("files", &self.files), ("signals", &self.signals), ("system calls", &self.system_calls)];
        walls
            .into_iter()
            .filter_map(|(what, wall)| match wall {
                Wall::Stands => None,
                Wall::Missing { why } => Some(format!("{what}: {why}")),
            })
            .collect()
    }
}

/// Says which walls this machine has, by trying them on a thread that is then thrown away. Blocks.
pub fn walls_of_this_machine() -> Walls {
    #[cfg(target_os = "linux")]
    return crate::supervisor::isolation::probe();
    #[cfg(not(target_os = "linux"))]
    {
        let wall = Wall::Missing { why: "programs can be isolated only on Linux".to_owned() };
        Walls { files: wall.clone(), signals: wall.clone(), system_calls: wall }
    }
}

/// Returns why programs cannot run as these users here; none where they can. Blocks shortly.
pub fn why_not_as(users: ProgramUsers) -> Option<String> {
    if users == ProgramUsers::Node {
        return None;
    }
    #[cfg(target_os = "linux")]
    return crate::supervisor::user::why_not(users);
    #[cfg(not(target_os = "linux"))]
    Some("programs can run as other users only on Linux".to_owned())
}

/// Says which folders hold what a search path names: beside `X/bin`, `X` itself, since programs there have their libraries beside
/// them. A folder that is a user's home, or the root, is not opened up.
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

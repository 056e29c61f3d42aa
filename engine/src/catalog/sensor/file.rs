//! A sensor that watches files: each change, or each line, is a message.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_expression::Template;

use super::Reading;

/// The maximum number of files that a sensor watches.
pub const FILES_MAX: usize = 10_000;

/// Files in a folder.
#[derive(Clone, Debug)]
pub struct FileSource {
    /// The absolute path of the files; `*`, `?` and `**` stand for parts of names and for folders. It reads the
    /// configuration.
    pub path: Template,
    /// The changes that make messages.
    pub on: BTreeSet<FileChange>,
    /// How long a file must stay the same before it is read.
    pub settle: Duration,
    /// What is read of a file.
    pub content: FileContent,
    /// What happens to the files that are there when the sensor starts for the first time.
    pub start: FileStart,
    /// How often all files are looked at, in addition to the changes that the system reports.
    pub rescan: Duration,
    /// What happens to a file after its messages are in the log.
    pub after: AfterFile,
    /// How contents are read.
    pub reading: Reading,
}

/// A change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileChange {
    /// It is new.
    Created,
    /// Its content changed.
    Modified,
    /// It is gone.
    Removed,
}

impl FileChange {
    /// Returns its name as packs and expressions spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Removed => "removed",
        }
    }
}

/// What is read of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileContent {
    /// Nothing: a message describes the file only.
    #[default]
    Nothing,
    /// All of it, as one message.
    Whole,
    /// All of it, as one message for each line.
    Lines,
    /// The lines that are appended, as one message each.
    Tail,
}

impl FileContent {
    /// Returns true if each line is a message.
    pub fn is_in_lines(self) -> bool {
        match self {
            Self::Nothing | Self::Whole => false,
            Self::Lines | Self::Tail => true,
        }
    }
}

/// What happens to the files that are there when the sensor starts for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileStart {
    /// They are remembered, and make no message. A tail starts at their ends.
    #[default]
    Now,
    /// They make messages like new files.
    All,
}

/// What happens to a file after its messages are in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AfterFile {
    /// Nothing.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved to this folder: an absolute path, or a folder next to the file.
    Move(String),
}

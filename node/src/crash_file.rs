//! The crash file: the owed reaction in progress, noted before it begins, and the internal error that ended a
//! node.
//!
//! It decides nothing about a reaction. A panic is contained where it happens; the notes here are for what
//! cannot be contained: a process ended by the machine, a full stack or lack of memory. The note is in the
//! kernel's hands and not on the disk, because it must survive the process, not a power cut.

use std::path::{Path, PathBuf};

use ensue_engine::health::state::OwedReaction;
use ensue_engine::record::Position;
use serde::{Deserialize, Serialize};

/// How many processes may end during the same reaction; the next one parks it.
pub(crate) const ENDS_MAX: u32 = 3;

/// The file, and what this process has noted in it.
pub(crate) struct CrashFile {
    path: PathBuf,
    /// The note of the processes before this one.
    found: Option<Serving>,
    /// The note of this process.
    noted: Option<Serving>,
    /// The newest internal error that ended a node, until the operator removes the file.
    bug: Option<Bug>,
}

/// A reaction in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Serving {
    /// The record that the reaction is owed to.
    of: Position,
    /// The index among the record's consequences.
    next: u32,
    /// How many processes in a row began it, including this one.
    begun: u32,
}

/// The contents of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct CrashNotes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serving: Option<Serving>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bug: Option<Bug>,
}

/// An internal error in folding.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bug {
    /// The newest position that was safely folded.
    position: Position,
    /// The error.
    message: String,
}

/// Whether a reaction may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It may: its beginning is noted.
    Noted,
    /// Too many processes ended during it.
    EndsTheProcess,
}

impl CrashFile {
    /// Reads the note of the processes before this one; a damaged file counts as empty.
    pub(crate) fn open(path: &Path) -> Self {
        let written: CrashNotes = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if let Some(bug) = &written.bug {
            tracing::warn!(position = %bug.position, message = bug.message, "a node on this log ended because of an internal error; report it, and remove the file `crash.json` to stop this warning");
        }
        Self { path: path.to_owned(), found: written.serving, noted: None, bug: written.bug }
    }

    /// Notes that a reaction is about to begin.
    pub(crate) fn begin(&mut self, owed: OwedReaction) -> Begin {
        let is_same = |serving: &Serving| (serving.of, serving.next) == (owed.of, owed.next);
        if self.noted.as_ref().is_some_and(is_same) {
            return Begin::Noted;
        }
        let begun = self.found.filter(is_same).map_or(0, |serving| serving.begun);
        if begun >= ENDS_MAX {
            return Begin::EndsTheProcess;
        }
        let serving = Serving { of: owed.of, next: owed.next, begun: begun + 1 };
        self.write(&CrashNotes { serving: Some(serving), bug: self.bug.clone() });
        self.noted = Some(serving);
        Begin::Noted
    }

    /// Clears the note of the processes before this one: the reaction that ended them is parked.
    pub(crate) fn put_aside(&mut self) {
        self.noted = self.found.take();
    }

    /// Notes that no reaction is in progress.
    pub(crate) fn end(&mut self) {
        let is_written = self.noted.take().is_some() | self.found.take().is_some();
        if !is_written {
            return;
        }
        if self.bug.is_some() {
            self.write(&CrashNotes { serving: None, bug: self.bug.clone() });
        } else if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the crash file cannot be removed");
        }
    }

    /// Notes the internal error that ends this process, for later investigation.
    pub(crate) fn note_bug(&self, position: Position, message: &str) {
        let bug = Bug { position, message: message.to_owned() };
        self.write(&CrashNotes { serving: self.noted, bug: Some(bug) });
    }

    fn write(&self, written: &CrashNotes) {
        let text = serde_json::to_vec(written).expect("numbers and texts always have a JSON form");
        // Without the note, the worst case is one more start that ends the same way.
        if let Err(error) = std::fs::write(&self.path, text) {
            tracing::warn!(%error, "the crash file cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;

    use super::*;

    fn make_owed(of: u64, next: u32) -> OwedReaction {
        OwedReaction { of: Position(of), next, root: Id::root(Timestamp::from_micros(1), 1) }
    }

    fn path() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crash.json");
        (folder, path)
    }

    #[test]
    fn fourth_process_does_not_start_with_the_reaction_that_ended_three() {
        let (_folder, path) = path();
        for _ in 0..ENDS_MAX {
            assert_eq!(CrashFile::open(&path).begin(make_owed(7, 2)), Begin::Noted);
        }
        let mut fourth = CrashFile::open(&path);
        assert_eq!(fourth.begin(make_owed(7, 3)), Begin::Noted, "another consequence of the same record is another reaction");
        assert_eq!(CrashFile::open(&path).begin(make_owed(7, 2)), Begin::Noted, "only ends in a row count");
    }

    #[test]
    fn reaction_that_ended_three_processes_is_parked_until_retried() {
        let (_folder, path) = path();
        for _ in 0..ENDS_MAX {
            CrashFile::open(&path).begin(make_owed(7, 2));
        }
        let mut file = CrashFile::open(&path);
        assert_eq!(file.begin(make_owed(7, 2)), Begin::EndsTheProcess);
        file.put_aside();
        file.end();
        assert!(!path.exists());
        assert_eq!(file.begin(make_owed(7, 2)), Begin::Noted);
    }

    #[test]
    fn one_process_counts_once_however_often_it_tries() {
        let (_folder, path) = path();
        let mut first = CrashFile::open(&path);
        for _ in 0..10 {
            assert_eq!(first.begin(make_owed(7, 2)), Begin::Noted);
        }
        assert_eq!(CrashFile::open(&path).begin(make_owed(7, 2)), Begin::Noted);
    }

    #[test]
    fn finished_work_leaves_no_file_and_a_torn_file_is_ignored() {
        let (_folder, path) = path();
        let mut file = CrashFile::open(&path);
        file.begin(make_owed(7, 2));
        file.end();
        assert!(!path.exists());
        std::fs::write(&path, "{\"serving\":{\"of\":7").unwrap();
        assert_eq!(CrashFile::open(&path).begin(make_owed(7, 2)), Begin::Noted);
    }

    #[test]
    fn recorded_panic_is_reported_until_the_file_is_removed() {
        let (_folder, path) = path();
        CrashFile::open(&path).note_bug(Position(9), "it broke");
        let mut next = CrashFile::open(&path);
        next.begin(make_owed(7, 2));
        let text = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(text(), r#"{"serving":{"of":7,"next":2,"begun":1},"bug":{"position":9,"message":"it broke"}}"#);
        next.end();
        assert_eq!(text(), r#"{"bug":{"position":9,"message":"it broke"}}"#);
        std::fs::remove_file(&path).unwrap();
        let mut after = CrashFile::open(&path);
        after.begin(make_owed(8, 0));
        after.end();
        assert!(!path.exists());
    }

    #[test]
    fn panic_is_recorded_next_to_the_current_reaction() {
        let (_folder, path) = path();
        let mut file = CrashFile::open(&path);
        file.begin(make_owed(7, 2));
        file.note_bug(Position(9), "it broke");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"serving":{"of":7,"next":2,"begun":1},"bug":{"position":9,"message":"it broke"}}"#);
    }
}

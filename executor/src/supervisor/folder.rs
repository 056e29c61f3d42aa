//! A supervisor's own folder: its socket and key, the program that it holds, the program's output and its
//! end.
//!
//! The folder outlives its supervisor: it shows what happened to an attempt. Nothing in it is flushed to the
//! disk, since none of it counts after the machine went down. Its files are reused for the next program,
//! because a file system from which many files were removed recently takes long to find room for a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ensue_engine::ids::AttemptId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::protocol::Stream;
use crate::programs::End;

/// The maximum size of a note in the folder, in bytes.
const NOTE_BYTES_MAX: u64 = 64 << 10;
/// The format version of the notes.
const FORMAT: u32 = 1;

/// A supervisor's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The note that a supervisor writes before it starts a program. The fields that [`HeldBy`] shares stay in
/// every format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeldNote {
    format: u32,
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// Its token.
    pub(crate) token: u64,
    /// Its private directory.
    pub(crate) private: PathBuf,
    /// The user that the program runs as, if no other program has that user at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
    /// The number of the supervisor's process, which is also its session.
    pub(crate) supervisor: i32,
    /// When the supervisor was started, in ticks since the boot.
    pub(crate) started_at: u64,
    /// The boot of the machine for which that number is valid.
    pub(crate) boot: String,
}

/// The part of the note that says what holds the program. It can be read in any format, so that a program
/// left by a later release can be ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeldBy {
    /// The program's private directory.
    pub(crate) private: PathBuf,
    /// The user that the program runs as, if no other program has that user at the same time.
    #[serde(default)]
    pub(crate) user: Option<u32>,
    /// The number of the supervisor's process, which is also its session.
    pub(crate) supervisor: i32,
    /// When the supervisor was started, in ticks since the boot.
    pub(crate) started_at: u64,
    /// The boot of the machine for which that number is valid.
    pub(crate) boot: String,
}

/// What holds a program, determined once.
#[derive(Clone)]
struct Holder {
    supervisor: i32,
    started_at: u64,
    boot: String,
}

static HOLDER: OnceLock<Holder> = OnceLock::new();

impl Holder {
    fn this_process() -> Self {
        let supervisor = rustix::process::getpid().as_raw_nonzero().get();
        let started_at = super::tree::started_at(supervisor).unwrap_or_default();
        Self { supervisor, started_at, boot: crate::begun::boot_id() }
    }
}

/// The note that a supervisor writes once the program has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EndNote {
    format: u32,
    end: End,
}

impl Folder {
    /// Names a folder.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Creates the folder, for its owner only, with a key in it.
    pub(crate) fn make(path: impl Into<PathBuf>, key: &str) -> io::Result<Self> {
        let folder = Self::at(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder.path)?;
        folder.write("key", key.as_bytes())?;
        Ok(folder)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads its key.
    pub(crate) fn key(&self) -> io::Result<String> {
        let mut key = String::new();
        File::open(self.path.join("key"))?.take(NOTE_BYTES_MAX).read_to_string(&mut key)?;
        Ok(key)
    }

    /// Returns the path of the spool of a stream.
    pub(crate) fn spool(&self, stream: Stream) -> PathBuf {
        self.path.join(match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Messages => "messages",
        })
    }

    /// Writes the note of the held program.
    pub(crate) fn note_held(&self, attempt: AttemptId, token: u64, private: PathBuf, user: Option<u32>) -> io::Result<()> {
        let Holder { supervisor, started_at, boot } = HOLDER.get_or_init(Holder::this_process).clone();
        let note = HeldNote { format: FORMAT, attempt, token, private, user, supervisor, started_at, boot };
        self.write("held", &serde_json::to_vec(&note)?)
    }

    /// Writes the note of what holds the program of a sensor, which has no attempt.
    pub(crate) fn note_kept(&self, private: PathBuf, user: Option<u32>) -> io::Result<()> {
        let Holder { supervisor, started_at, boot } = HOLDER.get_or_init(Holder::this_process).clone();
        self.write("held", &serde_json::to_vec(&HeldBy { private, user, supervisor, started_at, boot })?)
    }

    /// Writes the note of how the program ended. It is written whole or not at all, because it is short and
    /// written at once.
    pub(crate) fn note_end(&self, end: End) -> io::Result<()> {
        self.write("end", &serde_json::to_vec(&EndNote { format: FORMAT, end })?)
    }

    /// Returns the note of what is or was held, or none if there is none.
    pub(crate) fn held(&self) -> io::Result<Option<HeldNote>> {
        let note: Option<HeldNote> = self.read("held")?;
        note.map(|note| known(note.format).map(|()| note)).transpose()
    }

    /// Returns what holds or held the program of the note, in any format, or none if there is no note.
    pub(crate) fn held_by(&self) -> io::Result<Option<HeldBy>> {
        self.read("held")
    }

    /// Returns how the program ended, or none if it has not.
    pub(crate) fn end(&self) -> io::Result<Option<End>> {
        let note: Option<EndNote> = self.read("end")?;
        note.map(|note| known(note.format).map(|()| note.end)).transpose()
    }

    /// Clears everything about a program. The note of the held program goes last: while it is there, the rest is
    /// looked for.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for stream in Stream::ALL {
            empty(&self.spool(stream))?;
        }
        empty(&self.path.join("end"))?;
        empty(&self.path.join("held"))
    }

    /// Removes the whole folder.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(self.path.join(name))?;
        emptied(&file)?;
        file.write_all(bytes)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(NOTE_BYTES_MAX).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

fn known(format: u32) -> io::Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a note of a supervisor has format {format}, but this release knows format {FORMAT}"),
    ))
}

/// Empties a file. A file that is already empty is not truncated: a file system treats a file that is
/// truncated and then written as replaced, and flushes it to the disk when it is closed.
pub(crate) fn emptied(file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 { Ok(()) } else { file.set_len(0) }
}

fn empty(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => emptied(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::programs::Exit;

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::from_micros(1), number))
    }

    fn ended(code: i32) -> End {
        End { exit: Exit::Code(code), by: None, printed: [0, 0], was_killed: None, ended_at: None }
    }

    #[test]
    fn note_of_a_program_contains_nothing_of_the_previous_one() {
        let folder = TempDir::new().unwrap();
        let folder = Folder::make(folder.path(), "key").unwrap();
        for (number, private) in [(1, "/a/long/path/of/a/private/directory"), (2, "/short")] {
            assert!((folder.held().unwrap().is_none(), folder.end().unwrap()) == (true, None), "it begins with nothing");
            folder.note_held(attempt(number), 7, private.into(), None).unwrap();
            folder.note_end(ended(0)).unwrap();
            // A clear that failed halfway leaves a longer note.
            folder.note_end(ended(-1_000)).unwrap();
            folder.note_end(ended(9)).unwrap();
            let held = folder.held().unwrap().unwrap();
            assert_eq!((held.attempt, held.private), (attempt(number), private.into()));
            assert_eq!(folder.end().unwrap(), Some(ended(9)));
            folder.clear().unwrap();
        }
    }

    #[test]
    fn files_of_one_program_are_reused_for_the_next() {
        use std::os::unix::fs::MetadataExt;

        let folder = TempDir::new().unwrap();
        let folder = Folder::make(folder.path(), "key").unwrap();
        let number = |name| fs::metadata(folder.path().join(name)).unwrap().ino();
        let noted = || {
            folder.note_held(attempt(1), 7, "/private".into(), None).unwrap();
            folder.note_end(ended(0)).unwrap();
            [number("held"), number("end")]
        };
        let first = noted();
        folder.clear().unwrap();
        assert_eq!(noted(), first);
    }
}

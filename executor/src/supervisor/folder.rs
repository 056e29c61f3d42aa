//! A supervisor's own folder: its socket and its key, what it holds, what that printed and how it ended.
//!
//! It outlives its supervisor: what is left there says what became of an attempt. Nothing in it is flushed to the disk, since
//! nothing of it counts after the machine itself went down. Its files are used again for the next program: a file system that has had
//! many files removed lately looks long for a place for a new one.

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

/// The most bytes of a note in the folder.
const NOTE_BYTES_MAX: u64 = 64 << 10;
/// The version of the notes.
const FORMAT: u32 = 1;

/// A supervisor's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// What a supervisor notes before it starts a program. What [`HeldBy`] has of it stays in every format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeldNote {
    format: u32,
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// Its token.
    pub(crate) token: u64,
    /// Its private directory.
    pub(crate) private: PathBuf,
    /// The user that the program runs as, where no other program has it at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
    /// The supervisor's process, which is its session too.
    pub(crate) supervisor: i32,
    /// When that was started, in ticks since the boot.
    pub(crate) started_at: u64,
    /// The boot of the machine in which that number means anything.
    pub(crate) boot: String,
}

/// What the note says of who holds the program: whatever its format is, so that what a later release left can be ended.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HeldBy {
    /// The program's private directory.
    pub(crate) private: PathBuf,
    /// The user that the program runs as, where no other program has it at the same time.
    #[serde(default)]
    pub(crate) user: Option<u32>,
    /// The supervisor's process, which is its session too.
    pub(crate) supervisor: i32,
    /// When that was started, in ticks since the boot.
    pub(crate) started_at: u64,
    /// The boot of the machine in which that number means anything.
    pub(crate) boot: String,
}

/// Who holds a program: found out once.
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

/// What it notes once the program has ended.
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

    /// Makes it, for its owner alone, with a key in it.
    pub(crate) fn make(path: impl Into<PathBuf>, key: &str) -> io::Result<Self> {
        let folder = Self::at(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder.path)?;
        folder.write("key", key.as_bytes())?;
        Ok(folder)
    }

    /// Gives its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads its key.
    pub(crate) fn key(&self) -> io::Result<String> {
        let mut key = String::new();
        File::open(self.path.join("key"))?.take(NOTE_BYTES_MAX).read_to_string(&mut key)?;
        Ok(key)
    }

    /// Gives the path of what was printed to a stream.
    pub(crate) fn spool(&self, stream: Stream) -> PathBuf {
        self.path.join(match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Messages => "messages",
        })
    }

    /// Notes what is held.
    pub(crate) fn note_held(&self, attempt: AttemptId, token: u64, private: PathBuf, user: Option<u32>) -> io::Result<()> {
        let Holder { supervisor, started_at, boot } = HOLDER.get_or_init(Holder::this_process).clone();
        let note = HeldNote { format: FORMAT, attempt, token, private, user, supervisor, started_at, boot };
        self.write("held", &serde_json::to_vec(&note)?)
    }

    /// Notes how the program ended. Whole or not at all: it is written at once, and short.
    pub(crate) fn note_end(&self, end: End) -> io::Result<()> {
        self.write("end", &serde_json::to_vec(&EndNote { format: FORMAT, end })?)
    }

    /// Says what is or was held; none where there is nothing.
    pub(crate) fn held(&self) -> io::Result<Option<HeldNote>> {
        let note: Option<HeldNote> = self.read("held")?;
        note.map(|note| known(note.format).map(|()| note)).transpose()
    }

    /// Says who holds or held what is noted, in any format; none where there is nothing.
    pub(crate) fn held_by(&self) -> io::Result<Option<HeldBy>> {
        self.read("held")
    }

    /// Says how the program ended; none where it has not.
    pub(crate) fn end(&self) -> io::Result<Option<End>> {
        let note: Option<EndNote> = self.read("end")?;
        note.map(|note| known(note.format).map(|()| note.end)).transpose()
    }

    /// Empties all that is about a program. What is held goes last: as long as it is there, the rest is looked for.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for stream in Stream::ALL {
            empty(&self.spool(stream))?;
        }
        empty(&self.path.join("end"))?;
        empty(&self.path.join("held"))
    }

    /// Removes it all.
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

/// Has nothing be in a file. One that is empty is not cut: a file system takes one that is cut and then written for one that is replaced,
/// and puts it on the disk when it is closed.
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
            // A clear that failed half-way leaves a longer note.
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

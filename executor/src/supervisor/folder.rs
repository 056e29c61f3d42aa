//! A supervisor's own folder: its socket and key, the program that it holds, the program's output and its
//! end.
//!
//! The folder outlives its supervisor: it shows what happened to an attempt. Nothing in it is flushed to the
//! disk, since none of it counts after the machine went down. Its files are reused for the next program,
//! because a file system from which many files were removed recently takes long to find room for a new one.
//!
//! A node reserves a supervisor for an attempt before it notes that the attempt begins. The supervisor adds a line to the
//! reservation right before it starts the program, and removes the line if the system starts none. So a reservation without that
//! line, of a supervisor that is gone, proves that the program was never started. It is one file, so that no order of removing files
//! makes it prove what is not so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ensue_engine::ids::AttemptId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::protocol::ProgramStream;
use crate::begun_file::Mark;
use crate::programs::End;

/// The maximum size of a note in the folder, in bytes.
const NOTE_BYTES_MAX: u64 = 64 << 10;
/// The format version of the notes.
const FORMAT: u32 = 1;
/// The file of the reservation.
const RESERVATION: &str = "reservation";
/// The line that follows a reservation whose program is started.
const BEGINS: &[u8] = b"begins\n";

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

/// The note that a node writes before it asks a supervisor to start a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    format: u32,
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// Its token.
    pub(crate) token: u64,
    /// The boot of the machine. After another one, the line that is missing may have been lost.
    boot: String,
    /// The file itself: a copy lacks what was written later.
    file: Mark,
}

/// The note that a program is started, which is not written yet. It is a line of the reservation, which is open for it.
pub(crate) struct StartNote {
    reservation: Option<File>,
}

impl StartNote {
    /// Returns the note of a program that nobody has reserved a supervisor for. It is written nowhere.
    pub(crate) fn of_unreserved() -> Self {
        Self { reservation: None }
    }

    /// Writes the note: the program may be running from now on.
    pub(crate) fn write(self) -> io::Result<WrittenStartNote> {
        let Some(mut reservation) = self.reservation else { return Ok(WrittenStartNote { before: None }) };
        let bytes = reservation.metadata()?.len();
        reservation.write_all(BEGINS)?;
        Ok(WrittenStartNote { before: Some((reservation, bytes)) })
    }
}

/// The note that a program is started.
#[must_use = "it is removed if the program was not started"]
pub(crate) struct WrittenStartNote {
    /// The reservation, and its size before the note.
    before: Option<(File, u64)>,
}

impl WrittenStartNote {
    /// Removes the note of a program that certainly was not started. If this fails, the reservation proves nothing.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.before.map_or(Ok(()), |(reservation, bytes)| reservation.set_len(bytes))
    }
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
        Self { supervisor, started_at, boot: crate::begun_file::boot_id() }
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
    pub(crate) fn spool(&self, stream: ProgramStream) -> PathBuf {
        self.path.join(match stream {
            ProgramStream::Stdout => "stdout",
            ProgramStream::Stderr => "stderr",
            ProgramStream::Messages => "messages",
        })
    }

    /// Writes the note of the held program.
    pub(crate) fn note_held(&self, attempt: AttemptId, token: u64, private: PathBuf, user: Option<u32>) -> io::Result<()> {
        let Holder { supervisor, started_at, boot } = HOLDER.get_or_init(Holder::this_process).clone();
        let note = HeldNote { format: FORMAT, attempt, token, private, user, supervisor, started_at, boot };
        self.write("held", &serde_json::to_vec(&note)?)
    }

    /// Reserves the supervisor for an attempt. Nothing of the attempt may have begun, and no other supervisor may be reserved
    /// for it.
    pub(crate) fn reserve(&self, attempt: AttemptId, token: u64) -> io::Result<()> {
        let mut file = self.create(RESERVATION)?;
        let note = Reservation { format: FORMAT, attempt, token, boot: crate::begun_file::boot_id(), file: Mark::of(&file)? };
        let mut line = serde_json::to_vec(&note)?;
        line.push(b'\n');
        file.write_all(&line)
    }

    /// Opens the reservation for the note that its program is started. A node of an earlier release reserves nothing.
    pub(crate) fn open_start_note(&self) -> io::Result<StartNote> {
        match OpenOptions::new().append(true).open(self.path.join(RESERVATION)) {
            Ok(file) => Ok(StartNote { reservation: Some(file) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StartNote::of_unreserved()),
            Err(error) => Err(error),
        }
    }

    /// Returns the reservation whose program was not started, or `None` if that cannot be proved. It may still be started as long
    /// as the supervisor is there.
    pub(crate) fn not_begun(&self) -> io::Result<Option<Reservation>> {
        let mut bytes = Vec::new();
        let mut file = match File::open(self.path.join(RESERVATION)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mark = Mark::of(&file)?;
        Read::by_ref(&mut file).take(NOTE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(not_begun_in(&bytes, &crate::begun_file::boot_id(), mark))
    }

    /// Returns true if there is a reservation that nobody has withdrawn, whether its program has begun or not.
    pub(crate) fn has_reservation(&self) -> bool {
        fs::metadata(self.path.join(RESERVATION)).is_ok_and(|file| file.len() > 0)
    }

    /// Withdraws the reservation. From then on it proves nothing.
    pub(crate) fn withdraw(&self) -> io::Result<()> {
        empty(&self.path.join(RESERVATION))
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

    /// Returns the note of what is or was held, or `None` if there is no note.
    pub(crate) fn read_held(&self) -> io::Result<Option<HeldNote>> {
        let note: Option<HeldNote> = self.read("held")?;
        note.map(|note| check_format(note.format).map(|()| note)).transpose()
    }

    /// Returns what holds or held the program of the note, in any format, or `None` if there is no note.
    pub(crate) fn held_by(&self) -> io::Result<Option<HeldBy>> {
        self.read("held")
    }

    /// Returns how the program ended, or `None` if it has not.
    pub(crate) fn end(&self) -> io::Result<Option<End>> {
        let note: Option<EndNote> = self.read("end")?;
        note.map(|note| check_format(note.format).map(|()| note.end)).transpose()
    }

    /// Clears everything about a program except its reservation. The note of the held program goes last: while it is there, the rest is
    /// looked for.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for stream in ProgramStream::ALL {
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
        self.create(name)?.write_all(bytes)
    }

    /// Opens a file for writing that is empty now.
    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.path.join(name))?;
        empty_file(&file)?;
        Ok(file)
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

/// Reads a reservation. Returns `None` if anything follows it, or if it is not whole, of another boot or a copy.
fn not_begun_in(bytes: &[u8], boot: &str, mark: Mark) -> Option<Reservation> {
    let line = bytes.strip_suffix(b"\n")?;
    // JSON in one line has no line break of its own.
    let note: Reservation = if line.contains(&b'\n') { None } else { serde_json::from_slice(line).ok() }?;
    (note.format == FORMAT && !boot.is_empty() && note.boot == boot && note.file == mark).then_some(note)
}

fn check_format(format: u32) -> io::Result<()> {
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
pub(crate) fn empty_file(file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 { Ok(()) } else { file.set_len(0) }
}

fn empty(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => empty_file(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::programs::Exit;

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::from_micros(1), number))
    }

    fn make_end(code: i32) -> End {
        End { exit: Exit::Code(code), by: None, printed: [0, 0], was_killed: None, ended_at: None }
    }

    #[test]
    fn note_of_a_program_contains_nothing_of_the_previous_one() {
        let folder = TempDir::new().unwrap();
        let folder = Folder::make(folder.path(), "key").unwrap();
        for (number, private) in [(1, "/a/long/path/of/a/private/directory"), (2, "/short")] {
            assert!((folder.read_held().unwrap().is_none(), folder.end().unwrap()) == (true, None), "it begins with nothing");
            folder.note_held(attempt(number), 7, private.into(), None).unwrap();
            folder.note_end(make_end(0)).unwrap();
            // A clear that failed halfway leaves a longer note.
            folder.note_end(make_end(-1_000)).unwrap();
            folder.note_end(make_end(9)).unwrap();
            let held = folder.read_held().unwrap().unwrap();
            assert_eq!((held.attempt, held.private), (attempt(number), private.into()));
            assert_eq!(folder.end().unwrap(), Some(make_end(9)));
            folder.clear().unwrap();
        }
    }

    const BOOT: &str = "1c3a6ed4-0000-4000-8000-000000000001";

    fn make_reservation(folder: &TempDir) -> (Folder, Vec<u8>, Mark) {
        let folder = Folder::make(folder.path(), "key").unwrap();
        folder.reserve(attempt(1), 7).unwrap();
        let path = folder.path().join(RESERVATION);
        let mark = Mark::of(&File::open(&path).unwrap()).unwrap();
        let written = String::from_utf8(fs::read(path).unwrap()).unwrap();
        (folder, written.replace(&crate::begun_file::boot_id(), BOOT).into_bytes(), mark)
    }

    #[test]
    fn reservation_proves_that_nothing_began_until_its_program_begins() {
        let folder = TempDir::new().unwrap();
        let (folder, ..) = make_reservation(&folder);
        let proved = || folder.not_begun().unwrap().map(|note| (note.attempt, note.token));
        assert_eq!(proved(), Some((attempt(1), 7)));
        folder.clear().unwrap();
        assert_eq!(proved(), Some((attempt(1), 7)), "a start that failed has begun nothing");
        let note = folder.open_start_note().unwrap().write().unwrap();
        assert_eq!(proved(), None);
        note.remove().unwrap();
        assert_eq!(proved(), Some((attempt(1), 7)), "the system started nothing");
        let _stays = folder.open_start_note().unwrap().write().unwrap();
        assert_eq!(proved(), None);
        assert!(folder.has_reservation());
        folder.withdraw().unwrap();
        assert!(!folder.has_reservation());
        assert_eq!(proved(), None);
        folder.reserve(attempt(2), 8).unwrap();
        assert_eq!(proved(), Some((attempt(2), 8)));
        folder.remove().unwrap();
        assert_eq!(proved(), None);
    }

    #[test]
    fn copy_of_a_reservation_proves_nothing() {
        let of = TempDir::new().unwrap();
        let (folder, ..) = make_reservation(&of);
        let path = folder.path().join(RESERVATION);
        fs::copy(&path, path.with_extension("copy")).unwrap();
        fs::rename(path.with_extension("copy"), &path).unwrap();
        assert!(folder.not_begun().unwrap().is_none());
    }

    #[test]
    fn only_the_reservation_of_this_boot_proves_anything() {
        let folder = TempDir::new().unwrap();
        let (_, written, mark) = make_reservation(&folder);
        assert!(not_begun_in(&written, BOOT, mark).is_some());
        assert!(not_begun_in(&written, "1c3a6ed4-0000-4000-8000-000000000002", mark).is_none());
        let nameless = String::from_utf8(written).unwrap().replace(BOOT, "");
        assert!(not_begun_in(nameless.as_bytes(), "", mark).is_none(), "two boots without a name may be two");
    }

    proptest! {
        /// Whatever is cut off, follows or is damaged.
        #[test]
        fn only_the_whole_reservation_proves_anything(cut in 0_usize..400, more in prop::collection::vec(any::<u8>(), 0..9)) {
            let folder = TempDir::new().unwrap();
            let (_, written, mark) = make_reservation(&folder);
            let mut bytes = written[..cut.min(written.len())].to_vec();
            bytes.extend_from_slice(&more);
            prop_assert_eq!(not_begun_in(&bytes, BOOT, mark).is_some(), bytes == written);
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
            folder.note_end(make_end(0)).unwrap();
            [number("held"), number("end")]
        };
        let first = noted();
        folder.clear().unwrap();
        assert_eq!(noted(), first);
    }
}

//! The `begun` file: records which attempts have begun to touch the world, so that after a crash it is known
//! which have not.
//!
//! An attempt is noted by one write just before anything outward happens: a program is started, a connection is used.
//! `core.noop`, `core.echo` and the emission of events are never noted: their whole effect is in their report, so an attempt of
//! them without a report has provably done nothing. The file is never flushed. If the process dies, the kernel keeps what was
//! written. If the kernel itself dies, its boot id in the head differs, and the file proves nothing. The file proves nothing either
//! if a line has changed or is missing: each line has a checksum, and the head counts them.
//!
//! The file belongs to one worker. The worker's name is in the head, and the log names the worker that each attempt was given to:
//! the file proves nothing about the attempt of another worker. A copy of the file proves nothing, because it lacks the notes that
//! were written after it was made; the head identifies the original. A worker that finds a file without proof takes a new name.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ensue_engine::executions::facts::Evidence;
use ensue_engine::ids::AttemptId;
use ensue_engine::record::Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The size from which the file is rewritten with only the open attempts.
pub const BEGUN_BYTES_MAX: u64 = 1 << 20;

const HEAD: &str = "ensue begun 2, worker ";
/// How many characters of a line's digest follow it.
const CHECK_CHARS: usize = 8;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why the file cannot be used.
#[derive(Debug, Error)]
#[error("cannot {doing} the file of begun attempts {}: {source}", path.display())]
pub struct BegunError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The file, open for writing.
#[derive(Debug)]
pub struct BegunFile {
    path: PathBuf,
    worker: String,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Which file it is.
    mark: Mark,
    /// How many bytes are good.
    bytes: u64,
    /// The number of attempts in those bytes.
    noted: u64,
    /// The size from which rewriting the file pays off.
    compact_at: u64,
    /// The attempts that have begun and have not ended.
    open: BTreeSet<AttemptId>,
}

/// Which file it is, among all that a machine has: a copy is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    device: u64,
    inode: u64,
}

impl Mark {
    /// Returns the mark of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self { device: about.dev(), inode: about.ino() })
    }
}

/// An attempt that is open in the log, and the worker that the log gave it to.
pub type AssignedAttempt = (AttemptId, Arc<str>);

/// What the file said before it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The worker whose file it is, and what it had begun; none where nothing can be proved.
    begun: Option<(String, BTreeSet<AttemptId>)>,
}

impl Previous {
    /// Returns the evidence about an attempt that was open when the file was opened. `worker` is the worker that the attempt was
    /// given to.
    pub fn evidence(&self, attempt: AttemptId, worker: &str) -> Evidence {
        match &self.begun {
            Some((its, begun)) if its == worker && !begun.contains(&attempt) => Evidence::NotBegun,
            Some(_) | None => Evidence::MayHaveBegun,
        }
    }
}

/// The opener of the file, and the time.
#[derive(Clone, Debug)]
pub struct Opener {
    /// The name of the worker where the file proves nothing: of no other worker of the log, now or earlier.
    pub new_worker: String,
    /// The id that the kernel drew when it started.
    pub boot: String,
}

impl Opener {
    /// Returns one that opens it now, in the boot that the kernel names.
    pub fn now(new_worker: impl Into<String>) -> Self {
        Self { new_worker: new_worker.into(), boot: boot_id() }
    }
}

impl BegunFile {
    /// Reads the file and writes it again with those of the attempts still `open` that may have begun, so that a second crash
    /// finds the same evidence. Without a file, or with a copy, one of another boot or with lines that are no attempts, each of them
    /// may have begun; and so may each that was given to another worker. Blocks.
    pub fn open(
        path: impl Into<PathBuf>,
        by: Opener,
        open: impl IntoIterator<Item = AssignedAttempt>,
    ) -> Result<(Self, Previous), BegunError> {
        let (path, Opener { new_worker, boot }) = (path.into(), by);
        let previous = read(&path, &boot).map_err(|source| file_error("read", &path, source))?;
        let open = open.into_iter().filter(|(attempt, worker)| previous.evidence(*attempt, worker) == Evidence::MayHaveBegun);
        let open: BTreeSet<AttemptId> = open.map(|(attempt, _)| attempt).collect();
        let worker = previous.begun.as_ref().map_or(new_worker, |(worker, _)| worker.clone());
        let (file, mark, bytes) = rewrite(&path, (&worker, &boot), &open).map_err(|source| file_error("write", &path, source))?;
        let state = State { file, mark, bytes, noted: open.len() as u64, compact_at: compact_at(bytes), open };
        let begun = Self { path, worker, boot, state: Mutex::new(state) };
        Ok((begun, previous))
    }

    /// Returns the name of the worker whose file it is.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Notes that an attempt begins. Only after this may anything outward happen.
    pub fn note(&self, attempt: AttemptId) -> Result<(), BegunError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(attempt);
        let noted = state.noted + 1;
        // Write the line before the count: if there are more lines than the head counts, the attempt has not
        // begun, and it is treated as if it may have.
        let written = state.file.write_all_at(line.as_bytes(), state.bytes);
        let written = written.and_then(|()| state.file.write_all_at(head((&self.worker, &self.boot), state.mark, noted).as_bytes(), 0));
        if let Err(source) = written {
            // Half a line would be read as an attempt that cannot be identified, so remove it.
            let bytes = state.bytes;
            if let Err(error) = state.file.set_len(bytes) {
                tracing::warn!(%error, "a half-written line remains in the file of begun attempts");
            }
            return Err(file_error("write", &self.path, source));
        }
        state.bytes += line.len() as u64;
        state.noted = noted;
        state.open.insert(attempt);
        Ok(())
    }

    /// Returns the evidence about an attempt that has not ended.
    pub fn evidence(&self, attempt: AttemptId) -> Evidence {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open.contains(&attempt) { Evidence::MayHaveBegun } else { Evidence::NotBegun }
    }

    /// Forgets an attempt whose end is in the log, and rewrites the file if it has grown large.
    pub fn forget(&self, attempt: AttemptId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.remove(&attempt);
        if state.bytes < state.compact_at {
            return;
        }
        match rewrite(&self.path, (&self.worker, &self.boot), &state.open) {
            Ok((file, mark, bytes)) => {
                state.file = file;
                state.mark = mark;
                state.bytes = bytes;
                state.noted = state.open.len() as u64;
                state.compact_at = compact_at(bytes);
            }
            Err(error) => {
                // The old file is intact and still in place. Try again when it has doubled.
                state.compact_at = state.bytes * 2;
                tracing::warn!(%error, "the file of begun attempts could not be shortened");
            }
        }
    }
}

fn compact_at(bytes: u64) -> u64 {
    BEGUN_BYTES_MAX.max(bytes * 2)
}

/// The first line, as long for any number of attempts.
fn head((worker, boot): (&str, &str), Mark { device, inode }: Mark, noted: u64) -> String {
    format!("{HEAD}{worker}, boot {boot}, file {device:016x}.{inode:016x}, {noted:020}\n")
}

fn line(attempt: AttemptId) -> String {
    let attempt = attempt.to_string();
    format!("{attempt} {}\n", check(&attempt))
}

fn check(attempt: &str) -> String {
    let mut digest = Digest::of(attempt.as_bytes()).to_string();
    digest.truncate(CHECK_CHARS);
    digest
}

/// Parses a line. Returns none if the line is not as it was written.
fn parse_line(line: &str) -> Option<AttemptId> {
    let (attempt, its_check) = line.split_once(' ')?;
    if check(attempt) == its_check { attempt.parse().ok() } else { None }
}

/// Returns the id that the kernel generated at boot, or a text that no head contains if the id cannot be
/// read.
pub(crate) fn boot_id() -> String {
    static READ: OnceLock<String> = OnceLock::new();
    READ.get_or_init(|| fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |text| text.trim().to_owned())).clone()
}

fn read(path: &Path, boot: &str) -> io::Result<Previous> {
    let text = File::open(path).and_then(|mut file| {
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((text, Mark::of(&file)?))
    });
    match text {
        Ok((text, mark)) => Ok(parse(&text, boot, mark)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(Previous { begun: None }),
        Err(error) => Err(error),
    }
}

fn parse(text: &str, boot: &str, mark: Mark) -> Previous {
    Previous { begun: begun_in(text, boot, mark) }
}

/// Returns the worker of a complete file of this boot, and the attempts that it lists; `None` if the file is of another boot, or a copy.
fn begun_in(text: &str, boot: &str, mark: Mark) -> Option<(String, BTreeSet<AttemptId>)> {
    let (head, lines) = text.split_once('\n')?;
    let mut parts = head.strip_prefix(HEAD)?.split(", ");
    let (worker, its_boot, its_mark, count) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (its_boot, its_mark) = (its_boot.strip_prefix("boot ")?, parse_mark(its_mark.strip_prefix("file ")?)?);
    if boot.is_empty() || its_boot != boot || its_mark != mark {
        return None;
    }
    Some((worker.to_owned(), noted_in(lines, count)?))
}

fn parse_mark(text: &str) -> Option<Mark> {
    let (device, inode) = text.split_once('.')?;
    Some(Mark { device: u64::from_str_radix(device, 16).ok()?, inode: u64::from_str_radix(inode, 16).ok()? })
}

/// Returns the attempts that the lines name; `None` if there are fewer than the given count, or if a line is damaged.
fn noted_in(lines: &str, count: &str) -> Option<BTreeSet<AttemptId>> {
    // A write that was cut off, by a full disk or a kill, leaves a part of a line at the end. Its attempt was not counted, so it has
    // not begun. A part that is counted is damage: a whole line is missing then.
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    if (whole.lines().count() as u64) < count.parse().ok()? {
        return None;
    }
    whole.lines().map(parse_line).collect()
}

/// Replaces the file by a new one. Returns it open for writing, with its mark and its length.
fn rewrite(path: &Path, by: (&str, &str), open: &BTreeSet<AttemptId>) -> io::Result<(File, Mark, u64)> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&beside)?;
    let mark = Mark::of(&file)?;
    let mut text = head(by, mark, open.len() as u64);
    text.extend(open.iter().map(|attempt| line(*attempt)));
    file.write_all_at(text.as_bytes(), 0)?;
    fs::rename(&beside, path)?;
    Ok((file, mark, text.len() as u64))
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> BegunError {
    BegunError { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;
    use tempfile::TempDir;

    use super::*;

    const BOOT: &str = "1c3a6ed4-0000-4000-8000-000000000001";
    const NEXT_BOOT: &str = "1c3a6ed4-0000-4000-8000-000000000002";

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::from_micros(1_774_699_200_000_000), number))
    }

    /// The worker of a new file.
    const FIRST: &str = "first";

    fn by(new_worker: &str, boot: &str) -> Opener {
        Opener { new_worker: new_worker.to_owned(), boot: boot.to_owned() }
    }

    /// Opens a file as it is found after attempts that its first worker was given.
    fn open(folder: &TempDir, attempts: &[AttemptId], boot: &str) -> (BegunFile, Previous) {
        let path = folder.path().join("begun");
        BegunFile::open(path, by(FIRST, boot), attempts.iter().map(|attempt| (*attempt, FIRST.into()))).unwrap()
    }

    fn head_of(path: &Path, noted: u64) -> String {
        head((FIRST, BOOT), Mark::of(&File::open(path).unwrap()).unwrap(), noted)
    }

    #[test]
    fn only_a_noted_attempt_may_have_begun_before_a_crash() {
        let folder = TempDir::new().unwrap();
        let (begun, _) = open(&folder, &[], BOOT);
        begun.note(attempt(1)).unwrap();
        drop(begun);
        let (_, previous) = open(&folder, &[attempt(1), attempt(2)], BOOT);
        assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(2), FIRST), Evidence::NotBegun);
    }

    #[test]
    fn previous_boot_s_notes_prove_nothing() {
        let folder = TempDir::new().unwrap();
        drop(open(&folder, &[], BOOT));
        let (_, previous) = open(&folder, &[attempt(1)], NEXT_BOOT);
        assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun);
        let (begun, _) = BegunFile::open(folder.path().join("begun"), by("second", BOOT), []).unwrap();
        assert_eq!(begun.worker(), "second", "who can prove nothing is another worker");
    }

    #[test]
    fn second_crash_finds_the_evidence_of_the_first() {
        let folder = TempDir::new().unwrap();
        drop(open(&folder, &[], BOOT));
        drop(open(&folder, &[attempt(1)], NEXT_BOOT));
        let (_, previous) = open(&folder, &[attempt(1), attempt(2)], NEXT_BOOT);
        assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(2), FIRST), Evidence::NotBegun);
    }

    #[test]
    fn file_proves_nothing_about_the_attempt_of_another_worker() {
        let (folder, path) = (TempDir::new().unwrap(), |folder: &TempDir| folder.path().join("begun"));
        drop(BegunFile::open(path(&folder), by("second", BOOT), []).unwrap());
        let given = [(attempt(1), FIRST.into()), (attempt(2), "second".into())];
        let (begun, previous) = BegunFile::open(path(&folder), by("third", BOOT), given).unwrap();
        assert_eq!(begun.worker(), "second", "a worker keeps its name as long as its file proves something");
        assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(2), "second"), Evidence::NotBegun);
        assert_eq!(begun.evidence(attempt(1)), Evidence::MayHaveBegun, "and so it is said when it is to be stopped");
    }

    #[test]
    fn copied_file_proves_nothing_and_belongs_to_no_worker() {
        let folder = TempDir::new().unwrap();
        let (begun, _) = open(&folder, &[], BOOT);
        let copy = TempDir::new().unwrap();
        fs::copy(folder.path().join("begun"), copy.path().join("begun")).unwrap();
        // Notes from now on are only in the original.
        begun.note(attempt(1)).unwrap();
        let given = [(attempt(1), begun.worker().into())];
        let (copied, previous) = BegunFile::open(copy.path().join("begun"), by("second", BOOT), given).unwrap();
        assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun);
        assert_eq!(copied.worker(), "second");
    }

    #[test]
    fn unreadable_file_proves_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let earlier = format!("ensue begun 1, boot {BOOT}, {:020}\n", 0);
        for text in ["", "ensue begun 2", "ensue begun 9, boot x\n", "\u{0}\u{0}", &earlier] {
            fs::write(&path, text).unwrap();
            let (_, previous) = open(&folder, &[attempt(1)], BOOT);
            assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun, "{text:?}");
        }
    }

    #[test]
    fn uncounted_partial_line_means_that_the_attempt_has_not_begun() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let part = &line(attempt(2))[..20];
        for (counted, evidence) in [(1, Evidence::NotBegun), (2, Evidence::MayHaveBegun)] {
            fs::write(&path, "").unwrap();
            fs::write(&path, format!("{}{}{part}", head_of(&path, counted), line(attempt(1)))).unwrap();
            let (_, previous) = open(&folder, &[attempt(1), attempt(2)], BOOT);
            assert_eq!(previous.evidence(attempt(1), FIRST), Evidence::MayHaveBegun, "{counted} counted");
            assert_eq!(previous.evidence(attempt(2), FIRST), evidence, "{counted} counted");
        }
    }

    #[test]
    fn corrupted_or_truncated_file_proves_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let (begun, _) = open(&folder, &[], BOOT);
        begun.note(attempt(1)).unwrap();
        begun.note(attempt(2)).unwrap();
        let (whole, mark) = (fs::read(&path).unwrap(), Mark::of(&File::open(&path).unwrap()).unwrap());
        let flips = (0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        for text in flips.chain(cuts).filter_map(|damaged| String::from_utf8(damaged).ok()) {
            let previous = parse(&text, BOOT, mark);
            for number in [1, 2] {
                assert_eq!(previous.evidence(attempt(number), FIRST), Evidence::MayHaveBegun, "attempt {number} by\n{text}");
            }
        }
        let previous = parse(std::str::from_utf8(&whole).unwrap(), BOOT, mark);
        assert_eq!(previous.evidence(attempt(3), FIRST), Evidence::NotBegun, "what is whole proves it");
    }

    #[test]
    fn file_stays_small_and_keeps_open_attempts() {
        let folder = TempDir::new().unwrap();
        let (begun, _) = open(&folder, &[], BOOT);
        begun.note(attempt(0)).unwrap();
        for number in 1..40_000 {
            begun.note(attempt(number)).unwrap();
            begun.forget(attempt(number));
        }
        let bytes = fs::metadata(folder.path().join("begun")).unwrap().len();
        assert!(bytes < BEGUN_BYTES_MAX, "{bytes}");
        drop(begun);
        let (_, previous) = open(&folder, &[attempt(0), attempt(9)], BOOT);
        assert_eq!(previous.evidence(attempt(0), FIRST), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(9), FIRST), Evidence::NotBegun);
    }

    #[test]
    fn kernel_reports_its_boot_id() {
        assert_eq!(boot_id().len(), 36);
    }
}

//! The `begun` file: records which attempts have begun to touch the world, so that after a crash it is known
//! which have not.
//!
//! An attempt is recorded by one write just before anything outside the node is touched, such as starting a
//! program or using a connection. `core.noop`, `core.echo` and the emitting of events are never recorded: all
//! that they do is in their report, so if such an attempt was not reported, it provably has done nothing.
//!
//! The file is never flushed. If the process dies, the kernel keeps what was written. If the kernel dies, its
//! boot id in the file's head no longer matches, and nothing can be proved. The same holds if a line was
//! changed or is missing: each line has a checksum, and the head counts the lines.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ensue_engine::executions::facts::Evidence;
use ensue_engine::ids::AttemptId;
use ensue_engine::mutants;
use ensue_engine::record::Digest;
use thiserror::Error;

/// The size from which the file is rewritten with only the open attempts.
pub const BEGUN_BYTES_MAX: u64 = 1 << 20;

const HEAD: &str = "ensue begun 1, boot ";
/// The number of characters of a line's digest that follow it.
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
pub struct Begun {
    path: PathBuf,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The number of valid bytes.
    bytes: u64,
    /// The number of attempts in those bytes.
    noted: u64,
    /// The size from which rewriting the file pays off.
    compact_at: u64,
    /// The attempts that have begun and have not ended.
    open: BTreeSet<AttemptId>,
}

/// The content of the file before it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    begun: Option<BTreeSet<AttemptId>>,
}

impl Previous {
    /// Returns the evidence about an attempt that was open when the file was opened.
    pub fn evidence(&self, attempt: AttemptId) -> Evidence {
        match &self.begun {
            Some(begun) if !begun.contains(&attempt) => Evidence::NotBegun,
            None if mutants::is("no file proves that nothing began") => Evidence::NotBegun,
            Some(_) | None => Evidence::MayHaveBegun,
        }
    }
}

impl Begun {
    /// Reads the file and rewrites it with those of the attempts in `open` that may have begun, so that a
    /// second crash finds the same evidence. If the file is missing, is from another boot, or has invalid
    /// lines, each of them may have begun. Blocks.
    pub fn open(path: impl Into<PathBuf>, open: impl IntoIterator<Item = AttemptId>) -> Result<(Self, Previous), BegunError> {
        Self::open_in_boot(path.into(), open, &boot_id())
    }

    /// Does the same for the boot named by `boot`, if that is known from a source other than the kernel.
    pub fn open_in_boot(path: PathBuf, open: impl IntoIterator<Item = AttemptId>, boot: &str) -> Result<(Self, Previous), BegunError> {
        let previous = match fs::read_to_string(&path) {
            Ok(text) => parsed(&text, boot),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Previous { begun: None },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Previous { begun: None },
            Err(source) => return Err(failed("read", &path, source)),
        };
        let open: BTreeSet<AttemptId> = open.into_iter().filter(|attempt| previous.evidence(*attempt) == Evidence::MayHaveBegun).collect();
        let open = if mutants::is("begun forgotten at a restart") { BTreeSet::new() } else { open };
        let (file, bytes) = rewrite(&path, boot, &open).map_err(|source| failed("write", &path, source))?;
        let state = State { file, bytes, noted: open.len() as u64, compact_at: compact_at(bytes), open };
        let begun = Self { path, boot: boot.to_owned(), state: Mutex::new(state) };
        Ok((begun, previous))
    }

    /// Records that an attempt begins. Nothing outside the node may be touched before this.
    pub fn note(&self, attempt: AttemptId) -> Result<(), BegunError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(attempt);
        let noted = state.noted + 1;
        // Write the line before the count: if there are more lines than the head counts, the attempt has not
        // begun, and it is treated as if it may have.
        let written = state.file.write_all_at(line.as_bytes(), state.bytes);
        let written = written.and_then(|()| state.file.write_all_at(head(&self.boot, noted).as_bytes(), 0));
        if let Err(source) = written {
            // Half a line would be read as an attempt that cannot be identified, so remove it.
            let bytes = state.bytes;
            if let Err(error) = state.file.set_len(bytes) {
                tracing::warn!(%error, "a half-written line remains in the file of begun attempts");
            }
            return Err(failed("write", &self.path, source));
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
        match rewrite(&self.path, &self.boot, &state.open) {
            Ok((file, bytes)) => {
                state.file = file;
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

/// Returns the first line. It has the same length for any number of attempts.
fn head(boot: &str, noted: u64) -> String {
    format!("{HEAD}{boot}, {noted:020}\n")
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
fn noted(line: &str) -> Option<AttemptId> {
    let (attempt, its_check) = line.split_once(' ')?;
    if check(attempt) == its_check { attempt.parse().ok() } else { None }
}

/// Returns the id that the kernel generated at boot, or a text that no head contains if the id cannot be
/// read.
pub(crate) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

fn parsed(text: &str, boot: &str) -> Previous {
    Previous { begun: told(text, boot) }
}

/// Returns the attempts listed in an intact file of this boot, or none if the file is anything else.
fn told(text: &str, boot: &str) -> Option<BTreeSet<AttemptId>> {
    let (head, lines) = text.split_once('\n')?;
    let (its_boot, count) = head.strip_prefix(HEAD)?.split_once(", ")?;
    if (boot.is_empty() || its_boot != boot) && !mutants::is("file of another boot believed") {
        return None;
    }
    // If a write was cut off, by a full disk or a kill, part of a line is left at the end. Its attempt was
    // not counted, so it has not begun. If the partial line was counted, the file is damaged: a whole line is
    // missing.
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    if (whole.lines().count() as u64) < count.parse().ok()? {
        return None;
    }
    whole.lines().map(noted).collect()
}

/// Replaces the file with a new one. Returns it open for writing, with its length.
fn rewrite(path: &Path, boot: &str, open: &BTreeSet<AttemptId>) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let mut text = head(boot, open.len() as u64);
    text.extend(open.iter().map(|attempt| line(*attempt)));
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&beside)?;
    file.write_all_at(text.as_bytes(), 0)?;
    fs::rename(&beside, path)?;
    Ok((file, text.len() as u64))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> BegunError {
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

    fn open(folder: &TempDir, attempts: &[AttemptId], boot: &str) -> (Begun, Previous) {
        let path = folder.path().join("begun");
        Begun::open_in_boot(path, attempts.iter().copied(), boot).unwrap()
    }

    #[test]
    fn only_a_noted_attempt_may_have_begun_before_a_crash() {
        let folder = TempDir::new().unwrap();
        let (begun, _) = open(&folder, &[], BOOT);
        begun.note(attempt(1)).unwrap();
        drop(begun);
        let (_, previous) = open(&folder, &[attempt(1), attempt(2)], BOOT);
        assert_eq!(previous.evidence(attempt(1)), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(2)), Evidence::NotBegun);
    }

    #[test]
    fn previous_boot_s_notes_prove_nothing() {
        let folder = TempDir::new().unwrap();
        drop(open(&folder, &[], BOOT));
        let (_, previous) = open(&folder, &[attempt(1)], NEXT_BOOT);
        assert_eq!(previous.evidence(attempt(1)), Evidence::MayHaveBegun);
    }

    #[test]
    fn second_crash_finds_the_evidence_of_the_first() {
        let folder = TempDir::new().unwrap();
        drop(open(&folder, &[], BOOT));
        drop(open(&folder, &[attempt(1)], NEXT_BOOT));
        let (_, previous) = open(&folder, &[attempt(1), attempt(2)], NEXT_BOOT);
        assert_eq!(previous.evidence(attempt(1)), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(2)), Evidence::NotBegun);
    }

    #[test]
    fn unreadable_file_proves_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        for text in ["", "ensue begun 1", "ensue begun 9, boot x\n", "\u{0}\u{0}"] {
            fs::write(&path, text).unwrap();
            let (_, previous) = open(&folder, &[attempt(1)], BOOT);
            assert_eq!(previous.evidence(attempt(1)), Evidence::MayHaveBegun, "{text:?}");
        }
    }

    #[test]
    fn uncounted_partial_line_means_that_the_attempt_has_not_begun() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let part = &line(attempt(2))[..20];
        for (counted, evidence) in [(1, Evidence::NotBegun), (2, Evidence::MayHaveBegun)] {
            fs::write(&path, format!("{}{}{part}", head(BOOT, counted), line(attempt(1)))).unwrap();
            let (_, previous) = open(&folder, &[attempt(1), attempt(2)], BOOT);
            assert_eq!(previous.evidence(attempt(1)), Evidence::MayHaveBegun, "{counted} counted");
            assert_eq!(previous.evidence(attempt(2)), evidence, "{counted} counted");
        }
    }

    #[test]
    fn corrupted_or_truncated_file_proves_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let (begun, _) = open(&folder, &[], BOOT);
        begun.note(attempt(1)).unwrap();
        begun.note(attempt(2)).unwrap();
        let whole = fs::read(&path).unwrap();
        let flips = (0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        for text in flips.chain(cuts).filter_map(|damaged| String::from_utf8(damaged).ok()) {
            let previous = parsed(&text, BOOT);
            for number in [1, 2] {
                assert_eq!(previous.evidence(attempt(number)), Evidence::MayHaveBegun, "attempt {number} by\n{text}");
            }
        }
        let previous = parsed(std::str::from_utf8(&whole).unwrap(), BOOT);
        assert_eq!(previous.evidence(attempt(3)), Evidence::NotBegun, "what is whole proves it");
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
        assert_eq!(previous.evidence(attempt(0)), Evidence::MayHaveBegun);
        assert_eq!(previous.evidence(attempt(9)), Evidence::NotBegun);
    }

    #[test]
    fn kernel_reports_its_boot_id() {
        assert_eq!(boot_id().len(), 36);
    }
}

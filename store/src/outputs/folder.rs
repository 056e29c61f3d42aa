//! Outputs in a folder: a file for each stream that printed something, and one more once such an attempt is finished.
//!
//! An attempt that printed nothing leaves nothing, so that it costs nothing; whether it ended, the log says.
//! Names are made of ids only, so nothing that a program prints or is called can choose a path.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};
use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::{Counts, OUTPUT_BYTES_MAX, READ_BYTES_MAX, index};
use crate::sync::{Existing, create_private};

/// The most files that are kept open to be written.
const OPEN_FILES_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Outputs in a folder.
pub struct FolderOutputs {
    folder: PathBuf,
    bytes_max: u64,
    writing: Mutex<Writing>,
}

struct Writing {
    attempts: BTreeMap<AttemptId, Counts>,
    files: LruCache<(AttemptId, usize), File>,
}

/// What the last file says: that nothing more comes, and how much is missing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    format: u32,
    stdout_bytes_dropped: u64,
    stderr_bytes_dropped: u64,
}

const END_FORMAT: u32 = 1;

impl FolderOutputs {
    /// Opens the folder, making it where there is none; keeps [`OUTPUT_BYTES_MAX`] of an attempt.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let writing = Writing { attempts: BTreeMap::new(), files: LruCache::new(OPEN_FILES_MAX) };
        Ok(Self { folder: folder.to_owned(), bytes_max: OUTPUT_BYTES_MAX, writing: Mutex::new(writing) })
    }

    /// Keeps at most so many bytes of an attempt's two streams together.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of an attempt is named by the first two hex digits of its id's tail, which is as good as random.
    fn path(&self, attempt: AttemptId, suffix: &str) -> PathBuf {
        let id = attempt.to_string();
        let tail = id.rsplit('-').next().unwrap_or(&id);
        self.folder.join(&tail[..2]).join(format!("{id}.{suffix}"))
    }

    fn stream_path(&self, attempt: AttemptId, stream: OutputStream) -> PathBuf {
        self.path(attempt, stream.as_str())
    }

    fn try_append(&self, attempt: AttemptId, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        let mut writing = self.writing();
        let Writing { attempts, files } = &mut *writing;
        let counts = match attempts.entry(attempt) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if self.end(attempt)?.is_some() => return Err(io::Error::other("it was finished")),
            Entry::Vacant(unknown) => unknown.insert(self.counts(attempt)?),
        };
        let mut after = *counts;
        let kept = after.admit(stream, bytes.len(), self.bytes_max);
        if kept > 0 {
            let open = || open_to_append(&self.stream_path(attempt, stream));
            let written = files.try_get_or_insert_mut((attempt, index(stream)), open)?.write_all(&bytes[..kept]);
            if written.is_err() {
                // How much of it reached the file is asked of the file, the next time.
                files.pop(&(attempt, index(stream)));
                let dropped = counts.dropped;
                *counts = Counts { dropped, ..self.counts(attempt)? };
                return written;
            }
        }
        *counts = after;
        Ok(())
    }

    fn try_finish(&self, attempt: AttemptId) -> io::Result<()> {
        let mut writing = self.writing();
        if self.end(attempt)?.is_some() {
            return Ok(());
        }
        let counts = match writing.attempts.remove(&attempt) {
            Some(counts) => counts,
            None => self.counts(attempt)?,
        };
        if counts == Counts::default() {
            return Ok(());
        }
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            writing.files.pop(&(attempt, index(stream)));
        }
        let [stdout_bytes_dropped, stderr_bytes_dropped] = counts.dropped;
        let end = End { format: END_FORMAT, stdout_bytes_dropped, stderr_bytes_dropped };
        let path = self.path(attempt, "end");
        path.parent().map_or(Ok(()), make_folder)?;
        create_private(&path, Existing::Replaced)?.write_all(&serde_json::to_vec(&end)?)
    }

    fn try_read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> io::Result<OutputPart> {
        // The end is asked for first: where it is there, the size asked for after it is the last.
        let end = self.end(attempt)?;
        let file = match File::open(self.stream_path(attempt, stream)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let size = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|about| about.len()))?;
        let room = size.saturating_sub(offset).min(bytes_max.min(READ_BYTES_MAX) as u64);
        let mut bytes = vec![0; room as usize];
        if let Some(file) = file.filter(|_| room > 0) {
            file.read_exact_at(&mut bytes, offset)?;
        }
        let next = offset.saturating_add(room);
        let state = match end {
            Some(counts) if next >= size => counts.finished(stream),
            Some(_) | None => OutputState::Open,
        };
        Ok(OutputPart { bytes: Bytes::from(bytes), next, state })
    }

    /// Gives what an attempt has, where this process does not know it yet.
    fn counts(&self, attempt: AttemptId) -> io::Result<Counts> {
        let size = |stream| match fs::metadata(self.stream_path(attempt, stream)) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        Ok(Counts { kept: [size(OutputStream::Stdout)?, size(OutputStream::Stderr)?], dropped: [0, 0] })
    }

    fn end(&self, attempt: AttemptId) -> io::Result<Option<Counts>> {
        let content = match fs::read(self.path(attempt, "end")) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // It is being written, or a power cut took its content.
        if content.is_empty() {
            return Ok(None);
        }
        let end: End = serde_json::from_slice(&content)?;
        if end.format != END_FORMAT {
            return Err(io::Error::other(format!("its end has format {}, this release knows {END_FORMAT}", end.format)));
        }
        Ok(Some(Counts { kept: [0, 0], dropped: [end.stdout_bytes_dropped, end.stderr_bytes_dropped] }))
    }
}

impl Outputs for FolderOutputs {
    fn append(&self, attempt: AttemptId, stream: OutputStream, bytes: &[u8]) -> Result<(), OutputError> {
        self.try_append(attempt, stream, bytes).map_err(|error| failed(attempt, &error))
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.try_finish(attempt).map_err(|error| failed(attempt, &error))
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        self.try_read(attempt, stream, offset, bytes_max).map_err(|error| failed(attempt, &error))
    }
}

fn failed(attempt: AttemptId, error: &io::Error) -> OutputError {
    OutputError::Store { attempt, why: error.to_string() }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), make_folder)?;
    File::options().append(true).create(true).mode(0o600).open(path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;

    use super::*;

    const ATTEMPT_TIME: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(ATTEMPT_TIME, number))
    }

    #[test]
    fn a_file_is_its_owners_alone_and_lies_where_its_id_says() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        outputs.append(attempt(0xAB << 40), OutputStream::Stdout, b"hello").unwrap();
        let path = folder.path().join("ab").join(format!("{}.stdout", attempt(0xAB << 40)));
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn more_attempts_than_open_files_are_written_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        let attempts = 2 * OPEN_FILES_MAX.get() as u128;
        for round in ["a", "b", "c"] {
            for number in 0..attempts {
                outputs.append(attempt(number), OutputStream::Stderr, round.as_bytes()).unwrap();
            }
        }
        assert_eq!(outputs.writing().files.len(), OPEN_FILES_MAX.get());
        for number in 0..attempts {
            let part = outputs.read(attempt(number), OutputStream::Stderr, 0, 100).unwrap();
            assert_eq!(part.bytes, "abc");
        }
    }

    #[test]
    fn a_reopened_folder_goes_on_under_the_same_cap() {
        let folder = tempfile::tempdir().unwrap();
        let open = || FolderOutputs::open(folder.path()).unwrap().with_bytes_max(8);
        open().append(attempt(1), OutputStream::Stdout, b"12345").unwrap();
        let outputs = open();
        outputs.append(attempt(1), OutputStream::Stdout, b"6789").unwrap();
        outputs.finish(attempt(1)).unwrap();
        let part = open().read(attempt(1), OutputStream::Stdout, 0, 100).unwrap();
        assert_eq!((part.bytes.as_ref(), part.state), (b"12345678".as_slice(), OutputState::Truncated { bytes_dropped: 1 }));
    }

    #[test]
    fn a_finished_attempt_takes_nothing_more_also_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        outputs.append(attempt(1), OutputStream::Stdout, b"in time").unwrap();
        outputs.finish(attempt(1)).unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        assert!(outputs.append(attempt(1), OutputStream::Stdout, b"late").is_err());
    }

    #[test]
    fn an_attempt_that_printed_nothing_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        outputs.append(attempt(1), OutputStream::Stdout, b"").unwrap();
        outputs.finish(attempt(1)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_end_of_a_newer_release_is_an_error_and_not_an_open_stream() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = FolderOutputs::open(folder.path()).unwrap();
        outputs.append(attempt(1), OutputStream::Stdout, b"x").unwrap();
        outputs.finish(attempt(1)).unwrap();
        let newer = r#"{"format":2,"stdout_bytes_dropped":0,"stderr_bytes_dropped":0}"#;
        fs::write(outputs.path(attempt(1), "end"), newer).unwrap();
        let error = outputs.read(attempt(1), OutputStream::Stdout, 0, 10).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}

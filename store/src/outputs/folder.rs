//! Outputs in a folder: each stream in files of a bounded size, and one more file once the attempt is
//! finished.
//!
//! An attempt without output has no files, so it costs nothing; the log shows whether it ended. File names
//! are made of ids only, so neither a program's output nor its name can influence a path.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ensue_engine::ids::{AttemptId, Id};
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::removed_outputs::RemovedOutputs;
use super::{OUTPUT_BYTES_MAX, OutputCounts, PrintedPart, READ_BYTES_MAX, index};
use crate::disk_retention::{Disposable, PARTS, RetainedThing};
use crate::space::{BLOCK_BYTES, LOOKED_AT_EVERY_BYTES, blocks, free_bytes};
use crate::sync::{Existing, create_private, existing, make_folder};

/// The maximum size of one file, in bytes. Longer output continues in the next. `docs/decisions/outputs.md`
/// has the measurement.
pub const CHUNK_BYTES: u64 = 1024 * 1024;

/// The maximum number of files that are kept open for writing.
const OPEN_FILES_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Limits on the stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// The maximum of an attempt's two streams together.
    pub attempt_bytes: u64,
    /// The maximum of all attempts together. Output beyond it is counted but not kept.
    pub quota_bytes: u64,
    /// How much of the disk stays free, so that output never takes the space that the log needs. Output
    /// beyond that is counted but not kept.
    pub free_bytes: u64,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { attempt_bytes: OUTPUT_BYTES_MAX, quota_bytes: u64::MAX, free_bytes: 0 }
    }
}

/// Returns the current time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Outputs in a folder.
pub struct FolderOutputs {
    folder: PathBuf,
    limits: OutputLimits,
    now: Now,
    /// The disk space in use: the last total found, adjusted by changes since.
    used: AtomicU64,
    writing: Mutex<Writing>,
}

struct Writing {
    attempts: BTreeMap<AttemptId, OutputCounts>,
    /// Finished attempts whose end could not be written, at most as many as the full disk allowed, and what is known of them.
    unended: BTreeMap<AttemptId, (OutputCounts, CopyState)>,
    /// Outputs that are copied from elsewhere now.
    copying: BTreeSet<AttemptId>,
    files: LruCache<(AttemptId, usize, u64), File>,
    space: Space,
    /// The change in disk space while a round looks.
    since_looked: i64,
}

/// How much of the disk is free, as far as is known.
#[derive(Clone, Copy)]
struct Space {
    left: u64,
    looked_at: u64,
}

/// What is known of an output that was copied from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It is what was printed.
    Whole,
    /// It is the beginning of what was printed. It is not known whether there was more.
    Beginning,
    /// Nobody vouches for it.
    Unchecked,
}

/// The content of the last file: that the output is finished, when, how much was dropped, and what the other
/// files hold.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputEnd {
    format: u32,
    stdout_bytes_dropped: u64,
    stderr_bytes_dropped: u64,
    ended_at: Timestamp,
    /// `None` in the previous format, if the files could not be read back, or if nobody vouches for a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<[Files; 2]>,
    /// Whether it is a copy that may lack what was printed last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_beginning: bool,
}

/// The content of a stream's files. All of them except the last one are full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    /// Their total size in bytes.
    bytes: u64,
    /// The digest of each.
    digests: Vec<Digest>,
}

const END_FORMAT: u32 = 3;

/// The previous format, without the other files.
const END_FORMAT_WITHOUT_FILES: u32 = 2;

/// The extension of the file with the end.
const END: &str = "end";

/// The extension of the empty file that is there while an output is copied from elsewhere.
const COPYING: &str = "copying";

impl FolderOutputs {
    /// Opens the folder, creating it if necessary.
    pub fn open(folder: &Path, limits: OutputLimits, now: Now) -> io::Result<Self> {
        make_folder(folder)?;
        let space = Space { left: 0, looked_at: 0 };
        let (attempts, unended, copying) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let writing = Writing { attempts, unended, copying, files: LruCache::new(OPEN_FILES_MAX), space, since_looked: 0 };
        Ok(Self { folder: folder.to_owned(), limits, now, used: AtomicU64::new(0), writing: Mutex::new(writing) })
    }

    /// Registers the attempts that were running when the node stopped and may print more. For all others, the
    /// output found is considered complete. The same holds for attempts that cannot be read, whose errors are
    /// returned.
    pub fn go_on(&self, attempts: impl IntoIterator<Item = AttemptId>) -> Vec<OutputError> {
        let mut writing = self.writing();
        let mut unreadable = Vec::new();
        for attempt in attempts {
            match self.left_open(attempt) {
                Ok(Some(counts)) => drop(writing.attempts.insert(attempt, counts)),
                Ok(None) => {}
                Err(error) => unreadable.push(output_error(attempt, &error)),
            }
        }
        unreadable
    }

    /// Returns the counts of an attempt that was not finished.
    fn left_open(&self, attempt: AttemptId) -> io::Result<Option<OutputCounts>> {
        match read_end(&self.path(attempt, END))? {
            Some(_) => Ok(None),
            None => self.counts(attempt).map(Some),
        }
    }

    /// Returns true if there is output of an attempt, or if there was some and it was removed.
    pub fn has(&self, attempt: AttemptId) -> io::Result<bool> {
        Ok(self.writing().attempts.contains_key(&attempt) || self.has_files(attempt)? || self.is_removed(attempt)?)
    }

    /// Begins to copy a finished output from elsewhere. What is copied is not served as an output until
    /// [`finish_copy`](Self::finish_copy), also if the process is killed meanwhile.
    pub fn begin_copy(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.writing().copying.insert(attempt);
        open_to_append(&self.path(attempt, COPYING)).map(drop).map_err(|error| output_error(attempt, &error))
    }

    /// Finishes the copy of an output.
    pub fn finish_copy(&self, attempt: AttemptId, state: CopyState) -> Result<(), OutputError> {
        let files = self.files(attempt);
        let mut writing = self.writing();
        let finished = self.finish_at(&mut writing, attempt, (files, state));
        finished.and_then(|()| existing(fs::remove_file(self.path(attempt, COPYING)))).map_err(|error| output_error(attempt, &error))?;
        writing.copying.remove(&attempt);
        Ok(())
    }

    /// Removes what was copied of an output, if its copy was not finished.
    pub fn discard_copy(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.discard(&mut self.writing(), attempt).map_err(|error| output_error(attempt, &error))
    }

    fn discard(&self, writing: &mut Writing, attempt: AttemptId) -> io::Result<()> {
        writing.copying.remove(&attempt);
        if self.path(attempt, COPYING).try_exists()? {
            writing.attempts.remove(&attempt);
            writing.unended.remove(&attempt);
            writing.close_files(attempt);
            self.remove_files(Self::part_of(attempt), &[attempt])?;
        }
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the part that holds an attempt: the first byte of its id's tail, which is as good as random.
    fn part_of(attempt: AttemptId) -> u8 {
        attempt.0.as_bytes()[10]
    }

    fn part_path(&self, part: u8) -> PathBuf {
        self.folder.join(format!("{part:02x}"))
    }

    fn path(&self, attempt: AttemptId, suffix: &str) -> PathBuf {
        self.part_path(Self::part_of(attempt)).join(format!("{attempt}.{suffix}"))
    }

    fn chunk_path(&self, attempt: AttemptId, stream: OutputStream, chunk: u64) -> PathBuf {
        match chunk {
            0 => self.path(attempt, stream.as_str()),
            later => self.path(attempt, &format!("{}.{later}", stream.as_str())),
        }
    }

    fn read_removed(&self, part: u8) -> io::Result<RemovedOutputs> {
        RemovedOutputs::read(&self.removed_path(part))
    }

    fn removed_path(&self, part: u8) -> PathBuf {
        self.part_path(part).join("removed")
    }

    fn try_append(&self, printed: PrintedPart<'_>) -> Result<(), OutputError> {
        let attempt = printed.attempt;
        let in_store = |error: io::Error| output_error(attempt, &error);
        let mut writing = self.writing();
        let room = self.room(&mut writing);
        let Writing { attempts, files, space, since_looked, .. } = &mut *writing;
        let counts = match self.open_counts(attempts, attempt) {
            Ok(counts) => counts,
            // An earlier node finished it and ended before it could report that, so the same output is
            // reported again.
            Err(_) if self.has_taken(attempt, printed.stream, printed.offset.saturating_add(printed.bytes.len() as u64)) => return Ok(()),
            Err(error) => return Err(in_store(error)),
        };
        let kept_before: u64 = counts.kept.iter().sum();
        let mut after = *counts;
        let fresh = after.admit(printed, self.limits.attempt_bytes.min(kept_before.saturating_add(room)))?;
        let at = index(printed.stream);
        let mut offset = counts.kept[at];
        let mut rest = &printed.bytes[fresh];
        while !rest.is_empty() {
            let chunk = offset / CHUNK_BYTES;
            let (now, later) = rest.split_at(rest.len().min((CHUNK_BYTES - offset % CHUNK_BYTES) as usize));
            let open = || open_to_append(&self.chunk_path(attempt, printed.stream, chunk));
            let written = files.try_get_or_insert_mut((attempt, at, chunk), open).and_then(|file| file.write_all(now));
            if let Err(error) = written {
                // The next time, the file shows how much reached it.
                files.pop(&(attempt, at, chunk));
                let dropped = counts.dropped;
                *counts = OutputCounts { dropped, ..self.counts(attempt).map_err(in_store)? };
                return Err(in_store(error));
            }
            let grown = blocks(offset % CHUNK_BYTES + now.len() as u64) - blocks(offset % CHUNK_BYTES);
            self.used.fetch_add(grown, Ordering::Relaxed);
            *since_looked += grown as i64;
            space.left = space.left.saturating_sub(grown);
            space.looked_at += grown;
            offset += now.len() as u64;
            rest = later;
        }
        *counts = after;
        Ok(())
    }

    /// Returns the counts of an attempt that may still print.
    fn open_counts<'w>(&self, attempts: &'w mut BTreeMap<AttemptId, OutputCounts>, attempt: AttemptId) -> io::Result<&'w mut OutputCounts> {
        match attempts.entry(attempt) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(_) if read_end(&self.path(attempt, END))?.is_some() => Err(io::Error::other("it was finished")),
            Entry::Vacant(_) if self.read_removed(Self::part_of(attempt))?.names(attempt) => Err(io::Error::other("it was deleted")),
            Entry::Vacant(unknown) => Ok(unknown.insert(self.counts(attempt)?)),
        }
    }

    /// Returns true if an attempt was finished and its stream was taken up to this offset at least.
    fn has_taken(&self, attempt: AttemptId, stream: OutputStream, until: u64) -> bool {
        let Ok(Some(end)) = read_end(&self.path(attempt, END)) else { return false };
        let dropped = end.counts().dropped;
        self.counts(attempt).is_ok_and(|counts| OutputCounts { dropped, ..counts }.accepted_bytes(stream) >= until)
    }

    fn try_note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> io::Result<()> {
        let mut writing = self.writing();
        // An attempt without output is not known here, and does not have to be.
        if writing.attempts.get(&attempt).map_or(0, |counts| counts.accepted_bytes(stream)) != bytes {
            match self.open_counts(&mut writing.attempts, attempt) {
                Ok(counts) => counts.note_printed(stream, bytes),
                Err(_) if self.has_taken(attempt, stream, bytes) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns how much may be written now within the quota and the free space.
    fn room(&self, writing: &mut Writing) -> u64 {
        let space = &mut writing.space;
        // While there is no room, the disk is checked each time, because space may have been freed.
        if self.limits.free_bytes > 0 && (space.left < BLOCK_BYTES || space.looked_at >= LOOKED_AT_EVERY_BYTES) {
            *space = Space { left: free_bytes(&self.folder).saturating_sub(self.limits.free_bytes), looked_at: 0 };
        }
        let on_disk = if self.limits.free_bytes > 0 { space.left } else { u64::MAX };
        on_disk.min(self.limits.quota_bytes.saturating_sub(self.used_bytes()))
    }

    /// Finishes an output of which this is known, as [`finish`](Outputs::finish) does.
    pub fn finish_as(&self, attempt: AttemptId, state: CopyState) -> Result<(), OutputError> {
        self.try_finish(attempt, state).map_err(|error| output_error(attempt, &error))
    }

    fn try_finish(&self, attempt: AttemptId, state: CopyState) -> io::Result<()> {
        if read_end(&self.path(attempt, END))?.is_some() {
            return Ok(());
        }
        // Read back before the lock is taken, so that others can write in the meantime.
        let files = self.files(attempt);
        self.finish_at(&mut self.writing(), attempt, (files, state))
    }

    fn finish_at(&self, writing: &mut Writing, attempt: AttemptId, (files, state): (io::Result<[Files; 2]>, CopyState)) -> io::Result<()> {
        if read_end(&self.path(attempt, END))?.is_some() {
            return Ok(());
        }
        let unended = writing.unended.remove(&attempt);
        let (counts, state) = match (writing.attempts.remove(&attempt), unended) {
            (Some(counts), _) => (counts, state),
            // Whoever finishes it later may know less of it.
            (None, Some(unended)) => unended,
            (None, None) => (self.counts(attempt)?, state),
        };
        // An attempt without output leaves no file, unless it may have printed something.
        if counts == OutputCounts::default() && state != CopyState::Beginning {
            return Ok(());
        }
        writing.close_files(attempt);
        let files = match files {
            Ok(files) if files.each_ref().map(|files| files.bytes) == counts.kept => Ok(files),
            Ok(_) | Err(_) => self.files(attempt),
        };
        // Output that cannot be read back is finished without digests, and the caller gets the error.
        let (files, read_back) = match files {
            Ok(files) => (Some(files), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let end = match state {
            CopyState::Whole | CopyState::Beginning => OutputEnd::of(&counts, files, (self.now)()),
            // A digest would vouch for bytes that nobody vouches for.
            CopyState::Unchecked => OutputEnd::of(&counts, None, (self.now)()),
        };
        let end = OutputEnd { is_beginning: state == CopyState::Beginning, ..end };
        if let Err(error) = self.write_end(attempt, &end) {
            // Only this process knows what was dropped, so the next round tries to write it again.
            writing.unended.insert(attempt, (counts, state));
            return Err(error);
        }
        self.used.fetch_add(BLOCK_BYTES, Ordering::Relaxed);
        writing.since_looked += BLOCK_BYTES as i64;
        read_back
    }

    /// Reads the sizes and digests of an attempt's files.
    fn files(&self, attempt: AttemptId) -> io::Result<[Files; 2]> {
        let of = |stream| {
            let mut files = Files::default();
            while let Some(content) = existing(fs::read(self.chunk_path(attempt, stream, files.bytes / CHUNK_BYTES)))? {
                files.bytes += content.len() as u64;
                files.digests.push(Digest::of(&content));
                if content.len() as u64 != CHUNK_BYTES {
                    break;
                }
            }
            Ok::<Files, io::Error>(files)
        };
        Ok([of(OutputStream::Stdout)?, of(OutputStream::Stderr)?])
    }

    fn write_end(&self, attempt: AttemptId, end: &OutputEnd) -> io::Result<()> {
        let content = serde_json::to_vec(end)?;
        let path = self.path(attempt, END);
        path.parent().map_or(Ok(()), make_folder)?;
        let written = create_private(&path, Existing::Replaced).and_then(|mut file| file.write_all(&content));
        if written.is_err() {
            // A partial end would be unreadable. Without one, it is written again.
            let _ = fs::remove_file(&path);
        }
        written
    }

    fn try_read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, Unread> {
        if self.is_removed(attempt)? {
            return Ok(OutputPart { bytes: Bytes::new(), next: offset, state: OutputState::Removed });
        }
        // The end is read first: if it exists, everything found after it is final.
        let end = read_end(&self.path(attempt, END))?;
        let files = end.as_ref().and_then(|end| end.files.as_ref()).map(|files| &files[index(stream)]);
        let mut bytes = Vec::new();
        let mut next = offset;
        let is_all = loop {
            let (chunk, within) = (next / CHUNK_BYTES, next % CHUNK_BYTES);
            let opened = existing(File::open(self.chunk_path(attempt, stream, chunk)))?;
            let whole = match files {
                None => None,
                Some(files) => match files.check(chunk, opened.as_ref()) {
                    Ok(whole) => whole,
                    // It may have been removed since this began.
                    Err(Unread::Damaged(_)) if self.is_removed(attempt)? => {
                        return Ok(OutputPart { bytes: Bytes::new(), next: offset, state: OutputState::Removed });
                    }
                    Err(unread) => return Err(unread),
                },
            };
            let Some(file) = opened else {
                // After the last file: everything was returned, if the one before is full or there never was
                // one.
                break true;
            };
            let size = whole.as_ref().map_or_else(|| file.metadata().map(|about| about.len()), |whole| Ok(whole.len() as u64))?;
            let wanted = (bytes_max.min(READ_BYTES_MAX) - bytes.len()) as u64;
            let room = size.saturating_sub(within).min(wanted);
            let at = bytes.len();
            bytes.resize(at + room as usize, 0);
            match &whole {
                Some(whole) if room > 0 => bytes[at..].copy_from_slice(&whole[within as usize..(within + room) as usize]),
                Some(_) => {}
                None => file.read_exact_at(&mut bytes[at..], within)?,
            }
            next = next.saturating_add(room);
            if within + room < size {
                break false;
            }
            if size < CHUNK_BYTES {
                break true;
            }
        };
        // It may have been removed while it was read: the first missing file looks like the end.
        if end.is_some() && is_all && self.is_removed(attempt)? {
            return Ok(OutputPart { bytes: Bytes::new(), next: offset, state: OutputState::Removed });
        }
        let state = match end {
            Some(end) if is_all => end.state(stream),
            Some(_) | None => OutputState::Open,
        };
        Ok(OutputPart { bytes: Bytes::from(bytes), next, state })
    }

    /// Output that is being written was not removed, which is known without a look at the disk.
    fn is_removed(&self, attempt: AttemptId) -> io::Result<bool> {
        if self.writing().attempts.contains_key(&attempt) {
            return Ok(false);
        }
        let removed = self.read_removed(Self::part_of(attempt))?;
        Ok(removed.names(attempt) || (removed.has(attempt) && !self.has_files(attempt)?))
    }

    fn has_files(&self, attempt: AttemptId) -> io::Result<bool> {
        let streams = OutputStream::ALL.map(|stream| self.chunk_path(attempt, stream, 0).try_exists());
        Ok(streams.into_iter().collect::<io::Result<Vec<_>>>()?.contains(&true) || self.path(attempt, END).try_exists()?)
    }

    /// Returns the counts of an attempt that this process does not know yet.
    fn counts(&self, attempt: AttemptId) -> io::Result<OutputCounts> {
        let size = |stream| {
            let mut size = 0;
            // A stream has no gaps: it ends with the first file that is missing or not full.
            while let Some(about) = existing(fs::metadata(self.chunk_path(attempt, stream, size / CHUNK_BYTES)))? {
                size += about.len();
                if about.len() < CHUNK_BYTES {
                    break;
                }
            }
            Ok::<u64, io::Error>(size)
        };
        Ok(OutputCounts { kept: [size(OutputStream::Stdout)?, size(OutputStream::Stderr)?], dropped: [0, 0] })
    }
}

/// Why an output was not read.
enum Unread {
    Io(io::Error),
    /// It differs from what was written; the text describes how.
    Damaged(&'static str),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl OutputEnd {
    fn of(counts: &OutputCounts, files: Option<[Files; 2]>, ended_at: Timestamp) -> Self {
        let [stdout_bytes_dropped, stderr_bytes_dropped] = counts.dropped;
        Self { format: END_FORMAT, stdout_bytes_dropped, stderr_bytes_dropped, ended_at, files, is_beginning: false }
    }

    fn counts(&self) -> OutputCounts {
        OutputCounts { kept: [0, 0], dropped: [self.stdout_bytes_dropped, self.stderr_bytes_dropped] }
    }

    /// Returns the state of a stream.
    fn state(&self, stream: OutputStream) -> OutputState {
        match self.counts().final_state(stream) {
            // It is not known how much is missing.
            OutputState::Complete if self.is_beginning => OutputState::Truncated { bytes_dropped: 0 },
            state => state,
        }
    }
}

impl Writing {
    /// Closes the files of an attempt.
    fn close_files(&mut self, attempt: AttemptId) {
        let open: Vec<_> = self.files.iter().map(|(key, _)| *key).filter(|(of, ..)| *of == attempt).collect();
        open.iter().for_each(|key| drop(self.files.pop(key)));
    }
}

impl Files {
    /// Returns the content of a file if it is as written, or `None` for a file that never existed.
    fn check(&self, chunk: u64, opened: Option<&File>) -> Result<Option<Vec<u8>>, Unread> {
        let digest = usize::try_from(chunk).ok().and_then(|chunk| self.digests.get(chunk));
        let (digest, file) = match (digest, opened) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(Unread::Damaged("a file of it is missing")),
            (None, Some(_)) => return Err(Unread::Damaged("it has more files than were written")),
            (Some(digest), Some(file)) => (digest, file),
        };
        let mut content = Vec::new();
        file.take(CHUNK_BYTES + 1).read_to_end(&mut content)?;
        if Digest::of(&content) == *digest { Ok(Some(content)) } else { Err(Unread::Damaged("its bytes are not those that were written")) }
    }
}

fn read_end(path: &Path) -> io::Result<Option<OutputEnd>> {
    let Some(content) = existing(fs::read(path))? else { return Ok(None) };
    // It is being written, or a power failure took its content.
    if content.is_empty() {
        return Ok(None);
    }
    let format = serde_json::from_slice::<serde_json::Value>(&content)?.get("format").and_then(serde_json::Value::as_u64);
    if ![END_FORMAT, END_FORMAT_WITHOUT_FILES].iter().any(|known| format == Some((*known).into())) {
        let found = format.unwrap_or_default();
        return Err(io::Error::other(format!("its end has format {found}, but this release knows format {END_FORMAT}")));
    }
    Ok(Some(serde_json::from_slice(&content)?))
}

impl Outputs for FolderOutputs {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        self.try_append(PrintedPart { attempt, stream, offset, bytes })
    }

    fn accepted_offset(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        match self.writing().attempts.get(&attempt) {
            Some(counts) => Ok(counts.accepted_bytes(stream)),
            None => self.counts(attempt).map(|counts| counts.accepted_bytes(stream)).map_err(|error| output_error(attempt, &error)),
        }
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        self.try_note_printed(attempt, stream, bytes).map_err(|error| output_error(attempt, &error))
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        self.finish_as(attempt, CopyState::Whole)
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        self.try_read(attempt, stream, offset, bytes_max).map_err(|unread| match unread {
            Unread::Io(error) => output_error(attempt, &error),
            Unread::Damaged(why) => OutputError::Damaged { attempt, stream: stream.as_str(), why },
        })
    }
}

impl Disposable for FolderOutputs {
    type Name = AttemptId;

    fn begin_round(&self) {
        self.writing().since_looked = 0;
    }

    /// Lists the content of one part. Output that a crash left unfinished, and that nothing writes, is
    /// finished on the way.
    fn look_at(&self, part: u8) -> io::Result<Vec<RetainedThing<AttemptId>>> {
        let Some(entries) = existing(fs::read_dir(self.part_path(part)))? else { return Ok(Vec::new()) };
        let mut found: BTreeMap<AttemptId, u64> = BTreeMap::new();
        for entry in entries {
            let entry = entry?;
            let Some(attempt) = attempt_of(&entry) else { continue };
            let Some(about) = existing(entry.metadata())? else { continue };
            *found.entry(attempt).or_default() += blocks(about.len());
        }
        let removed = self.read_removed(part)?;
        let mut kept = Vec::with_capacity(found.len());
        for (attempt, bytes) in found {
            if removed.names(attempt) {
                // The process was killed between writing the list and removing the files.
                self.remove_files(part, &[attempt])?;
                continue;
            }
            let since = match read_end(&self.path(attempt, END)) {
                Ok(Some(end)) => Some(end.ended_at),
                // Output that cannot be finished or read is not removed, and does not prevent the removal of
                // other output.
                Ok(None) => self.finish_left(attempt).unwrap_or(None),
                Err(_) => None,
            };
            kept.push(RetainedThing { name: attempt, bytes, since });
        }
        Ok(kept)
    }

    fn throw_away(&self, part: u8, things: &[RetainedThing<AttemptId>]) -> io::Result<u64> {
        let attempts: Vec<AttemptId> = things.iter().map(|thing| thing.name).collect();
        // It is listed as removed before it is removed, so that a reader in between does not take a part for
        // the whole.
        self.read_removed(part)?.add(&self.removed_path(part), &attempts)?;
        self.remove_files(part, &attempts)
    }

    fn note_usage(&self, bytes: u64) {
        let mut writing = self.writing();
        let came = std::mem::take(&mut writing.since_looked);
        self.used.store(bytes.saturating_add_signed(came), Ordering::Relaxed);
    }

    fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl FolderOutputs {
    /// Finishes output that nothing writes. Returns `None` if it is being written.
    fn finish_left(&self, attempt: AttemptId) -> io::Result<Option<Timestamp>> {
        let is_in_use = |writing: &Writing| writing.attempts.contains_key(&attempt) || writing.copying.contains(&attempt);
        if is_in_use(&self.writing()) {
            return Ok(None);
        }
        let files = self.files(attempt);
        let mut writing = self.writing();
        if is_in_use(&writing) {
            return Ok(None);
        }
        if self.path(attempt, COPYING).try_exists()? {
            // The process was killed while it copied the output.
            self.discard(&mut writing, attempt)?;
            return Ok(None);
        }
        self.finish_at(&mut writing, attempt, (files, CopyState::Whole))?;
        Ok(Some((self.now)()))
    }

    /// Removes the files of attempts, and returns how much disk space they took.
    fn remove_files(&self, part: u8, attempts: &[AttemptId]) -> io::Result<u64> {
        let mut freed = 0;
        let Some(entries) = existing(fs::read_dir(self.part_path(part)))? else { return Ok(0) };
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        // An interruption must not leave a part of a copy without the file that says so.
        entries.sort_by_key(|entry| entry.path().extension().is_some_and(|extension| extension == COPYING));
        for entry in entries {
            if attempt_of(&entry).is_some_and(|attempt| attempts.contains(&attempt))
                && let Some(about) = existing(entry.metadata())?
            {
                existing(fs::remove_file(entry.path()))?;
                freed += blocks(about.len());
            }
        }
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(freed)));
        Ok(freed)
    }
}

/// Returns the attempt that a file belongs to, or `None` for other files.
fn attempt_of(entry: &DirEntry) -> Option<AttemptId> {
    let name = entry.file_name();
    let (id, _) = name.to_str()?.split_once('.')?;
    id.parse::<Id>().ok().map(AttemptId)
}

fn output_error(attempt: AttemptId, error: &io::Error) -> OutputError {
    OutputError::Store { attempt, why: error.to_string() }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), make_folder)?;
    File::options().append(true).create(true).mode(0o600).open(path)
}

const _: () = assert!(PARTS == 1 << u8::BITS, "a part is one byte of an id");

#[cfg(test)]
mod tests;

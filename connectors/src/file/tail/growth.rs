//! Finds what was appended to the files of a folder.
//!
//! A file that is followed keeps its place when it is renamed, and is followed outside of the pattern, too, until it was
//! quiet for a while: its writer may not know the new name yet. A file that was truncated, or whose number belongs to
//! another file now, is read from its beginning. A copy of a file that is then truncated continues where that one was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::time::Timestamp;

use super::super::folder::{Folder, Look};
use super::position::{FileHead, Id, MARK_BYTES, ReadPosition, ReadPositions, bytes_before, id_of};
use crate::error::SourceError;
use crate::line_reader::{BoundedLine, LineReader};

/// The number of bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The number of bytes that are read of one file before the next one has its turn.
const TURN_BYTES_MAX: u64 = 1 << 20;
/// How long nothing must be written to a renamed file before it is given up.
const QUIET: Duration = Duration::from_secs(60);
/// How long a file that may be a copy must stay the same until that is decided.
const COPIED: Duration = Duration::from_secs(2);
/// How long a file that may be a copy and grows is left alone. What is written for longer is a log.
const COPYING_MAX: Duration = Duration::from_secs(5 * 60);

/// What was appended.
pub(super) struct Growth {
    /// How far each file was read now.
    pub(super) read: ReadPositions,
    /// The same before the first of the lines, which has all places that moved without a line.
    pub(super) before_lines: ReadPositions,
    /// What this look found.
    pub(super) seen: LastLook,
    /// The lines.
    pub(super) queue: Vec<QueuedLine>,
    /// There is more to read at once.
    pub(super) is_more: bool,
    /// After how long something is due although no file changes.
    pub(super) next: Option<Duration>,
}

/// A line.
pub(super) struct QueuedLine {
    pub(super) line: BoundedLine,
    /// The place after it.
    pub(super) after: ReadPosition,
}

/// What a look found of each file.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLook(BTreeMap<Id, FileState>);

#[derive(Clone, Copy, Debug)]
struct FileState {
    look: Look,
    /// Since when it is as it is.
    since: Timestamp,
    /// Since when it is not decided whether it is a copy.
    undecided_since: Option<Timestamp>,
    /// The part of its beginning that was read.
    head: Option<FileHead>,
    /// All of its complete lines were read.
    is_read: bool,
    /// Its name does not match the pattern.
    is_outside: bool,
}

/// A file that is there.
struct FileEntry {
    below: Arc<str>,
    look: Look,
    /// Its name does not match the pattern: it was renamed.
    is_outside: bool,
}

/// The files of a folder, with their paths.
type Listing = BTreeMap<Id, (String, Look)>;

/// The files of a look.
struct Files {
    /// Those that are there.
    found: BTreeMap<Id, FileEntry>,
    /// The places in files of which nothing can be known: their folder cannot be read now.
    unreachable: ReadPositions,
}

/// What is known of a file that was not followed.
enum FileOrigin {
    /// It is another file.
    New,
    /// It is a copy of one that was followed, and continues at this place.
    Copy(ReadPosition),
    /// It may become a copy: the next look decides.
    Undecided,
}

/// Returns the ends of all files, so that nothing that is in them is read.
pub(super) fn ends(folder: &Folder) -> Result<ReadPositions, SourceError> {
    let mut places = ReadPositions::default();
    for below in folder.scan()?.into_keys() {
        let Ok(file) = folder.open_file(&below) else { continue };
        if let Ok(look) = Look::at(&file)
            && let Ok(place) = ReadPosition::at(&file, id_of(&look), below.into(), look.bytes)
        {
            places.insert(place);
        }
    }
    Ok(places)
}

/// Reads what was appended to the files. A file that cannot be read is looked at again later. Blocks.
pub(super) fn read_growth(folder: &Folder, mut before: ReadPositions, seen: LastLook, now: Timestamp) -> Result<Growth, SourceError> {
    let Files { found, unreachable } = find(folder, &mut before)?;
    let grown = Growth {
        read: unreachable,
        before_lines: ReadPositions::default(),
        seen: LastLook::default(),
        queue: Vec::new(),
        is_more: false,
        next: None,
    };
    // What was written first comes first.
    let mut files: Vec<(&Id, &FileEntry)> = found.iter().collect();
    files.sort_by(|(_, a), (_, b)| (a.look.modified, &a.below).cmp(&(b.look.modified, &b.below)));
    let mut reading = GrowthReader { folder, now, seen, starts: ReadPositions::default(), grown };
    // The rest of what is followed comes before what is new, which may be its successor.
    let mut ended = Vec::new();
    for (id, file) in &files {
        ended.extend(before.get(**id).and_then(|place| reading.follow(place, file)));
    }
    ended.extend(before.by_path().into_iter().filter(|place| reading.is_gone(place, &found)).cloned());
    let (mut copies, mut others) = (Vec::new(), Vec::new());
    for (id, file) in files.into_iter().filter(|(_, file)| !file.is_outside) {
        if reading.grown.read.get(*id).is_some() {
            continue;
        }
        if ended.iter().any(|place| place.id == *id) {
            others.push((file, None));
            continue;
        }
        match reading.origin(file, &before, &ended).unwrap_or(FileOrigin::New) {
            FileOrigin::New => others.push((file, None)),
            FileOrigin::Copy(place) => copies.push((file, Some(place))),
            FileOrigin::Undecided => {}
        }
    }
    for (file, place) in copies.into_iter().chain(others) {
        // A file that cannot be read is tried again by the next look.
        let _ = reading.begin(file, place);
    }
    let GrowthReader { starts, mut grown, .. } = reading;
    grown.before_lines = grown.read.clone();
    starts.by_path().into_iter().for_each(|place| grown.before_lines.insert(place.clone()));
    Ok(grown)
}

/// Finds the files that match, and those that are followed and do not.
fn find(folder: &Folder, places: &mut ReadPositions) -> Result<Files, SourceError> {
    let there = folder.scan()?;
    let ids: BTreeSet<Id> = there.values().map(id_of).collect();
    let is_gone = |place: &&ReadPosition| !ids.contains(&place.id);
    // After a restart of the machine, the same device may have another number.
    let renumbered: Vec<(Id, Id)> = places
        .by_path()
        .into_iter()
        .filter(is_gone)
        .filter_map(|place| {
            let look = there.get(&*place.below).filter(|look| look.inode == place.id.1)?;
            Some((place.id, id_of(look)))
        })
        .collect();
    renumbered.into_iter().for_each(|(from, to)| places.renumber(from, to));
    let mut found = BTreeMap::new();
    for (below, look) in there {
        let is_its_name = places.get(id_of(&look)).is_some_and(|place| *place.below == *below);
        let file = FileEntry { below: below.into(), look, is_outside: false };
        // Of several names of a file, the one that it had before counts, or the first one.
        if is_its_name {
            found.insert(id_of(&look), file);
        } else {
            found.entry(id_of(&look)).or_insert(file);
        }
    }
    let mut unreachable = ReadPositions::default();
    let mut folders: BTreeMap<&str, io::Result<Listing>> = BTreeMap::new();
    for place in places.by_path().into_iter().filter(is_gone) {
        let within = place.below.rsplit_once('/').map_or("", |(within, _)| within);
        let files = folders
            .entry(within)
            .or_insert_with(|| Ok(folder.files_in(within)?.into_iter().map(|(below, look)| (id_of(&look), (below, look))).collect()));
        let files = match files {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                unreachable.insert(place.clone());
                continue;
            }
        };
        // A file of which nothing was read is known by its name only, as its number may belong to another file now.
        if let Some((renamed, look)) = files.get(&place.id).filter(|(renamed, _)| place.offset > 0 || renamed.starts_with(&*place.below)) {
            found.insert(place.id, FileEntry { below: renamed.as_str().into(), look: *look, is_outside: true });
        }
    }
    Ok(Files { found, unreachable })
}

struct GrowthReader<'a> {
    folder: &'a Folder,
    now: Timestamp,
    /// What the look before found.
    seen: LastLook,
    /// The places before the first line of each file that has lines.
    starts: ReadPositions,
    grown: Growth,
}

impl GrowthReader<'_> {
    /// Reads the rest of a file that is followed. Returns the place if it has ended: the file was truncated, or is another one.
    fn follow(&mut self, before: &ReadPosition, found: &FileEntry) -> Option<ReadPosition> {
        let place = before.in_file(before.id, &found.below);
        match self.read_rest(place, found) {
            Ok(is_ended) => is_ended.then(|| before.clone()),
            // It is read again later, from the same place.
            Err(_) => {
                self.grown.read.insert(before.clone());
                None
            }
        }
    }

    fn read_rest(&mut self, mut place: ReadPosition, found: &FileEntry) -> io::Result<bool> {
        let before = self.seen.0.get(&place.id).filter(|seen| seen.look == found.look).copied();
        // A renamed file is quiet only from then on.
        let since = before.filter(|seen| seen.is_outside == found.is_outside).map_or(self.now, |seen| seen.since);
        let head = self.head_of(place.id);
        let mut seen = FileState { look: found.look, since, undecided_since: None, head, is_read: true, is_outside: found.is_outside };
        if before.is_none_or(|before| !before.is_read) {
            let (file, look) = self.open(found)?;
            if !place.is_in(&file, look.bytes)? || !head.map_or(Ok(true), |head| head.is_in(&file))? {
                return Ok(true);
            }
            (seen.look, seen.is_read) = (look, self.read_lines(&file, &mut place, FinalLine::Awaited)?);
            if !head.is_some_and(|head| head.is_full()) {
                seen.head = FileHead::before(&file, place.offset).ok();
            }
        }
        if found.is_outside {
            let quiet = self.age(since);
            if quiet >= QUIET && seen.is_read {
                // Nothing more is awaited.
                if let Ok((file, _)) = self.open(found) {
                    self.read_lines(&file, &mut place, FinalLine::Complete)?;
                }
                return Ok(false);
            }
            self.wait(QUIET.saturating_sub(quiet));
        }
        self.grown.seen.0.insert(place.id, seen);
        self.grown.read.insert(place);
        Ok(false)
    }

    fn is_gone(&self, place: &ReadPosition, found: &BTreeMap<Id, FileEntry>) -> bool {
        !found.contains_key(&place.id) && self.grown.read.get(place.id).is_none()
    }

    /// Reads a file from its beginning, or from a place.
    fn begin(&mut self, found: &FileEntry, place: Option<ReadPosition>) -> io::Result<()> {
        let (file, look) = self.open(found)?;
        let mut place = match place {
            Some(place) => place,
            None => ReadPosition::at(&file, id_of(&look), Arc::clone(&found.below), 0)?,
        };
        let is_read = self.read_lines(&file, &mut place, FinalLine::Awaited)?;
        let head = FileHead::before(&file, place.offset).ok();
        let seen = FileState { look, since: self.now, undecided_since: None, head, is_read, is_outside: false };
        self.grown.seen.0.insert(place.id, seen);
        self.grown.read.insert(place);
        Ok(())
    }

    /// Finds out whether a file is a copy of one that is followed, as programs make one before they truncate the original.
    fn origin(&mut self, found: &FileEntry, before: &ReadPositions, ended: &[ReadPosition]) -> io::Result<FileOrigin> {
        let originals: Vec<&ReadPosition> =
            before.by_path().into_iter().filter(|place| place.offset > 0 && is_name_of_copy(&place.below, &found.below)).collect();
        if originals.is_empty() {
            return Ok(FileOrigin::New);
        }
        let (file, look) = self.open(found)?;
        let seen = self.seen.0.get(&id_of(&look));
        let since = seen.filter(|seen| seen.look == look).map_or(self.now, |seen| seen.since);
        let undecided_since = seen.and_then(|seen| seen.undecided_since).unwrap_or(self.now);
        for original in originals {
            if ended.iter().any(|place| place.id == original.id) {
                if original.is_in(&file, look.bytes)?
                    && self.head_of(original.id).map_or(Ok(true), |head| head.is_in(&file))?
                    // So few bytes can be the same in two files.
                    && (original.offset >= MARK_BYTES || look.bytes == original.offset || has_number_behind(&original.below, &found.below))
                {
                    return Ok(FileOrigin::Copy(original.in_file(id_of(&look), &found.below)));
                }
                continue;
            }
            let Some(place) = self.grown.read.get(original.id).cloned() else { continue };
            let Ok(other) = self.folder.open_file(&place.below) else { continue };
            let common = look.bytes.min(place.offset);
            // A copy that has just begun is empty.
            if bytes_before(&file, common)? != bytes_before(&other, common)? || !FileHead::before(&other, common)?.is_in(&file)? {
                continue;
            }
            let (is_long, rest) = (common >= MARK_BYTES, COPIED.saturating_sub(self.age(since)));
            let growing = COPYING_MAX.saturating_sub(self.age(undecided_since)).min(rest);
            // The rest of a line that is in both is read of one of them.
            let has_rest = look.bytes > place.offset && look.bytes <= Look::at(&other)?.bytes;
            if !growing.is_zero() || (rest.is_zero() && is_long && has_rest) {
                let undecided_since = Some(undecided_since);
                let seen = FileState { look, since, undecided_since, head: None, is_read: false, is_outside: false };
                self.grown.seen.0.insert(id_of(&look), seen);
                self.wait(growing);
                return Ok(FileOrigin::Undecided);
            }
            if is_long && rest.is_zero() {
                return Ok(FileOrigin::Copy(ReadPosition::at(&file, id_of(&look), Arc::clone(&found.below), common)?));
            }
        }
        Ok(FileOrigin::New)
    }

    fn open(&self, found: &FileEntry) -> io::Result<(File, Look)> {
        let file = self.folder.open_file(&found.below)?;
        let look = Look::at(&file)?;
        if id_of(&look) != id_of(&found.look) {
            return Err(io::Error::other("another file has its name now"));
        }
        Ok((file, look))
    }

    /// Returns how a file began at the last look.
    fn head_of(&self, id: Id) -> Option<FileHead> {
        self.seen.0.get(&id).and_then(|seen| seen.head)
    }

    /// Returns how long something is as it is.
    fn age(&self, since: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.now.micros_since(since)).unwrap_or(0))
    }

    fn wait(&mut self, at_most: Duration) {
        if !at_most.is_zero() {
            self.grown.next = Some(self.grown.next.map_or(at_most, |next| next.min(at_most)));
        }
    }

    /// Reads the lines after a place, and moves it behind them. Returns true if the end of the file was reached.
    fn read_lines(&mut self, file: &File, place: &mut ReadPosition, last: FinalLine) -> io::Result<bool> {
        let from = place.offset;
        let start = place.clone();
        let mut reader = LineReader::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut at, mut recent) = (from, Recent(bytes_before(file, from)?));
        loop {
            // What was read so far stays read. The rest is tried again by a later look.
            let Ok(count) = file.read_at(&mut chunk, at) else { return Ok(false) };
            // What was read before the last line break belongs to complete lines.
            for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                reader.push(piece);
                at += piece.len() as u64;
                recent.push(piece);
                while let Some(line) = reader.next() {
                    place.move_to(at, &recent.0);
                    self.queue(&start, QueuedLine { line, after: place.clone() });
                }
            }
            let is_turn_over = at - from >= TURN_BYTES_MAX && place.offset > from;
            if is_turn_over && last == FinalLine::Awaited {
                self.grown.is_more = true;
                return Ok(false);
            }
            if count == 0 {
                if last == FinalLine::Complete
                    && let Some(line) = reader.finish()
                {
                    place.move_to(at, &recent.0);
                    self.queue(&start, QueuedLine { line, after: place.clone() });
                }
                return Ok(true);
            }
        }
    }

    fn queue(&mut self, start: &ReadPosition, line: QueuedLine) {
        if self.starts.get(start.id).is_none() {
            self.starts.insert(start.clone());
        }
        self.grown.queue.push(line);
    }
}

/// Whether a last line without a line break is a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FinalLine {
    /// It is: nothing more will be appended.
    Complete,
    /// Its end is awaited.
    Awaited,
}

/// The last bytes that were read.
struct Recent(Vec<u8>);

impl Recent {
    fn push(&mut self, piece: &[u8]) {
        let most = usize::try_from(MARK_BYTES).unwrap_or(0);
        let kept = &piece[piece.len().saturating_sub(most)..];
        let surplus = (self.0.len() + kept.len()).saturating_sub(most);
        self.0.drain(..surplus);
        self.0.extend_from_slice(kept);
    }
}

/// Returns true if a path is what programs call a copy of a file: its name with something behind it.
fn is_name_of_copy(original: &str, copy: &str) -> bool {
    copy.strip_prefix(original).is_some_and(|behind| behind.starts_with(|first: char| !first.is_alphanumeric()) && !behind.contains('/'))
}

/// Returns true if the name of a copy has a number or a date behind that of the original, as rotated logs have.
fn has_number_behind(original: &str, copy: &str) -> bool {
    copy.strip_prefix(original).is_some_and(|behind| behind.contains(|one: char| one.is_ascii_digit()))
}

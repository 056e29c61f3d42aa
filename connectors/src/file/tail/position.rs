//! How far files were read: the cursor of lines.
//!
//! In the log, it is an object with a list in `tail`. An item has the path, the device, the number, the number of bytes
//! before the first line that is not a message, and the hash of the last of these bytes. Older releases wrote an object by
//! path, and hashed the first bytes of the file: such an item also has the range of the hashed bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ensue_engine::record::Digest;
use ensue_expression::Document;
use serde_json::{Value, json};

use super::super::folder::Look;

/// The number of bytes before a place that identify the file.
pub(super) const MARK_BYTES: u64 = 256;
/// The number of bytes at the beginning of a file that tell it from another one, besides those before the place.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// The number of digits that are kept of a hash.
const HASH_DIGITS: usize = 16;

/// The device and the number of a file.
pub(super) type Id = (u64, u64);

/// Returns the device and the number of a file.
pub(super) fn id_of(look: &Look) -> Id {
    (look.device, look.inode)
}

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPosition {
    pub(super) id: Id,
    /// The path below the folder when it was seen last.
    pub(super) below: Arc<str>,
    /// The number of bytes before the first line that is not a message.
    pub(super) offset: u64,
    mark: Mark,
}

/// Some bytes of a file, which are there as long as it is the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    from: u64,
    bytes: u64,
    hash: String,
}

impl Mark {
    /// Returns the mark of the bytes before an offset.
    fn before(offset: u64, recent: &[u8]) -> Self {
        let bytes = recent.len() as u64;
        Self { from: offset.saturating_sub(bytes), bytes, hash: hash(recent) }
    }
}

impl ReadPosition {
    /// Returns a place in an open file.
    pub(super) fn at(file: &File, id: Id, below: Arc<str>, offset: u64) -> io::Result<Self> {
        let recent = bytes_before(file, offset)?;
        Ok(Self { id, below, offset, mark: Mark::before(offset, &recent) })
    }

    /// Returns the same place in a file with another number or path.
    pub(super) fn in_file(&self, id: Id, below: &Arc<str>) -> Self {
        Self { id, below: Arc::clone(below), ..self.clone() }
    }

    /// Moves to an offset, of which the last bytes before it are given.
    pub(super) fn move_to(&mut self, offset: u64, recent: &[u8]) {
        (self.offset, self.mark) = (offset, Mark::before(offset, recent));
    }

    /// Returns true if a file has what was read of this one before the place.
    pub(super) fn is_in(&self, file: &File, bytes: u64) -> io::Result<bool> {
        if bytes < self.offset {
            return Ok(false);
        }
        let Mark { from, bytes, hash: marked } = &self.mark;
        let found = bytes_from(file, *from, (*bytes).min(MARK_BYTES))?;
        Ok(hash(&found) == *marked)
    }
}

/// The beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    bytes: u64,
    hash: Digest,
}

impl FileHead {
    /// Returns the first of the bytes before an offset.
    pub(super) fn before(file: &File, offset: u64) -> io::Result<Self> {
        let bytes = offset.min(HEAD_BYTES_MAX);
        Ok(Self { bytes, hash: Digest::of(&bytes_from(file, 0, bytes)?) })
    }

    /// Returns true if a file begins the same.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        Ok(Self::before(file, self.bytes)? == *self)
    }

    /// Returns true if nothing can be added to it.
    pub(super) fn is_full(&self) -> bool {
        self.bytes == HEAD_BYTES_MAX
    }
}

/// Returns the last bytes before an offset.
pub(super) fn bytes_before(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let count = offset.min(MARK_BYTES);
    bytes_from(file, offset - count, count)
}

fn bytes_from(file: &File, from: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> String {
    let mut digest = Digest::of(bytes).to_string();
    digest.truncate(HASH_DIGITS);
    digest
}

/// How far each file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadPositions(BTreeMap<Id, ReadPosition>);

impl ReadPositions {
    pub(super) fn insert(&mut self, place: ReadPosition) {
        self.0.insert(place.id, place);
    }

    pub(super) fn get(&self, id: Id) -> Option<&ReadPosition> {
        self.0.get(&id)
    }

    /// Returns the places in the order of the paths.
    pub(super) fn by_path(&self) -> Vec<&ReadPosition> {
        let mut places: Vec<&ReadPosition> = self.0.values().collect();
        places.sort_by(|a, b| a.below.cmp(&b.below));
        places
    }

    /// Gives a place the device that its file has now.
    pub(super) fn renumber(&mut self, from: Id, to: Id) {
        if !self.0.contains_key(&to)
            && let Some(place) = self.0.remove(&from)
        {
            self.insert(ReadPosition { id: to, ..place });
        }
    }

    /// Returns the form for the log.
    pub(super) fn to_document(&self) -> Document {
        let places = self.by_path().into_iter().map(|place| {
            let ReadPosition { id: (device, inode), below, offset, mark: Mark { from, bytes, hash } } = place;
            if from.checked_add(*bytes) == Some(*offset) {
                json!([below.as_ref(), device, inode, offset, hash])
            } else {
                json!([below.as_ref(), device, inode, offset, hash, from, bytes])
            }
        });
        Document::from_value(&json!({ "tail": places.collect::<Vec<Value>>() }))
    }

    /// Reads the places from the log. Returns `None` if the document is of something else.
    pub(super) fn read(cursor: &Document) -> Option<Self> {
        let value = cursor.root().to_value();
        let places: Vec<ReadPosition> = match value.get("tail")? {
            Value::Array(places) => places.iter().map(read_position).collect::<Option<_>>()?,
            Value::Object(places) => places.iter().map(|(below, place)| read_older(below, place)).collect::<Option<_>>()?,
            _ => return None,
        };
        let mut read = Self::default();
        for place in places {
            // Older releases wrote a place for each path of a file.
            if read.get(place.id).is_none_or(|other| other.offset < place.offset) {
                read.insert(place);
            }
        }
        Some(read)
    }
}

fn read_position(written: &Value) -> Option<ReadPosition> {
    let number = |index: usize| written.get(index).and_then(Value::as_u64);
    let (offset, hash) = (number(3)?, written.get(4)?.as_str()?.to_owned());
    let bytes = number(6).unwrap_or(offset.min(MARK_BYTES));
    let from = number(5).unwrap_or(offset - offset.min(MARK_BYTES));
    Some(ReadPosition { id: (number(1)?, number(2)?), below: written.get(0)?.as_str()?.into(), offset, mark: Mark { from, bytes, hash } })
}

fn read_older(below: &str, written: &Value) -> Option<ReadPosition> {
    let number = |index: usize| written.get(index).and_then(Value::as_u64);
    let mark = Mark { from: 0, bytes: number(2)?, hash: written.get(3)?.as_str()?.to_owned() };
    Some(ReadPosition { id: (number(0)?, number(1)?), below: below.into(), offset: number(4)?, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back_as_they_were_written() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'x'; 1_000], 0).unwrap();
        let mut places = ReadPositions::default();
        for (number, offset) in [0, 1, 256, 257, 1_000].into_iter().enumerate() {
            places.insert(ReadPosition::at(&file, (1, number as u64), "a".into(), offset).unwrap());
        }
        assert_eq!(ReadPositions::read(&places.to_document()), Some(places));
    }

    #[test]
    fn place_of_an_older_release_is_read_and_written_back() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'x'; 1_000], 0).unwrap();
        let head = hash(&[b'x'; 256]);
        let older = Document::from_value(&json!({ "tail": { "app.log": [1, 2, 256, head, 700] } }));
        let places = ReadPositions::read(&older).unwrap();
        let place = places.get((1, 2)).unwrap();
        assert_eq!((&*place.below, place.offset), ("app.log", 700));
        assert!(place.is_in(&file, 1_000).unwrap() && !place.is_in(&file, 699).unwrap());
        file.write_all_at(b"y", 255).unwrap();
        assert!(!place.is_in(&file, 1_000).unwrap());
        assert_eq!(ReadPositions::read(&places.to_document()).as_ref(), Some(&places));
    }

    #[test]
    fn of_two_paths_of_a_file_the_one_that_was_read_further_counts() {
        let head = hash(b"x");
        let older = |a: u64, b: u64| json!({ "tail": { "a.log": [1, 2, 1, head, a], "b.log": [1, 2, 1, head, b] } });
        for (a, b, below) in [(700, 300, "a.log"), (300, 700, "b.log")] {
            let places = ReadPositions::read(&Document::from_value(&older(a, b))).unwrap();
            let place = places.get((1, 2)).unwrap();
            assert_eq!((&*place.below, place.offset), (below, 700));
        }
    }

    #[test]
    fn place_is_in_a_file_only_as_long_as_the_bytes_before_it_are_the_same() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'x'; 1_000], 0).unwrap();
        let place = ReadPosition::at(&file, (1, 2), "a".into(), 600).unwrap();
        file.write_all_at(b"later", 600).unwrap();
        assert!(place.is_in(&file, 1_000).unwrap());
        file.write_all_at(b"y", 599).unwrap();
        assert!(!place.is_in(&file, 1_000).unwrap());
    }
}

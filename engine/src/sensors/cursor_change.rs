//! What changed from one cursor to the next: the pieces of the cursor before that stay, and new text between them.
//!
//! A cursor that remembers thousands of things hardly differs from the one before. The log then has only the change. It works
//! on text, so that it suits any cursor, whatever its source writes into it.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::cursor::CURSOR_BYTES_MAX;
use crate::record::Digest;

/// The maximum size of a change as JSON, in bytes, so that it fits into a fact.
pub const CHANGE_BYTES_MAX: usize = 8 * 1024;
/// A cursor below this length in bytes is always recorded whole: a reader of the log sees it at once, and the digest of a
/// change alone has a hundred bytes.
pub const CHANGED_CURSOR_BYTES_MIN: usize = 512;
/// The least number of bytes that a piece of the cursor before must have: its place takes as many.
const KEPT_BYTES_MIN: usize = 16;
/// The least number of bytes between the common beginning and the common end in which kept pieces are looked for.
const SEARCHED_BYTES_MIN: usize = 64;
/// How many bytes are compared at once.
const CHUNK_BYTES: usize = 64;
/// The maximum size of the place of a piece as JSON, in bytes.
const PLACE_BYTES_MAX: usize = 16;
/// The maximum size of everything but the pieces as JSON, in bytes.
const REST_BYTES_MAX: usize = 96;

/// How a cursor is made of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CursorChange {
    /// The digest of the new cursor.
    to: Digest,
    /// The new cursor from its beginning to its end.
    pieces: Vec<Piece>,
}

/// A piece of a new cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// A piece of the cursor before.
    Kept {
        /// The byte at which it begins.
        from: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Text that is not in the cursor before, or not worth looking for.
    New(String),
}

/// Why a change does not make a new cursor of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeUnfit {
    /// The text does not have one of the pieces.
    #[error("the cursor before has no text from byte {from} on that is {bytes} bytes long")]
    NoPiece {
        /// Where the piece should begin.
        from: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The result is longer than a cursor may be.
    #[error("it makes more than {CURSOR_BYTES_MAX} bytes")]
    TooLong,
    /// The result is another text than the one that was recorded.
    #[error("it makes another cursor than the one that was recorded")]
    Other,
}

impl CursorChange {
    /// Returns the change from one text to another. Returns `None` if it has more than this many bytes as JSON.
    pub fn between(before: &str, after: &str, bytes_max: usize) -> Option<Self> {
        let mut pieces = Pieces::new(before, after, bytes_max.checked_sub(REST_BYTES_MAX)?);
        let start = pieces.common_after(0, 0);
        pieces.keep(0, 0, start)?;
        let rest = &after[start..];
        let tail = common_end(&before[start..], rest);
        if start + tail == before.len() || rest.len() - tail <= SEARCHED_BYTES_MIN {
            // One place changed, which needs no search.
            pieces.keep(before.len() - tail, after.len() - tail, tail)?;
        } else {
            pieces.search()?;
        }
        pieces.finish().map(|pieces| Self { to: Digest::of(after.as_bytes()), pieces })
    }

    /// Returns the digest of the new cursor.
    pub fn digest(&self) -> Digest {
        self.to
    }

    /// Returns how many bytes it has as JSON at most.
    pub(super) fn bytes(&self) -> usize {
        let of = |piece: &Piece| match piece {
            Piece::Kept { .. } => PLACE_BYTES_MAX,
            Piece::New(text) => json_bytes(text),
        };
        REST_BYTES_MAX + self.pieces.iter().map(of).sum::<usize>()
    }

    /// Makes the new text of the one before, without comparing it with the digest.
    pub(super) fn apply(&self, before: &str) -> Result<String, ChangeUnfit> {
        let mut after = String::with_capacity(before.len());
        for piece in &self.pieces {
            let text = match piece {
                Piece::Kept { from, bytes } => {
                    let until = from.checked_add(*bytes);
                    let kept = until.and_then(|until| before.get(*from..until));
                    kept.ok_or(ChangeUnfit::NoPiece { from: *from, bytes: *bytes })?
                }
                Piece::New(text) => text,
            };
            if after.len() + text.len() > CURSOR_BYTES_MAX {
                return Err(ChangeUnfit::TooLong);
            }
            after.push_str(text);
        }
        Ok(after)
    }
}

/// The pieces that are found so far, and the place up to which they make the new text.
struct Pieces<'a> {
    before: &'a str,
    after: &'a str,
    /// The pieces of the cursor before.
    found: Vec<Piece>,
    /// Up to which byte the pieces make the new text.
    at: usize,
    /// The byte of the cursor before behind the last piece.
    behind: usize,
    /// How many bytes the pieces may have as JSON from here on.
    left: usize,
}

impl<'a> Pieces<'a> {
    fn new(before: &'a str, after: &'a str, left: usize) -> Self {
        Self { before, after, found: Vec::new(), at: 0, behind: 0, left }
    }

    /// Adds a piece of the cursor before that begins at these bytes, and the new text in front of it. Skips a piece that is too
    /// short. Returns `None` if the piece has no room.
    fn keep(&mut self, from: usize, at: usize, bytes: usize) -> Option<()> {
        if bytes < KEPT_BYTES_MIN {
            return Some(());
        }
        self.add(at)?;
        self.left = self.left.checked_sub(PLACE_BYTES_MAX)?;
        self.found.push(Piece::Kept { from, bytes });
        (self.at, self.behind) = (at + bytes, from + bytes);
        Some(())
    }

    /// Adds the text up to a byte as new.
    fn add(&mut self, until: usize) -> Option<()> {
        let text = &self.after[self.at..until];
        if !text.is_empty() {
            self.left = self.left.checked_sub(json_bytes(text))?;
            self.found.push(Piece::New(text.to_owned()));
            self.at = until;
        }
        Some(())
    }

    fn finish(mut self) -> Option<Vec<Piece>> {
        self.add(self.after.len())?;
        Some(self.found)
    }

    /// Finds pieces by blocks of the cursor before, wherever they are now.
    fn search(&mut self) -> Option<()> {
        let blocks = Blocks::new(self.before.as_bytes());
        let mut at = self.at;
        while let Some(block) = block_at(self.after.as_bytes(), at) {
            // New text that has no room ends the search, so that it takes no longer than the change is large.
            if at - self.at > self.left {
                return None;
            }
            match blocks.find(block, self.behind).and_then(|from| self.widen(from, at)) {
                Some((from, begin, bytes)) => {
                    self.keep(from, begin, bytes)?;
                    at = self.at;
                }
                None => at += 1,
            }
        }
        Some(())
    }

    /// Returns the largest common piece around these bytes that begins and ends with whole characters: where it begins in both
    /// texts, and its length. Returns `None` if it is too short.
    fn widen(&self, from: usize, at: usize) -> Option<(usize, usize, usize)> {
        let (before, after) = (&self.before.as_bytes()[..from], &self.after.as_bytes()[self.at..at]);
        let back = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
        let mut shift = 0;
        while !self.after.is_char_boundary(at - back + shift) {
            shift += 1;
        }
        let (from, at) = (from - back + shift, at - back + shift);
        let bytes = self.common_after(from, at);
        (bytes >= KEPT_BYTES_MIN).then_some((from, at, bytes))
    }

    /// Returns how many bytes both texts have in common from here on, in whole characters.
    fn common_after(&self, from: usize, at: usize) -> usize {
        let (before, after) = (&self.before.as_bytes()[from..], &self.after.as_bytes()[at..]);
        let mut bytes = common_start(before, after);
        while !self.after.is_char_boundary(at + bytes) {
            bytes -= 1;
        }
        bytes
    }
}

/// Returns how many bytes two texts have in common at their starts.
fn common_start(one: &[u8], other: &[u8]) -> usize {
    let chunks = one.chunks_exact(CHUNK_BYTES).zip(other.chunks_exact(CHUNK_BYTES));
    let bytes = CHUNK_BYTES * chunks.take_while(|(one, other)| one == other).count();
    bytes + one[bytes..].iter().zip(&other[bytes..]).take_while(|(one, other)| one == other).count()
}

/// Returns how many bytes two texts have in common at their ends, in whole characters.
fn common_end(one: &str, other: &str) -> usize {
    let (one, end) = (one.as_bytes(), other.as_bytes());
    let chunks = one.rchunks_exact(CHUNK_BYTES).zip(end.rchunks_exact(CHUNK_BYTES));
    let mut bytes = CHUNK_BYTES * chunks.take_while(|(one, other)| one == other).count();
    let (one, end) = (&one[..one.len() - bytes], &end[..end.len() - bytes]);
    bytes += one.iter().rev().zip(end.iter().rev()).take_while(|(one, other)| one == other).count();
    while !other.is_char_boundary(other.len() - bytes) {
        bytes -= 1;
    }
    bytes
}

/// Where each block of a text is.
struct Blocks(Vec<(u128, usize)>);

impl Blocks {
    fn new(text: &[u8]) -> Self {
        let places = (0..text.len()).step_by(KEPT_BYTES_MIN);
        let mut blocks: Vec<(u128, usize)> = places.filter_map(|from| Some((block_at(text, from)?, from))).collect();
        blocks.sort_unstable();
        Self(blocks)
    }

    /// Returns where a block is: at the first place from a byte on, or else at the first place of all.
    fn find(&self, block: u128, from: usize) -> Option<usize> {
        let place = |least: (u128, usize)| {
            let place = self.0.partition_point(|one| *one < least);
            self.0.get(place).filter(|(found, _)| *found == block).map(|(_, from)| *from)
        };
        place((block, from)).or_else(|| place((block, 0)))
    }
}

/// Returns the block that begins at a byte, as a number.
fn block_at(text: &[u8], from: usize) -> Option<u128> {
    let block = text.get(from..from.checked_add(KEPT_BYTES_MIN)?)?;
    block.try_into().ok().map(u128::from_be_bytes)
}

/// Returns the size of a new text as JSON, with the comma behind it.
fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 3
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Kept { from, bytes } => (from, bytes).serialize(serializer),
            Self::New(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PieceVisitor)
    }
}

struct PieceVisitor;

impl<'de> Visitor<'de> for PieceVisitor {
    type Value = Piece;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or the place and the length of a piece")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Piece, E> {
        Ok(Piece::New(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Piece, A::Error> {
        let mut next = |at| numbers.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &"two numbers"));
        let (from, bytes) = (next(0)?, next(1)?);
        match numbers.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(Piece::Kept { from, bytes }),
            Some(_) => Err(A::Error::invalid_length(3, &"two numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the change between two texts, however large it is.
    fn change(before: &str, after: &str) -> CursorChange {
        CursorChange::between(before, after, usize::MAX).expect("there is room for anything")
    }

    fn json(change: &CursorChange) -> String {
        serde_json::to_string(change).unwrap()
    }

    /// Sorted entries of twenty letters each, as a source with many known things writes them.
    fn entries(numbers: impl Iterator<Item = u64>) -> String {
        let mut hashes: Vec<String> = numbers.map(|number| Digest::of(&number.to_be_bytes()).to_string()[..20].to_owned()).collect();
        hashes.sort_unstable();
        format!(r#"{{"files":"{}"}}"#, hashes.concat())
    }

    #[test]
    fn entry_among_five_thousand_is_a_small_change_wherever_it_is() {
        let before = entries(0..5_000);
        for new in 5_000..5_100 {
            let change = change(&before, &entries((0..5_000).chain([new])));
            assert!(json(&change).len() < 180, "{}", json(&change));
        }
    }

    #[test]
    fn entries_in_many_places_cost_little_more_than_themselves() {
        let change = change(&entries(0..5_000), &entries(25..5_100));
        assert!(json(&change).len() < 125 * (20 + 24), "{}", json(&change).len());
    }

    #[test]
    fn piece_that_moved_is_kept() {
        let lines = |numbers: &[u32]| numbers.iter().map(|n| format!("this is the line of number {n}, ")).collect::<String>();
        for moved in [[2, 3, 4, 1], [4, 1, 2, 3]] {
            let change = change(&lines(&[1, 2, 3, 4]), &lines(&moved));
            let is_kept = |piece: &Piece| if let Piece::New(text) = piece { text.len() < KEPT_BYTES_MIN } else { true };
            assert!(change.pieces.iter().all(is_kept), "{}", json(&change));
        }
    }

    #[test]
    fn change_is_written_as_places_and_texts() {
        let before = format!(r#"["{}"]"#, "a".repeat(30));
        let change = change(&before, &format!(r#"["{}","b"]"#, "a".repeat(30)));
        let written = format!(r#"{{"to":"{}","pieces":[[0,33],",\"b\"]"]}}"#, change.digest());
        assert_eq!(json(&change), written);
        assert_eq!(serde_json::from_str::<CursorChange>(&written).unwrap(), change);
    }

    #[test]
    fn change_without_room_is_none() {
        let (before, after) = ("x".repeat(2_000), entries(0..100));
        assert_eq!(CursorChange::between(&before, &after, 1_000), None);
        assert_eq!(CursorChange::between(&before, &before, REST_BYTES_MAX), None);
    }

    #[test]
    fn change_of_another_cursor_is_an_error() {
        let before = entries(0..100);
        let change = change(&before, &entries(0..101));
        let error = change.apply(&before[..200]).unwrap_err();
        assert!(matches!(error, ChangeUnfit::NoPiece { .. }), "{error}");
        let endless = CursorChange { to: change.to, pieces: vec![Piece::Kept { from: 0, bytes: before.len() }; 1_000] };
        assert_eq!(endless.apply(&before), Err(ChangeUnfit::TooLong));
        let inside = CursorChange { to: change.to, pieces: vec![Piece::Kept { from: 1, bytes: usize::MAX }] };
        assert_eq!(inside.apply("äöü"), Err(ChangeUnfit::NoPiece { from: 1, bytes: usize::MAX }));
    }

    #[test]
    fn piece_of_another_shape_is_an_error() {
        for piece in ["1", "[]", "[1]", "[1,2,3]", "[-1,2]", "[1,\"a\"]", "null", "{}"] {
            let text = format!(r#"{{"to":"{}","pieces":[{piece}]}}"#, Digest::of(b""));
            assert!(serde_json::from_str::<CursorChange>(&text).is_err(), "{piece}");
        }
    }

    #[test]
    fn search_in_a_text_of_one_letter_ends() {
        let (before, after) = ("a".repeat(CURSOR_BYTES_MAX), format!("b{}b", "a".repeat(CURSOR_BYTES_MAX - 2)));
        assert_eq!(change(&before, &after).apply(&before).unwrap(), after);
    }

    /// Texts of words, so that pieces of one are in another, with characters of one to four bytes.
    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("known and unchanged text".to_owned()),
            Just("ä€😀ä€😀ä€😀ä€😀ä€😀".to_owned()),
            Just("ä€😀ä€😁ä€😀ä€😀ä€😀".to_owned()),
            Just("\"\\\u{1}\n".to_owned()),
            "[a-c\u{e4}\u{20ac}\u{1f600}\"]{0,30}",
        ];
        proptest::collection::vec(word, 0..20).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn change_makes_the_new_text_of_the_one_before(before in words(), after in words()) {
            let change = change(&before, &after);
            prop_assert_eq!(&change.apply(&before).unwrap(), &after);
            prop_assert_eq!(change.digest(), Digest::of(after.as_bytes()));
            prop_assert!(json(&change).len() <= change.bytes());
            prop_assert_eq!(serde_json::from_str::<CursorChange>(&json(&change)).unwrap(), change);
        }

        #[test]
        fn change_has_no_more_bytes_than_it_may(before in words(), after in words(), bytes_max in 0_usize..600) {
            if let Some(change) = CursorChange::between(&before, &after, bytes_max) {
                prop_assert!(change.bytes() <= bytes_max);
                prop_assert_eq!(change.apply(&before).unwrap(), after);
            }
        }

        #[test]
        fn no_change_and_no_text_harm(before in words(), pieces in proptest::collection::vec((any::<usize>(), any::<usize>()), 0..4)) {
            let pieces = pieces.into_iter().map(|(from, bytes)| Piece::Kept { from: from % 64, bytes: bytes % 64 }).collect();
            let _ = CursorChange { to: Digest::of(b""), pieces }.apply(&before);
        }
    }
}

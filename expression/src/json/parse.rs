//! The parser of JSON documents: one pass, no recursion, every error with its place.
//!
//! It makes only the tape; values are read from the tape when they are requested.

use std::borrow::Cow;

use bytes::Bytes;

use super::escape::escape_len;
use super::{ESCAPED, JSON_BYTES_MAX, JsonError, Slot, escape};

/// Boxed, because every value is returned as one of these.
type Result<T> = std::result::Result<T, Box<JsonError>>;

/// Up to this many keys of an object are compared one by one (by fingerprint). If there are more, they are
/// sorted at the object's end.
const LINEAR_KEYS_MAX: usize = 128;

/// Returns the bytes as text.
pub(super) fn text(bytes: Bytes) -> Result<String> {
    if bytes.len() > JSON_BYTES_MAX {
        return Err(error(&bytes, 0, "the document is larger than 1 GiB"));
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(error(&bytes, 0, "unexpected byte order mark; JSON must start with its value"));
    }
    String::from_utf8(Vec::from(bytes)).map_err(|invalid| {
        let at = invalid.utf8_error().valid_up_to();
        error(invalid.as_bytes(), at, "invalid UTF-8")
    })
}

/// Parses `text` into a tape. `depth_max` levels of arrays and objects are allowed.
pub(super) fn parse(text: &str, depth_max: usize) -> Result<Vec<Slot>> {
    if text.len() > JSON_BYTES_MAX {
        return Err(error(text.as_bytes(), 0, "the document is larger than 1 GiB"));
    }
    Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth_max,
        slots: Vec::with_capacity(text.len() / 16 + 1),
        open: Vec::new(),
        fingerprints: Vec::new(),
    }
    .document()
}

struct Parser<'b> {
    text: &'b str,
    bytes: &'b [u8],
    at: usize,
    depth_max: usize,
    slots: Vec<Slot>,
    open: Vec<Open>,
    /// Of the keys of all open objects, outermost first.
    fingerprints: Vec<u16>,
}

/// An array or object whose end has not been seen.
#[derive(Clone, Copy)]
struct Open {
    slot: usize,
    shape: ContainerKind,
}

#[derive(Clone, Copy)]
enum ContainerKind {
    Array,
    Object {
        /// The slot of the latest key.
        key: usize,
        /// Where this object's fingerprints begin.
        first_fingerprint: usize,
        check: KeyCheck,
    },
}

/// When the keys of an object are compared with each other.
#[derive(Clone, Copy, PartialEq)]
enum KeyCheck {
    /// Each with those before it, by fingerprints, as long as these differ.
    AtOnce,
    /// All of them by sorting, because there are many or two fingerprints were the same.
    AtItsEnd,
}

impl Parser<'_> {
    fn document(mut self) -> Result<Vec<Slot>> {
        loop {
            if !self.value()? {
                continue;
            }
            loop {
                self.skip_space();
                let Some(open) = self.open.last().copied() else {
                    if self.at < self.bytes.len() {
                        return Err(self.error("unexpected text after the end of the value"));
                    }
                    return Ok(self.slots);
                };
                if let ContainerKind::Object { key, .. } = open.shape {
                    let next = index(self.slots.len());
                    self.slots[key].next = next | (self.slots[key].next & ESCAPED);
                }
                match (self.peek(), open.shape) {
                    (Some(b','), ContainerKind::Array) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b','), ContainerKind::Object { .. }) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Some(b']'), ContainerKind::Array) | (Some(b'}'), ContainerKind::Object { .. }) => {
                        self.close(open)?;
                    }
                    (None, ContainerKind::Array) => return Err(self.error("the array is not closed")),
                    (None, ContainerKind::Object { .. }) => {
                        return Err(self.error("the object is not closed"));
                    }
                    (Some(_), ContainerKind::Array) => {
                        return Err(self.error("expected `,` or `]` after an element"));
                    }
                    (Some(_), ContainerKind::Object { .. }) => {
                        return Err(self.error("expected `,` or `}` after a field"));
                    }
                }
            }
        }
    }

    /// Parses a value. Returns false if it opened an array or object whose first value comes next.
    fn value(&mut self) -> Result<bool> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string().map(|()| true),
            Some(b'{') => self.open_object(),
            Some(b'[') => self.open_array(),
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| true),
            Some(b'n') => self.word("null").map(|()| true),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| true),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("the text ends where a value is expected")),
        }
    }

    fn open_object(&mut self) -> Result<bool> {
        let shape =
            ContainerKind::Object { key: self.slots.len() + 1, first_fingerprint: self.fingerprints.len(), check: KeyCheck::AtOnce };
        let open = Open { slot: self.slots.len(), shape };
        self.begin(open)?;
        if self.peek() == Some(b'}') {
            return self.close(open).map(|()| true);
        }
        self.key().map(|()| false)
    }

    fn open_array(&mut self) -> Result<bool> {
        let open = Open { slot: self.slots.len(), shape: ContainerKind::Array };
        self.begin(open)?;
        if self.peek() == Some(b']') {
            return self.close(open).map(|()| true);
        }
        Ok(false)
    }

    fn begin(&mut self, open: Open) -> Result<()> {
        if self.open.len() >= self.depth_max {
            return Err(self.error(&format!("nested deeper than {} levels", self.depth_max)));
        }
        self.push(self.at, self.at + 1);
        self.open.push(open);
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn close(&mut self, open: Open) -> Result<()> {
        self.at += 1;
        let next = index(self.slots.len());
        self.slots[open.slot].end = index(self.at);
        self.slots[open.slot].next = next;
        self.open.pop();
        if let ContainerKind::Object { first_fingerprint, check, .. } = open.shape {
            if check == KeyCheck::AtItsEnd {
                self.refuse_duplicates(open.slot)?;
            }
            self.fingerprints.truncate(first_fingerprint);
        }
        Ok(())
    }

    /// Parses a key and its colon, and records the key's position.
    fn key(&mut self) -> Result<()> {
        self.skip_space();
        let start = self.at;
        match self.peek() {
            Some(b'"') => {}
            Some(b'}') => return Err(self.error("unexpected comma before `}`")),
            Some(_) => return Err(self.error("expected a key in double quotes")),
            None => return Err(self.error("the object is not closed")),
        }
        let slot = self.slots.len();
        self.string()?;
        let fingerprint = self.fingerprint(self.slots[slot]);
        let Some(Open { slot: object, shape: ContainerKind::Object { key, first_fingerprint, check } }) = self.open.last_mut() else {
            return Err(self.error("a key outside an object"));
        };
        *key = slot;
        let object = *object;
        let earlier = &self.fingerprints[*first_fingerprint..];
        if *check == KeyCheck::AtOnce {
            let is_met = holds(earlier, fingerprint);
            if is_met || earlier.len() == LINEAR_KEYS_MAX {
                *check = KeyCheck::AtItsEnd;
            }
            if is_met && self.keys_before(object, slot).any(|other| self.same_text(other, slot)) {
                return Err(error(self.bytes, start, &self.duplicate(slot)));
            }
        }
        self.fingerprints.push(fingerprint);
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected `:` after a key"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        let start = self.at;
        let mut escaped = 0;
        self.at += 1;
        loop {
            self.at = special_from(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = ESCAPED;
                    match escape_len(&self.bytes[self.at..]) {
                        Ok(len) => self.at += len,
                        Err(message) => return Err(self.error(message)),
                    }
                }
                Some(_) => {
                    return Err(self.error("unescaped control character in a string; write it as an escape"));
                }
                None => return Err(error(self.bytes, start, "the string is not closed")),
            }
        }
        self.at += 1;
        self.push(start, self.at);
        if let Some(slot) = self.slots.last_mut() {
            slot.next |= escaped;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    return Err(error(self.bytes, start, "a number must not start with an extra zero"));
                }
            }
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(self.error("expected a digit")),
        }
        let mut is_float = self.at - start > 300;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits_after("a decimal point")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_float = true;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits_after("an exponent")?;
        }
        if is_float {
            let is_finite = self.text[start..self.at].parse().is_ok_and(f64::is_finite);
            if !is_finite {
                return Err(error(self.bytes, start, "the number is too large for a double"));
            }
        }
        self.push(start, self.at);
        Ok(())
    }

    fn digits_after(&mut self, what: &str) -> Result<()> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.error(&format!("expected a digit after {what}")));
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.push(self.at, self.at + word.len());
        self.at += word.len();
        Ok(())
    }

    fn push(&mut self, start: usize, end: usize) {
        self.slots.push(Slot { start: index(start), end: index(end), next: index(self.slots.len() + 1) });
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error(&self, message: &str) -> Box<JsonError> {
        error(self.bytes, self.at, message)
    }
}

/// Duplicate keys.
impl Parser<'_> {
    fn key_text(&self, key: usize) -> Cow<'_, str> {
        let slot = self.slots[key];
        let text = &self.text[slot.start as usize + 1..slot.end as usize - 1];
        if slot.is_escaped() { escape::unescape(text).into() } else { text.into() }
    }

    fn same_text(&self, one: usize, other: usize) -> bool {
        self.key_text(one) == self.key_text(other)
    }

    fn fingerprint(&self, key: Slot) -> u16 {
        if key.is_escaped() {
            return fingerprint(self.key_text(self.slots.len() - 1).as_bytes());
        }
        fingerprint(&self.bytes[key.start as usize + 1..key.end as usize - 1])
    }

    fn keys_before(&self, object: usize, end: usize) -> impl Iterator<Item = usize> {
        let first = (object + 1 < end).then_some(object + 1);
        std::iter::successors(first, move |&key| {
            let next = self.slots[key].next();
            (next < end).then_some(next)
        })
    }

    /// For objects with many keys: sorts them by their hashes, so that hostile ones cost n log n.
    fn refuse_duplicates(&self, object: usize) -> Result<()> {
        let mut keys: Vec<_> =
            self.keys_before(object, self.slots.len()).map(|key| (hash(self.key_text(key).as_bytes()), index(key))).collect();
        let text = |key: u32| self.key_text(key as usize);
        keys.sort_unstable_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| text(one.1).cmp(&text(other.1))).then_with(|| one.1.cmp(&other.1))
        });
        match keys.windows(2).find(|pair| pair[0].0 == pair[1].0 && text(pair[0].1) == text(pair[1].1)) {
            Some(pair) => {
                let key = pair[1].1 as usize;
                Err(error(self.bytes, self.slots[key].start as usize, &self.duplicate(key)))
            }
            None => Ok(()),
        }
    }

    fn duplicate(&self, key: usize) -> String {
        const CHARACTERS_MAX: usize = 80;
        let key: String = self.key_text(key).chars().take(CHARACTERS_MAX).collect();
        format!("duplicate key `{key}` in an object")
    }
}

fn fingerprint(text: &[u8]) -> u16 {
    (hash(text) >> 48) as u16
}

/// Returns a cheap hash of a key. Equal texts have equal hashes, and different texts mostly different ones.
fn hash(text: &[u8]) -> u64 {
    const SPREAD: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = text.len() as u64;
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
    }
    // Reads the last eight bytes once more if there are that many, which is faster than gathering the
    // remaining ones.
    let last = match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    (hash.rotate_left(5) ^ last).wrapping_mul(SPREAD)
}

/// Written so that the compiler compares sixteen at once.
fn holds(fingerprints: &[u16], fingerprint: u16) -> bool {
    let (groups, rest) = fingerprints.as_chunks::<16>();
    let is_in = |group: &[u16; 16]| group.iter().fold(0, |found, &other| found | u16::from(other == fingerprint)) != 0;
    groups.iter().any(is_in) || rest.contains(&fingerprint)
}

/// Returns the position of the first quote, backslash or control character at or after `at`, or the end.
/// Examines eight bytes per turn.
fn special_from(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let holds_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quotes = holds_zero(word ^ (ONES * u64::from(b'"')));
        let backslashes = holds_zero(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | backslashes | controls;
        if found != 0 {
            // The lowest marked byte is exact. Only bytes above it may be marked because of a borrow.
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
        at += 1;
    }
    at
}

#[allow(clippy::cast_possible_truncation, reason = "JSON_BYTES_MAX bounds offsets and slots")]
fn index(value: usize) -> u32 {
    value as u32
}

#[cold]
fn error(bytes: &[u8], offset: usize, message: &str) -> Box<JsonError> {
    let before = &bytes[..offset.min(bytes.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Box::new(JsonError {
        message: message.to_owned(),
        offset,
        line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
    })
}

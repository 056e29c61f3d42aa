//! JSON read in place: a tape of offsets over the raw bytes, in document order.
//!
//! Nothing is copied, sorted or unescaped until it is requested, and nothing is repaired: input that is not
//! strict JSON is rejected with its place.

mod escape;
mod parse;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// The maximum nesting of objects and arrays.
pub const JSON_DEPTH_MAX: usize = 128;
/// The maximum size of a document, in bytes.
pub const JSON_BYTES_MAX: usize = 1 << 30;

/// Why bytes are not a JSON document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {message}")]
#[non_exhaustive]
pub struct JsonError {
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// Where, in bytes from the start.
    pub offset: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A parsed JSON document. A clone shares it.
#[derive(Clone)]
pub struct Document {
    tape: Arc<Tape>,
    /// The tape's text, as shared bytes.
    bytes: Bytes,
}

/// The text and the positions of its values.
///
/// The text is kept as checked text, because slices of bytes would have to be checked again at every look-up.
struct Tape {
    text: String,
    slots: Vec<Slot>,
}

struct TapeBytes(Arc<Tape>);

impl AsRef<[u8]> for TapeBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

/// A value, or the key of an object's entry, as offsets into the bytes (quotes included).
///
/// A value's `next` is the slot after it and everything in it. A key's `next` is the next key of the same
/// object, so that a look-up touches one slot for each key, and the bytes only of keys that have the right
/// length.
#[derive(Clone, Copy)]
struct Slot {
    start: u32,
    end: u32,
    next: u32,
}

/// How much of a name is compared in the time that it takes to pass a key.
const WORD_BYTES: usize = 16;

/// Marks a string with escapes in `Slot::next`. `JSON_BYTES_MAX` keeps real indices below it.
const ESCAPED: u32 = 1 << 31;

impl Slot {
    fn next(self) -> usize {
        (self.next & !ESCAPED) as usize
    }

    fn is_escaped(self) -> bool {
        self.next & ESCAPED != 0
    }

    /// Returns the slot as it is in a document that begins at the byte `base` and the slot `first` of this one.
    fn rebase(self, base: u32, first: u32) -> Self {
        // The mark for escapes is above all indices, so the subtraction leaves it as it is.
        Self { start: self.start - base, end: self.end - base, next: self.next - first }
    }
}

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are JSON's own")]
pub enum NodeKind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A JSON number in the first of these types that holds it exactly, or otherwise the nearest double.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Number {
    Int(i64),
    Uint(u64),
    Double(f64),
}

impl Document {
    /// Parses strict JSON in UTF-8. Takes over the bytes without a copy if nothing else holds them.
    ///
    /// # Errors
    /// Duplicate keys, more than [`JSON_DEPTH_MAX`] levels, invalid UTF-8, a byte order mark, trailing bytes,
    /// lone surrogates and numbers beyond a double's range are errors, and so is everything that the JSON
    /// grammar does not allow.
    pub fn parse(bytes: Bytes) -> Result<Self, JsonError> {
        let text = parse::text(bytes).map_err(|error| *error)?;
        let slots = parse::parse(&text, JSON_DEPTH_MAX).map_err(|error| *error)?;
        Ok(Self::of(Tape { text, slots }))
    }

    /// Returns the document that contains exactly `value`.
    ///
    /// # Panics
    /// If the value's text is longer than [`JSON_BYTES_MAX`].
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self::from_strict_json(value.to_string())
    }

    /// Returns the document of a text that was just written as strict JSON.
    pub(crate) fn from_strict_json(text: String) -> Self {
        let slots = parse::parse(&text, usize::MAX).expect("it was written as strict JSON below 1 GiB");
        Self::of(Tape { text, slots })
    }

    fn of(tape: Tape) -> Self {
        let tape = Arc::new(tape);
        let bytes = Bytes::from_owner(TapeBytes(Arc::clone(&tape)));
        Self { tape, bytes }
    }

    /// Returns the document's value.
    pub fn root(&self) -> Node<'_> {
        Node { tape: &self.tape, index: 0 }
    }

    /// Returns the original bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.tape.text.len() + self.tape.slots.len() * size_of::<Slot>()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.root()).finish()
    }
}

/// A value inside a [`Document`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tape: &'a Tape,
    index: u32,
}

impl<'a> Node<'a> {
    /// Returns the kind of the value.
    pub fn kind(self) -> NodeKind {
        match self.tape.text.as_bytes()[self.slot().start as usize] {
            b'{' => NodeKind::Object,
            b'[' => NodeKind::Array,
            b'"' => NodeKind::String,
            b't' | b'f' => NodeKind::Bool,
            b'n' => NodeKind::Null,
            _ => NodeKind::Number,
        }
    }

    /// Returns the value of an object's field, or `None` if there is none, or this is not an object.
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        self.find(name).0
    }

    /// Returns the value of an object's field, and how many keys were examined. A long name counts once more
    /// for each [`WORD_BYTES`] of it that may have been compared.
    pub(crate) fn find(self, name: &str) -> (Option<Node<'a>>, u64) {
        let mut looked_at = 0;
        if self.kind() != NodeKind::Object {
            return (None, looked_at);
        }
        let end = self.slot().next();
        let mut at = self.index as usize + 1;
        while at < end {
            let key = self.tape.slots[at];
            looked_at += 1;
            if self.tape.may_be(key, name) {
                looked_at += (name.len() / WORD_BYTES) as u64;
            }
            if self.tape.key_is(key, name) {
                return (Some(self.at_slot(at + 1)), looked_at);
            }
            at = key.next();
        }
        (None, looked_at)
    }

    /// Returns how many bytes must be copied to return the value in its own form: those of a string with
    /// escapes.
    pub(crate) fn copied_len(self) -> usize {
        if self.slot().is_escaped() && self.kind() == NodeKind::String { self.raw_len() } else { 0 }
    }

    /// Returns the element of an array at `position`, from 0. Takes time linear in the position.
    pub fn at(self, position: usize) -> Option<Node<'a>> {
        self.items().nth(position)
    }

    /// Returns a string's text, borrowed unless it contains escapes.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        (self.kind() == NodeKind::String).then(|| self.tape.text(self.slot()))
    }

    /// Returns a boolean's value.
    pub fn as_bool(self) -> Option<bool> {
        match self.tape.text.as_bytes()[self.slot().start as usize] {
            b't' => Some(true),
            b'f' => Some(false),
            _ => None,
        }
    }

    /// Returns a number that is a whole number in the range of an `i64`, and is written as one.
    pub fn as_i64(self) -> Option<i64> {
        match self.number()? {
            Number::Int(value) => Some(value),
            Number::Uint(_) | Number::Double(_) => None,
        }
    }

    /// Returns a number that is a whole number in the range of a `u64`, and is written as one.
    pub fn as_u64(self) -> Option<u64> {
        match self.number()? {
            Number::Int(value) => u64::try_from(value).ok(),
            Number::Uint(value) => Some(value),
            Number::Double(_) => None,
        }
    }

    /// Returns a number as the nearest double.
    #[allow(clippy::cast_precision_loss, reason = "the nearest double is wanted")]
    pub fn as_f64(self) -> Option<f64> {
        Some(match self.number()? {
            Number::Int(value) => value as f64,
            Number::Uint(value) => value as f64,
            Number::Double(value) => value,
        })
    }

    /// Returns a number in its own form: `i64` first, then `u64`, then `f64`.
    pub fn number(self) -> Option<Number> {
        if self.kind() != NodeKind::Number {
            return None;
        }
        let text = self.raw();
        // As in serde_json: the only whole number that an integer cannot distinguish from another.
        if text == "-0" {
            return Some(Number::Double(-0.0));
        }
        if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            if let Ok(value) = text.parse() {
                return Some(Number::Int(value));
            }
            if let Ok(value) = text.parse() {
                return Some(Number::Uint(value));
            }
        }
        text.parse().ok().map(Number::Double)
    }

    /// Returns true if it is a whole number that does not fit in 64 bits, so that [`Node::number`] is only
    /// the nearest double.
    pub fn is_rounded(self) -> bool {
        // Such a number has at least nineteen digits.
        self.raw_len() >= 19
            && matches!(self.number(), Some(Number::Double(_)))
            && !self.raw().bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
    }

    /// Returns true if it is such a number or contains one.
    pub(crate) fn holds_rounded(self) -> bool {
        match self.kind() {
            NodeKind::Number => self.is_rounded(),
            NodeKind::Array => self.raw_len() > 19 && self.items().any(Node::holds_rounded),
            NodeKind::Object => self.raw_len() > 19 && self.entries().any(|(_, value)| value.holds_rounded()),
            NodeKind::Null | NodeKind::Bool | NodeKind::String => false,
        }
    }

    /// Returns true if the value is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == NodeKind::Null
    }

    /// Returns the number of an array's elements or an object's entries, or 0 for any other value. Takes time
    /// linear in it.
    #[allow(clippy::len_without_is_empty, reason = "emptiness of a node that may be a number says nothing")]
    pub fn len(self) -> usize {
        match self.kind() {
            NodeKind::Array => self.items().count(),
            NodeKind::Object => self.entries().count(),
            NodeKind::Null | NodeKind::Bool | NodeKind::Number | NodeKind::String => 0,
        }
    }

    /// Returns an array's elements in order, or nothing for any other value.
    pub fn items(self) -> Items<'a> {
        let end = match self.kind() {
            NodeKind::Array => self.slot().next(),
            NodeKind::Null | NodeKind::Bool | NodeKind::Number | NodeKind::String | NodeKind::Object => 0,
        };
        Items { tape: self.tape, at: self.index as usize + 1, end }
    }

    /// Returns an object's entries in document order, or nothing for any other value.
    pub fn entries(self) -> Entries<'a> {
        let end = match self.kind() {
            NodeKind::Object => self.slot().next(),
            NodeKind::Null | NodeKind::Bool | NodeKind::Number | NodeKind::String | NodeKind::Array => 0,
        };
        Entries { tape: self.tape, at: self.index as usize + 1, end }
    }

    /// Returns the number of values: this one and all in it, including keys. Takes constant time.
    pub(crate) fn values(self) -> u64 {
        self.slot().next() as u64 - u64::from(self.index)
    }

    /// Returns the value's text as it is in the document.
    pub fn raw(self) -> &'a str {
        let slot = self.slot();
        self.tape.str_at(slot.start, slot.end)
    }

    /// Returns the length of [`Node::raw`] in bytes, without examining them.
    pub fn raw_len(self) -> usize {
        let slot = self.slot();
        (slot.end - slot.start) as usize
    }

    /// Returns the value as a document of its own, with the text that it has here. It is not parsed again.
    pub fn to_document(self) -> Document {
        let (from, base) = (self.index as usize, self.slot().start);
        let slots = self.tape.slots[from..self.slot().next()].iter().map(|slot| slot.rebase(base, self.index)).collect();
        Document::of(Tape { text: self.raw().to_owned(), slots })
    }

    /// Returns a copy of the value and everything in it.
    pub fn to_value(self) -> serde_json::Value {
        use serde_json::Value;
        match self.kind() {
            NodeKind::Null => Value::Null,
            NodeKind::Bool => Value::Bool(self.as_bool() == Some(true)),
            NodeKind::Number => match self.number() {
                Some(Number::Int(value)) => Value::from(value),
                Some(Number::Uint(value)) => Value::from(value),
                Some(Number::Double(value)) => Value::from(value),
                None => Value::Null,
            },
            NodeKind::String => Value::String(self.tape.text(self.slot()).into_owned()),
            NodeKind::Array => self.items().map(Node::to_value).collect(),
            NodeKind::Object => self.entries().map(|(key, value)| (key.into_owned(), value.to_value())).collect(),
        }
    }

    fn slot(self) -> Slot {
        self.tape.slots[self.index as usize]
    }

    #[allow(clippy::cast_possible_truncation, reason = "JSON_BYTES_MAX bounds the number of slots")]
    fn at_slot(self, index: usize) -> Node<'a> {
        Node { tape: self.tape, index: index as u32 }
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw())
    }
}

impl Tape {
    fn str_at(&self, start: u32, end: u32) -> &str {
        &self.text[start as usize..end as usize]
    }

    /// Returns a string's text without its quotes, unescaped if necessary.
    fn text(&self, slot: Slot) -> Cow<'_, str> {
        let text = self.str_at(slot.start + 1, slot.end - 1);
        if slot.is_escaped() { Cow::Owned(escape::unescape(text)) } else { Cow::Borrowed(text) }
    }

    /// Returns true if the key's length allows it to be `name`.
    fn may_be(&self, key: Slot, name: &str) -> bool {
        let raw_len = (key.end - key.start) as usize - 2;
        if key.is_escaped() { raw_len > name.len() } else { raw_len == name.len() }
    }

    fn key_is(&self, key: Slot, name: &str) -> bool {
        if !self.may_be(key, name) {
            return false;
        }
        if key.is_escaped() {
            return escape::reads_as(self.str_at(key.start + 1, key.end - 1), name);
        }
        self.text.as_bytes()[key.start as usize + 1..key.end as usize - 1] == *name.as_bytes()
    }
}

/// The elements of an array.
#[derive(Clone)]
pub struct Items<'a> {
    tape: &'a Tape,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    #[allow(clippy::cast_possible_truncation, reason = "JSON_BYTES_MAX bounds the number of slots")]
    fn next(&mut self) -> Option<Node<'a>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node { tape: self.tape, index: self.at as u32 };
        self.at = node.slot().next();
        Some(node)
    }
}

/// The entries of an object.
#[derive(Clone)]
pub struct Entries<'a> {
    tape: &'a Tape,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Cow<'a, str>, Node<'a>);

    #[allow(clippy::cast_possible_truncation, reason = "JSON_BYTES_MAX bounds the number of slots")]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let key = self.tape.slots[self.at];
        let node = Node { tape: self.tape, index: self.at as u32 + 1 };
        self.at = key.next();
        Some((self.tape.text(key), node))
    }
}

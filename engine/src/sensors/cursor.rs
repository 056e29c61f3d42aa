//! Cursors: how far a pulling sensor has read its source.
//!
//! Only the source understands what a cursor means; the engine stores and compares it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cursor_change::{CHANGE_BYTES_MAX, CHANGED_CURSOR_BYTES_MIN, ChangeUnfit, CursorChange};
use crate::record::{Body, BodyHandle, Digest};

/// The maximum length of a cursor as JSON, in bytes.
pub const CURSOR_BYTES_MAX: usize = 256 * 1024;
/// The maximum length in bytes of a cursor that is stored in a fact; a longer one is the body of the record.
pub const CURSOR_INLINE_BYTES_MAX: usize = 4 * 1024;

/// The maximum number of changes after which a cursor is recorded whole again.
pub const CHANGES_MAX: usize = 1_000;

/// How far a sensor has read its source: JSON that only the source understands.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// Why some bytes are not a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CursorInvalid {
    /// It is too long.
    #[error("the cursor has {bytes} bytes; the limit is {CURSOR_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not JSON.
    #[error("the cursor is not JSON: {0}")]
    NotJson(String),
    /// It cannot be put together from the changes in the log.
    #[error("a change of the cursor does not fit: {0}")]
    Unfit(#[from] ChangeUnfit),
}

impl Cursor {
    /// Creates a cursor from JSON text. The text is stored as it is, and compared byte by byte.
    pub fn of_json(json: impl Into<String>) -> Result<Self, CursorInvalid> {
        let json = json.into();
        if json.len() > CURSOR_BYTES_MAX {
            return Err(CursorInvalid::TooLong { bytes: json.len() });
        }
        let _: IgnoredAny = serde_json::from_str(&json).map_err(|why| CursorInvalid::NotJson(why.to_string()))?;
        Ok(Self(json))
    }

    /// Creates a cursor from the bytes of a stored body.
    pub fn of_bytes(bytes: &Bytes) -> Result<Self, CursorInvalid> {
        let text = std::str::from_utf8(bytes).map_err(|why| CursorInvalid::NotJson(why.to_string()))?;
        Self::of_json(text)
    }

    /// Returns the JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the JSON text itself.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Returns the digest by which two cursors are compared.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Returns true if a fact can hold it.
    fn is_short(&self) -> bool {
        self.0.len() <= CURSOR_INLINE_BYTES_MAX
    }

    /// Returns the parts in which a record stores it: in the fact if it is short, else in the body.
    pub(crate) fn into_parts(self) -> (Option<String>, Option<Body>) {
        if self.is_short() { (Some(self.0), None) } else { (None, Some(Body::json(self.0.into_bytes()))) }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", self.0)
    }
}

/// A cursor that is to be recorded, and the change that makes it of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCursor {
    whole: Cursor,
    change: Option<CursorChange>,
}

impl NewCursor {
    /// Creates one. There is a change if it is much smaller than the cursor, and if the cursor before is recorded in the same
    /// way: what is read at once stays so.
    pub fn after(before: Option<&Cursor>, whole: Cursor) -> Self {
        let bytes_max = CHANGE_BYTES_MAX.min(whole.0.len() / 2);
        let before = before.filter(|before| whole.0.len() >= CHANGED_CURSOR_BYTES_MIN && before.is_short() == whole.is_short());
        let change = before.and_then(|before| CursorChange::between(&before.0, &whole.0, bytes_max));
        Self { whole, change }
    }

    /// Returns the whole cursor.
    pub fn whole(&self) -> &Cursor {
        &self.whole
    }

    /// Returns the change, if there is one and the cursor before can take it.
    pub(crate) fn change_of(&self, before: Option<&StoredCursor>) -> Option<&CursorChange> {
        self.change.as_ref().filter(|change| before.is_some_and(|before| before.has_room(change, self.whole.0.len())))
    }
}

impl From<Cursor> for NewCursor {
    /// Creates one that is recorded whole.
    fn from(whole: Cursor) -> Self {
        Self { whole, change: None }
    }
}

/// A cursor as the state knows it: where it was last recorded whole, and the changes since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCursor {
    whole: WholeCursor,
    /// The changes in their order. Copies of the state share them.
    changes: Arc<Vec<Arc<CursorChange>>>,
}

/// A cursor that was recorded whole: its text, or where a record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WholeCursor {
    /// The JSON text itself.
    Inline(String),
    /// The body of a record.
    Body(BodyHandle),
}

impl StoredCursor {
    /// Returns the digest of the cursor.
    pub fn digest(&self) -> Digest {
        match (self.changes.last(), &self.whole) {
            (Some(change), _) => change.digest(),
            (None, WholeCursor::Inline(text)) => Digest::of(text.as_bytes()),
            (None, WholeCursor::Body(handle)) => handle.digest,
        }
    }

    /// Returns where it was last recorded whole.
    pub fn whole(&self) -> &WholeCursor {
        &self.whole
    }

    /// Returns the cursor, if it is short enough that the state has all of it.
    pub fn short(&self) -> Option<Result<Cursor, CursorInvalid>> {
        if let WholeCursor::Inline(text) = &self.whole { Some(self.put_together(text)) } else { None }
    }

    /// Makes the cursor of the text that was last recorded whole and the changes since.
    pub fn put_together(&self, whole: &str) -> Result<Cursor, CursorInvalid> {
        let mut text = Cow::Borrowed(whole);
        for change in self.changes.iter() {
            text = Cow::Owned(change.apply(&text)?);
        }
        let cursor = Cursor::of_json(text)?;
        if cursor.digest() == self.digest() { Ok(cursor) } else { Err(ChangeUnfit::Other.into()) }
    }

    /// Notes a change.
    pub(crate) fn note(&mut self, change: &CursorChange) {
        Arc::make_mut(&mut self.changes).push(Arc::new(change.clone()));
    }

    /// Returns true if one more change may follow, whose cursor has this many bytes. The changes together are no larger than
    /// the cursor that is recorded whole after them: more would be more to read than to write. Nor are they so many that
    /// they take long to put together, although the log grows faster if a long cursor is recorded whole that early.
    fn has_room(&self, change: &CursorChange, whole_bytes: usize) -> bool {
        let bytes: usize = self.changes.iter().map(|change| change.bytes()).sum();
        self.changes.len() < CHANGES_MAX && bytes + change.bytes() <= whole_bytes
    }
}

impl From<WholeCursor> for StoredCursor {
    fn from(whole: WholeCursor) -> Self {
        Self { whole, changes: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_json_within_the_limit() {
        assert_eq!(Cursor::of_json(r#"{"line":3}"#).unwrap().as_str(), r#"{"line":3}"#);
        assert!(matches!(Cursor::of_json("{"), Err(CursorInvalid::NotJson(_))));
        assert!(matches!(Cursor::of_bytes(&Bytes::from_static(b"\xff")), Err(CursorInvalid::NotJson(_))));
        let longest = format!("\"{}\"", "x".repeat(CURSOR_BYTES_MAX - 2));
        assert!(Cursor::of_json(longest.clone()).is_ok());
        assert_eq!(Cursor::of_json(format!("{longest} ")), Err(CursorInvalid::TooLong { bytes: CURSOR_BYTES_MAX + 1 }));
    }

    #[test]
    fn long_cursor_is_the_body_of_its_record() {
        let of = |bytes: usize| Cursor::of_json(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
        let (text, body) = of(CURSOR_INLINE_BYTES_MAX).into_parts();
        assert!(text.is_some() && body.is_none());
        let cursor = of(CURSOR_INLINE_BYTES_MAX + 1);
        let (text, body) = cursor.clone().into_parts();
        assert_eq!((text, body.map(|body| body.digest)), (None, Some(cursor.digest())));
    }
}

//! Cursors: how far a pulling sensor has read its source.
//!
//! Only the source understands what a cursor means; the engine stores and compares it.

use std::fmt;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::record::{Body, BodyHandle, Digest};

/// The maximum length of a cursor as JSON, in bytes.
pub const CURSOR_BYTES_MAX: usize = 256 * 1024;
/// The maximum length in bytes of a cursor that is stored in a fact; a longer one is the body of the record.
pub const CURSOR_INLINE_BYTES_MAX: usize = 4 * 1024;

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

    /// Returns the digest by which two cursors are compared.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Returns the parts in which a record stores it: in the fact if it is short, else in the body.
    pub(crate) fn into_parts(self) -> (Option<String>, Option<Body>) {
        if self.0.len() <= CURSOR_INLINE_BYTES_MAX { (Some(self.0), None) } else { (None, Some(Body::json(self.0.into_bytes()))) }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", self.0)
    }
}

/// A cursor as the state knows it: its text, or where a record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredCursor {
    /// The JSON text itself.
    Inline(String),
    /// The body of a record.
    Body(BodyHandle),
}

impl StoredCursor {
    /// Returns the digest of the cursor.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Inline(text) => Digest::of(text.as_bytes()),
            Self::Body(handle) => handle.digest,
        }
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

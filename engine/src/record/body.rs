//! Bodies: bytes that came from outside, or were rendered from such bytes.
//!
//! A body keeps its input byte for byte. The store compresses and seals it; the digest is of the decoded
//! bytes.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::Position;

/// The BLAKE3 hash of a body's decoded bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Creates a digest from 32 bytes returned by [`as_bytes`](Self::as_bytes).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| "not a BLAKE3 digest of 64 hex digits".to_owned())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The encoding of a stored body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Any bytes, unchanged.
    #[serde(rename = "raw")]
    Raw,
    /// JSON text, unchanged.
    #[serde(rename = "json")]
    Json,
    /// JSON text, compressed with zstd (RFC 8878).
    #[serde(rename = "json+zstd")]
    JsonZstd,
    /// JSON text, compressed with zstd and the first dictionary of bodies.
    #[serde(rename = "json+zstd-d1")]
    JsonZstdD1,
}

impl Encoding {
    /// Returns the name that the log uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Json => "json",
            Self::JsonZstd => "json+zstd",
            Self::JsonZstdD1 => "json+zstd-d1",
        }
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            "json+zstd" => Ok(Self::JsonZstd),
            "json+zstd-d1" => Ok(Self::JsonZstdD1),
            _ => Err(format!("unknown body encoding `{text}`; a newer release wrote it")),
        }
    }
}

/// A stored body: its content in some encoding, and the properties of its decoded bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The hash of the decoded bytes.
    pub digest: Digest,
    /// The number of decoded bytes.
    pub bytes: u64,
    /// How `content` is encoded.
    pub encoding: Encoding,
    /// The data key that seals `content`; `None` if it is not sealed.
    pub key: Option<String>,
    /// The encoded bytes; `None` if they were erased or not requested.
    pub content: Option<Bytes>,
}

impl Body {
    /// Creates a body from JSON text, which is not validated.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self::plain(text.into(), Encoding::Json)
    }

    /// Creates a body from any bytes.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::plain(bytes.into(), Encoding::Raw)
    }

    fn plain(content: Bytes, encoding: Encoding) -> Self {
        Self { digest: Digest::of(&content), bytes: content.len() as u64, encoding, key: None, content: Some(content) }
    }
}

/// A reference to a body in the state: enough to identify and fetch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BodyHandle {
    /// The hash of the decoded bytes.
    pub digest: Digest,
    /// The number of decoded bytes.
    pub bytes: u64,
    /// The record that holds it.
    pub at: Position,
}

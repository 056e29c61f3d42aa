//! Keys over time: how a value is replaced, how long the value before it is accepted, when it expires, and
//! who saw it.

pub(crate) mod decide;
pub mod facts;
pub mod state;

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

/// The maximum time for which the value before a rotation is accepted, in milliseconds: 30 days.
pub const OVERLAP_MILLIS_MAX: u64 = 30 * 24 * 3_600_000;

/// How long before its expiry a value is reported, in milliseconds: 14 days.
pub const WARNED_BEFORE_MILLIS: u64 = 14 * 24 * 3_600_000;

/// Returns when the expiry of a value is reported.
pub fn warned_at(expires_at: Timestamp) -> Timestamp {
    expires_at.minus_millis(WARNED_BEFORE_MILLIS)
}

/// The id of a master key, which the envelopes of the vault name. It says nothing about the key. As text, it has 16
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterKeyId(pub [u8; 8]);

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeyId({self})")
    }
}

impl FromStr for MasterKeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit =
            |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase()).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks_exact(2).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 16).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "not the id of a master key: it has 16 lower-case hexadecimal digits".to_owned())
    }
}

crate::as_text::as_text!(MasterKeyId);

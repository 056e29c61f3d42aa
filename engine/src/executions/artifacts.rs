//! The names and media types of artifacts: chosen by programs, parsed once at the edge.
//!
//! A name is never used as a path here, and nothing is looked up by it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The maximum length of an artifact's name in bytes: the limit of common file systems.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 255;

/// The maximum length of a media type in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;

/// The name under which an artifact is shown and saved: one that could name a file, and nothing more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

/// Why a text is not a valid artifact name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArtifactNameError {
    /// It is empty, or names a folder.
    #[error("an artifact's name cannot be empty, `.` or `..`; use a file name")]
    NoName,
    /// It is too long.
    #[error("an artifact's name has {0} bytes; the limit is {ARTIFACT_NAME_BYTES_MAX}")]
    TooLong(usize),
    /// It contains a character that is not allowed in file names on every system.
    #[error("an artifact's name cannot contain `/`, `\\` or control characters, but this one contains {0:?}; put the path in `path`")]
    Character(char),
}

impl ArtifactName {
    /// Returns true if a name may contain a character. Others could turn it into a path, break a line, or make it look like
    /// another name.
    pub fn may_contain(character: char) -> bool {
        let turns_the_direction = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !matches!(character, '/' | '\\' | '\u{2028}' | '\u{2029}') && !character.is_control() && !turns_the_direction
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArtifactName {
    type Err = ArtifactNameError;

    fn from_str(text: &str) -> Result<Self, ArtifactNameError> {
        if matches!(text, "" | "." | "..") {
            return Err(ArtifactNameError::NoName);
        }
        if text.len() > ARTIFACT_NAME_BYTES_MAX {
            return Err(ArtifactNameError::TooLong(text.len()));
        }
        match text.chars().find(|character| !Self::may_contain(*character)) {
            Some(character) => Err(ArtifactNameError::Character(character)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The media type that a program states for its artifact: `<type>/<subtype>`, in lower case and without parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaType(String);

/// A text that is not a media type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a media type; write `<type>/<subtype>` without parameters, for example `text/csv`")]
pub struct MediaTypeError(String);

impl MediaType {
    /// Returns the media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let is_token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
        match text.split_once('/') {
            Some((kind, subtype)) if text.len() <= MEDIA_TYPE_BYTES_MAX && is_token(kind) && is_token(subtype) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            Some(_) | None => Err(MediaTypeError(text.chars().take(80).collect())),
        }
    }
}

macro_rules! text_form {
    ($($type:ident, $error:ident;)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(named: $type) -> Self {
                named.0
            }
        }
    )*};
}

text_form! {
    ArtifactName, ArtifactNameError;
    MediaType, MediaTypeError;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifact_name_must_be_a_valid_file_name() {
        for good in ["report.csv", "a\"; filename=x.exe", "Überblick 2026.pdf", ".hidden", "a'b`c", &"n".repeat(255)] {
            assert_eq!(good.parse::<ArtifactName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "..\\b", "a\r\nb", "a\0b", "gpj\u{202e}exe", "a\u{2028}b", &"n".repeat(256)] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn media_type_is_two_tokens_in_lower_case() {
        assert_eq!("Text/CSV".parse::<MediaType>().unwrap().as_str(), "text/csv");
        assert_eq!("application/vnd.ms-excel".parse::<MediaType>().unwrap().as_str(), "application/vnd.ms-excel");
        for bad in ["", "text", "text/", "/csv", "text/html; charset=utf-8", "text/ht ml", "text/html\r\n", "a/b/c"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?}");
        }
    }
}

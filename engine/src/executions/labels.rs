//! Labels: what an execution is found by, beside what it runs. Nothing is decided by them.
//!
//! What an action labels its executions with is said by `catalog/labels.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::names::LabelName;

/// The most labels that an execution has.
pub const LABELS_MAX: usize = 16;
/// The longest the value of a label may be, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// The labels of an execution, by their names.
pub type Labels = BTreeMap<LabelName, LabelValue>;

/// The value of a label: a text of a line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(String);

/// Why a text is not the value of a label: the rest of a sentence that begins with what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelValueError {
    /// There is nothing in it.
    #[error("is empty; leave the label out")]
    Empty,
    /// It is too long.
    #[error("is {0} bytes long; the limit is {LABEL_VALUE_BYTES_MAX}")]
    TooLong(usize),
    /// It is more than a line, or cannot be shown.
    #[error("contains a control character, such as a line break")]
    Control,
}

impl LabelValue {
    /// Gives the value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelValue {
    type Err = LabelValueError;

    fn from_str(text: &str) -> Result<Self, LabelValueError> {
        match text {
            "" => Err(LabelValueError::Empty),
            _ if text.len() > LABEL_VALUE_BYTES_MAX => Err(LabelValueError::TooLong(text.len())),
            _ if text.chars().any(char::is_control) => Err(LabelValueError::Control),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelValue({})", self.0)
    }
}

impl Serialize for LabelValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LabelValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|why| serde::de::Error::custom(format!("the value of a label {why}")))
    }
}

/// A label as people write it to find what has it: `site=eu`. The name of a label has no `=`.
pub fn written(name: &LabelName, value: &LabelValue) -> String {
    format!("{name}={value}")
}

/// Reads a label as [`written`] gives it; says what is wrong where it is none.
pub fn parse(text: &str) -> Result<(LabelName, LabelValue), String> {
    let (name, value) = text.split_once('=').ok_or("is not a label; write `<name>=<value>`, for example `site=eu`")?;
    let name = name.parse().map_err(|why| format!("is not a label: {why}"))?;
    let value = value.parse().map_err(|why| format!("is not a label: the value of `{name}` {why}"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_line_of_text() {
        for good in ["eu", "v1.4.2+linux", "Zürich, west wing", "a=b", &"x".repeat(256)] {
            assert_eq!(good.parse::<LabelValue>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "a\tb", "\u{7f}", &"x".repeat(257)] {
            assert!(bad.parse::<LabelValue>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_label_is_a_name_and_what_stands_behind_its_first_equals_sign() {
        let (name, value) = parse("query=a=b").unwrap();
        assert_eq!((name.as_str(), value.as_str(), written(&name, &value).as_str()), ("query", "a=b", "query=a=b"));
        for bad in ["site", "=eu", "site=", "Site=eu", "the site=eu"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

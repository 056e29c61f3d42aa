//! Labels: by which an execution is found, in addition to its action. Nothing is decided by them.
//!
//! `catalog/labels.rs` defines the labels that an action gives its executions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::names::LabelName;

/// The maximum number of labels of an execution.
pub const LABELS_MAX: usize = 16;
/// The maximum length of a label's value in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// The labels of an execution, by their names.
pub type Labels = BTreeMap<LabelName, LabelValue>;

/// The value of a label: a single line of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(String);

/// Why a text is not a valid label value: the rest of a sentence that begins with the value's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelValueError {
    /// It is empty.
    #[error("is empty; leave the label out")]
    Empty,
    /// It is too long.
    #[error("is {0} bytes long; the limit is {LABEL_VALUE_BYTES_MAX}")]
    TooLong(usize),
    /// It has more than one line, or cannot be displayed.
    #[error("contains a control character, such as a line break")]
    Control,
}

impl LabelValue {
    /// Returns the value as text.
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

/// Returns a label as people write it to search for executions: `site=eu`. The name of a label contains no `=`.
pub fn render_label(name: &LabelName, value: &LabelValue) -> String {
    format!("{name}={value}")
}

/// Parses a label in the form of [`written`]; returns what is wrong if it is not one.
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
    fn label_value_is_one_line_of_text() {
        for good in ["eu", "v1.4.2+linux", "Zürich, west wing", "a=b", &"x".repeat(256)] {
            assert_eq!(good.parse::<LabelValue>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "a\tb", "\u{7f}", &"x".repeat(257)] {
            assert!(bad.parse::<LabelValue>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn label_is_split_at_its_first_equals_sign() {
        let (name, value) = parse("query=a=b").unwrap();
        assert_eq!((name.as_str(), value.as_str(), render_label(&name, &value).as_str()), ("query", "a=b", "query=a=b"));
        for bad in ["site", "=eu", "site=", "Site=eu", "the site=eu"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! Versions of triggers, and the text with which a sender names one: `shop.ordered@1`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::{NameError, TriggerRef};

/// The highest version that a trigger can have.
pub const TRIGGER_VERSION_MAX: u32 = 100;

/// The version of the form that a trigger's payloads have, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerVersion(NonZeroU32);

impl TriggerVersion {
    /// The version of a trigger that names none.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Returns the version with this number, or `None` if it is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns its number.
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// Returns true if it is the first, which records leave out.
    pub fn is_first(&self) -> bool {
        *self == Self::FIRST
    }
}

impl Default for TriggerVersion {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for TriggerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A trigger as a sender names it, with the version of the payload: `shop.ordered@1`. Without one it is the newest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionedTrigger {
    /// The trigger.
    pub name: TriggerRef,
    /// The version of the payload; `None` if it is the newest.
    pub version: Option<TriggerVersion>,
}

/// Why a text does not name a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotATrigger {
    /// The part before the `@` is not a ref.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The part after the `@` is not a version.
    #[error("`{text}` is not a version; versions are whole numbers from 1, for example `{trigger}@1`")]
    Version {
        /// The part.
        text: String,
        /// The trigger.
        trigger: TriggerRef,
    },
}

impl FromStr for VersionedTrigger {
    type Err = NotATrigger;

    fn from_str(text: &str) -> Result<Self, NotATrigger> {
        let Some((name, version)) = text.split_once('@') else { return Ok(Self { name: text.parse()?, version: None }) };
        let name: TriggerRef = name.parse()?;
        let is_plain = !version.starts_with('0') && version.bytes().all(|b| b.is_ascii_digit());
        match version.parse().ok().and_then(TriggerVersion::new).filter(|_| is_plain) {
            Some(version) => Ok(Self { name, version: Some(version) }),
            None => Err(NotATrigger::Version { text: version.chars().take(20).collect(), trigger: name }),
        }
    }
}

impl From<TriggerRef> for VersionedTrigger {
    fn from(name: TriggerRef) -> Self {
        Self { name, version: None }
    }
}

impl fmt::Display for VersionedTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl Serialize for VersionedTrigger {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionedTrigger {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_may_name_a_version() {
        for (text, version) in [("shop.ordered", None), ("shop.ordered@1", Some(1)), ("shop.ordered@12", Some(12))] {
            let named: VersionedTrigger = text.parse().unwrap();
            assert_eq!((named.name.as_str(), named.version.map(TriggerVersion::number)), ("shop.ordered", version));
            assert_eq!(named.to_string(), text);
        }
    }

    #[test]
    fn version_that_is_no_whole_number_from_1_is_rejected() {
        for text in
            ["shop.ordered@", "shop.ordered@0", "shop.ordered@01", "shop.ordered@+1", "shop.ordered@1@2", "shop.ordered@99999999999"]
        {
            assert!(matches!(text.parse::<VersionedTrigger>(), Err(NotATrigger::Version { .. })), "{text}");
        }
        assert!(matches!("ordered@1".parse::<VersionedTrigger>(), Err(NotATrigger::Name(_))));
    }
}

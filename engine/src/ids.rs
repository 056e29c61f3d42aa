//! Ids: random ones for the roots of chains, derived ones for everything that follows from them.
//!
//! A derived id is a function of the log, the cause and the role, so deciding twice gives the same id. An id
//! never contains a position, and nothing here draws randomness: entropy comes in with a
//! [`Moment`](crate::command::Moment).

mod derived;

pub use derived::Role;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::time::Timestamp;

/// An id of 128 bits: a UUID of version 7 (a root) or 8 (derived), RFC 9562.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Uuid);

impl Id {
    /// The id that sorts before all others.
    pub(crate) const MIN: Self = Self(Uuid::nil());

    /// Creates a root's id, a UUID of version 7, from the time and 74 random bits (the lowest of `entropy`).
    pub fn root(time: Timestamp, entropy: u128) -> Self {
        Self(build_uuid(time.unix_millis(), entropy, 7))
    }

    /// Returns the id's time, in milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> u64 {
        (self.0.as_u128() >> 80) as u64
    }

    /// Returns the 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Creates an id from 16 bytes returned by [`as_bytes`](Self::as_bytes).
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

fn build_uuid(millis: u64, bits: u128, version: u128) -> Uuid {
    let high = (bits >> 62) & 0xFFF;
    let low = bits & ((1 << 62) - 1);
    Uuid::from_u128((u128::from(millis) & 0xFFFF_FFFF_FFFF) << 80 | version << 76 | high << 64 | 0b10 << 62 | low)
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Accept only the form that we write: other spellings of a UUID would be second names for the same
        // thing.
        match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Self(uuid)),
            Ok(_) | Err(_) => Err(format!("`{}` is not an id", text.chars().take(80).collect::<String>())),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Id);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.0)
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                text.parse().map(Self)
            }
        }
    )*};
}

typed_ids! {
    /// The id of a log, assigned when it is created.
    LogId;
    /// The id of an event.
    EventId;
    /// The id of an enforcement.
    EnforcementId;
    /// The id of an execution.
    ExecutionId;
    /// The id of an attempt.
    AttemptId;
    /// The id of an inquiry.
    InquiryId;
    /// The id of an artifact.
    ArtifactId;
    /// The id of a rule, in addition to its ref: a rule that is deleted and created again is another rule.
    RuleId;
    /// The id of an access token; not its secret.
    TokenId;
    /// The id of an identity: a person or a service.
    IdentityId;
    /// The id of a session: a login.
    SessionId;
    /// The id of a link with which one person answers one inquiry.
    LinkId;
    /// The id of a grant of a role.
    GrantId;
    /// The id of a schedule of a rule or a sensor. A schedule that is removed and set again has a new id.
    ScheduleId;
    /// The id of a pulling sensor, in addition to its ref. A sensor that is removed and set again has a new id.
    SensorId;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    fn log() -> LogId {
        LogId(Id::root(NOON, 1))
    }

    #[test]
    fn derived_id_is_stable_and_depends_on_log_cause_and_role() {
        let event = Id::root(NOON, 7);
        let once = Id::derive(log(), event, Role::Execution);
        assert_eq!(once, Id::derive(log(), event, Role::Execution));
        assert_ne!(once, Id::derive(log(), event, Role::Attempt(1)));
        assert_ne!(once, Id::derive(LogId(Id::root(NOON, 2)), event, Role::Execution));
    }

    #[test]
    fn root_id_is_uuid_version_7_and_derived_id_version_8_with_cause_s_time() {
        let event = Id::root(NOON, u128::MAX);
        let derived = Id::derive(log(), event, Role::Execution);
        assert_eq!((event.0.get_version_num(), derived.0.get_version_num()), (7, 8));
        assert_eq!((event.unix_millis(), derived.unix_millis()), (NOON.unix_millis(), NOON.unix_millis()));
        assert_eq!(derived.0.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn derived_id_matches_its_pinned_value() {
        let derived = Id::derive(log(), Id::root(NOON, 7), Role::Execution);
        assert_eq!(derived.to_string(), "019d3450-be00-8003-99b9-00f151262684");
    }

    #[test]
    fn id_has_exactly_one_spelling() {
        let text = Id::root(NOON, 7).to_string();
        assert!(text.parse::<Id>().is_ok());
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), format!("urn:uuid:{text}")] {
            assert!(other.parse::<Id>().is_err(), "{other}");
        }
    }
}

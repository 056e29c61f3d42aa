//! Names that people write, parsed once at the edge: packs and the refs of their contents.
//!
//! Parsing does not check whether the named thing exists; the catalog does.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use ensue_derive::Names;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The maximum length of a var's name, in bytes.
pub const VAR_NAME_BYTES_MAX: usize = 128;
/// The maximum length of a name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The maximum length of an issuer's name, in bytes.
pub const ISSUER_NAME_BYTES_MAX: usize = 32;
/// The maximum length of the name that an issuer gives a group, in bytes.
pub const ISSUER_GROUP_BYTES_MAX: usize = 200;
/// The name that no other source of groups has: that of groups which an administrator set.
const LOCAL: &str = "local";
/// The name of the trusted proxy as a source of identities and groups.
const PROXY: &str = "proxy";
/// The name of client certificates as a source of identities.
const CERTIFICATE: &str = "certificate";

/// Why a text is not a name or a ref.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no `pack.` part.
    #[error("`{text}` has no pack; write `<pack>.<name>`, for example `{example}`")]
    NoPack {
        /// The text.
        text: String,
        /// A valid ref.
        example: &'static str,
    },
    /// The text is not the name of a var.
    #[error(
        "`{text}` is not a valid name for a var; use a-z, 0-9, `_`, `.` and `-`, at most {VAR_NAME_BYTES_MAX} characters, for example `sync.cursor`"
    )]
    NotAVarName {
        /// The text.
        text: String,
    },
    /// The text is not the name of an issuer.
    #[error(
        "`{text}` is not a valid name for an issuer; use a-z, 0-9, `_` and `-`, start with a letter, at most {ISSUER_NAME_BYTES_MAX} \
         characters, and not `local`"
    )]
    NotAnIssuerName {
        /// The text.
        text: String,
    },
    /// The text is not the name of a group of an issuer.
    #[error(
        "`{text}` is not a valid name for a group of an issuer; write `<issuer>:<group>`, the group with at most \
         {ISSUER_GROUP_BYTES_MAX} bytes, without control characters and without spaces at its ends"
    )]
    NotAnIssuerGroup {
        /// The text.
        text: String,
    },
    /// A part is not a valid name.
    #[error("`{part}` is not a valid name; a name starts with a-z, continues with a-z, 0-9 and `_`, and has at most 64 characters")]
    NotAName {
        /// The invalid part.
        part: String,
    },
}

/// Returns true if `text` matches `[a-z][a-z0-9_]*` and is at most 64 bytes long.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn check_name(part: &str) -> Result<&str, NameError> {
    if is_name(part) { Ok(part) } else { Err(NameError::NotAName { part: part.chars().take(80).collect() }) }
}

/// The name of a pack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackName(String);

impl PackName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a step of a workflow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepName(String);

impl StepName {
    /// Sorts before all names, and is not a valid one.
    pub(crate) const MIN: Self = Self(String::new());

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StepName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a queue, in which executions wait for a worker's slot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerQueueName(Cow<'static, str>);

/// The queue of actions that name none and do not run `http`.
pub static DEFAULT_QUEUE: WorkerQueueName = WorkerQueueName(Cow::Borrowed("default"));

/// The queue of actions that run `http` and name no queue. Their attempts wait for other machines and use
/// no core, so it has more workers than the default one.
pub static HTTP_QUEUE: WorkerQueueName = WorkerQueueName(Cow::Borrowed("http"));

impl WorkerQueueName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if this is the default queue.
    pub fn is_default(&self) -> bool {
        *self == DEFAULT_QUEUE
    }
}

impl Default for WorkerQueueName {
    fn default() -> Self {
        DEFAULT_QUEUE.clone()
    }
}

impl FromStr for WorkerQueueName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = check_name(text)?;
        let known = [&DEFAULT_QUEUE, &HTTP_QUEUE].into_iter().find(|known| known.as_str() == name);
        Ok(known.map_or_else(|| Self(Cow::Owned(name.to_owned())), |known| known.clone()))
    }
}

/// The name of a label. Labels are used to find executions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelName(String);

impl LabelName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a connection: an endpoint with credentials that the operator defines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionName(String);

impl ConnectionName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a tier: what callers of some groups may use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierName(String);

impl TierName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TierName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|name| Self(name.to_owned()))
    }
}

/// The name of a source of identities and groups outside of the node: that which an operator chose for an issuer of tokens,
/// `proxy`, or `certificate`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerName(String);

impl IssuerName {
    /// Returns the name of the trusted proxy.
    pub fn proxy() -> Self {
        Self(PROXY.to_owned())
    }

    /// Returns the name of client certificates.
    pub fn certificate() -> Self {
        Self(CERTIFICATE.to_owned())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssuerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_prefix(text) && text != LOCAL {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::NotAnIssuerName { text: text.chars().take(80).collect() })
        }
    }
}

/// Returns true if `text` has the form of an issuer's name.
fn is_prefix(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    text.len() <= ISSUER_NAME_BYTES_MAX && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(fits)
}

/// The name of a group of identities: `release`, or `corp:Release Team` for a group that the issuer `corp` names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((issuer, group)) = text.split_once(':') else { return check_name(text).map(|name| Self(name.to_owned())) };
        let is_clean = !group.is_empty() && group.trim() == group && !group.chars().any(char::is_control);
        if is_prefix(issuer) && is_clean && group.len() <= ISSUER_GROUP_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::NotAnIssuerGroup { text: text.chars().take(80).collect() })
        }
    }
}

/// The name of a var, `sync.cursor`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarName(String);

impl VarName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VarName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let may_stand = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        let begins_well = text.bytes().next().is_some_and(|first| !matches!(first, b'.' | b'-'));
        if text.len() <= VAR_NAME_BYTES_MAX && begins_well && text.bytes().all(may_stand) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::NotAVarName { text: text.chars().take(80).collect() })
        }
    }
}

macro_rules! text_form {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! refs {
    ($($(#[$doc:meta])* $type:ident, $example:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type {
            // Shared, because each execution of an action has it.
            text: Arc<str>,
            dot: usize,
        }

        impl $type {
            /// Joins a pack and a name, both of which must be valid names.
            pub fn new(pack: &PackName, name: &str) -> Result<Self, NameError> {
                check_name(name)?;
                Ok(Self { text: format!("{pack}.{name}").into(), dot: pack.as_str().len() })
            }

            /// Returns the whole ref, `<pack>.<name>`.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// Returns the pack's name.
            pub fn pack(&self) -> PackName {
                PackName(self.text[..self.dot].to_owned())
            }

            /// Returns the name inside the pack.
            pub fn name(&self) -> &str {
                &self.text[self.dot + 1..]
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let (pack, name) = text.split_once('.').ok_or_else(|| NameError::NoPack {
                    text: text.chars().take(80).collect(),
                    example: $example,
                })?;
                check_name(pack)?;
                check_name(name)?;
                Ok(Self { text: text.into(), dot: pack.len() })
            }
        }

        text_form!($type);
    )*};
}

text_form!(PackName);
text_form!(StepName);
text_form!(VarName);
text_form!(WorkerQueueName);
text_form!(LabelName);
text_form!(ConnectionName);
text_form!(RoleName);
text_form!(TierName);
text_form!(GroupName);
text_form!(IssuerName);

refs! {
    /// The ref of an action, `core.echo`.
    ActionRef, "core.echo";
    /// The ref of a trigger, `github.push`.
    TriggerRef, "github.push";
    /// The ref of a sensor, `github.webhook`.
    SensorRef, "github.webhook";
    /// The ref of a rule, `release.ship_on_tag`.
    RuleRef, "release.ship_on_tag";
    /// The ref of a key, `release.deploy_token`.
    KeyRef, "release.deploy_token";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_is_a_pack_and_a_name() {
        let action: ActionRef = "core.echo".parse().unwrap();
        assert_eq!((action.pack().as_str(), action.name(), action.as_str()), ("core", "echo", "core.echo"));
    }

    #[test]
    fn ref_without_a_pack_is_rejected_with_an_example() {
        let refusal = "echo".parse::<ActionRef>().unwrap_err().to_string();
        assert_eq!(refusal, "`echo` has no pack; write `<pack>.<name>`, for example `core.echo`");
    }

    #[test]
    fn names_are_small_ascii_words() {
        for bad in ["", "A", "1a", "a-b", "a b", "ä", "core.echo.more", "a\u{200b}", &"a".repeat(65)] {
            assert!(bad.parse::<PackName>().is_err(), "{bad:?}");
        }
        assert!("a.b.c".parse::<RuleRef>().is_err());
        assert!("a".repeat(64).parse::<PackName>().is_ok());
    }

    #[test]
    fn group_of_an_issuer_has_its_prefix() {
        let longest = format!("corp:{}", "x".repeat(ISSUER_GROUP_BYTES_MAX));
        for good in ["release", "corp:release", "corp-eu:/Team A/Leads", "corp:b:c", "proxy:release", &longest] {
            assert_eq!(good.parse::<GroupName>().unwrap().to_string(), good);
        }
        for bad in ["", ":", "corp:", ":release", "Release", "Corp:release", "corp: a", "corp:a ", "corp:a\nb", &format!("{longest}x")] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn name_of_an_issuer_is_short_and_no_other_source_of_groups() {
        for good in ["corp", "github-actions", "a", &"a".repeat(ISSUER_NAME_BYTES_MAX)] {
            assert_eq!(good.parse::<IssuerName>().unwrap().as_str(), good);
        }
        for bad in ["", "Corp", "1corp", "corp:x", "a b", "local", &"a".repeat(ISSUER_NAME_BYTES_MAX + 1)] {
            assert!(bad.parse::<IssuerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn name_of_a_var_may_have_dots_and_dashes() {
        for good in ["sync.cursor", "a", "0", "eu-west-1_x", &"a".repeat(128)] {
            assert!(good.parse::<VarName>().is_ok(), "{good:?}");
        }
        for bad in ["", "A", "a b", "a/b", "ä", &"a".repeat(129)] {
            assert!(bad.parse::<VarName>().is_err(), "{bad:?}");
        }
    }
}

//! The subject of a grant: the holder of the role.

use std::fmt;
use std::str::FromStr;

use crate::ids::IdentityId;
use crate::names::GroupName;

/// The holder of a role by a grant, written `identity/<id>`, `group/<name>` or `everyone`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One identity.
    Identity(IdentityId),
    /// Every identity of a group.
    Group(GroupName),
    /// Every identity and every token.
    Everyone,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "identity/{id}"),
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "everyone" => Ok(Self::Everyone),
            Some(("identity", id)) => id.parse().map(Self::Identity),
            Some(("group", name)) => name.parse().map(Self::Group).map_err(|error| format!("{error}")),
            None | Some(_) => {
                let text: String = text.chars().take(80).collect();
                Err(format!("`{text}` is not a subject; write `identity/<id>`, `group/<name>` or `everyone`"))
            }
        }
    }
}

crate::as_text::as_text!(Subject);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_read_back_as_it_was_written() {
        for text in ["identity/01980000-0000-7000-8000-00000000000a", "group/release", "group/corp:release", "everyone"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for bad in ["", "release", "identity/ana", "group/", "everyone/", "Everyone"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }
}

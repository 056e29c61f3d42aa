//! Principals: on whose rights an execution runs.
//!
//! `executions/rights.rs` decides what a principal may do.

use std::fmt;
use std::str::FromStr;

use crate::ids::IdentityId;
use crate::names::PackName;

/// On whose rights an execution runs, written `identity/<id>`, `token/<name>` or `pack/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// An identity that requested it.
    Identity(IdentityId),
    /// A token without an identity, by its name.
    Token(String),
    /// The pack of the rule or workflow that requested it.
    Pack(PackName),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "identity/{id}"),
            Self::Token(name) => write!(f, "token/{name}"),
            Self::Pack(name) => write!(f, "pack/{name}"),
        }
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("identity", id)) => id.parse().map(Self::Identity),
            Some(("token", name)) if !name.is_empty() => Ok(Self::Token(name.to_owned())),
            Some(("pack", name)) => name.parse().map(Self::Pack).map_err(|error| format!("{error}")),
            None | Some(_) => {
                let text: String = text.chars().take(80).collect();
                Err(format!("`{text}` is not a principal; write `identity/<id>`, `token/<name>` or `pack/<name>`"))
            }
        }
    }
}

crate::as_text::as_text!(Principal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_is_read_back_as_it_was_written() {
        for text in ["identity/01980000-0000-7000-8000-00000000000a", "token/ana", "token/ci/deploy", "pack/release"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        for bad in ["", "release", "identity/ana", "pack/", "pack/Release", "token/", "engine", "operator"] {
            assert!(bad.parse::<Principal>().is_err(), "{bad:?}");
        }
    }
}

//! Scopes: permissions, each perhaps with a limit, as a token carries them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::limit::{Limit, LimitError};
use super::permission::Permission;

/// The maximum number of scopes of a token, and of permissions of a pack.
pub const SCOPES_MAX: usize = 100;

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// There is no such permission.
    #[error("there is no permission `{0}`; a scope is `<noun>:<verb>`, such as `events:write` or `actions:execute on action=release.*`")]
    NoPermission(String),
    /// The limit is invalid.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The permission is about the node as a whole.
    #[error("`{0}` cannot be limited; the permissions that can be are {known}", known = limitable())]
    Whole(&'static str),
}

fn limitable() -> String {
    let names: Vec<String> = Permission::ALL
        .iter()
        .filter(|permission| permission.is_limitable())
        .map(|permission| format!("`{}`", permission.name()))
        .collect();
    names.join(", ")
}

/// A permission, perhaps limited: `events:write`, `actions:execute on action=release.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The permission.
    pub permission: Permission,
    /// What it covers; `None` if it covers everything.
    pub on: Option<Limit>,
}

impl Scope {
    /// Creates a scope. Fails if the permission cannot have a limit.
    pub fn new(permission: Permission, on: Option<Limit>) -> Result<Self, ScopeError> {
        if on.is_some() && !permission.is_limitable() {
            return Err(ScopeError::Whole(permission.name()));
        }
        Ok(Self { permission, on })
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (permission, on) = match text.split_once(" on ") {
            Some((permission, limit)) => (permission, Some(limit.parse()?)),
            None => (text, None),
        };
        let permission = Permission::from_name(permission.trim())
            .ok_or_else(|| ScopeError::NoPermission(permission.trim().chars().take(80).collect()))?;
        Self::new(permission, on)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.permission.name())?;
        self.on.as_ref().map_or(Ok(()), |limit| write!(f, " on {limit}"))
    }
}

crate::as_text::as_text!(Scope);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_read_back_as_it_was_written() {
        for text in ["events:write", "actions:execute on action=release.*", "events:write on pack=a,pack=b*"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn scope_of_an_unknown_permission_or_with_an_impossible_limit_is_rejected() {
        assert_eq!("events:erase".parse::<Scope>(), Err(ScopeError::NoPermission("events:erase".into())));
        assert_eq!("log:read on pack=a".parse::<Scope>(), Err(ScopeError::Whole("log:read")));
        assert!(matches!("events:write on label=eu".parse::<Scope>(), Err(ScopeError::Limit(LimitError::Kind(_)))));
        assert!(matches!("events:write on ".parse::<Scope>(), Err(ScopeError::Limit(LimitError::Empty))));
    }
}

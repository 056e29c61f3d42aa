//! Tokens: never their secrets, except once on creation.

use std::time::Duration;

use ensue_derive::wire;
use ensue_engine::access::scope::{SCOPES_MAX, Scope};
use ensue_engine::ids::TokenId;
use ensue_engine::names::is_name;
use ensue_engine::record::Position;
use ensue_engine::time::{Timestamp, parse_period};
use ensue_views::Token;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::shapes;
use crate::sizes::ROLES_MAX;

/// A token.
#[wire(Serialize)]
pub(crate) struct WireToken {
    id: TokenId,
    position: Position,
    name: String,
    roles: Vec<String>,
    /// The name of the identity that holds it, or null.
    identity: Option<String>,
    /// The scopes beyond which it allows nothing, or null if it has no such bounds.
    scopes: Option<Vec<String>>,
    expires_at: Option<Timestamp>,
    /// When it was last used, to the minute, or null if it was not used yet.
    used_at: Option<Timestamp>,
    added_at: Timestamp,
    added_by: String,
}

impl WireToken {
    /// Shows a token, with the name of its identity and its last use.
    pub(crate) fn new(token: Token, identity: Option<String>, used_at: Option<Timestamp>) -> Self {
        let identity = identity.or_else(|| token.identity.map(|id| id.to_string()));
        Self {
            id: token.id,
            position: token.position,
            name: token.name,
            roles: token.roles,
            identity,
            scopes: token.scopes,
            expires_at: token.expires_at,
            used_at,
            added_at: token.added_at,
            added_by: token.added_by,
        }
    }
}

/// A request for a new token.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedToken {
    #[schemars(with = "shapes::TokenName")]
    pub(crate) name: String,
    /// The roles of a token that no identity holds.
    #[serde(default)]
    pub(crate) roles: Roles,
    /// The name of the identity that holds it.
    #[serde(default)]
    #[schemars(with = "Option<shapes::TokenName>")]
    pub(crate) identity: Option<String>,
    /// What it may do at most: permissions, each perhaps with a limit.
    #[serde(default)]
    #[schemars(with = "Option<Vec<shapes::ScopeText>>")]
    pub(crate) scopes: Option<Scopes>,
    /// How long it is valid, such as `90d`.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Period>")]
    pub(crate) expires_in: Option<AskedPeriod>,
}

/// A request to replace a token.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(Default)]
pub(crate) struct WireRotation {
    /// How long the old token stays valid, such as `1h`.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Period>")]
    pub(crate) overlap: Option<AskedPeriod>,
}

/// The roles of a token, each in the form of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut roles = Vec::<String>::deserialize(deserializer)?;
        if !roles.iter().all(|role| is_name(role)) {
            return Err(de::Error::custom(
                "a role starts with a-z, continues with a-z, 0-9 and `_`, and has at most 64 characters: `admin`, `release_managers`",
            ));
        }
        if roles.len() > ROLES_MAX {
            return Err(de::Error::custom(format!("a token has at most {ROLES_MAX} roles")));
        }
        roles.sort();
        roles.dedup();
        Ok(Self(roles))
    }
}

/// The scopes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(pub(crate) Vec<Scope>);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        if !(1..=SCOPES_MAX).contains(&texts.len()) {
            return Err(de::Error::custom(format!("a token has from 1 to {SCOPES_MAX} scopes")));
        }
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self).map_err(de::Error::custom)
    }
}

/// How long something is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskedPeriod(pub(crate) Duration);

impl<'de> Deserialize<'de> for AskedPeriod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let period =
            parse_period(&text).ok_or_else(|| de::Error::custom("expected a period of at most ten years, such as `90d` or `24h`"))?;
        Ok(Self(period))
    }
}

/// A newly created token: its secret is shown only this once.
#[wire(Serialize)]
pub(crate) struct WireNewToken<'a> {
    pub(crate) id: TokenId,
    pub(crate) name: &'a str,
    #[schemars(with = "Vec<String>")]
    pub(crate) roles: &'a [String],
    pub(crate) token: &'a str,
    pub(crate) expires_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_that_only_looks_like_another_is_rejected() {
        for trick in ["Admin", "admin ", "аdmin", "admin\u{200b}", ""] {
            assert!(serde_json::from_value::<Roles>(serde_json::json!([trick])).is_err(), "{trick:?}");
        }
        assert_eq!(serde_json::from_str::<Roles>(r#"["viewer","admin","viewer"]"#).unwrap().0, ["admin", "viewer"]);
    }

    #[test]
    fn scope_that_does_not_exist_is_named() {
        let error = serde_json::from_str::<Scopes>(r#"["events:write", "events:erase"]"#).unwrap_err().to_string();
        assert!(error.contains("`events:erase`"), "{error}");
        assert!(serde_json::from_str::<Scopes>("[]").is_err());
    }
}

//! Tokens: never their secrets, except once on creation.

use ensue_derive::wire;
use ensue_engine::ids::TokenId;
use ensue_engine::names::is_name;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
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
    added_at: Timestamp,
    added_by: String,
}

impl From<Token> for WireToken {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            position: token.position,
            name: token.name,
            roles: token.roles,
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
    pub(crate) roles: Roles,
}

/// The roles of a token, each in the form of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut roles = Vec::<String>::deserialize(deserializer)?;
        if !roles.iter().all(|role| is_name(role)) {
            return Err(de::Error::custom(
                "a role starts with a-z, continues with a-z, 0-9 and `_`, and has at most 64 characters: `admin`, `release_managers`",
            ));
        }
        if !(1..=ROLES_MAX).contains(&roles.len()) {
            return Err(de::Error::custom(format!("a token has from 1 to {ROLES_MAX} roles")));
        }
        roles.sort();
        roles.dedup();
        Ok(Self(roles))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_that_only_looks_like_another_is_rejected() {
        for trick in ["Admin", "admin ", "аdmin", "admin\u{200b}", ""] {
            assert!(serde_json::from_value::<Roles>(serde_json::json!([trick])).is_err(), "{trick:?}");
        }
        assert!(serde_json::from_str::<Roles>("[]").is_err());
        assert_eq!(serde_json::from_str::<Roles>(r#"["viewer","admin","viewer"]"#).unwrap().0, ["admin", "viewer"]);
    }
}

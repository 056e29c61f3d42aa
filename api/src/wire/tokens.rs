//! Tokens: never their secrets, but this once.

use std::str::FromStr;

use ensue_engine::ids::TokenId;
use ensue_engine::names::is_name;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Token;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::openapi::shapes;

/// The most characters of a token's name.
const NAME_CHARS_MAX: usize = 64;
/// The most roles of a token.
const ROLES_MAX: usize = 16;

/// A token.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireToken {
    #[schemars(with = "shapes::TokenId")]
    id: TokenId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    name: String,
    roles: Vec<String>,
    #[schemars(with = "shapes::Timestamp")]
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

/// A token that is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedToken {
    #[schemars(with = "shapes::TokenName")]
    pub(crate) name: TokenName,
    #[schemars(with = "shapes::Roles")]
    pub(crate) roles: Roles,
}

/// The name of a token: letters, digits and `._@-`, so that no two look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenName(String);

impl TokenName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_ok = (1..=NAME_CHARS_MAX).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte));
        if is_ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "a token's name is made of a-z, A-Z, 0-9 and `._@-`, begins with a letter or digit, and is at most {NAME_CHARS_MAX} long"
            ))
        }
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The roles of a token, each of the shape of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut roles = Vec::<String>::deserialize(deserializer)?;
        if !roles.iter().all(|role| is_name(role)) {
            return Err(de::Error::custom(
                "a role starts with a-z, goes on with a-z, 0-9 and `_`, and is at most 64 long: `admin`, `release_managers`",
            ));
        }
        roles.sort();
        roles.dedup();
        if (1..=ROLES_MAX).contains(&roles.len()) {
            Ok(Self(roles))
        } else {
            Err(de::Error::custom(format!("a token has from 1 to {ROLES_MAX} roles")))
        }
    }
}

/// A token that was made: its secret is shown this once.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireNewToken<'a> {
    #[schemars(with = "shapes::TokenId")]
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
    fn a_role_that_only_looks_like_another_is_refused() {
        for trick in ["Admin", "admin ", "аdmin", "admin\u{200b}", ""] {
            assert!(serde_json::from_value::<Roles>(serde_json::json!([trick])).is_err(), "{trick:?}");
        }
        assert!(serde_json::from_str::<Roles>("[]").is_err());
        assert_eq!(serde_json::from_str::<Roles>(r#"["viewer","admin","viewer"]"#).unwrap().0, ["admin", "viewer"]);
    }

    #[test]
    fn a_token_s_name_is_plain() {
        for bad in ["", "a b", "é", "-a", "a/b", &"a".repeat(65)] {
            assert!(bad.parse::<TokenName>().is_err(), "{bad:?}");
        }
        assert!("ana.b@example-1".parse::<TokenName>().is_ok());
    }
}

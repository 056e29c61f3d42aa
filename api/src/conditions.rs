//! Conditions of writes (RFC 9110 §13.1): `If-Match`, and `If-None-Match: *`.
//!
//! The code that changes a resource determines how it is read, and thereby its tag. `resource_locks.rs`
//! ensures that nobody else changes it in between.

use axum::http::{HeaderMap, HeaderName, header};
use ensue_engine::explain::Explain;
use thiserror::Error;

use crate::compression::plain_tag;
use crate::operation::Conditional;
use crate::problem::quote;

/// A request's condition on the resource that it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    /// No condition.
    #[default]
    None,
    /// It must exist.
    There,
    /// It must exist and have one of these tags, each without the coding of the answer that it came with.
    Tagged(Vec<String>),
    /// It must not exist.
    NotThere,
}

/// An invalid or unsupported condition. It must not be ignored, because the request would then do something
/// unwanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "condition-invalid", fault = Malformed)]
pub(crate) enum ConditionInvalid {
    /// The path changes no readable resource.
    #[error("`{0}` is not supported here: nothing that this path changes has an `ETag`")]
    #[explain(hint = "leave it out; to have a request carried out only once, send an `Idempotency-Key`")]
    NotHonored(&'static str),
    /// The path creates no resource.
    #[error("`If-None-Match` is not supported here: this path never creates a resource")]
    #[explain(hint = "leave it out, or send `If-Match` with the tag of the version that you read")]
    MakesNothing,
    /// It is not a list of tags.
    #[error("`If-Match` must be `*`, or tags as `ETag` returns them, each in quotation marks and separated by commas")]
    #[explain(hint = "send the `ETag` of the version that you read, unchanged and with its quotation marks")]
    Malformed,
    /// It is not the only allowed value.
    #[error("`If-None-Match` must be `*` on a write, and must be given only once")]
    #[explain(hint = "send `If-None-Match: *` to create a resource, or `If-Match` to change one that you read")]
    NotAny,
    /// They cannot be combined.
    #[error("`If-Match` and `If-None-Match` cannot be combined on a write")]
    #[explain(hint = "send `If-None-Match: *` to create a resource, or `If-Match` to change one that you read")]
    Both,
}

/// The resource does not meet the condition.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "precondition-failed", fault = Conflict,
    hint = "nothing was changed: read it again, check that your change still applies, and send the request with the new `ETag`")]
pub(crate) enum ConditionFailed {
    /// It has another tag.
    #[error("the {noun} `{name}` has another `ETag` than `If-Match` requires")]
    Differs {
        /// The kind of resource.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// The resource does not exist.
    #[error("`If-Match` requires an existing {noun} `{name}`, but there is none")]
    NotThere {
        /// The kind of resource.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// The resource exists.
    #[error("`If-None-Match` requires that no {noun} `{name}` exists, but there is one")]
    There {
        /// The kind of resource.
        noun: &'static str,
        /// Its name.
        name: String,
    },
}

impl Condition {
    /// Parses the condition of a write.
    pub(crate) fn of(headers: &HeaderMap, conditional: Conditional) -> Result<Self, ConditionInvalid> {
        let has = |name: &HeaderName| headers.contains_key(name);
        let (matching, new) = (has(&header::IF_MATCH), has(&header::IF_NONE_MATCH));
        match (conditional, matching, new) {
            (_, false, false) => Ok(Self::None),
            (Conditional::Nothing, true, _) => Err(ConditionInvalid::NotHonored("If-Match")),
            (Conditional::Nothing, false, true) => Err(ConditionInvalid::NotHonored("If-None-Match")),
            (Conditional::Change, _, true) => Err(ConditionInvalid::MakesNothing),
            (Conditional::MakingOrChange, true, true) => Err(ConditionInvalid::Both),
            (Conditional::Change | Conditional::MakingOrChange, true, false) => parse_if_match(headers),
            (Conditional::MakingOrChange, false, true) => {
                let mut values = headers.get_all(header::IF_NONE_MATCH).iter();
                let is_any = values.next().is_some_and(|value| value.as_bytes().trim_ascii() == b"*") && values.next().is_none();
                if is_any { Ok(Self::NotThere) } else { Err(ConditionInvalid::NotAny) }
            }
        }
    }

    /// Checks a resource against the condition; `tag` is its tag if it exists.
    pub(crate) fn demand(&self, tag: Option<&str>, noun: &'static str, name: &str) -> Result<(), ConditionFailed> {
        let name = || quote(name);
        match (self, tag) {
            (Self::None, _) | (Self::There, Some(_)) | (Self::NotThere, None) => Ok(()),
            (Self::Tagged(tags), Some(tag)) if tags.iter().any(|fitting| fitting == tag) => Ok(()),
            (Self::Tagged(_), Some(_)) => Err(ConditionFailed::Differs { noun, name: name() }),
            (Self::There | Self::Tagged(_), None) => Err(ConditionFailed::NotThere { noun, name: name() }),
            (Self::NotThere, Some(_)) => Err(ConditionFailed::There { noun, name: name() }),
        }
    }
}

/// Parses `If-Match`. A weak tag is valid but never matches, because it does not show that two answers are
/// identical.
fn parse_if_match(headers: &HeaderMap) -> Result<Condition, ConditionInvalid> {
    let values: Option<Vec<&str>> = headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().ok()).collect();
    let text = values.ok_or(ConditionInvalid::Malformed)?.join(",");
    if text.trim() == "*" {
        return Ok(Condition::There);
    }
    let (mut strong, mut tags) = (Vec::new(), 0_usize);
    let mut rest = text.trim_start_matches(is_between);
    while !rest.is_empty() {
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, behind) = opaque.strip_prefix('"').and_then(|open| open.split_once('"')).ok_or(ConditionInvalid::Malformed)?;
        if tag.contains(char::is_whitespace) || !(behind.is_empty() || behind.starts_with(is_between)) {
            return Err(ConditionInvalid::Malformed);
        }
        if opaque.len() == rest.len() {
            strong.push(plain_tag(&format!("\"{tag}\"")));
        }
        tags += 1;
        let next = behind.trim_start_matches([' ', '\t']);
        if !(next.is_empty() || next.starts_with(',')) {
            return Err(ConditionInvalid::Malformed);
        }
        rest = next.trim_start_matches(is_between);
    }
    if tags == 0 { Err(ConditionInvalid::Malformed) } else { Ok(Condition::Tagged(strong)) }
}

/// Reports whether a character separates tags; lists may have empty elements (RFC 9110 §5.6.1).
fn is_between(character: char) -> bool {
    matches!(character, ',' | ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition_of(conditional: Conditional, headers: &[(HeaderName, &str)]) -> Result<Condition, ConditionInvalid> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        Condition::of(&map, conditional)
    }

    fn parse_tags(values: &[&str]) -> Result<Vec<String>, ConditionInvalid> {
        let headers: Vec<(HeaderName, &str)> = values.iter().map(|value| (header::IF_MATCH, *value)).collect();
        match condition_of(Conditional::Change, &headers)? {
            Condition::Tagged(tags) => Ok(tags),
            other => panic!("{values:?} is {other:?}"),
        }
    }

    #[test]
    fn tags_are_read_from_several_headers_and_in_any_coding() {
        assert_eq!(parse_tags(&["\"a\""]).unwrap(), ["\"a\""]);
        assert_eq!(parse_tags(&["\"a\" ,\t\"b-gzip\",, \"c,d\""]).unwrap(), ["\"a\"", "\"b\"", "\"c,d\""]);
        assert_eq!(parse_tags(&["\"a\"", "\"b-zstd\""]).unwrap(), ["\"a\"", "\"b\""]);
        assert_eq!(parse_tags(&["\"\""]).unwrap(), ["\"\""]);
        for any in ["*", " * "] {
            assert_eq!(condition_of(Conditional::Change, &[(header::IF_MATCH, any)]), Ok(Condition::There));
        }
    }

    #[test]
    fn weak_tags_never_match() {
        assert_eq!(parse_tags(&["W/\"a\", \"b\""]).unwrap(), ["\"b\""]);
        let weak = Condition::Tagged(parse_tags(&["W/\"a\""]).unwrap());
        assert!(matches!(weak.demand(Some("\"a\""), "rule", "a.b"), Err(ConditionFailed::Differs { .. })));
    }

    #[test]
    fn malformed_tag_is_rejected() {
        for bad in [
            "",
            " ",
            ",",
            "a",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\" \"b\"",
            "\"a\"\"b\"",
            "*, \"a\"",
            "\"a\", *",
            "w/\"a\"",
            "W/a",
            "\"a b\"",
            "**",
        ] {
            assert_eq!(parse_tags(&[bad]), Err(ConditionInvalid::Malformed), "{bad:?}");
        }
        assert_eq!(parse_tags(&["\"a\"", "*"]), Err(ConditionInvalid::Malformed));
    }

    #[test]
    fn unsupported_condition_is_rejected() {
        let (any, new) = ([(header::IF_MATCH, "*")], [(header::IF_NONE_MATCH, "*")]);
        assert_eq!(condition_of(Conditional::Nothing, &[]), Ok(Condition::None));
        assert_eq!(condition_of(Conditional::Nothing, &any), Err(ConditionInvalid::NotHonored("If-Match")));
        assert_eq!(condition_of(Conditional::Nothing, &new), Err(ConditionInvalid::NotHonored("If-None-Match")));
        assert_eq!(condition_of(Conditional::Change, &new), Err(ConditionInvalid::MakesNothing));
        assert_eq!(condition_of(Conditional::MakingOrChange, &new), Ok(Condition::NotThere));
        assert_eq!(condition_of(Conditional::MakingOrChange, &[any, new.clone()].concat()), Err(ConditionInvalid::Both));
        assert_eq!(condition_of(Conditional::MakingOrChange, &[(header::IF_NONE_MATCH, "\"a\"")]), Err(ConditionInvalid::NotAny));
        assert_eq!(condition_of(Conditional::MakingOrChange, &[new.clone(), new].concat()), Err(ConditionInvalid::NotAny));
    }

    #[test]
    fn resource_is_compared_with_the_condition() {
        let failed = |condition: &Condition, tag| condition.demand(tag, "key", "a.b").map_err(|why| why.to_string()).err();
        let tagged = Condition::Tagged(vec!["\"a\"".to_owned()]);
        for (condition, tag) in
            [(&Condition::None, None), (&Condition::There, Some("\"b\"")), (&tagged, Some("\"a\"")), (&Condition::NotThere, None)]
        {
            assert_eq!(failed(condition, tag), None, "{condition:?}");
        }
        assert_eq!(failed(&tagged, Some("\"b\"")).unwrap(), "the key `a.b` has another `ETag` than `If-Match` requires");
        for condition in [&tagged, &Condition::There] {
            assert_eq!(failed(condition, None).unwrap(), "`If-Match` requires an existing key `a.b`, but there is none");
        }
        let there = failed(&Condition::NotThere, Some("\"a\"")).unwrap();
        assert_eq!(there, "`If-None-Match` requires that no key `a.b` exists, but there is one");
    }
}

//! The short form of one field: `string`, `integer?`, `integer = 3`, `dev | prod`, `[string] = ["eu"]`.
//!
//! This module parses the text. The caller checks that the default fits the type.

use ensue_engine::catalog::{ConnectionKind, Presence, Type};
use ensue_expression::{Document, Node, NodeKind, Value, nearest};
use serde_json::Value as Json;

use super::{TypeFault, default_hint};
use crate::fields::quote_names;

const TYPES: [&str; 6] = ["any", "string", "integer", "number", "boolean", "object"];

/// The names that other languages use for our types.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("str", "string"),
    ("text", "string"),
    ("int", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("map", "object"),
    ("dict", "object"),
    ("mapping", "object"),
    ("list", "[any]"),
    ("array", "[any]"),
    ("json", "any"),
];

/// The nesting limit of lists.
const LISTS_MAX: usize = 4;

const EXAMPLES: &str = "for example `string`, `integer?` (optional), `integer = 3` (a default), `dev | prod`, `[string]`, `object`, `any`";

/// Parses a whole declaration.
pub(super) fn declaration(text: &str) -> Result<(Type, Presence), TypeFault> {
    let (left, default) = split_default(text);
    let (left, is_optional) = match left.strip_suffix('?') {
        Some(left) => (left.trim_end(), true),
        None => (left, false),
    };
    let kind = kind(left)?;
    let presence = match (default, is_optional) {
        (Some(_), true) => {
            return Err(fault(format!("`{text}` is optional and has a default"), format!("remove the `?`: {}", text.replacen('?', "", 1))));
        }
        (Some(default), false) => match serde_json::from_str::<Json>(default) {
            Ok(value) => Presence::Default(value),
            Err(_) => {
                return Err(fault(
                    format!("the default `{default}` is not valid JSON"),
                    default_hint(left, default.trim_matches(['"', '\''])),
                ));
            }
        },
        (None, true) => Presence::Optional,
        (None, false) => Presence::Required,
    };
    Ok((kind, presence))
}

/// Splits a declaration into what is before the `=`, and the default.
fn split_default(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((left, default)) => (left.trim(), Some(default.trim())),
        None => (text.trim(), None),
    }
}

/// Checks the numbers of a declaration's default, if it has one: the text of each must be what is written.
pub(super) fn check_default(text: &str) -> Result<(), TypeFault> {
    let Some(default) = split_default(text).1 else { return Ok(()) };
    let document = Document::parse(default.to_owned().into())
        .map_err(|error| fault(format!("the default `{default}` is not valid JSON"), format!("mend it: {}", error.message)))?;
    check_numbers(document.root())
}

fn check_numbers(value: Node<'_>) -> Result<(), TypeFault> {
    match value.kind() {
        NodeKind::Number => {
            let written = value.raw();
            let text = Value::from_json(&value.to_value()).scalar_text().unwrap_or_default();
            if text == written {
                return Ok(());
            }
            // JSON takes numbers with an exponent, but its texts differ.
            let is_json = text.parse::<serde_json::Number>().is_ok();
            let as_number = if is_json { format!(", {text} if it is a number") } else { String::new() };
            Err(fault(
                format!("`{written}` is a number, and becomes `{text}` where it is used as text"),
                format!("write \"{written}\" if it is a string{as_number}"),
            ))
        }
        NodeKind::Array => value.items().try_for_each(check_numbers),
        NodeKind::Object => value.entries().try_for_each(|(_, value)| check_numbers(value)),
        NodeKind::Null | NodeKind::Bool | NodeKind::String => Ok(()),
    }
}

/// Parses a type alone.
pub(super) fn kind(text: &str) -> Result<Type, TypeFault> {
    kind_below(text.trim(), 0)
}

fn kind_below(text: &str, depth: usize) -> Result<Type, TypeFault> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        if depth >= LISTS_MAX {
            return Err(fault(format!("`{text}` nests too deeply"), "use `any`, or a JSON Schema under `schema:`".to_owned()));
        }
        return Ok(Type::List(Box::new(kind_below(inner.trim(), depth + 1)?)));
    }
    if text.contains('|') {
        return one_of(text);
    }
    match text {
        "any" => Ok(Type::Any),
        "string" => Ok(Type::String { pattern: None }),
        "integer" => Ok(Type::Integer),
        "number" => Ok(Type::Number),
        "boolean" => Ok(Type::Boolean),
        "object" => Ok(Type::Object),
        _ => match text.strip_prefix("connection<").and_then(|rest| rest.strip_suffix('>')) {
            Some(kind) => connection(kind.trim()),
            None if text == "connection" => connection(""),
            None => Err(unknown(text)),
        },
    }
}

fn connection(kind: &str) -> Result<Type, TypeFault> {
    let known = ConnectionKind::ALL.iter().copied();
    match known.clone().find(|known| known.as_str() == kind) {
        Some(kind) => Ok(Type::Connection(kind)),
        None => Err(TypeFault {
            message: if kind.is_empty() { "`connection` needs a kind".to_owned() } else { format!("`{kind}` is not a kind of connection") },
            hint: format!("use one of {}", quote_names(&known.clone().map(|kind| Type::Connection(kind).to_string()).collect::<Vec<_>>())),
            suggestion: nearest(kind, known.map(ConnectionKind::as_str)).map(|kind| format!("connection<{kind}>")),
        }),
    }
}

fn one_of(text: &str) -> Result<Type, TypeFault> {
    let mut texts: Vec<String> = Vec::new();
    for part in text.split('|') {
        let part = part.trim();
        if TYPES.contains(&part) {
            return Err(fault(
                format!("`{text}` mixes the type `{part}` with other alternatives"),
                "write only strings between `|`; for several types, use `any` or a JSON Schema under `schema:`".to_owned(),
            ));
        }
        let is_word = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'+'));
        if !is_word {
            return Err(fault(
                format!("`{part}` is not allowed between `|`"),
                "use words of letters, digits, `_`, `-`, `.`, `/`, `+`; for anything else, use a JSON Schema under `schema:`".to_owned(),
            ));
        }
        if texts.iter().any(|known| known == part) {
            return Err(fault(format!("`{part}` is in `{text}` twice"), "remove one of the two".to_owned()));
        }
        texts.push(part.to_owned());
    }
    Ok(Type::OneOf(texts))
}

fn unknown(text: &str) -> TypeFault {
    let other = OTHER_NAMES.iter().find(|(theirs, _)| text.eq_ignore_ascii_case(theirs)).map(|(_, ours)| *ours);
    TypeFault {
        message: format!("`{text}` is not a type"),
        hint: EXAMPLES.to_owned(),
        suggestion: other.or_else(|| nearest(text, TYPES)).map(str::to_owned),
    }
}

fn fault(message: String, hint: String) -> TypeFault {
    TypeFault { message, hint, suggestion: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> (String, Presence) {
        let (kind, presence) = declaration(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.message));
        (kind.to_string(), presence)
    }

    #[test]
    fn short_form_gives_type_and_presence() {
        assert_eq!(read("string"), ("string".into(), Presence::Required));
        assert_eq!(read("integer?"), ("integer".into(), Presence::Optional));
        assert_eq!(read("integer = 3"), ("integer".into(), Presence::Default(json!(3))));
        assert_eq!(read("connection<http>?"), ("connection<http>".into(), Presence::Optional));
        assert_eq!(read("dev | prod"), ("dev | prod".into(), Presence::Required));
        assert_eq!(read("dev | prod = \"dev\""), ("dev | prod".into(), Presence::Default(json!("dev"))));
        assert_eq!(read("[string] = [\"eu\", \"us\"]"), ("[string]".into(), Presence::Default(json!(["eu", "us"]))));
        assert_eq!(read("string = \"a = b?\""), ("string".into(), Presence::Default(json!("a = b?"))));
        assert_eq!(read("object = {}"), ("object".into(), Presence::Default(json!({}))));
        assert_eq!(read("[[any]]?"), ("[[any]]".into(), Presence::Optional));
    }

    #[test]
    fn invalid_type_is_rejected() {
        for bad in [
            "",
            "strng",
            "String",
            "string?? ",
            "string? = 1",
            "a | string",
            "a || b",
            "string = abc",
            "[string",
            "[a?]",
            "a | a",
            "connection",
            "connection<htp>",
        ] {
            assert!(declaration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn type_name_of_another_language_gets_our_name_as_a_suggestion() {
        assert_eq!(kind("int").unwrap_err().suggestion.as_deref(), Some("integer"));
        assert_eq!(kind("strng").unwrap_err().suggestion.as_deref(), Some("string"));
    }
}

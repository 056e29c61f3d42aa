//! JSON bodies, and what an author may let pass in them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use ensue_engine::catalog::Invalid;
use ensue_expression::{Document, JsonError};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::charset::{DecodeError, decode};

/// Why a body is not JSON.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JsonBodyError {
    /// Its bytes are not text.
    #[error(transparent)]
    NotText(#[from] DecodeError),
    /// The text is not JSON.
    #[error(transparent)]
    NotJson(#[from] JsonError),
}

/// Reads a body as one JSON document. A body of nothing but white space is `null`.
///
/// With [`Invalid::Replace`], half a surrogate pair is U+FFFD, and of several fields with the same name the last stays, as
/// in `JSON.parse` (ECMA-262 §25.5.1). All else that is not JSON is an error still.
///
/// # Errors
/// If its bytes are not text in its charset, or the text is not JSON.
pub fn parse_json(bytes: &Bytes, charset: Option<&str>, invalid: Invalid) -> Result<Document, JsonBodyError> {
    let text = decode(bytes, charset, invalid)?;
    if text.trim_ascii().is_empty() {
        return Ok(Document::from_value(&Value::Null));
    }
    parse_json_text(text, invalid)
}

/// Parses a text in UTF-8 as JSON, as [`parse_json`] does with what it decoded. A byte order mark, and a text without
/// content, are not JSON.
///
/// # Errors
/// If the text is not JSON.
pub fn parse_json_text(text: Bytes, invalid: Invalid) -> Result<Document, JsonBodyError> {
    if invalid == Invalid::Reject {
        return Ok(Document::parse(text)?);
    }
    let error = match Document::parse(text.clone()) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    match std::str::from_utf8(&text).ok().and_then(mend) {
        Some(mended) => Ok(Document::parse(mended.into())?),
        None => Err(error.into()),
    }
}

/// Returns a text without its halves of surrogate pairs and without the fields that are repeated later. Returns `None` if
/// it is not JSON otherwise.
fn mend(text: &str) -> Option<String> {
    let text = replace_half_pairs(text);
    serde_json::from_str::<&RawValue>(&text).ok()?;
    Some(remove_ranges(&text, repeated_fields(&text)))
}

/// Returns the text with `\ufffd` in place of each escape that is half a surrogate pair.
fn replace_half_pairs(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = text[at..].find('\\') {
        at += next;
        at += match classify_escape(&text[at..]) {
            Escape::Pair => 12,
            Escape::Half => {
                replaced.push_str(&text[copied..at]);
                replaced.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            // The character after a backslash, which may be a backslash.
            Escape::Other => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// What an escape is, in the sight of UTF-16.
enum Escape {
    Pair,
    Half,
    Other,
}

fn classify_escape(text: &str) -> Escape {
    match (utf16_unit(text), text.get(6..).and_then(utf16_unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => Escape::Pair,
        (Some(0xD800..=0xDFFF), _) => Escape::Half,
        (Some(_) | None, _) => Escape::Other,
    }
}

/// Reads `\uXXXX` at the beginning of a text.
fn utf16_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// An object that is not closed yet.
#[derive(Default)]
struct OpenObject {
    /// Where each field begins.
    begins: Vec<usize>,
    /// The place in `begins` of the last field of each name.
    last: BTreeMap<String, usize>,
    is_key_next: bool,
}

/// Returns where the fields are that the same object has again later, each with the comma after it. The text is valid
/// JSON.
fn repeated_fields(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut repeated = Vec::new();
    let mut open: Vec<Option<OpenObject>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => open.push(Some(OpenObject { is_key_next: true, ..OpenObject::default() })),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b',' => {
                if let Some(Some(object)) = open.last_mut() {
                    object.is_key_next = true;
                }
            }
            b'"' => {
                let end = end_of_string(bytes, at);
                if let Some(Some(object)) = open.last_mut().filter(|object| object.as_ref().is_some_and(|object| object.is_key_next)) {
                    object.is_key_next = false;
                    object.begins.push(at);
                    let field = object.begins.len() - 1;
                    let name: String = serde_json::from_str(&text[at..end]).unwrap_or_default();
                    if let Some(earlier) = object.last.insert(name, field) {
                        repeated.push(object.begins[earlier]..object.begins[earlier + 1]);
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    repeated
}

/// Returns the place after the closing quote of the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the text without some parts of it, which may lie within each other.
fn remove_ranges(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        if range.start > at {
            kept.push_str(&text[at..range.start]);
        }
        at = at.max(range.end);
    }
    kept.push_str(&text[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str, invalid: Invalid) -> Result<String, JsonBodyError> {
        parse_json(&Bytes::copy_from_slice(body.as_bytes()), None, invalid).map(|document| document.root().raw().to_owned())
    }

    #[test]
    fn body_of_white_space_is_null() {
        for body in ["", " \n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(read(body, Invalid::Reject).unwrap(), "null", "{body:?}");
        }
    }

    #[test]
    fn json_is_kept_byte_for_byte_in_its_charset() {
        assert_eq!(read("\u{feff}{\"n\": 1.0}", Invalid::Reject).unwrap(), "{\"n\": 1.0}");
        let body = Bytes::from_static(b"{\"price\": \"10 \xa4\"}");
        assert_eq!(parse_json(&body, Some("ISO-8859-15"), Invalid::Reject).unwrap().root().raw(), "{\"price\": \"10 €\"}");
        assert!(matches!(parse_json(&body, None, Invalid::Reject), Err(JsonBodyError::NotText(_))));
    }

    #[test]
    fn what_is_not_valid_is_rejected_with_its_place() {
        for (body, place) in [(r#"{"t": "cut \ud83d"}"#, "line 1, column 12"), (r#"{"a": 1, "a": 2}"#, "line 1, column 10")] {
            let error = read(body, Invalid::Reject).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        for (body, expected) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\\ud83d \"\uDC00""#, r#""\\ud83d \"\ufffd""#),
            (r#"["\ud83d\u0041"]"#, r#"["\ufffd\u0041"]"#),
        ] {
            assert_eq!(read(body, Invalid::Replace).unwrap(), expected);
        }
    }

    #[test]
    fn last_field_of_a_name_stays() {
        for (body, expected) in [
            (r#"{"a": 1.0, "b": 2, "a": 3}"#, r#"{"b": 2, "a": 3}"#),
            (r#"{"a": {"x": 1, "x": 2}, "\u0061": [{"y": 1, "y": "}"}]}"#, r#"{"\u0061": [{"y": "}"}]}"#),
            (r#"[{"a":1,"a":2,"a":3},"a","a"]"#, r#"[{"a":3},"a","a"]"#),
        ] {
            assert_eq!(read(body, Invalid::Replace).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_json_otherwise_is_an_error_in_any_case() {
        for body in ["{oops", r#"{"a": 1, "a": }"#, r#""\ud83"#, "1 2", &"[".repeat(4_000)] {
            assert!(read(body, Invalid::Replace).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_reads_it_or_rejected(body in r#"(\{|\}|\[|\]|:|,|"a"|"b"|"\\\\ud83d"|"\\\\ude00"|1|2\.50|null| ){0,24}"#) {
            if let Ok(read) = read(&body, Invalid::Replace) {
                let mended = replace_half_pairs(&body);
                let expected: Value = if body.trim().is_empty() { Value::Null } else { serde_json::from_str(&mended).unwrap() };
                prop_assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), expected);
            }
        }

        #[test]
        fn objects_with_repeated_names_are_read_as_their_last_fields(fields in proptest::collection::vec(("[a-c]", "(1|\"x\"|\\{\"a\":1,\"a\":2\\})"), 0..8)) {
            let body = format!("{{{}}}", fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect::<Vec<_>>().join(" , "));
            let read = read(&body, Invalid::Replace).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), serde_json::from_str::<Value>(&body).unwrap());
            prop_assert!(parse_json(&Bytes::from(read), None, Invalid::Reject).is_ok(), "no name is there twice");
        }
    }
}

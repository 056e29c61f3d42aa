//! The body of a request: a value as JSON, a text, or a form.
//!
//! It may hold secrets, so messages show nothing of it but names of fields.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ensue_engine::catalog::HttpBody;
use ensue_engine::executions::facts::FailureKind;
use ensue_expression::Document;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::invalid;
use crate::attempt::{AttemptError, attempt_failure};
use crate::render::{Renderer, entries, scalar};

/// Renders a body, and sets its type in the headers.
pub(super) fn render<'r>(renderer: &mut Renderer<'r>, body: &'r HttpBody, headers: &mut HeaderMap) -> Result<Option<Bytes>, AttemptError> {
    if let HttpBody::Form(form) = body {
        return form_of(entries("form", renderer.value("form", form)?)?, headers);
    }
    let (json, text) = match body {
        HttpBody::None | HttpBody::Form(_) => (None, None),
        HttpBody::Json(json) => (Some(json), None),
        HttpBody::Text(text) => (None, Some(text)),
        HttpBody::Either { json, text } => (Some(json), Some(text)),
    };
    let json = json.map(|json| renderer.document("json", json)).transpose()?.filter(|json| !json.root().is_null());
    let text = text.map(|text| renderer.scalar("body", text)).transpose()?.flatten();
    let (text, kind) = match (json, text) {
        (Some(_), Some(_)) => return Err(invalid("both `json` and `body` are given, but a request can have only one of them")),
        (Some(json), None) => (Some(json.bytes().clone()), "application/json"),
        (None, text) => (text.map(Bytes::from), "text/plain; charset=utf-8"),
    };
    if text.is_some() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        headers.remove(CONTENT_LENGTH);
    }
    Ok(text)
}

/// Adds fields to a body, which is a JSON object.
pub(super) fn with_fields(body: Option<&Bytes>, added: &Document) -> Result<Bytes, AttemptError> {
    let Some(added) = object_of(added.bytes()) else {
        return Err(attempt_failure(FailureKind::Expression, "`without_connection.json` is not an object"));
    };
    let Some(mut fields) = body.and_then(object_of) else {
        return Err(invalid("`without_connection.json` adds fields to `json`, but that is not an object"));
    };
    fields.extend(added);
    bytes_of(&fields)
}

/// Adds the credentials of a connection to a body, which is a JSON object.
pub(super) fn with_secret(body: Option<&Bytes>, name: &str, value: &str) -> Result<Bytes, AttemptError> {
    let Some(mut fields) = body.and_then(object_of) else {
        let what = if body.is_some() { "the body is not one" } else { "the request has no body" };
        return Err(invalid(&format!(
            "the connection sends its key in the field `{name}` of a JSON object, but {what}; send one with `json`"
        )));
    };
    if fields.contains_key(name) {
        return Err(invalid(&format!("the field `{name}` is set by the connection, so `json` cannot set it")));
    }
    let value = serde_json::value::to_raw_value(value).map_err(|_| unwritten())?;
    fields.insert(name.to_owned(), value);
    bytes_of(&fields)
}

/// Returns the fields of a JSON object, with their values as they are written, so that no number is rounded.
fn object_of(bytes: &Bytes) -> Option<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_slice(bytes).ok()
}

fn bytes_of(fields: &BTreeMap<String, Box<RawValue>>) -> Result<Bytes, AttemptError> {
    serde_json::to_vec(fields).map(Bytes::from).map_err(|_| unwritten())
}

fn unwritten() -> AttemptError {
    attempt_failure(FailureKind::Expression, "the body cannot be written as JSON")
}

/// Encodes the fields of a form. A list repeats its name, an object becomes `name[key]`, and null sends nothing.
fn form_of(fields: Vec<(String, Value)>, headers: &mut HeaderMap) -> Result<Option<Bytes>, AttemptError> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let mut waiting: VecDeque<(String, Value)> = fields.into();
    let mut is_empty = true;
    while let Some((name, value)) = waiting.pop_front() {
        match value {
            Value::Object(inner) => {
                for (key, value) in inner.into_iter().rev() {
                    waiting.push_front((format!("{name}[{key}]"), value));
                }
            }
            Value::Array(values) => {
                for value in values.into_iter().rev() {
                    waiting.push_front((name.clone(), value));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                if let Some(text) = scalar(&format!("form.{name}"), value)? {
                    form.append_pair(&name, &text);
                    is_empty = false;
                }
            }
        }
    }
    if is_empty {
        return Ok(None);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.remove(CONTENT_LENGTH);
    Ok(Some(Bytes::from(form.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(broken: Result<Bytes, AttemptError>) -> String {
        match broken {
            Err(AttemptError::Failed(failed)) => failed.failure.message,
            _ => panic!("it does not fail"),
        }
    }

    #[test]
    fn form_has_nested_names_and_leaves_out_null() {
        let fields = serde_json::json!({ "name": "Ada & Co", "metadata": { "site": "eu", "n": 7 }, "expand": ["a", "b"], "none": null });
        let Value::Object(fields) = fields else { unreachable!("it is written as an object") };
        let mut headers = HeaderMap::new();
        let Ok(Some(body)) = form_of(fields.into_iter().collect(), &mut headers) else { panic!("it has a body") };
        let mut pairs: Vec<&str> = std::str::from_utf8(&body).unwrap().split('&').collect();
        pairs.sort_unstable();
        assert_eq!(pairs, ["expand=a", "expand=b", "metadata%5Bn%5D=7", "metadata%5Bsite%5D=eu", "name=Ada+%26+Co"]);
        assert_eq!(headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert!(matches!(form_of(vec![("none".to_owned(), Value::Null)], &mut HeaderMap::new()), Ok(None)));
    }

    #[test]
    fn added_fields_leave_the_others_as_they_are_written() {
        let body = Bytes::from_static(br#"{"b":12345678901234567890123,"a":{"x":1.0}}"#);
        let added = Document::from_value(&serde_json::json!({ "c": "new", "a": null }));
        let Ok(sent) = with_fields(Some(&body), &added) else { panic!("it is an object") };
        assert_eq!(sent, r#"{"a":null,"b":12345678901234567890123,"c":"new"}"#);
        let Ok(sent) = with_secret(Some(&body), "key", "it is \"secret\"") else { panic!("it is an object") };
        assert_eq!(sent, r#"{"a":{"x":1.0},"b":12345678901234567890123,"key":"it is \"secret\""}"#);
    }

    #[test]
    fn secret_needs_an_object_without_its_field() {
        let sent = |body: &'static str| message(with_secret(Some(&Bytes::from_static(body.as_bytes())), "key", "s3cret"));
        assert!(sent("[1]").ends_with("but the body is not one; send one with `json`"));
        assert!(sent("key=1").ends_with("but the body is not one; send one with `json`"));
        assert!(message(with_secret(None, "key", "s3cret")).ends_with("but the request has no body; send one with `json`"));
        assert_eq!(sent(r#"{"key":1}"#), "the field `key` is set by the connection, so `json` cannot set it");
    }
}

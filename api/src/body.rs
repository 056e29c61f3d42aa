//! Request bodies: read within limits, and parsed strictly.
//!
//! It does not know what a body means; its readers do. Unread bodies are handled in `drain.rs`.

use std::error::Error as StdError;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use ensue_engine::explain::Explain;
use ensue_expression::{Document, JsonError};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::problem::{FieldError, Problem, quote};
use crate::settings::Limits;

/// Why a body is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub(crate) enum BodyRefusal {
    /// It is too large.
    #[error("the body is larger than {bytes_max} bytes")]
    #[explain(slug = "body-too-large", fault = TooLarge, hint = "send less; large data belongs in a file or a store that the action reads")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It ended early, or its HTTP framing is invalid.
    #[error("the body is incomplete")]
    #[explain(slug = "body-incomplete", fault = Malformed, hint = "send the complete request again")]
    Incomplete,
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    #[explain(slug = "body-not-json", fault = Malformed,
        hint = "send one JSON value in UTF-8, with at most 128 levels and no duplicate keys in an object")]
    NotJson(JsonError),
    /// It is JSON of another form.
    #[error("the body does not have the form that this path accepts: {0}")]
    #[explain(slug = "body-invalid", fault = Invalid, hint = "remove unknown fields, and compare the names with the API's description")]
    OfOtherShape(String),
}

/// Reads a body completely, within the limits; a body whose declared length is too large is not read.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B, limits: &Limits) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let bytes_max = limits.body_bytes_max;
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(BodyRefusal::TooLarge { bytes_max }.into());
    }
    match within(limits.body_timeout, Limited::new(body, bytes_max).collect()).await {
        None => Err(Problem::body_timeout(limits.body_timeout.as_secs())),
        Some(Ok(whole)) => Ok(whole.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(BodyRefusal::TooLarge { bytes_max }.into()),
        Some(Err(_)) => Err(BodyRefusal::Incomplete.into()),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

/// Checks that a body is not compressed; `taken` names what the path accepts.
pub(crate) fn demand_uncompressed(headers: &HeaderMap, taken: &str) -> Result<(), Problem> {
    match text(headers, header::CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        Some(encoding) => Err(Problem::unsupported_media_type(&format!("compressed as `{}`", quote(&encoding)), taken)),
        None => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
}

/// Checks that a body is declared as JSON, and not compressed.
pub(crate) fn demand_json(headers: &HeaderMap) -> Result<(), Problem> {
    demand_json_among(headers, JSON)
}

/// The same for a path that accepts JSON among other types, which `taken` names.
pub(crate) fn demand_json_among(headers: &HeaderMap, taken: &str) -> Result<(), Problem> {
    demand_uncompressed(headers, taken)?;
    match text(headers, header::CONTENT_TYPE) {
        None => Err(Problem::unsupported_media_type("sent without a content type", taken)),
        Some(given) => {
            let essence = given.split(';').next().unwrap_or_default().trim();
            let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
            if is_json { Ok(()) } else { Err(Problem::unsupported_media_type(&format!("`{}`", quote(essence)), taken)) }
        }
    }
}

const JSON: &str = "`application/json`";

/// Parses a body: first as strict JSON, then as an object of type `T`.
pub(crate) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    Document::parse(body.clone()).map_err(BodyRefusal::NotJson)?;
    demand_object("", body)?;
    serde_json::from_slice(body).map_err(|why| misfit("", &why))
}

/// Returns a body as a string of strict JSON.
pub(crate) fn strict(body: &Bytes) -> Result<&str, Problem> {
    Document::parse(body.clone()).map_err(BodyRefusal::NotJson)?;
    std::str::from_utf8(body).map_err(|why| Problem::bug(&why))
}

/// Rejects anything except an object: serde would accept a list with the fields in source order, and its
/// errors name internal types.
fn demand_object(at: &str, text: &[u8]) -> Result<(), Problem> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    let message = "must be an object".to_owned();
    let errors = [FieldError { pointer: at.to_owned(), message: message.clone() }];
    let named = if at.is_empty() { message } else { format!("`{at}` {message}") };
    Err(Problem::from(BodyRefusal::OfOtherShape(named)).with_errors(errors))
}

/// The message for an invalid body with a secret in it: other messages repeat the content.
const UNQUOTED: &str = "no details are shown, because the body contains a secret";

/// Parses a body that holds a secret; errors repeat none of its content.
pub(crate) fn parse_secret<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    Document::parse(body.clone()).map_err(|mut why| {
        UNQUOTED.clone_into(&mut why.message);
        BodyRefusal::NotJson(why)
    })?;
    demand_object("", body)?;
    serde_json::from_slice(body).map_err(|_| BodyRefusal::OfOtherShape(UNQUOTED.to_owned()).into())
}

/// Parses an object at `pointer`, a part of a body that was already parsed as JSON.
pub(crate) fn parse_part<T: DeserializeOwned>(pointer: &str, text: &str) -> Result<T, Problem> {
    demand_object(pointer, text.as_bytes())?;
    serde_json::from_str(text).map_err(|why| misfit(pointer, &why))
}

/// Parses a string at `pointer`, a part of a body that was already parsed as JSON.
pub(crate) fn parse_text(pointer: &str, text: &str) -> Result<String, Problem> {
    serde_json::from_str(text).map_err(|why| misfit(pointer, &why))
}

fn misfit(at: &str, why: &serde_json::Error) -> Problem {
    let message = serde_message(why);
    of_other_shape(format!("{at}{}", pointer_of(&message)), message)
}

fn of_other_shape(pointer: String, message: String) -> Problem {
    let errors = [FieldError { pointer, message: message.clone() }];
    Problem::from(BodyRefusal::OfOtherShape(message)).with_errors(errors)
}

/// Returns serde's message without its place in the text: the pointer has the place.
fn serde_message(why: &serde_json::Error) -> String {
    let text = why.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

/// Returns the field that a message of serde is about, if it names one.
fn pointer_of(message: &str) -> String {
    let named = ["unknown field `", "missing field `", "duplicate field `"].iter().find_map(|start| message.strip_prefix(start));
    match named.and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => format!("/{}", field.replace('~', "~0").replace('/', "~1")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its shape matters")]
    struct Shape {
        name: String,
    }

    fn expect_refusal(body: &'static str) -> Problem {
        parse::<Shape>(&Bytes::from_static(body.as_bytes())).unwrap_err()
    }

    #[test]
    fn field_that_is_unknown_or_missing_is_named_by_its_pointer() {
        assert_eq!(pointer_of("unknown field `colour`, expected `name`"), "/colour");
        assert_eq!(pointer_of("missing field `name`"), "/name");
        assert_eq!(pointer_of("invalid type: integer `1`, expected a string"), "");
        assert_eq!(expect_refusal(r#"{"name":"x","colour":"red"}"#).code(), "body_invalid");
    }

    #[test]
    fn body_that_is_not_an_object_is_rejected() {
        for body in [r#" ["ada"]"#, "7", "null", "\"ada\""] {
            let problem = expect_refusal(body);
            assert_eq!(problem.code(), "body_invalid", "{body}");
            assert_eq!(problem.detail(), Some("the body does not have the form that this path accepts: must be an object"), "{body}");
        }
        let body = Bytes::from_static(br#"["a secret"]"#);
        assert_eq!(parse_secret::<Shape>(&body).unwrap_err().code(), "body_invalid");
        assert_eq!(parse_part::<Shape>("/event", r#"["ada"]"#).unwrap_err().code(), "body_invalid");
    }

    #[test]
    fn duplicate_members_and_deep_nesting_are_rejected_as_invalid_json() {
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        for body in [r#"{"name":"a","name":"b"}"#, "", "{", "\u{feff}{}", deep.leak()] {
            assert_eq!(expect_refusal(body).code(), "body_not_json", "{body}");
        }
    }

    #[test]
    fn only_uncompressed_json_is_accepted() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            demand_json(&headers)
        };
        assert!(with(&[("content-type", "application/json")]).is_ok());
        assert!(with(&[("content-type", "application/cloudevents+json; charset=utf-8")]).is_ok());
        for bad in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml"] {
            assert!(with(&[("content-type", bad)]).is_err(), "{bad}");
        }
        assert!(with(&[]).is_err());
        assert!(with(&[("content-type", "application/json"), ("content-encoding", "gzip")]).is_err());
    }
}

//! The answer: read up to a limit, and converted to a result.
//!
//! This module does not follow redirects.

use bytes::{Bytes, BytesMut};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ports::OutputStream;
use ensue_engine::record::Body;
use ensue_expression::Document;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value};

use super::request::Request;
use super::{HTTP_ANSWER_BYTES_MAX, broken_off, is_failure, retry_after};
use crate::attempt::{Attempt, Broken, Ending, Failed, Given};
use crate::mapped;
use crate::masks::Masks;
use crate::output::Output;
use crate::result::{fitting, json_text};
use crate::settings::SHORT_ANSWER_BYTES;
use crate::web::Answered;

/// Reads an answer to its end. The result is `{ status, headers, body }`; the result of a failure is kept
/// with it.
pub(super) async fn taken(attempt: &Attempt<'_>, request: &Request, answer: Answered) -> Ending {
    let Answered { status, headers, body: mut coming } = answer;
    let masks = attempt.keys.masks();
    let masks = masks.as_deref();
    let mut body = Pieces::default();
    let mut long = None;
    while let Some(piece) = coming.piece().await.map_err(|error| broken_off(request, &error))? {
        if body.bytes + piece.len() > HTTP_ANSWER_BYTES_MAX {
            let message = format!("{} answered with more than {HTTP_ANSWER_BYTES_MAX} bytes", request.server());
            return Err(Broken::with_body(
                Failure::new(FailureKind::OutputLimit, message),
                Some(Body::json(written(status, &headers, "null", masks))),
            ));
        }
        if long.is_none() && body.bytes + piece.len() > SHORT_ANSWER_BYTES {
            // The semaphore is never closed. A slot is held only briefly until then, so nobody waits in a circle.
            long = attempt.means.long_answers.acquire().await.ok();
        }
        body.push(piece);
    }
    let document = result(status, &headers, body.joined(), masks);
    if is_failure(status) {
        let reason = status.canonical_reason().unwrap_or_default();
        let message = format!("{} answered {} {reason}", request.server(), status.as_u16());
        return Err(Broken::Failed(Box::new(Failed {
            failure: Failure::new(FailureKind::HttpStatus, message.trim_end()).with_detail(status.as_u16().into()),
            body: Some(Body::json(document)),
            retry_after: retry_after::of(&headers, attempt.now()),
        })));
    }
    if attempt.action.result.is_none() && attempt.action.output.is_none() {
        return Ok(Given::result(Body::json(document)));
    }
    match (Document::parse(document), &attempt.action.output) {
        (Ok(document), Some(output)) => {
            kept(attempt, document.bytes().clone()).await;
            mapped::result(attempt, output, &document).await
        }
        (Ok(document), None) => fitting(&attempt.action, &document).map(Given::result),
        (Err(error), _) => Err(Failure::new(FailureKind::ResultInvalid, format!("the answer is not a valid result: {error}")).into()),
    }
}

/// Keeps the whole answer as the output of the attempt, because its result is only what `output` takes from it.
async fn kept(attempt: &Attempt<'_>, answer: Bytes) {
    let bytes = answer.len() as u64;
    let mut output = Output::begin(attempt.means.ports.outputs.clone(), attempt.dispatch.attempt, attempt.means.settings.blocking);
    output.append(OutputStream::Stdout, 0, answer).await;
    output.note_printed([bytes, 0]).await;
    output.finish().await;
}

/// The pieces of a body. In the usual case of a single piece, nothing is copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    rest: BytesMut,
    bytes: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&self.first);
            }
            self.rest.extend_from_slice(&piece);
        }
    }

    fn joined(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Assembles the result. JSON is inserted byte for byte; it must be one document by itself, and not deeper
/// than the whole may be.
///
/// The values of keys are masked in it, because a server may return what it was sent.
fn result(status: StatusCode, headers: &HeaderMap, body: Bytes, masks: Option<&Masks>) -> Bytes {
    if body.is_empty() {
        return written(status, headers, "null", masks);
    }
    let body = match masks {
        Some(masks) => Bytes::from(masks.whole(&body)),
        None => body,
    };
    if is_json(headers)
        && let Ok(document) = Document::parse(body.clone())
    {
        let whole = written(status, headers, document.root().raw(), masks);
        if opens_few(&body) || Document::parse(whole.clone()).is_ok() {
            return whole;
        }
    }
    written(status, headers, &json_text(&String::from_utf8_lossy(&body)), masks)
}

fn written(status: StatusCode, headers: &HeaderMap, body: &str, masks: Option<&Masks>) -> Bytes {
    let masked = |text: String| match masks {
        Some(masks) => masks.text(&text),
        None => text,
    };
    let mut named = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        named.insert(masked(name.as_str().to_owned()), Value::from(masked(values.join(", "))));
    }
    let headers = Value::Object(named);
    format!(r#"{{"status":{},"headers":{headers},"body":{body}}}"#, status.as_u16()).into()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json") || kind == "text/json"
}

/// Returns true if a document opens so few lists and objects that it cannot be too deep with one more level
/// around it.
fn opens_few(body: &[u8]) -> bool {
    body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() < ensue_expression::JSON_DEPTH_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &'static str, body: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        let result = result(StatusCode::OK, &headers, Bytes::copy_from_slice(body.as_bytes()), None);
        let document = Document::parse(result).unwrap();
        document.root().get("body").unwrap().raw().to_owned()
    }

    #[test]
    fn json_answer_is_kept_byte_for_byte() {
        assert_eq!(shown("application/json; charset=utf-8", r#" {"n": 1.0} "#), r#"{"n": 1.0}"#);
        assert_eq!(shown("application/problem+json", "[1]"), "[1]");
    }

    #[test]
    fn answer_that_is_not_one_json_document_is_text() {
        assert_eq!(shown("application/json", r#"1,"status":2"#), r#""1,\"status\":2""#);
        assert_eq!(shown("application/json", "{oops"), r#""{oops""#);
        assert_eq!(shown("text/plain", "[1]"), r#""[1]""#);
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert_eq!(shown("application/json", &deep), format!("\"{deep}\""));
    }

    #[test]
    fn empty_answer_is_null() {
        assert_eq!(shown("application/json", ""), "null");
    }

    #[test]
    fn headers_with_the_same_name_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("a", "1".parse().unwrap());
        headers.append("a", "2".parse().unwrap());
        assert_eq!(written(StatusCode::OK, &headers, "null", None), r#"{"status":200,"headers":{"a":"1, 2"},"body":null}"#);
    }
}

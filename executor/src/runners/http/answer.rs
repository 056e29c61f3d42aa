//! The answer: read up to a limit, and converted to a result.
//!
//! This module does not follow redirects.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use ensue_engine::catalog::{AnswerForm, TextDecoding};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ports::OutputStream;
use ensue_engine::record::Body;
use ensue_expression::Document;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::request::Request;
use super::{HTTP_ANSWER_BYTES_MAX, artifact, broken_off, is_failure, retry_after};
use crate::answer_body::{AnswerBody, BodyKind, UnreadableBody, is_compressed, join_values};
use crate::attempt::{AttemptContext, AttemptError, AttemptFailure, AttemptResult, Ending, attempt_failure};
use crate::mapped_result;
use crate::masks::Masks;
use crate::output::Output;
use crate::result::{fitting, json_text};
use crate::settings::SHORT_ANSWER_BYTES;
use crate::web::{AnsweredBody, HttpAnswer};

/// Reads an answer to its end. The result is `{ status, headers, body }`; the result of a failure is kept
/// with it.
pub(super) async fn read_answer(attempt: &AttemptContext<'_>, request: &Request, answer: HttpAnswer) -> Ending {
    let HttpAnswer { status, headers, body: coming } = answer;
    let masks = attempt.keys.masks();
    let head = AnswerHead { status, headers: &headers, masks: masks.as_deref() };
    let mut place = LongAnswerSlot::new(attempt);
    let received = receive(request, &head, coming, &mut place).await;
    if is_failure(status) {
        // The status is the failure, whatever becomes of the body.
        let result = match received {
            Ok(sent) => {
                let body = decompress(attempt, &headers, sent.clone(), &mut place).await?;
                let body = body.unwrap_or_else(|_| AnswerBody::opaque(sent));
                head.read_body_of_failure(&body, request.answer_form(), request.text_decoding())
            }
            Err(_) => head.assemble("null"),
        };
        let reason = status.canonical_reason().unwrap_or_default();
        let message = format!("{} answered {} {reason}", request.server(), status.as_u16());
        return Err(AttemptError::Failed(Box::new(AttemptFailure {
            failure: Failure::new(FailureKind::HttpStatus, message.trim_end()).with_detail(status.as_u16().into()),
            body: Some(Body::json(result)),
            retry_after: retry_after::of(&headers, attempt.now()),
        })));
    }
    let body = decompress(attempt, &headers, received?, &mut place).await?.map_err(|error| head.unreadable(request, &error))?;
    let document = read_result(attempt, request, &head, &body).await?;
    if attempt.action.result.is_none() && attempt.action.output.is_none() {
        return Ok(AttemptResult::result(Body::json(document)));
    }
    match (Document::parse(document), &attempt.action.output) {
        (Ok(document), Some(output)) => {
            keep_output(attempt, document.bytes().clone()).await;
            mapped_result::result(attempt, output, &document).await
        }
        (Ok(document), None) => fitting(&attempt.action, &document).map(AttemptResult::result),
        (Err(error), _) => Err(attempt_failure(FailureKind::ResultInvalid, format!("the answer is not a valid result: {error}"))),
    }
}

/// Waits for the whole body.
async fn receive(
    request: &Request,
    head: &AnswerHead<'_>,
    mut coming: Box<dyn AnsweredBody>,
    place: &mut LongAnswerSlot,
) -> Result<Bytes, AttemptError> {
    let mut body = Pieces::default();
    while let Some(piece) = coming.piece().await.map_err(|error| broken_off(request, &error))? {
        if body.bytes + piece.len() > HTTP_ANSWER_BYTES_MAX {
            let message = format!("{} answered with more than {HTTP_ANSWER_BYTES_MAX} bytes", request.server());
            return Err(head.without_body(Failure::new(FailureKind::OutputLimit, message)));
        }
        if body.bytes + piece.len() > SHORT_ANSWER_BYTES {
            place.take().await;
        }
        body.push(piece);
    }
    Ok(body.join())
}

/// Removes the compression of a body. A short one may become as long as any, so it takes a place before.
async fn decompress(
    attempt: &AttemptContext<'_>,
    headers: &HeaderMap,
    body: Bytes,
    place: &mut LongAnswerSlot,
) -> Result<Result<AnswerBody, UnreadableBody>, AttemptError> {
    if body.is_empty() || !is_compressed(headers) {
        return Ok(AnswerBody::decompress(headers, body, HTTP_ANSWER_BYTES_MAX));
    }
    place.take().await;
    // The work continues if the attempt is cut off, and keeps the place until it ends.
    let (headers, permit) = (headers.clone(), place.permit.take());
    let work = move || (AnswerBody::decompress(&headers, body, HTTP_ANSWER_BYTES_MAX), permit);
    let (body, permit) = attempt.do_blocking(work).await?;
    place.permit = permit;
    Ok(body)
}

/// Assembles the result of an answer that is not a failure.
async fn read_result(
    attempt: &AttemptContext<'_>,
    request: &Request,
    head: &AnswerHead<'_>,
    body: &AnswerBody,
) -> Result<Bytes, AttemptError> {
    if body.is_empty() {
        return Ok(head.assemble("null"));
    }
    let form = request.answer_form().unwrap_or_else(|| form_of(body.kind()));
    if form == AnswerForm::Artifact {
        let artifact = artifact::store(attempt, request, head, body).await?;
        return Ok(head.assemble(&artifact.to_string()));
    }
    head.read_body(body, form, request.text_decoding()).map_err(|error| head.unreadable(request, &error))
}

/// Returns what a body becomes if its author does not say so: it depends on the type alone, and on no byte of the body.
fn form_of(kind: BodyKind) -> AnswerForm {
    match kind {
        BodyKind::Json => AnswerForm::Json,
        BodyKind::Text => AnswerForm::Text,
        BodyKind::Binary => AnswerForm::Artifact,
    }
}

/// Keeps the whole answer as the output of the attempt, because its result is only what `output` takes from it.
async fn keep_output(attempt: &AttemptContext<'_>, answer: Bytes) {
    let bytes = answer.len() as u64;
    let mut output = Output::begin(attempt.means.ports.outputs.clone(), attempt.dispatch.attempt, attempt.means.settings.blocking);
    output.append(OutputStream::Stdout, 0, answer).await;
    output.note_printed([bytes, 0]).await;
    output.finish().await;
}

/// The place of an answer among the long ones, which it takes when it turns out to be long. It is held until the result is
/// complete: until then, the answer is in memory several times.
struct LongAnswerSlot {
    all: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl LongAnswerSlot {
    fn new(attempt: &AttemptContext<'_>) -> Self {
        Self { all: Arc::clone(&attempt.means.long_answers), permit: None }
    }

    /// Waits for a place, unless the answer has one.
    async fn take(&mut self) {
        if self.permit.is_none() {
            // The semaphore is never closed. No answer waits for a second place, so nobody waits in a circle.
            self.permit = Arc::clone(&self.all).acquire_owned().await.ok();
        }
    }
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

    fn join(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// What is known of an answer before its body.
pub(super) struct AnswerHead<'a> {
    status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// The values of keys are masked in the result, because a server may return what it was sent.
    pub(super) masks: Option<&'a Masks>,
}

impl AnswerHead<'_> {
    /// Returns the result with a body, which is JSON.
    fn assemble(&self, body: &str) -> Bytes {
        let mut named = Map::new();
        for name in self.headers.keys() {
            named.insert(self.mask(name.as_str()), Value::from(self.mask(&join_values(self.headers, name))));
        }
        let headers = Value::Object(named);
        format!(r#"{{"status":{},"headers":{headers},"body":{body}}}"#, self.status.as_u16()).into()
    }

    /// Returns the result with a body as JSON, text or Base64. JSON is inserted byte for byte; it must be one document by
    /// itself, and not deeper than the whole may be.
    fn read_body(&self, body: &AnswerBody, form: AnswerForm, decoding: &TextDecoding) -> Result<Bytes, UnreadableBody> {
        match form {
            AnswerForm::Json => {
                let document = body.json(decoding, self.masks)?;
                let whole = self.assemble(document.root().raw());
                if !opens_few(document.bytes()) {
                    Document::parse(whole.clone())?;
                }
                Ok(whole)
            }
            AnswerForm::Text => Ok(self.assemble(&json_text(&body.text(decoding, self.masks)?))),
            AnswerForm::Base64 | AnswerForm::Artifact => Ok(self.assemble(&json_text(&base64(&body.bytes(self.masks))))),
        }
    }

    /// Returns the result of a failure, with its body as well as it can be read: in the form of other answers, or as
    /// text, or as an object with its bytes in `base64`. No artifact is made of it.
    fn read_body_of_failure(&self, body: &AnswerBody, form: Option<AnswerForm>, decoding: &TextDecoding) -> Bytes {
        if body.is_empty() {
            return self.assemble("null");
        }
        let form = form.filter(|form| *form != AnswerForm::Artifact).unwrap_or_else(|| form_of(body.kind()));
        let read = if form == AnswerForm::Artifact { None } else { self.read_body(body, form, decoding).ok() };
        read.or_else(|| self.read_body(body, AnswerForm::Text, decoding).ok().filter(|_| body.kind() != BodyKind::Binary))
            .unwrap_or_else(|| self.assemble(&json!({ "base64": base64(&body.bytes(self.masks)) }).to_string()))
    }

    /// Returns the failure of an answer whose body cannot be read.
    pub(super) fn unreadable(&self, request: &Request, error: &UnreadableBody) -> AttemptError {
        let message = format!("{} answered {}, but {error}", request.server(), self.status.as_u16());
        let (kind, hint) = match error {
            UnreadableBody::TooLarge(_) => (FailureKind::OutputLimit, ""),
            UnreadableBody::NotText(_) => (
                FailureKind::AnswerUnreadable,
                "; name its charset with `charset`, or write `invalid: replace`, `parse: base64` or `parse: artifact`",
            ),
            UnreadableBody::NotJson(_) => (
                FailureKind::AnswerUnreadable,
                "; for its text, write `parse: text`; `invalid: replace` accepts invalid characters and duplicate keys",
            ),
            UnreadableBody::Compressed(_) | UnreadableBody::Masked => (FailureKind::AnswerUnreadable, ""),
        };
        self.without_body(Failure::new(kind, message + hint))
    }

    /// Returns a failure that keeps everything but the body.
    pub(super) fn without_body(&self, failure: Failure) -> AttemptError {
        AttemptError::with_body(failure, Some(Body::json(self.assemble("null"))))
    }

    /// Masks the values of keys in a text.
    pub(super) fn mask(&self, text: &str) -> String {
        self.masks.map_or_else(|| text.to_owned(), |masks| masks.text(text))
    }
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Returns true if a document opens so few lists and objects that it cannot be too deep with one more level
/// around it.
fn opens_few(body: &[u8]) -> bool {
    body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() < ensue_expression::JSON_DEPTH_MAX
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};

    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())])
    }

    fn body_of(result: Bytes) -> String {
        Document::parse(result).unwrap().root().get("body").unwrap().raw().to_owned()
    }

    fn read(kind: &str, body: &[u8]) -> Result<String, UnreadableBody> {
        let headers = headers(kind);
        let head = AnswerHead { status: StatusCode::OK, headers: &headers, masks: None };
        let body = AnswerBody::decompress(&headers, Bytes::copy_from_slice(body), 1 << 20)?;
        head.read_body(&body, form_of(body.kind()), &TextDecoding::default()).map(body_of)
    }

    /// Returns the body that is kept of a failed answer.
    fn body_of_failure(headers: &HeaderMap, body: &[u8], form: Option<AnswerForm>) -> String {
        let head = AnswerHead { status: StatusCode::BAD_GATEWAY, headers, masks: None };
        let sent = Bytes::copy_from_slice(body);
        let body = AnswerBody::decompress(headers, sent.clone(), 1 << 20).unwrap_or_else(|_| AnswerBody::opaque(sent));
        body_of(head.read_body_of_failure(&body, form, &TextDecoding::default()))
    }

    #[test]
    fn json_answer_is_kept_byte_for_byte() {
        assert_eq!(read("application/json; charset=utf-8", br#" {"n": 1.0} "#).unwrap(), r#"{"n": 1.0}"#);
        assert_eq!(read("application/problem+json", b"[1]").unwrap(), "[1]");
    }

    #[test]
    fn answer_of_a_type_of_json_is_never_text() {
        for body in [b"{}".as_slice(), b"{\"a\": 1}x", b"{\"a\": 1, \"a\": 2}", b"{\"a\": \"\\ud83d\"}", b"{\"a\": \"\xe9\"}"] {
            match read("application/json", body) {
                Ok(read) => assert_eq!(read, "{}"),
                Err(error) => assert!(matches!(error, UnreadableBody::NotJson(_) | UnreadableBody::NotText(_)), "{error}"),
            }
        }
        assert_eq!(read("text/plain", b"{}").unwrap(), r#""{}""#);
    }

    #[test]
    fn json_answer_that_is_too_deep_for_a_result_is_not_read() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let max = ensue_expression::JSON_DEPTH_MAX;
        assert!(read("application/json", nested(max - 1).as_bytes()).is_ok());
        assert!(matches!(read("application/json", nested(max).as_bytes()), Err(UnreadableBody::NotJson(_))));
    }

    #[test]
    fn body_of_a_failure_is_kept_as_well_as_it_can_be_read() {
        let kept = |kind: &str, body: &[u8], form| body_of_failure(&headers(kind), body, form);
        assert_eq!(kept("application/json", b"{\"why\": 1}", None), r#"{"why": 1}"#);
        assert_eq!(kept("application/json", b"<html>", None), r#""<html>""#);
        assert_eq!(kept("application/json", b"caf\xe9", None), r#"{"base64":"Y2Fm6Q=="}"#);
        assert_eq!(kept("text/plain; charset=latin1", b"caf\xe9", Some(AnswerForm::Json)), r#""café""#);
        assert_eq!(kept("image/png", b"\x89PNG", None), r#"{"base64":"iVBORw=="}"#);
        assert_eq!(kept("image/png", b"PNG", Some(AnswerForm::Artifact)), r#"{"base64":"UE5H"}"#);
        assert_eq!(kept("image/png", b"PNG", Some(AnswerForm::Base64)), r#""UE5H""#);
        assert_eq!(kept("text/plain", b"", None), "null");
        let mut packed = headers("text/plain");
        packed.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(body_of_failure(&packed, b"abc", None), r#"{"base64":"YWJj"}"#, "it is not gzip");
    }

    #[test]
    fn headers_with_the_same_name_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("a", "1".parse().unwrap());
        headers.append("a", "2".parse().unwrap());
        let head = AnswerHead { status: StatusCode::OK, headers: &headers, masks: None };
        assert_eq!(head.assemble("null"), r#"{"status":200,"headers":{"a":"1, 2"},"body":null}"#);
    }
}

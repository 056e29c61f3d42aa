//! Answers that are neither JSON nor text: their bytes become an artifact of the attempt, and the result names it.

use std::sync::Arc;

use ensue_content::{decode_part, parameters};
use ensue_engine::catalog::Invalid;
use ensue_engine::command::{Message, MessageContent, Refusal, SaidArtifact};
use ensue_engine::executions::artifacts::{ARTIFACT_NAME_BYTES_MAX, ArtifactName, MediaType};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ports::BlobError;
use percent_encoding::percent_decode_str;
use reqwest::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};

use super::answer::AnswerHead;
use super::request::Request;
use crate::answer_body::{AnswerBody, header_text};
use crate::attempt::{AttemptContext, AttemptError, Cut};
use crate::report::LogAnswer;

/// The name of an artifact that neither the server nor the URL names.
const NAME_DEFAULT: &str = "body";

/// What an author can do if the bytes of an answer cannot be an artifact.
const OTHER_FORMS: &str = "; to have them in the result, write `parse: json`, `parse: text` or `parse: base64`";

/// The index of the only message that an attempt with a request sends.
const INDEX: u32 = 0;

/// Stores the bytes of a body as an artifact of the attempt. Returns what the result says of it.
pub(super) async fn store(
    attempt: &AttemptContext<'_>,
    request: &Request,
    head: &AnswerHead<'_>,
    body: &AnswerBody,
) -> Result<Value, AttemptError> {
    let bytes = body.bytes(head.masks);
    let refused = |kind, why: &str| {
        let message = format!("{} answered with bytes that cannot be kept as an artifact: {why}{OTHER_FORMS}", request.server());
        head.without_body(Failure::new(kind, message))
    };
    let limit = attempt.means.settings.artifact_bytes_max;
    if bytes.len() as u64 > limit {
        let why = format!("they are {} bytes; the limit is {limit} (`artifacts.file_max`)", bytes.len());
        return Err(refused(FailureKind::OutputLimit, &why));
    }
    let blobs = Arc::clone(&attempt.means.ports.blobs);
    let stored = attempt.do_blocking(move || {
        let mut blob = blobs.begin()?;
        blob.write(&bytes)?;
        blob.keep()
    });
    // A full disk may have room later, and a store may work again.
    let blob = stored.await?.map_err(|error: BlobError| refused(FailureKind::Sandbox, &error.to_string()))?;
    let name = name_of(request, head);
    let media_type: Option<MediaType> = body.essence().parse().ok();
    let said = SaidArtifact { name: name.clone(), media_type: media_type.clone(), blob: blob.digest, bytes: blob.bytes };
    let message = Message {
        execution: attempt.dispatch.execution,
        attempt: attempt.dispatch.attempt,
        token: attempt.dispatch.token,
        index: INDEX,
        said: MessageContent::Artifact(said),
    };
    match attempt.means.reporter.say(message, attempt.dispatch.trace.clone()).await {
        LogAnswer::Taken(_) => Ok(json!({ "artifact": name, "bytes": blob.bytes, "media_type": media_type })),
        LogAnswer::Left => Err(Cut::Left.into()),
        LogAnswer::Refused(Refusal::NotOpen(_) | Refusal::NotRunning(_) | Refusal::WrongToken { .. }) => Err(Cut::Released.into()),
        LogAnswer::Refused(refusal) => Err(refused(FailureKind::Sandbox, &refusal.to_string())),
    }
}

/// Returns the name of the file, as the server gives it, or else as the URL ends.
fn name_of(request: &Request, head: &AnswerHead<'_>) -> ArtifactName {
    let given = head.headers.get(CONTENT_DISPOSITION).and_then(|disposition| file_name(&header_text(disposition)));
    [given, request.file_name()]
        .into_iter()
        .flatten()
        .find_map(|name| plain(&head.mask(&name)))
        .unwrap_or_else(|| NAME_DEFAULT.parse().expect("it is the name of a file"))
}

/// Returns the name in a `Content-Disposition` (RFC 6266): `filename*`, which has its own charset, or `filename`.
fn file_name(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once(';')?;
    let given = |name: &str| parameters(rest).find(|(given, _)| given == name).map(|(_, value)| value);
    let extended = given("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let bytes: Vec<u8> = percent_decode_str(encoded).collect();
        decode_part(&bytes, Some(charset), Invalid::Reject).ok()
    });
    extended.or_else(|| given("filename"))
}

/// Returns a name without folders and without what a name of an artifact cannot contain; `None` if nothing is left.
fn plain(given: &str) -> Option<ArtifactName> {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let kept: String = last.chars().filter(|character| ArtifactName::may_contain(*character)).collect();
    let end = kept.floor_char_boundary(ARTIFACT_NAME_BYTES_MAX);
    kept[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_named_by_its_server() {
        for (disposition, name) in [
            ("attachment; filename=report.pdf", Some("report.pdf")),
            ("attachment; filename=\"a \\\"b\\\"; c.pdf\"; size=1", Some("a \"b\"; c.pdf")),
            ("attachment; filename=\"fallback.pdf\"; filename*=UTF-8''%e2%82%ac%20rates.pdf", Some("€ rates.pdf")),
            ("attachment; FileName*=iso-8859-1'en'caf%e9.txt", Some("café.txt")),
            ("attachment; filename*=UTF-8''%ff; filename=\"other.bin\"", Some("other.bin")),
            ("inline", None),
            ("attachment; filename=\"open", Some("open")),
            ("attachment; filename=\"C:\\temp\\a.txt\"", Some("C:\\temp\\a.txt")),
            ("", None),
        ] {
            assert_eq!(file_name(disposition).as_deref(), name, "{disposition}");
        }
    }

    #[test]
    fn name_of_a_file_has_no_folder() {
        let plain = |given: &str| plain(given).map(|name| name.as_str().to_owned());
        for (given, name) in [
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\a.txt", Some("a.txt")),
            ("a\u{7}b", Some("ab")),
            ("report\u{202e}fdp.exe", Some("reportfdp.exe")),
            ("a\u{2028}b\u{200f}.txt", Some("ab.txt")),
            ("\u{2066}\u{2069}", None),
            ("..", None),
            ("x/", None),
            ("", None),
        ] {
            assert_eq!(plain(given).as_deref(), name, "{given:?}");
        }
        assert_eq!(plain(&"é".repeat(200)).unwrap().len(), 254);
    }
}

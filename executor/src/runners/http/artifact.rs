//! Answers that are neither JSON nor text: their bytes become an artifact of the attempt, and the result names it.

use std::sync::Arc;

use ensue_engine::catalog::Invalid;
use ensue_engine::command::{Message, Refusal, Said, SaidArtifact};
use ensue_engine::executions::artifacts::{ARTIFACT_NAME_BYTES_MAX, ArtifactName, MediaType};
use ensue_engine::executions::facts::{Failure, FailureKind};
use percent_encoding::percent_decode_str;
use reqwest::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};

use super::answer::AnswerHead;
use super::request::Request;
use crate::answers::{AnswerBody, joined};
use crate::attempt::{Attempt, Broken, Cut};
use crate::report::Heard;

/// The name of an artifact that neither the server nor the URL names.
const NAME_DEFAULT: &str = "body";

/// The index of the only message that an attempt with a request sends.
const INDEX: u32 = 0;

/// Stores the bytes of a body as an artifact of the attempt. Returns what the result says of it.
pub(super) async fn store(attempt: &Attempt<'_>, request: &Request, head: &AnswerHead<'_>, body: &AnswerBody) -> Result<Value, Broken> {
    let bytes = body.bytes(head.masks);
    let refused = |why: &str| {
        let message = format!("{} answered with bytes that cannot be kept as an artifact: {why}", request.server());
        head.without_body(Failure::new(FailureKind::OutputLimit, message))
    };
    let limit = attempt.means.settings.artifact_bytes_max;
    if bytes.len() as u64 > limit {
        return Err(refused(&format!("they are {} bytes; the limit is {limit} (`artifacts.file_max`)", bytes.len())));
    }
    let blobs = Arc::clone(&attempt.means.ports.blobs);
    let stored = attempt.means.settings.blocking.done(move || {
        let mut blob = blobs.begin()?;
        blob.write(&bytes)?;
        blob.keep()
    });
    let blob = match stored.await {
        Some(Ok(blob)) => blob,
        Some(Err(error)) => return Err(refused(&error.to_string())),
        None => return Err(refused("storing them was interrupted")),
    };
    let name = name_of(request, head);
    let media_type: Option<MediaType> = body.essence().parse().ok();
    let said = SaidArtifact { name: name.clone(), media_type: media_type.clone(), blob: blob.digest, bytes: blob.bytes };
    let message = Message {
        execution: attempt.dispatch.execution,
        attempt: attempt.dispatch.attempt,
        token: attempt.dispatch.token,
        index: INDEX,
        said: Said::Artifact(said),
    };
    match attempt.means.reporter.say(message, attempt.dispatch.trace.clone()).await {
        Heard::Taken(_) => Ok(json!({ "artifact": name, "bytes": blob.bytes, "media_type": media_type })),
        Heard::Left => Err(Cut::Left.into()),
        Heard::Refused(Refusal::NotOpen(_) | Refusal::NotRunning(_) | Refusal::WrongToken { .. }) => Err(Cut::Released.into()),
        Heard::Refused(refusal) => Err(refused(&refusal.to_string())),
    }
}

/// Returns the name of the file, as the server gives it, or else as the URL ends.
fn name_of(request: &Request, head: &AnswerHead<'_>) -> ArtifactName {
    let disposition = head.headers.get(CONTENT_DISPOSITION).map(|_| joined(head.headers, &CONTENT_DISPOSITION));
    let given = disposition.and_then(|disposition| file_name(&disposition)).or_else(|| request.file_name());
    let given = given.map(|name| head.masks.map_or_else(|| name.clone(), |masks| masks.text(&name)));
    given.and_then(|name| plain(&name)).unwrap_or_else(|| NAME_DEFAULT.parse().expect("it is the name of a file"))
}

/// Returns the name in a `Content-Disposition` (RFC 6266): `filename*`, which has its own charset, or `filename`.
fn file_name(disposition: &str) -> Option<String> {
    let given = |name: &str| parameters(disposition).find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let extended = given("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let bytes: Vec<u8> = percent_decode_str(encoded).collect();
        let text = ensue_content::decode(&bytes.into(), Some(charset), Invalid::Reject).ok()?;
        String::from_utf8(text.to_vec()).ok()
    });
    extended.or_else(|| given("filename"))
}

/// Returns the parameters of a header: `name=value`, or `name="a quoted \"value\""`.
fn parameters(header: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(';')?;
        let (name, after) = after.split_once('=')?;
        let (value, end) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        rest = end;
        Some((name.trim(), value))
    })
}

/// Reads a quoted value up to its closing quote. Returns it and what follows.
fn quoted_value(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// Returns a name without folders and without what a name of an artifact cannot contain; `None` if nothing is left.
fn plain(given: &str) -> Option<ArtifactName> {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let kept: String = last.chars().filter(|character| !character.is_control()).collect();
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
            ("..", None),
            ("x/", None),
            ("", None),
        ] {
            assert_eq!(plain(given).as_deref(), name, "{given:?}");
        }
        assert_eq!(plain(&"é".repeat(200)).unwrap().len(), 254);
    }
}

//! The files that an execution's attempts published: list them, and download each one unchanged.
//!
//! A program created the file, and it may be an attack: it is always served as an attachment, never as a page,
//! and nothing is looked up by its name. Ranges follow RFC 9110, one range at a time.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{ArtifactId, ExecutionId};
use ensue_engine::ports::BlobError;
use ensue_engine::record::Digest;
use ensue_views::store::Filter;
use ensue_views::{Artifact, Column, Execution};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Routes;
use crate::api::Api;
use crate::auth::{AllowedCaller, Proof as _};
use crate::call::Call;
use crate::listing::{self, SortQuery};
use crate::operation::{Content, Header, HonoredHeader, Operation};
use crate::paging::PageQuery;
use crate::permissions::{ArtifactsRead, ExecutionsRead, Permission as _};
use crate::problem::{Missing, Outcome, Problem};
use crate::queues::QueueName;
use crate::respond;
use crate::rows::read_row;
use crate::sizes::{CHUNK_BYTES_MAX, CHUNKS_WAITING_MAX};
use crate::tags;
use crate::wire::artifacts::{FileState, WireArtifact};

/// A sandbox without scripts, forms and an origin: even if a browser displays the file after all, the file can
/// do nothing.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");

/// The media type of a file if its program did not set one.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// A file that is no longer stored.
#[derive(Debug, Error, Explain)]
#[error("the file `{0}` was deleted because it was old or to free space")]
#[explain(slug = "artifact-removed", fault = Missing,
    hint = "run the action again to create it; `artifacts.keep_days` and `artifacts.quota` limit how long and how much is kept")]
struct ArtifactRemoved(String);

/// Too many files are being sent at once.
#[derive(Debug, Error, Explain)]
#[error("too many files and outputs are being sent")]
#[explain(slug = "busy", fault = Busy, hint = "try again in a second, when another transfer has ended")]
struct TooManySent;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ArtifactsRead>(
        "/executions/{id}/artifacts",
        list,
        Operation::lists::<WireArtifact>(
            "artifact_list",
            "Lists the files that an execution's attempts created as artifacts, newest first",
            &[SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<ArtifactsRead>(
        "/executions/{id}/artifacts/{artifact}",
        get,
        Operation::new("artifact_get", "Returns a file, or a part of it")
            .honors(&[HonoredHeader::Range, HonoredHeader::IfRange, HonoredHeader::IfNoneMatch])
            .gives_content(200, "The file.", Content::File, &[Header::ETag, Header::ContentDisposition])
            .gives_content(206, "A part of the file.", Content::File, &[Header::ETag, Header::ContentDisposition, Header::ContentRange])
            .gives_content(304, "The caller has the current version.", Content::Nothing, &[Header::ETag, Header::ContentDisposition])
            .refuses(&[(410, "artifact_removed"), (416, "range_not_satisfiable"), (503, "artifact_unavailable")])
            .sees_views(),
    );
}

/// Lists an execution's artifacts, newest first.
pub(super) async fn list(allowed: AllowedCaller<ArtifactsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    let filters = vec![Filter::is(Column::Execution, id.to_string())];
    let listed = listing::rows::<Artifact, _>(&call, &allowed, filters).await?;
    let items = call
        .api()
        .threads
        .blocking(move |ports| {
            let shown = |artifact: Artifact| {
                let number = execution.attempts.iter().find(|attempt| attempt.id == artifact.attempt).map(|attempt| attempt.number);
                let state = ports.blobs.read(&artifact.blob, 0, 0)?.map_or(FileState::Removed, |_| FileState::Kept);
                Ok(WireArtifact::new(artifact, number, state))
            };
            listed.items.into_iter().map(shown).collect::<Result<Vec<_>, Problem>>().map(|items| (items, listed.next, listed.page))
        })
        .await?;
    let (items, next, page) = items?;
    call.answer_page(items, next.as_deref(), &page)
}

/// Returns a file.
pub(super) async fn get(allowed: AllowedCaller<ArtifactsRead>, call: Call) -> Outcome {
    let execution: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let id: ArtifactId = call.parse_part("artifact", ArtifactsRead::THING)?;
    if allowed.is_limited() {
        let _: Execution = call.api().row(execution.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    }
    let found = call.api().threads.blocking(move |ports| read_row::<Artifact>(ports, &id.to_string())).await??;
    // An artifact of another execution counts as missing: a caller that names it may not know of it.
    let artifact =
        found.filter(|artifact| artifact.execution == execution).ok_or_else(|| Missing::new(ArtifactsRead::THING, &id.to_string()))?;
    let blob = artifact.blob;
    let size = call.api().threads.blocking(move |ports| ports.blobs.read(&blob, 0, 0)).await??.map(|part| part.size);
    let size = size.ok_or_else(|| ArtifactRemoved(artifact.name.to_string()))?;
    if size != artifact.bytes {
        return Err(BlobError::Store(format!("{blob} has {size} bytes, but {} are stored", artifact.bytes)).into());
    }
    let tag = format!("\"{blob}\"");
    if tags::known_as(call.headers().get_all(header::IF_NONE_MATCH).iter(), &tag).is_some() {
        return Ok(answer(StatusCode::NOT_MODIFIED, Body::empty(), &artifact, &tag));
    }
    match parse_range(call.headers(), size, &tag) {
        RequestedRange::Nothing => Err(Problem::range_not_satisfiable(size)),
        RequestedRange::Part { first, last } => {
            let body = stream_piece(call.api(), blob, Piece { first, after: last + 1, size })?;
            let mut response = answer(StatusCode::PARTIAL_CONTENT, body, &artifact, &tag);
            set(&mut response, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            set(&mut response, header::CONTENT_LENGTH, &(last + 1 - first).to_string());
            Ok(response)
        }
        RequestedRange::Whole => {
            let body = stream_piece(call.api(), blob, Piece { first: 0, after: size, size })?;
            let mut response = answer(StatusCode::OK, body, &artifact, &tag);
            set(&mut response, header::CONTENT_LENGTH, &size.to_string());
            Ok(response)
        }
    }
}

fn answer(status: StatusCode, body: Body, artifact: &Artifact, tag: &str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    let media_type = artifact.media_type.as_ref().map_or(UNKNOWN_MEDIA_TYPE, |media_type| media_type.as_str());
    set(&mut response, header::CONTENT_TYPE, media_type);
    set(&mut response, header::CONTENT_DISPOSITION, &disposition(artifact.name.as_str()));
    set(&mut response, header::ETAG, tag);
    response
}

/// Sets a header to a value that contains only characters allowed in headers.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns the `Content-Disposition` value for saving the file under its name (RFC 6266): the whole name as RFC
/// 8187 encodes it, preceded by its ASCII characters for clients that do not support that.
fn disposition(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    let mut whole = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => whole.push(char::from(byte)),
            other => whole.push_str(&format!("%{other:02X}")),
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

/// The part of a file that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestedRange {
    Whole,
    Part {
        first: u64,
        last: u64,
    },
    /// A range outside of the file.
    Nothing,
}

/// Parses `Range`. An invalid range, multiple ranges, and a range meant for another version of the file are
/// ignored.
fn parse_range(headers: &HeaderMap, size: u64, tag: &str) -> RequestedRange {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else { return RequestedRange::Whole };
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return RequestedRange::Whole;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match range.trim().split_once('-') {
        Some(("", last)) => match digits(last) {
            None => RequestedRange::Whole,
            Some(0) => RequestedRange::Nothing,
            Some(_) if size == 0 => RequestedRange::Nothing,
            Some(bytes) => RequestedRange::Part { first: size.saturating_sub(bytes), last: size - 1 },
        },
        Some((first, last)) => match (digits(first), if last.is_empty() { Some(u64::MAX) } else { digits(last) }) {
            (Some(first), Some(last)) if first > last => RequestedRange::Whole,
            (Some(first), Some(_)) if first >= size => RequestedRange::Nothing,
            (Some(first), Some(last)) => RequestedRange::Part { first, last: last.min(size - 1) },
            (None, _) | (_, None) => RequestedRange::Whole,
        },
        None => RequestedRange::Whole,
    }
}

/// A piece of a file.
#[derive(Clone, Copy)]
struct Piece {
    first: u64,
    after: u64,
    /// The size of the whole file in bytes.
    size: u64,
}

impl Piece {
    fn is_whole(&self) -> bool {
        self.first == 0 && self.after == self.size
    }
}

fn stream_piece(api: &std::sync::Arc<Api>, blob: Digest, piece: Piece) -> Result<Body, Problem> {
    let held = api.queue(QueueName::LiveOutputs).enter(1).ok_or(TooManySent)?;
    let (send, receive) = mpsc::channel(CHUNKS_WAITING_MAX);
    let api = api.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(why) = send_all(&api, blob, piece, &send) {
            tracing::error!(%blob, why, "an artifact could not be sent completely");
            // The caller must not mistake the part for the whole, so the connection is aborted.
            drop(send.blocking_send(Err(std::io::Error::other("the file could not be read completely"))));
        }
        drop(held);
    });
    Ok(respond::stream(ReceiverStream::new(receive), UNKNOWN_MEDIA_TYPE).into_body())
}

/// Sends a piece. The last chunk of a whole file is sent only after the whole file was verified against its
/// digest.
fn send_all(api: &Api, blob: Digest, piece: Piece, to: &mpsc::Sender<Result<Bytes, std::io::Error>>) -> Result<(), String> {
    let mut hasher = blake3::Hasher::new();
    let mut held: Option<Bytes> = None;
    let mut at = piece.first;
    while at < piece.after {
        let wanted = usize::try_from(piece.after - at).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        let part = api.ports.blobs.read(&blob, at, wanted).map_err(|error| error.to_string())?;
        let bytes = part.map(|part| part.bytes).filter(|bytes| !bytes.is_empty()).ok_or("it is gone, or shorter than before")?;
        at += bytes.len() as u64;
        hasher.update(&bytes);
        if let Some(before) = held.replace(bytes)
            && to.blocking_send(Ok(before)).is_err()
        {
            return Ok(());
        }
    }
    if piece.is_whole() && hasher.finalize().as_bytes() != blob.as_bytes() {
        return Err("it has changed: its bytes have another hash".to_owned());
    }
    if let Some(last) = held {
        let _ = to.blocking_send(Ok(last));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_cannot_break_the_header_or_the_download() {
        assert_eq!(disposition("report.csv"), "attachment; filename=\"report.csv\"; filename*=UTF-8''report.csv");
        assert_eq!(
            disposition("a\"; filename=x.exe"),
            "attachment; filename=\"a__ filename_x.exe\"; filename*=UTF-8''a%22%3B%20filename%3Dx.exe"
        );
        assert_eq!(disposition("Über\r\n.pdf"), "attachment; filename=\"_ber__.pdf\"; filename*=UTF-8''%C3%9Cber%0D%0A.pdf");
    }

    #[test]
    fn range_is_honored_only_if_it_is_one_part_within_the_file() {
        let with = |range: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            parse_range(&headers, 10, "\"t\"")
        };
        assert_eq!(with("bytes=0-3"), RequestedRange::Part { first: 0, last: 3 });
        assert_eq!(with("bytes=8-"), RequestedRange::Part { first: 8, last: 9 });
        assert_eq!(with("bytes=-3"), RequestedRange::Part { first: 7, last: 9 });
        assert_eq!(with("bytes=-300"), RequestedRange::Part { first: 0, last: 9 });
        assert_eq!(with("bytes=5-500"), RequestedRange::Part { first: 5, last: 9 });
        for beyond in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
            assert_eq!(with(beyond), RequestedRange::Nothing, "{beyond}");
        }
        for passed_over in ["bytes=3-1", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-", "bytes=+1-2"] {
            assert_eq!(with(passed_over), RequestedRange::Whole, "{passed_over}");
        }
    }

    #[test]
    fn range_for_another_tag_is_ignored() {
        let with = |tag: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-3"));
            headers.insert(header::IF_RANGE, HeaderValue::from_static(tag));
            parse_range(&headers, 10, "\"t\"")
        };
        assert_eq!(with("\"t\""), RequestedRange::Part { first: 0, last: 3 });
        assert_eq!((with("\"u\""), with("Sat, 28 Mar 2026 12:00:00 GMT")), (RequestedRange::Whole, RequestedRange::Whole));
    }
}

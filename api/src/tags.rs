//! Entity tags (RFC 9110 §8.8.3): a caller that already has an answer gets only a few bytes that say so.
//!
//! A tag is the hash of the answer, so it is strong: two answers with the same tag are identical, byte for
//! byte. Any change in the answer changes the tag.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::compression::plain_tag;
use crate::problem::{Outcome, Problem};

/// Returns the tag in a caller's `If-None-Match` that matches `tag`, with any coding.
pub(crate) fn known_as<'h>(known: impl Iterator<Item = &'h HeaderValue>, tag: &str) -> Option<String> {
    let known = known.filter_map(|value| value.to_str().ok());
    known.flat_map(|known| known.split(',')).find_map(|known| match known.trim() {
        "*" => Some(tag.to_owned()),
        known => {
            let known = known.trim_start_matches("W/");
            (plain_tag(known) == tag).then(|| known.to_owned())
        }
    })
}

/// Returns the tag of these bytes.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..TAG_DIGITS])
}

/// Adds a tag to an answer, or returns 304 to a caller that has the answer. Answers that are not JSON, or not
/// complete yet, are returned unchanged.
pub(crate) async fn tag_answer(response: Response<Body>, known: &[HeaderValue]) -> Outcome {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().ends_with(b"json"));
    let is_whole = response.body().size_hint().exact().is_some();
    if response.status() != StatusCode::OK || !is_json || !is_whole || headers.contains_key(header::ETAG) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|why| Problem::bug(&why))?.to_bytes();
    let tag = tag_of(&bytes);
    if let Some(known) = known_as(known.iter(), &tag) {
        return not_modified(&known);
    }
    parts.headers.insert(header::ETAG, value(&tag)?);
    parts.headers.entry(header::CACHE_CONTROL).or_insert(KEPT);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Answers a caller that has the answer with this tag.
pub(crate) fn not_modified(tag: &str) -> Outcome {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, value(tag)?);
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    // The same header as on the full answer (RFC 9110 §15.4.5).
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}

fn value(tag: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(tag).map_err(|why| Problem::bug(&why))
}

/// The caller can cache the answer, and revalidates it with its tag; nobody else can cache it.
const KEPT: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The number of hexadecimal digits of a tag: 128 bits of the hash, so that two answers do not have the same
/// tag by chance.
const TAG_DIGITS: usize = 32;

//! Entity tags (RFC 9110 §8.8.3): who has an answer already is told so, in a few bytes.
//!
//! A tag is the hash of what is answered, so it is a strong one: two answers of the same tag are the same, byte for byte. A change of
//! anything in them is a change of the tag.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::coding::plain_tag;
use crate::problem::{Outcome, Problem};

/// Gives the tag under which a caller has what a tag names, by its `If-None-Match`: that of any coding of it.
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

/// Gives the tag of what is answered in these bytes.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..TAG_DIGITS])
}

/// Gives an answer its tag, or 304 to a caller who has it. What is no JSON, or is not whole yet, goes on as it is.
pub(crate) async fn tagged(response: Response<Body>, known: &[HeaderValue]) -> Outcome {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().ends_with(b"json"));
    let is_whole = response.body().size_hint().exact().is_some();
    if response.status() != StatusCode::OK || !is_json || !is_whole || headers.contains_key(header::ETAG) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|why| Problem::bug(&why))?.to_bytes();
    let tag = tag_of(&bytes);
    let value = |tag: &str| HeaderValue::from_str(tag).map_err(|why| Problem::bug(&why));
    if let Some(known) = known_as(known.iter(), &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(header::ETAG, value(&known)?);
        response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
        // As the answer itself would have it (RFC 9110 §15.4.5).
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        return Ok(response);
    }
    parts.headers.insert(header::ETAG, value(&tag)?);
    parts.headers.entry(header::CACHE_CONTROL).or_insert(KEPT);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Who asked may keep the answer, and asks with its tag whether it still holds; nobody else may.
const KEPT: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The hexadecimal digits of a tag: 128 bits of the hash, so that nobody makes two answers of one tag by chance.
const TAG_DIGITS: usize = 32;

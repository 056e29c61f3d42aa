//! Compression of answers (`Accept-Encoding`, RFC 9110 §12.5.3): zstd, Brotli or gzip.
//!
//! Only complete text answers of reads are compressed. Answers to writes are not: they may hold a secret next
//! to the caller's own input. Streams are not either: each of their events must go out immediately.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::queues::Queue;
use crate::threads::Threads;

/// The minimum size in bytes of a compressed answer: less fits into one packet uncompressed.
const CODED_BYTES_MIN: u64 = 1024;
/// The maximum number of bytes that are compressed on the request's own thread. Larger answers are compressed
/// on a separate thread, a few at once.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;

/// A compression method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// All methods, best first.
    pub(crate) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Returns its place among all methods.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Zstd => 0,
            Self::Brotli => 1,
            Self::Gzip => 2,
        }
    }

    /// Returns its name in headers and tags.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the coding for a request's answer.
    pub(crate) fn negotiate(method: &Method, headers: &HeaderMap) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        let text: Vec<_> = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        let text = text.join(",").to_ascii_lowercase();
        let accepted: Vec<(&str, f32)> = text.split(',').map(parse_weight).collect();
        let weight = |name: &str| accepted.iter().find(|(known, _)| *known == name).map(|(_, weight)| *weight);
        let of_others = weight("*").unwrap_or(0.0);
        let mut best: Option<(Self, f32)> = None;
        for coding in Self::ALL {
            let weight = weight(coding.as_str()).unwrap_or(of_others);
            if weight > best.map_or(0.0, |(_, best)| best) {
                best = Some((coding, weight));
            }
        }
        best.filter(|(_, best)| weight("identity").is_none_or(|plain| plain <= *best)).map(|(coding, _)| coding)
    }

    fn encode(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Self::Brotli => {
                let params = brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, lgwin: BROTLI_WINDOW_BITS, ..Default::default() };
                let mut encoded = Vec::with_capacity(bytes.len() / 4);
                brotli::BrotliCompress(&mut &bytes[..], &mut encoded, &params)?;
                Ok(encoded)
            }
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

// Levels at which compressing takes less time than sending the saved bytes, with a few MiB of memory at most.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: i32 = 4;
const BROTLI_WINDOW_BITS: i32 = 18;
const GZIP_LEVEL: u32 = 5;

fn parse_weight(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
    (name, weight)
}

/// Compresses an answer, if it is eligible and its caller accepts that. Two codings of one answer have two
/// tags, as strong tags must.
///
/// `unwritten` is the queue of answers that are not written yet.
pub(crate) async fn compress_answer(
    threads: &Threads,
    unwritten: &Arc<Queue>,
    coding: Option<Coding>,
    response: Response<Body>,
) -> Response<Body> {
    let Some(size) = response.body().size_hint().exact().filter(|size| is_long_enough(*size)) else { return response };
    if !is_text(response.headers()) || response.status() == StatusCode::PARTIAL_CONTENT {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else { return Response::from_parts(parts, body) };
    // While it waits for its turn it takes up memory like any answer that is not written yet.
    let Some(_held) = unwritten.enter(size) else { return Response::from_parts(parts, body) };
    let Ok(whole) = body.collect().await else {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    let plain = whole.to_bytes();
    match compress(threads, coding, &plain).await {
        Some(encoded) => {
            name(&mut parts.headers, coding);
            Response::from_parts(parts, Body::from(encoded))
        }
        None => Response::from_parts(parts, Body::from(plain)),
    }
}

/// Reports whether an answer of this size in bytes is worth compressing.
pub(crate) const fn is_long_enough(size: u64) -> bool {
    size >= CODED_BYTES_MIN
}

/// Returns the compressed bytes, if there are fewer of them.
pub(crate) async fn compress(threads: &Threads, coding: Coding, plain: &Bytes) -> Option<Bytes> {
    let encoded = encode_body(threads, coding, plain.clone()).await?;
    (encoded.len() < plain.len()).then(|| encoded.into())
}

/// Marks the headers of an answer as those of its compressed form.
pub(crate) fn mark(headers: &mut HeaderMap, coding: Coding) {
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    name(headers, coding);
}

/// Names the compression of an answer. Two codings of one answer have two tags, as strong tags must.
fn name(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    if let Some(tag) = headers.get(header::ETAG).and_then(|tag| coded_tag(tag, coding)) {
        headers.insert(header::ETAG, tag);
    }
    headers.remove(header::CONTENT_LENGTH);
}

async fn encode_body(threads: &Threads, coding: Coding, plain: Bytes) -> Option<Vec<u8>> {
    let outcome =
        if plain.len() <= AT_ONCE_BYTES_MAX { coding.encode(&plain) } else { threads.coding(move || coding.encode(&plain)).await? };
    outcome
        .inspect_err(
            |error| tracing::warn!(%error, coding = coding.as_str(), "an answer could not be compressed and is sent without compression"),
        )
        .ok()
}

/// A constant answer, the same for every caller: it is compressed once with each method, not for each
/// request.
pub(crate) struct Constant {
    plain: Bytes,
    coded: [OnceLock<Bytes>; Coding::ALL.len()],
}

impl Constant {
    /// Creates it from the uncompressed bytes.
    pub(crate) const fn new(plain: Bytes) -> Self {
        Self { plain, coded: [const { OnceLock::new() }; Coding::ALL.len()] }
    }

    /// Returns an answer with it, compressed as a request wants; `content_type` is its media type.
    pub(crate) fn answer(&self, asked: &Parts, content_type: &'static str) -> Response<Body> {
        let coded = Coding::negotiate(&asked.method, &asked.headers).and_then(|coding| {
            let bytes = self.coded[coding.index()].get_or_init(|| coding.encode(&self.plain).map_or_else(|_| Bytes::new(), Bytes::from));
            // An empty value marks a failed compression.
            (!bytes.is_empty()).then(|| (coding, bytes.clone()))
        });
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        *response.body_mut() = match coded {
            Some((coding, bytes)) => {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
                Body::from(bytes)
            }
            None => Body::from(self.plain.clone()),
        };
        response
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    let is_text = essence.ends_with("json") || essence.starts_with("text/") || essence == "application/openmetrics-text";
    is_text && !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::CONTENT_DISPOSITION)
}

/// Returns the tag of an answer with a coding.
fn coded_tag(tag: &HeaderValue, coding: Coding) -> Option<HeaderValue> {
    let plain = tag.to_str().ok()?.strip_suffix('"')?;
    HeaderValue::from_str(&format!("{plain}-{}\"", coding.as_str())).ok()
}

/// Returns the tag without the coding that [`coded`] added to it.
pub(crate) fn plain_tag(tag: &str) -> String {
    let inner = tag.strip_suffix('"').unwrap_or(tag);
    let plain = Coding::ALL.iter().find_map(|coding| inner.strip_suffix(coding.as_str())?.strip_suffix('-')).unwrap_or(inner);
    format!("{plain}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding_for(accepted: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        Coding::negotiate(&Method::GET, &headers).map(Coding::as_str)
    }

    #[test]
    fn coding_is_chosen_by_the_caller_s_order_then_by_ours() {
        for (accepted, coding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip;q=1.0, br;q=0.5", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.1, zstd;q=0", Some("br")),
            ("gzip;q=0.5, identity", None),
            ("identity;q=0.5, gzip", Some("gzip")),
            ("gzip;q=0", None),
            ("deflate, compress", None),
            ("gzip;q=much", None),
            ("", None),
        ] {
            assert_eq!(coding_for(accepted), coding, "{accepted}");
        }
        assert_eq!(Coding::negotiate(&Method::GET, &HeaderMap::new()), None);
    }

    #[test]
    fn tag_names_its_coding_which_can_be_removed_again() {
        let plain = HeaderValue::from_static("\"c019aef9\"");
        for coding in Coding::ALL {
            let tag = coded_tag(&plain, coding).unwrap();
            assert_ne!(tag, plain);
            assert_eq!(plain_tag(tag.to_str().unwrap()), "\"c019aef9\"");
        }
        assert_eq!(plain_tag("\"c019aef9\""), "\"c019aef9\"");
    }
}

//! `Idempotency-Key`: requests that are carried out once, however often they are sent.
//!
//! The core guarantees this (`engine/src/command/request.rs`), even across a restart. This file has the
//! header's format, the keys in progress, and the comparison of requests.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ensue_engine::command::{DedupeKey, FirstAnswer, RequestKey};
use ensue_engine::explain::Explain;
use ensue_engine::record::Digest;
use thiserror::Error;

use crate::problem::Problem;

/// The header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The maximum length of a key in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// Why a request with a key is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub(crate) enum KeyRefusal {
    /// The header is malformed.
    #[error("`Idempotency-Key` must be given once, as 1 to {KEY_BYTES_MAX} visible ASCII characters, with or without quotes")]
    #[explain(slug = "idempotency-key-invalid", fault = Malformed,
        hint = "create a UUID for each operation, and reuse it only to send the same request again")]
    Malformed,
    /// The first request with the key is not answered yet.
    #[error("a request with this `Idempotency-Key` is still in progress")]
    #[explain(slug = "request-under-way", fault = Conflict,
        hint = "send it again in a second: it then gets the same answer as the first request")]
    UnderWay,
}

/// Returns the key of a request, without its quotation marks: drafts of the header require them, and most
/// callers leave them out.
pub(crate) fn parse_key(headers: &HeaderMap) -> Result<Option<String>, KeyRefusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).map(str::trim).ok_or(KeyRefusal::Malformed)?;
    let key = text.strip_prefix('"').map_or(Some(text), |rest| rest.strip_suffix('"')).ok_or(KeyRefusal::Malformed)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let is_key = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(is_plain);
    if is_key { Ok(Some(key.to_owned())) } else { Err(KeyRefusal::Malformed) }
}

/// The keys of requests in progress, at most as many as requests.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<BTreeSet<DedupeKey>>);

/// A key whose request is in progress, until this is dropped.
struct KeyGuard {
    key: DedupeKey,
    under_way: Arc<UnderWay>,
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The key of a request in progress.
pub(crate) struct KeyedRequest {
    key: DedupeKey,
    /// Set while nobody else can enter it.
    entered: Option<KeyGuard>,
    /// The answer to the first request with the key, if this is not the first.
    before: Option<FirstAnswer>,
    /// The hash of the request, once the body is read.
    content: Option<Digest>,
}

impl KeyedRequest {
    /// Enters a caller's key; nobody else can until it is released, or this is dropped.
    pub(crate) fn enter(under_way: &Arc<UnderWay>, caller: &str, key: &str) -> Result<Self, KeyRefusal> {
        let key = DedupeKey { scope: format!("requests/{caller}"), hash: Digest::of(key.as_bytes()) };
        if !under_way.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Err(KeyRefusal::UnderWay);
        }
        let entered = Some(KeyGuard { key: key.clone(), under_way: under_way.clone() });
        Ok(Self { key, entered, before: None, content: None })
    }

    /// Releases the key: the effects of the request are in the log.
    pub(crate) fn let_go(&mut self) {
        self.entered = None;
    }

    /// Returns the key.
    pub(crate) fn key(&self) -> &DedupeKey {
        &self.key
    }

    /// Stores the earlier answer.
    pub(crate) fn note(&mut self, before: FirstAnswer) {
        self.before = Some(before);
    }

    /// Returns the earlier answer.
    pub(crate) fn before(&self) -> Option<&FirstAnswer> {
        self.before.as_ref()
    }

    /// Stores the hash of the request.
    pub(crate) fn read(&mut self, parts: &Parts, body: &[u8]) {
        self.content = Some(content(parts, body));
    }

    /// Returns the key with the hash of the request. Before the body is read the hash is unknown, and nothing
    /// may be done under the key.
    pub(crate) fn request(&self) -> Result<RequestKey, Problem> {
        let content = self.content.ok_or_else(|| Problem::bug("something was to be done under a key before the body was read"))?;
        Ok(RequestKey { key: self.key().clone(), content })
    }
}

/// Returns the hash of everything that defines the request: the path with its parameters, and the body with
/// its type.
fn content(parts: &Parts, body: &[u8]) -> Digest {
    let says_what = |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("ce-");
    let mut said: Vec<(&str, &[u8])> =
        parts.headers.iter().filter(|(name, _)| says_what(name)).map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    said.sort();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let mut all = Vec::with_capacity(body.len() + path.len() + 64);
    for (name, value) in [("", path.as_bytes())].into_iter().chain(said).chain([("", body)]) {
        all.extend((name.len() as u64).to_le_bytes());
        all.extend(name.as_bytes());
        all.extend((value.len() as u64).to_le_bytes());
        all.extend(value);
    }
    Digest::of(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Result<Option<String>, KeyRefusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
        }
        parse_key(&headers)
    }

    #[test]
    fn idempotency_key_is_plain_text_with_or_without_quotes() {
        assert_eq!(read(&[]), Ok(None));
        for same in ["8e03978e-40d5", "\"8e03978e-40d5\"", " 8e03978e-40d5 "] {
            assert_eq!(read(&[same]), Ok(Some("8e03978e-40d5".to_owned())), "{same}");
        }
        let long = "k".repeat(KEY_BYTES_MAX + 1).leak();
        for bad in ["", "\"\"", "\"a", "a\"b", "a b", "a\\b", "a\tb", long] {
            assert_eq!(read(&[bad]), Err(KeyRefusal::Malformed), "{bad}");
        }
        assert_eq!(read(&["a", "a"]), Err(KeyRefusal::Malformed));
    }

    #[test]
    fn key_is_per_caller_and_in_use_until_dropped() {
        let under_way = Arc::new(UnderWay::default());
        let first = KeyedRequest::enter(&under_way, "ana", "1");
        assert!(first.is_ok());
        assert_eq!(KeyedRequest::enter(&under_way, "ana", "1").err(), Some(KeyRefusal::UnderWay));
        assert!(KeyedRequest::enter(&under_way, "bo", "1").is_ok());
        drop(first);
        assert!(KeyedRequest::enter(&under_way, "ana", "1").is_ok());
    }

    #[test]
    fn key_is_not_used_before_the_body_is_read() {
        let mut keyed = KeyedRequest::enter(&Arc::default(), "ana", "1").unwrap();
        assert_eq!(keyed.request().unwrap_err().code(), "internal_error");
        let parts = axum::http::Request::new(()).into_parts().0;
        keyed.read(&parts, b"{}");
        assert_eq!(keyed.request().unwrap().content, content(&parts, b"{}"));
    }

    #[test]
    fn request_identity_is_path_body_and_media_type() {
        let asked = |path: &str, name: &'static str, value: &'static str, body: &str| {
            let request = axum::http::Request::builder().uri(path).header(name, value).body(()).unwrap();
            content(&request.into_parts().0, body.as_bytes())
        };
        let first = asked("/a?x=1", "content-type", "application/json", "{}");
        assert_eq!(first, asked("/a?x=1", "content-type", "application/json", "{}"));
        for other in [
            asked("/b?x=1", "content-type", "application/json", "{}"),
            asked("/a?x=2", "content-type", "application/json", "{}"),
            asked("/a?x=1", "content-type", "text/plain", "{}"),
            asked("/a?x=1", "ce-id", "application/json", "{}"),
            asked("/a?x=1", "content-type", "application/json", "{} "),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(asked("/a", "prefer", "wait=1", ""), asked("/a", "prefer", "wait=2", ""), "how it is answered is no part of it");
    }
}

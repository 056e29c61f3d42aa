//! Pages of lists: their size, their start, and the sealed cursors that encode it: a place may be that of a row that the
//! caller does not see.
//!
//! It does not know what is listed, nor how a position in a list is composed: read models provide that as
//! text.

use axum::http::HeaderValue;
use axum::http::header::LINK;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ensue_engine::explain::Explain;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use thiserror::Error;

use crate::problem::{Outcome, Problem};
use crate::query::{FromQuery as _, ParameterRefusal, Query, QueryValue, bad};
use crate::respond;
use crate::sizes::LIMIT_MAX;
use crate::wire::WireList;

/// The number of items on a page by default.
pub(crate) const LIMIT_DEFAULT: usize = 50;
/// The length of a cursor's signature in bytes.
const MAC_BYTES: usize = 16;
/// The maximum length of a cursor in characters.
const CURSOR_CHARS_MAX: usize = 1024;

/// The parameters of a list in pages.
#[derive(Query)]
pub(crate) struct PageQuery {
    /// The maximum number of items on a page.
    limit: Option<PageLimit>,
    /// `next` of the previous page, unchanged.
    cursor: Option<String>,
}

/// The maximum number of items on a page.
struct PageLimit(usize);

impl QueryValue for PageLimit {
    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        match text.parse() {
            Ok(limit @ 1..=LIMIT_MAX) => Ok(Self(limit)),
            Ok(_) | Err(_) => Err(bad(name, format!("must be a whole number from 1 to {LIMIT_MAX}"))),
        }
    }
}

/// The requested page of a list.
#[derive(Debug)]
pub(crate) struct PageRequest {
    /// The maximum number of items.
    pub(crate) limit: usize,
    /// The place after which it continues; `None` at the beginning.
    pub(crate) after: Option<String>,
    /// The text that the cursors of this list are bound to.
    bound: String,
}

/// A cursor that was not issued for this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("the cursor does not belong to this list, these filters and this caller")]
#[explain(slug = "cursor-invalid", fault = Malformed,
    hint = "start again without `cursor`, and then use each `next` unchanged with the same filters")]
pub(crate) struct CursorInvalid;

/// The key that cursors are sealed with.
#[derive(Clone)]
pub(crate) struct CursorKey([u8; 32]);

impl CursorKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn mac(&self, bound: &str, place: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(b"bound");
        mac.update(&(bound.len() as u64).to_le_bytes());
        mac.update(bound.as_bytes());
        mac.update(place);
        mac
    }

    fn seal(&self, bound: &str, place: &str) -> String {
        let mut bytes = self.mac(bound, place.as_bytes()).finalize().into_bytes()[..MAC_BYTES].to_vec();
        let mut place = place.as_bytes().to_vec();
        self.cover(&bytes, &mut place);
        bytes.extend_from_slice(&place);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Encrypts a place, or decrypts it: the signature of the place is the initialization vector.
    fn cover(&self, mac: &[u8], place: &mut [u8]) {
        for (block, part) in (0_u64..).zip(place.chunks_mut(32)) {
            let mut stream = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
            stream.update(b"place");
            stream.update(mac);
            stream.update(&block.to_le_bytes());
            part.iter_mut().zip(stream.finalize().into_bytes()).for_each(|(byte, mask)| *byte ^= mask);
        }
    }

    fn open(&self, bound: &str, cursor: &str) -> Result<String, CursorInvalid> {
        if cursor.len() > CURSOR_CHARS_MAX {
            return Err(CursorInvalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| CursorInvalid)?;
        let (mac, place) = bytes.split_at_checked(MAC_BYTES).ok_or(CursorInvalid)?;
        let mut place = place.to_vec();
        self.cover(mac, &mut place);
        self.mac(bound, &place).verify_truncated_left(mac).map_err(|_| CursorInvalid)?;
        String::from_utf8(place).map_err(|_| CursorInvalid)
    }
}

impl PageRequest {
    /// Parses `limit` and `cursor`; the cursor must have been issued for this path, these filters and this
    /// caller.
    pub(crate) fn of(query: &Query, key: &CursorKey, path: &str, caller: &str) -> Result<Self, Problem> {
        let PageQuery { limit, cursor } = PageQuery::read(query)?;
        let bound = format!("{path}\n{caller}\n{}", query.canonical(PageQuery::PARAMETERS));
        let after = cursor.map(|cursor| key.open(&bound, &cursor)).transpose()?;
        Ok(Self { limit: limit.map_or(LIMIT_DEFAULT, |PageLimit(limit)| limit), after, bound })
    }
}

/// Answers with a page: its items, and the cursor of the next page if there is more after `next`.
pub(crate) fn answer<T: Serialize>(
    items: Vec<T>,
    next: Option<&str>,
    page: &PageRequest,
    query: &Query,
    key: &CursorKey,
    url: &str,
) -> Outcome {
    answer_as(next, page, query, key, url, |next| respond::json(&WireList { items, next }))
}

/// The same, with a body of its own that has the cursor.
pub(crate) fn answer_as(
    next: Option<&str>,
    page: &PageRequest,
    query: &Query,
    key: &CursorKey,
    url: &str,
    body: impl FnOnce(Option<String>) -> Outcome,
) -> Outcome {
    let next = next.map(|place| key.seal(&page.bound, place));
    let link = next.as_ref().map(|cursor| {
        let filters = query.encode_without("cursor");
        let and = if filters.is_empty() { "" } else { "&" };
        // The letters of a cursor stay as they are in a URL.
        format!("<{url}?{filters}{and}cursor={cursor}>; rel=\"next\"")
    });
    let mut response = body(next)?;
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Multiplicity, Parameter, ParameterGroups};

    const TRIGGER: Parameter = Parameter {
        name: "trigger",
        description: "A filter of the list.",
        schema: String::schema,
        multiplicity: Multiplicity::Once,
        is_required: false,
    };

    const KNOWN: ParameterGroups = &[PageQuery::PARAMETERS, &[TRIGGER]];

    fn key() -> CursorKey {
        CursorKey::new([7; 32])
    }

    fn page(query: &str, path: &str, caller: &str) -> Result<PageRequest, Problem> {
        PageRequest::of(&Query::parse(Some(query), KNOWN).unwrap(), &key(), path, caller)
    }

    #[test]
    fn cursor_continues_after_its_position() {
        let first = page("trigger=a.b", "/events", "ana").unwrap();
        let cursor = key().seal(&first.bound, "17");
        let second = page(&format!("trigger=a.b&limit=3&cursor={cursor}"), "/events", "ana").unwrap();
        assert_eq!((second.after.as_deref(), second.limit), (Some("17"), 3));
    }

    #[test]
    fn cursor_does_not_show_its_place() {
        let bound = page("", "/events", "ana").unwrap().bound;
        let place = "1234567890".repeat(10);
        let sealed = URL_SAFE_NO_PAD.decode(key().seal(&bound, &place)).unwrap();
        assert!(sealed.windows(3).all(|part| !place.as_bytes().windows(3).any(|of_place| of_place == part)));
        assert_eq!(key().open(&bound, &URL_SAFE_NO_PAD.encode(&sealed)).unwrap(), place);
    }

    #[test]
    fn cursor_is_bound_to_its_list_its_filters_and_its_caller() {
        let cursor = key().seal(&page("trigger=a.b", "/events", "ana").unwrap().bound, "17");
        assert!(page(&format!("trigger=a.c&cursor={cursor}"), "/events", "ana").is_err());
        assert!(page(&format!("cursor={cursor}"), "/events", "ana").is_err());
        assert!(page(&format!("trigger=a.b&cursor={cursor}"), "/executions", "ana").is_err());
        assert!(page(&format!("trigger=a.b&cursor={cursor}"), "/events", "bo").is_err());
    }

    #[test]
    fn modified_or_truncated_cursor_is_rejected() {
        let cursor = key().seal(&page("", "/events", "ana").unwrap().bound, "17");
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(page(&format!("cursor={changed}"), "/events", "ana").is_err(), "byte {at}");
            assert!(page(&format!("cursor={}", &cursor[..at]), "/events", "ana").is_err(), "cut at {at}");
        }
        let of_another_node = CursorKey::new([8; 32]).seal(&page("", "/events", "ana").unwrap().bound, "17");
        assert!(page(&format!("cursor={of_another_node}"), "/events", "ana").is_err());
    }

    #[test]
    fn limit_must_be_an_integer_from_1_to_200() {
        assert_eq!(page("limit=200", "/events", "ana").unwrap().limit, 200);
        for bad in ["0", "-1", "201", "1e9", "9223372036854775808", "", "ten"] {
            assert!(page(&format!("limit={bad}"), "/events", "ana").is_err(), "{bad:?}");
        }
    }
}

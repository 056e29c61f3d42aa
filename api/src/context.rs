//! What a request carries beside what it asks: its id and its trace, taken from the caller or begun here.
//!
//! It knows nothing of who the caller is.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that names the position a caller has seen, or must see.
pub(crate) const ENSUE_POSITION: &str = "ensue-position";
/// The header that names a request.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of a W3C trace.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where the id of the trace stands in a `traceparent`.
const TRACE_ID: Range<usize> = 3..35;

/// The most characters of a request's id that is taken from a caller.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// A request's id and trace.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    request_id: HeaderValue,
    trace: HeaderValue,
}

impl RequestContext {
    /// Takes both from the request's headers; what is missing, doubled or malformed is begun anew.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given_id = single(headers, &X_REQUEST_ID).filter(|value| is_request_id(value.as_bytes()));
        let given_trace = single(headers, &TRACEPARENT).filter(|value| is_traceparent(value.as_bytes()));
        if let (Some(request_id), Some(trace)) = (given_id, given_trace) {
            return Self { request_id: request_id.clone(), trace: trace.clone() };
        }
        let mut entropy = [0; 32];
        // Without randomness an id is only less useful; nothing rests on it.
        if getrandom::fill(&mut entropy).is_err() {
            entropy = [1; 32];
        }
        let fresh_id = || visible(hex::encode(&entropy[..8]));
        // An id of zeros is not a valid one; the last bit of each keeps it from being that.
        let fresh_trace = || {
            visible(format!(
                "00-{}{:02x}-{}{:02x}-01",
                hex::encode(&entropy[8..23]),
                entropy[23] | 1,
                hex::encode(&entropy[24..31]),
                entropy[31] | 1
            ))
        };
        Self { request_id: given_id.cloned().unwrap_or_else(fresh_id), trace: given_trace.cloned().unwrap_or_else(fresh_trace) }
    }

    /// Gives the request's id.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Gives the W3C `traceparent`.
    pub(crate) fn trace(&self) -> &str {
        self.trace.to_str().unwrap_or_default()
    }

    /// Gives the id of the trace, which all that the request leads to has in common.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace().get(TRACE_ID).unwrap_or_default()
    }

    /// Gives both back to the caller.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.request_id.clone());
        headers.insert(TRACEPARENT, self.trace.clone());
    }
}

fn visible(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("hexadecimal digits and dashes are a header's value")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_request_id(text: &[u8]) -> bool {
    (1..=REQUEST_ID_CHARS_MAX).contains(&text.len()) && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Says whether the text is a `traceparent` of version 00 (<https://www.w3.org/TR/trace-context/>).
pub(crate) fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    text.len() == 55
        && text.starts_with(b"00-")
        && (text[35], text[52]) == (b'-', b'-')
        && is_hex(&text[3..35])
        && is_set(&text[3..35])
        && is_hex(&text[36..52])
        && is_set(&text[36..52])
        && is_hex(&text[53..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with(pairs: &[(&'static str, &'static str)]) -> RequestContext {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestContext::of(&headers)
    }

    #[test]
    fn a_valid_id_and_trace_are_kept() {
        let context = with(&[("x-request-id", "ana-7"), ("traceparent", TRACE)]);
        assert_eq!((context.request_id(), context.trace()), ("ana-7", TRACE));
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn what_is_not_valid_is_begun_anew() {
        for id in ["", "a b", "a\"b", "é", "x".repeat(65).leak()] {
            let context = with(&[("x-request-id", id)]);
            assert_ne!(context.request_id(), id);
            assert_eq!(context.request_id().len(), 16);
        }
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let shouted = "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01";
        for trace in ["", "00", zeros, shouted, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            let context = with(&[("traceparent", trace)]);
            assert!(is_traceparent(context.trace().as_bytes()), "{}", context.trace());
            assert_ne!(context.trace(), trace);
        }
    }

    #[test]
    fn a_doubled_id_is_no_id() {
        let context = with(&[("x-request-id", "one"), ("x-request-id", "two")]);
        assert!(!["one", "two"].contains(&context.request_id()));
    }
}

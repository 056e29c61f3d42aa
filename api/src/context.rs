//! What a request carries beside what it asks: its id and its trace, taken from the caller or begun here.
//!
//! It knows nothing of who the caller is.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ensue_engine::trace::{SpanId, TraceParent};

/// The header that names the position a caller has seen, or must see.
pub(crate) const ENSUE_POSITION: &str = "ensue-position";
/// The header that names a request.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of a W3C trace.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where the id of the trace stands in a `traceparent`.
const TRACE_ID: Range<usize> = 3..35;

/// The most characters of a request's id that is taken from a caller.
pub(crate) const REQUEST_ID_CHARS_MAX: usize = 64;

/// A request's id and trace.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    request_id: HeaderValue,
    /// As the caller gave it, or as it was begun here.
    trace: HeaderValue,
    /// What comes of the request belongs under this.
    under: TraceParent,
    span: Option<RequestSpan>,
}

/// Where a request's own span stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestSpan {
    /// The span that the caller sent it from; none where the trace begins with it.
    pub(crate) parent: Option<SpanId>,
}

/// Whether a request gets a span of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSpan {
    /// It does, unless its caller says that nobody records its trace.
    Wanted,
    /// What comes of it belongs under the caller's.
    None,
}

impl RequestContext {
    /// Takes both from the request's headers; what is missing, doubled or malformed is begun anew.
    pub(crate) fn of(headers: &HeaderMap, own_span: OwnSpan) -> Self {
        let given_id = single(headers, &X_REQUEST_ID).filter(|value| is_request_id(value.as_bytes()));
        let given_trace = single(headers, &TRACEPARENT).and_then(|value| Some((value, parsed(value)?)));
        if let (Some(request_id), Some((trace, under)), OwnSpan::None) = (given_id, given_trace, own_span) {
            return Self { request_id: request_id.clone(), trace: trace.clone(), under, span: None };
        }
        let mut entropy = [0; 32];
        // Without randomness an id is only less useful; nothing rests on it.
        if getrandom::fill(&mut entropy).is_err() {
            entropy = [1; 32];
        }
        let fresh_id = || visible(hex::encode(&entropy[..8]));
        let request_id = given_id.cloned().unwrap_or_else(fresh_id);
        let trace = &entropy[8..];
        let Some((given, parent)) = given_trace else {
            let under = TraceParent::begun(fixed(trace));
            let span = (own_span == OwnSpan::Wanted).then_some(RequestSpan { parent: None });
            return Self { request_id, trace: visible(under.to_string()), under, span };
        };
        let span = (own_span == OwnSpan::Wanted && parent.is_sampled()).then_some(RequestSpan { parent: Some(parent.span()) });
        let under = span.map_or(parent, |_| parent.under(SpanId::of_entropy(fixed(&trace[16..]))));
        Self { request_id, trace: given.clone(), under, span }
    }

    /// Gives the request's id.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Gives the W3C `traceparent` of what comes of the request.
    pub(crate) fn under(&self) -> TraceParent {
        self.under
    }

    /// Gives the request's own span, which is [`under`](Self::under)'s; none where it has none.
    pub(crate) fn span(&self) -> Option<RequestSpan> {
        self.span
    }

    /// Gives the id of the trace, which all that the request leads to has in common.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace.to_str().ok().and_then(|trace| trace.get(TRACE_ID)).unwrap_or_default()
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

fn parsed(value: &HeaderValue) -> Option<TraceParent> {
    value.to_str().ok()?.parse().ok()
}

/// Takes as many bytes of the randomness as are needed.
fn fixed<const BYTES: usize>(entropy: &[u8]) -> [u8; BYTES] {
    std::array::from_fn(|at| entropy.get(at).copied().unwrap_or_default())
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
        RequestContext::of(&headers, OwnSpan::None)
    }

    fn returned(context: &RequestContext) -> String {
        let mut headers = HeaderMap::new();
        context.write_to(&mut headers);
        headers[TRACEPARENT].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_request_with_a_span_of_its_own_has_it_under_the_caller_s_and_all_that_comes_of_it_under_that() {
        let headers = |trace: &'static str| HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(trace))]);
        let given: TraceParent = TRACE.parse().unwrap();
        let (one, another) = (RequestContext::of(&headers(TRACE), OwnSpan::Wanted), RequestContext::of(&headers(TRACE), OwnSpan::Wanted));
        assert_eq!(one.span(), Some(RequestSpan { parent: Some(given.span()) }));
        assert_eq!((one.under().trace(), returned(&one).as_str()), (given.trace(), TRACE));
        assert!(one.under().span() != given.span() && one.under().span() != another.under().span());

        let begun = RequestContext::of(&HeaderMap::new(), OwnSpan::Wanted);
        assert_eq!((begun.span(), returned(&begun).parse()), (Some(RequestSpan { parent: None }), Ok(begun.under())));

        let unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let context = RequestContext::of(&headers(unrecorded), OwnSpan::Wanted);
        assert_eq!((context.span(), context.under().to_string().as_str()), (None, unrecorded));
    }

    #[test]
    fn a_valid_id_and_trace_are_kept() {
        let context = with(&[("x-request-id", "ana-7"), ("traceparent", TRACE)]);
        assert_eq!((context.request_id(), context.under().to_string().as_str()), ("ana-7", TRACE));
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
            let begun = returned(&context);
            assert_eq!(begun.parse(), Ok(context.under()), "{begun}");
            assert_ne!(begun, trace);
        }
    }

    #[test]
    fn a_doubled_id_is_no_id() {
        let context = with(&[("x-request-id", "one"), ("x-request-id", "two")]);
        assert!(!["one", "two"].contains(&context.request_id()));
    }
}

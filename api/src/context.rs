//! The context of a request: its id and its trace, taken from the caller or created here.
//!
//! It does not know the caller.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ensue_engine::trace::{Sampler, SpanId, TraceContext, TraceParent, TraceState};

/// The header that names the position a caller has seen, or must see.
pub(crate) const ENSUE_POSITION: &str = "ensue-position";
/// The header that names a request.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of a W3C trace.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header for the data of tracing systems in a W3C trace.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The range of the trace's id in a `traceparent`.
const TRACE_ID: Range<usize> = 3..35;

/// The maximum length in characters of a request id that is accepted from a caller.
pub(crate) const REQUEST_ID_CHARS_MAX: usize = 64;

/// A request's id and trace.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    request_id: HeaderValue,
    /// As the caller sent it, or as it was created here.
    trace: HeaderValue,
    /// The parent of everything that results from the request.
    under: TraceParent,
    /// The `tracestate` of the caller's trace.
    state: Option<TraceState>,
    span: Option<RequestSpan>,
}

/// The place of a request's own span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestSpan {
    /// The span from which the caller sent it; `None` if the trace begins with it.
    pub(crate) parent: Option<SpanId>,
}

/// Whether a request gets a span of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSpan {
    /// It does, if the sampler records its trace.
    Wanted(Sampler),
    /// Everything that results from it belongs under the caller's span.
    None,
}

impl RequestContext {
    /// Takes both from the request's headers; creates the missing, repeated or malformed ones.
    pub(crate) fn of(headers: &HeaderMap, own_span: OwnSpan) -> Self {
        let given_id = single(headers, &X_REQUEST_ID).filter(|value| is_request_id(value.as_bytes()));
        let given_trace = single(headers, &TRACEPARENT).and_then(|value| Some((value, parse_traceparent(value)?)));
        // Without its trace it has no meaning.
        let state = given_trace.and_then(|_| state(headers));
        if let (Some(request_id), Some((trace, under)), OwnSpan::None) = (given_id, given_trace, own_span) {
            return Self { request_id: request_id.clone(), trace: trace.clone(), under, state, span: None };
        }
        let mut entropy = [0; 32];
        // Without randomness an id is only less useful; nothing depends on it.
        if getrandom::fill(&mut entropy).is_err() {
            entropy = [1; 32];
        }
        let fresh_id = || visible(hex::encode(&entropy[..8]));
        let request_id = given_id.cloned().unwrap_or_else(fresh_id);
        let trace = &entropy[8..];
        let Some((given, parent)) = given_trace else {
            let begun = TraceParent::from_entropy(take_bytes(trace));
            let (under, span) = match own_span {
                OwnSpan::Wanted(sampler) if sampler.takes_begun(begun.trace()) => (begun, Some(RequestSpan { parent: None })),
                OwnSpan::Wanted(_) => (begun.with_sampled(false), None),
                OwnSpan::None => (begun, None),
            };
            return Self { request_id, trace: visible(under.to_string()), under, state: None, span };
        };
        let (under, span) = match own_span {
            OwnSpan::Wanted(sampler) if sampler.takes_continued(&parent) => {
                let own = parent.under(SpanId::of_entropy(take_bytes(&trace[16..]))).with_sampled(true);
                (own, Some(RequestSpan { parent: Some(parent.span()) }))
            }
            OwnSpan::Wanted(_) => (parent.with_sampled(false), None),
            OwnSpan::None => (parent, None),
        };
        Self { request_id, trace: given.clone(), under, state, span }
    }

    /// Returns the request's id.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Returns the W3C `traceparent` for everything that results from the request.
    pub(crate) fn under(&self) -> TraceParent {
        self.under
    }

    /// Returns the trace as it is written to the records that result from the request.
    pub(crate) fn recorded_trace(&self) -> String {
        TraceContext { parent: self.under, state: self.state.clone() }.to_string()
    }

    /// Returns the request's own span, which is the one in [`under`](Self::under); `None` if it has none.
    pub(crate) fn span(&self) -> Option<RequestSpan> {
        self.span
    }

    /// Returns the id of the trace, which is shared by everything that the request leads to.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace.to_str().ok().and_then(|trace| trace.get(TRACE_ID)).unwrap_or_default()
    }

    /// Writes both to the headers of the answer.
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

fn parse_traceparent(value: &HeaderValue) -> Option<TraceParent> {
    value.to_str().ok()?.parse().ok()
}

/// Parses the `tracestate`, which can come in several headers.
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let mut values = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    let first = values.next()?.ok()?.to_owned();
    let joined = values.try_fold(first, |joined, value| Some(format!("{joined},{}", value.ok()?)))?;
    joined.parse().ok()
}

/// Returns as many bytes of the randomness as are needed.
fn take_bytes<const BYTES: usize>(entropy: &[u8]) -> [u8; BYTES] {
    std::array::from_fn(|at| entropy.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ensue_engine::trace::Share;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with(pairs: &[(&'static str, &'static str)]) -> RequestContext {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestContext::of(&headers, OwnSpan::None)
    }

    fn returned_traceparent(context: &RequestContext) -> String {
        let mut headers = HeaderMap::new();
        context.write_to(&mut headers);
        headers[TRACEPARENT].to_str().unwrap().to_owned()
    }

    #[test]
    fn request_span_is_a_child_of_the_caller_and_parent_of_its_effects() {
        let headers = |trace: &'static str| HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(trace))]);
        let given: TraceParent = TRACE.parse().unwrap();
        let wanted = OwnSpan::Wanted(Sampler::default());
        let (one, another) = (RequestContext::of(&headers(TRACE), wanted), RequestContext::of(&headers(TRACE), wanted));
        assert_eq!(one.span(), Some(RequestSpan { parent: Some(given.span()) }));
        assert_eq!((one.under().trace(), returned_traceparent(&one).as_str()), (given.trace(), TRACE));
        assert!(one.under().span() != given.span() && one.under().span() != another.under().span());

        let begun = RequestContext::of(&HeaderMap::new(), wanted);
        assert_eq!((begun.span(), returned_traceparent(&begun).parse()), (Some(RequestSpan { parent: None }), Ok(begun.under())));

        let unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let context = RequestContext::of(&headers(unrecorded), wanted);
        assert_eq!((context.span(), context.under().to_string().as_str()), (None, unrecorded));
    }

    #[test]
    fn sampler_decides_which_requests_have_a_span() {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(TRACE))]);
        let never = OwnSpan::Wanted(Sampler { begun: Share::NONE, continued: Some(Share::NONE) });
        let (begun, continued) = (RequestContext::of(&HeaderMap::new(), never), RequestContext::of(&headers, never));
        assert_eq!((begun.span(), begun.under().is_sampled()), (None, false));
        assert_eq!((continued.span(), continued.under().to_string()), (None, TRACE.replace("-01", "-00")));

        let unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(unrecorded))]);
        let always = OwnSpan::Wanted(Sampler { begun: Share::ALL, continued: Some(Share::ALL) });
        let context = RequestContext::of(&headers, always);
        assert!(context.span().is_some() && context.under().is_sampled());
        assert_eq!(returned_traceparent(&context), unrecorded);
    }

    #[test]
    fn tracestate_is_recorded_only_together_with_its_trace() {
        let state = |pairs: &[(&'static str, &'static str)]| with(pairs).recorded_trace();
        let both = [("traceparent", TRACE), ("tracestate", "rojo=1"), ("tracestate", "congo=2")];
        assert_eq!(state(&both), format!("{TRACE} rojo=1,congo=2"));
        assert_eq!(state(&[("traceparent", TRACE), ("tracestate", "Rojo")]), TRACE);
        assert_eq!(state(&[("traceparent", "00-zz"), ("tracestate", "rojo=1")]).len(), TRACE.len());
        assert_eq!(state(&[("tracestate", "rojo=1")]).len(), TRACE.len());
    }

    #[test]
    fn valid_id_and_trace_are_used() {
        let context = with(&[("x-request-id", "ana-7"), ("traceparent", TRACE)]);
        assert_eq!((context.request_id(), context.under().to_string().as_str()), ("ana-7", TRACE));
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn invalid_id_and_trace_are_replaced() {
        for id in ["", "a b", "a\"b", "é", "x".repeat(65).leak()] {
            let context = with(&[("x-request-id", id)]);
            assert_ne!(context.request_id(), id);
            assert_eq!(context.request_id().len(), 16);
        }
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let shouted = "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01";
        for trace in ["", "00", zeros, shouted, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            let context = with(&[("traceparent", trace)]);
            let begun = returned_traceparent(&context);
            assert_eq!(begun.parse(), Ok(context.under()), "{begun}");
            assert_ne!(begun, trace);
        }
    }

    #[test]
    fn duplicate_request_id_is_replaced() {
        let context = with(&[("x-request-id", "one"), ("x-request-id", "two")]);
        assert!(!["one", "two"].contains(&context.request_id()));
    }
}

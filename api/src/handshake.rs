//! The handshake before deliveries (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>): a sender asks whether
//! its events are wanted at an address, so that nobody has it send them to somebody else.
//!
//! Who may be answered is the route's.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use crate::rate::Rate;

/// Who asks: a name of the sender's system.
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
/// Who may send.
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
/// How many requests a minute.
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Grants the sender that asks, at the rate that is set for it; a request that asks for nothing is told the methods alone.
pub(crate) fn consent(headers: &HeaderMap, methods: &'static str, rate: Option<Rate>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(header::ALLOW, HeaderValue::from_static(methods));
    if let Some(origin) = headers.get(REQUEST_ORIGIN) {
        answer.insert(ALLOWED_ORIGIN, origin.clone());
        // Where no rate is set nothing is counted: whoever sends more than there is room for is told 429 or 503 with `Retry-After`.
        answer.insert(ALLOWED_RATE, rate.map_or(HeaderValue::from_static("*"), |rate| HeaderValue::from(rate.a_minute())));
    }
    response
}

//! The handshake before deliveries
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>): a sender asks whether its
//! events are wanted at an address, so that nobody can make it send them to somebody else.
//!
//! The route decides which requests may be answered.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use crate::rate::Rate;

/// The sender that asks: a name of the sender's system.
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
/// The sender that is allowed.
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
/// The allowed number of requests per minute.
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Grants the sender its request, at the rate that is set for it; a request without a sender gets only the
/// methods.
pub(crate) fn consent(headers: &HeaderMap, methods: &str, rate: Option<Rate>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.extend(HeaderValue::try_from(methods).ok().map(|methods| (header::ALLOW, methods)));
    if let Some(origin) = headers.get(REQUEST_ORIGIN) {
        answer.insert(ALLOWED_ORIGIN, origin.clone());
        // Without a rate limit nothing is counted: a sender above the node's capacity gets 429 or 503 with
        // `Retry-After`.
        answer.insert(ALLOWED_RATE, rate.map_or(HeaderValue::from_static("*"), |rate| HeaderValue::from(rate.a_minute())));
    }
    response
}

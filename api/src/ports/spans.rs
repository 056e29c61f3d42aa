//! Reporting requests as spans in traces.

use std::net::IpAddr;

use ensue_engine::time::Timestamp;
use ensue_engine::trace::{Sampler, SpanId, TraceParent};

/// Reports requests as spans in traces.
pub trait Spans: Send + Sync {
    /// Returns the sampler, which decides which traces are recorded.
    fn sampler(&self) -> Sampler;
    /// Returns the time of the clock that records use.
    fn now(&self) -> Timestamp;
    /// Reports a request that was just answered. Quick; if there is no room, the span is dropped and counted.
    fn note_answered(&self, request: AnsweredRequest);
}

/// A request that may have led to records, and its span in the trace.
#[derive(Clone, Debug)]
pub struct AnsweredRequest {
    /// Its own span.
    pub span: TraceParent,
    /// The caller's span from which it was sent; none if the trace begins with it.
    pub parent: Option<SpanId>,
    /// Its method, truncated if it is long.
    pub method: String,
    /// The template of its path, like `/hooks/{pack}/{sensor}`; none if no route matches.
    pub route: Option<String>,
    /// Its path, truncated if it is long.
    pub path: String,
    /// The host that it was sent to, and the port if the request named one.
    pub server: Option<(String, Option<u16>)>,
    /// The scheme that its sender used: `http` or `https`.
    pub scheme: &'static str,
    /// The address of its sender; behind a trusted proxy, the one that the proxy reports.
    pub client: Option<IpAddr>,
    /// The status code of the response.
    pub status: u16,
    /// When it began, as [`Spans::now`] reported it then.
    pub from: Timestamp,
}

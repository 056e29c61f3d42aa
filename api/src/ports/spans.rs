//! What has requests told of in traces.

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::trace::{Sampler, SpanId, TraceParent};

/// What has requests told of in traces.
pub trait Spans: Send + Sync {
    /// Returns what says which traces are recorded.
    fn sampler(&self) -> Sampler;
    /// Tells of a request that was just answered. Quick; where there is no room it is dropped and counted.
    fn answered(&self, request: AnsweredRequest);
}

/// A request that may have led to records, and the span that it is in its trace.
#[derive(Clone, Debug)]
pub struct AnsweredRequest {
    /// Its own span.
    pub span: TraceParent,
    /// The span that its caller sent it from; none where the trace begins with it.
    pub parent: Option<SpanId>,
    /// Its method, cut where it is long.
    pub method: String,
    /// The template of its path, like `/hooks/{pack}/{sensor}`; none where no route has such a path.
    pub route: Option<String>,
    /// Its path, cut where it is long.
    pub path: String,
    /// The host that it was sent to, and the port where it named one.
    pub server: Option<(String, Option<u16>)>,
    /// Where its connection comes from.
    pub client: Option<IpAddr>,
    /// The number that says how it was answered.
    pub status: u16,
    /// How long that took.
    pub took: Duration,
}

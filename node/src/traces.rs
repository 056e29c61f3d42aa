//! Traces: the path from a request to the end of an attempt, as spans for an OpenTelemetry collector.
//!
//! The spans of events, enforcements, executions and attempts are created from the log's records after the
//! commit: no caller waits for them, and deciding keeps no data for them. Their ids derive from the ids of the
//! records' objects, so each span is the same whenever it is created.

mod otlp;
mod requests;
mod sending;
mod settings;
mod span;
mod waiting_spans;

pub(crate) use sending::Exporter;
pub use settings::{Collector, CollectorError, TraceSettings};
pub(crate) use span::Tracing;
pub(crate) use waiting_spans::{SpanCounts, WaitingSpans};

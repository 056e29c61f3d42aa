//! Traces: what leads from a request to the end of an attempt, as spans for an OpenTelemetry collector.
//!
//! The spans of events, enforcements, executions and attempts are made of the log's records, behind the commit: nobody waits for them, and
//! nothing is kept for them where they are decided. Their ids are those of the things, so that each is the same whenever it is made.

mod otlp;
mod requests;
mod sending;
mod settings;
mod span;
mod waiting;

pub(crate) use sending::Exporter;
pub use settings::{Collector, CollectorError, TraceSettings};
pub(crate) use span::Tracing;
pub(crate) use waiting::{SpanCounts, WaitingSpans};

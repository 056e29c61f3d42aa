//! Traces: what leads from a request to the end of an attempt, as spans for an OpenTelemetry collector.
//!
//! The spans of events, enforcements, executions and attempts are made of the log's records, behind the commit: nobody waits for them, and
//! nothing is kept for them where they are decided. Their ids are those of the things, so that each is the same whenever it is made.

mod otlp;
mod sending;
mod span;
mod waiting;

pub(crate) use sending::Exporter;
pub use sending::{Collector, CollectorError};
pub(crate) use span::Tracing;
pub(crate) use waiting::{SpanCounts, WaitingSpans};

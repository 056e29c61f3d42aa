//! Telemetry for monitoring a node: counts of records, and trace spans if a collector is set.

use std::sync::Arc;
use std::thread::JoinHandle;

use ensue_api::QueueName;
use ensue_api::ports::Spans;
use ensue_executor::{RequestSpans, TraceNesting};

use super::RuntimeContext;
use super::open::OpenedDirectory;
use super::stores::Stores;
use crate::config::Config;
use crate::followers::{self, FollowerHandle, FollowerHealth, Waiting};
use crate::start_error::{StartError, machine};
use crate::tally::{Tally, TallyCounts};
use crate::telemetry::Telemetry;
use crate::traces::{Exporter, SpanCounts, Tracing, WaitingSpans};

/// The running telemetry, which counts records and reports them.
pub(crate) struct RunningTelemetry {
    /// The handle that notifies it of batches.
    pub(crate) follower: FollowerHandle,
    thread: JoinHandle<Telemetry>,
    exporter: Option<Exporter>,
    spans: Option<Arc<WaitingSpans>>,
    /// The health of its follower.
    pub(crate) health: Arc<FollowerHealth>,
    /// The counts of records.
    pub(crate) counts: Arc<TallyCounts>,
    /// The counts of spans.
    pub(crate) span_counts: Arc<SpanCounts>,
}

impl RunningTelemetry {
    /// Starts directly after the log's head.
    pub(crate) fn start(config: &Config, opened: &OpenedDirectory, stores: &Stores, around: &RuntimeContext) -> Result<Self, StartError> {
        let (queues, readers, clock) = (&around.queues, &stores.readers, &around.clock);
        let (health, counts, span_counts) =
            (Arc::new(FollowerHealth::default()), Arc::new(TallyCounts::default()), Arc::new(SpanCounts::default()));
        let (mut exporter, mut spans) = (None, None);
        if let Some(collector) = &config.traces.collector {
            let (queue, sampler) = (queues.of(QueueName::Spans).clone(), config.traces.sampler);
            let waiting = Arc::new(WaitingSpans::new(queue, span_counts.clone(), clock.clone(), sampler));
            let started = Exporter::start(collector.clone(), &config.traces, opened.engine.log(), waiting.clone());
            exporter = Some(started.map_err(|why| machine("sending traces", &why))?);
            spans = Some(waiting);
        }
        let tracing = spans.clone().map(|spans| Tracing::new(readers.clone(), spans));
        let telemetry = Telemetry::new(opened.head.position, Tally::new(counts.clone()), tracing);
        let waiting =
            Waiting { batches: queues.of(QueueName::TelemetryBatches).clone(), bytes: queues.of(QueueName::TelemetryBatchBytes).clone() };
        let (follower, thread) = followers::start("telemetry", telemetry, opened.backend.reader(stores.log)?, (waiting, health.clone()))
            .map_err(|why| machine("starting the thread that counts records", &why))?;
        Ok(Self { follower, thread, exporter, spans, health, counts, span_counts })
    }

    /// Returns the receiver of request spans, or `None` if no spans are exported.
    pub(crate) fn spans(&self) -> Option<Arc<dyn Spans>> {
        self.spans.clone().map(|spans| spans as Arc<dyn Spans>)
    }

    /// Returns the receiver of the requests of attempts, or `None` if no spans are exported.
    pub(crate) fn request_spans(&self) -> Option<Arc<dyn RequestSpans>> {
        self.spans.clone().map(|spans| spans as Arc<dyn RequestSpans>)
    }

    /// Returns the trace context that attempts receive.
    pub(crate) fn trace_context(&self) -> TraceNesting {
        if self.spans.is_some() { TraceNesting::UnderAttempt } else { TraceNesting::UnderCaller }
    }

    /// Processes the rest of the log, and returns the exporter that still has spans to send. Blocks.
    pub(crate) fn take_in_the_rest(self) -> Option<Exporter> {
        self.follower.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread that counts records panicked; the next start counts from 0 in any case");
        }
        self.exporter
    }
}

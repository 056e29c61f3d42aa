//! What tells who watches the node of what happens in it: the count of records, and spans of traces where a collector is named.

use std::sync::Arc;
use std::thread::JoinHandle;

use ensue_api::QueueName;
use ensue_api::ports::Spans;
use ensue_executor::{RequestSpans, Traced};

use super::Around;
use super::open::Opened;
use super::stores::Stores;
use crate::config::Config;
use crate::followers::{self, Fares, FollowerHandle, Waiting};
use crate::start_error::{StartError, machine};
use crate::tally::{Counts, Tally};
use crate::telemetry::Telemetry;
use crate::traces::{Exporter, SpanCounts, Tracing, WaitingSpans};

/// What counts records and tells of them, once it runs.
pub(crate) struct RunningTelemetry {
    /// The way to tell it of batches.
    pub(crate) follower: FollowerHandle,
    thread: JoinHandle<Telemetry>,
    exporter: Option<Exporter>,
    spans: Option<Arc<WaitingSpans>>,
    /// How it fares.
    pub(crate) fares: Arc<Fares>,
    /// What was counted of the records.
    pub(crate) counts: Arc<Counts>,
    /// What was counted of spans.
    pub(crate) span_counts: Arc<SpanCounts>,
}

impl RunningTelemetry {
    /// Begins behind the log's head.
    pub(crate) fn start(config: &Config, opened: &Opened, stores: &Stores, around: &Around) -> Result<Self, StartError> {
        let (queues, readers, clock) = (&around.queues, &stores.readers, &around.clock);
        let (fares, counts, span_counts) = (Arc::new(Fares::default()), Arc::new(Counts::default()), Arc::new(SpanCounts::default()));
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
        let (follower, thread) = followers::start("telemetry", telemetry, opened.log.reader()?, (waiting, fares.clone()))
            .map_err(|why| machine("starting the thread that counts records", &why))?;
        Ok(Self { follower, thread, exporter, spans, fares, counts, span_counts })
    }

    /// Gives who is told of requests; none where no spans are exported.
    pub(crate) fn spans(&self) -> Option<Arc<dyn Spans>> {
        self.spans.clone().map(|spans| spans as Arc<dyn Spans>)
    }

    /// Returns who hears of the requests of attempts; none where no spans are exported.
    pub(crate) fn request_spans(&self) -> Option<Arc<dyn RequestSpans>> {
        self.spans.clone().map(|spans| spans as Arc<dyn RequestSpans>)
    }

    /// Gives what attempts are told of their trace.
    pub(crate) fn traced(&self) -> Traced {
        if self.spans.is_some() { Traced::UnderAttempt } else { Traced::UnderCaller }
    }

    /// Takes in what the log has, and gives what still has to send spans. Blocks.
    pub(crate) fn take_in_the_rest(self) -> Option<Exporter> {
        self.follower.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread that counts records panicked; the next start counts from 0 in any case");
        }
        self.exporter
    }
}

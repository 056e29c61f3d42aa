//! Spans that wait to be sent, and the counts of earlier spans.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::Queue;
use ensue_api::metrics::LabelledMetrics;
use ensue_api::queues::QueuePermit;
use ensue_engine::trace::Sampler;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use super::span::Span;
use crate::clock::SteppedClock;

/// How many spans are sent at once.
pub(super) const AT_ONCE_MAX: usize = 512;

/// Spans that wait to be sent. Nothing waits for room: if there is none, a span is dropped and counted.
pub(crate) struct WaitingSpans {
    queue: Arc<Queue>,
    waiting: Mutex<VecDeque<(Span, QueuePermit)>>,
    /// Wakes the sender once there are enough spans.
    enough: Notify,
    /// Whether a span was dropped since the queue was last empty: that is reported only once.
    is_full: AtomicBool,
    counts: Arc<SpanCounts>,
    pub(super) clock: Arc<dyn SteppedClock>,
    /// Decides which traces are recorded.
    pub(super) sampler: Sampler,
}

/// What happened to spans since the start.
#[derive(Debug, Default)]
pub(crate) struct SpanCounts {
    pub(super) sent: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl SpanCounts {
    /// Registers the counts.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let by_outcome = [("sent", &self.sent), ("dropped", &self.dropped)];
        let by_outcome = by_outcome.map(|(outcome, count)| (outcome, ConstCounter::new(count.load(Ordering::Relaxed))));
        registry.register(
            "spans",
            "The spans of traces since the start, by what happened to them",
            LabelledMetrics::new("outcome", by_outcome),
        );
    }
}

impl WaitingSpans {
    /// Creates a list of waiting spans with as much room as the queue.
    pub(crate) fn new(queue: Arc<Queue>, counts: Arc<SpanCounts>, clock: Arc<dyn SteppedClock>, sampler: Sampler) -> Self {
        Self { queue, waiting: Mutex::default(), enough: Notify::new(), is_full: AtomicBool::new(false), counts, clock, sampler }
    }

    /// Accepts or drops a span.
    pub(super) fn push(&self, span: Span) {
        let Some(held) = self.queue.enter(1) else {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            if !self.is_full.swap(true, Ordering::Relaxed) {
                tracing::warn!("spans of traces are dropped: the queue `spans` is full; `ensue_spans_total` counts them");
            }
            return;
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((span, held));
        if waiting.len() >= AT_ONCE_MAX {
            self.enough.notify_one();
        }
    }

    /// Takes out the spans to send next: they count as waiting until they are dropped.
    pub(super) fn next(&self) -> Vec<(Span, QueuePermit)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let many = waiting.len().min(AT_ONCE_MAX);
        if many == waiting.len() {
            self.is_full.store(false, Ordering::Relaxed);
        }
        waiting.drain(..many).collect()
    }

    /// Returns once as many spans wait as are sent at once.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    /// Counts spans that were sent or dropped.
    pub(super) fn counts(&self) -> &SpanCounts {
        &self.counts
    }
}

//! Metrics of the node: how long the sequencer's turns take, and how large commits are.
//!
//! The tally counts the log's records; the API has its own metrics of queues and requests, and writes the text.

use ensue_api::metrics::{Distribution, LabelledMetrics, SHORT, Unit};
use ensue_engine::batch::CommittedBatch;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::followers::kept_bytes;

/// The bucket limits for the records of a commit.
const RECORDS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000];
/// The bucket limits for the bytes of a commit.
const BYTES: &[u64] = &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// How long the sequencer's turns take, and the size of their commits.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Time to decide, fold, and compute what follows.
    pub decide: Distribution,
    /// Time to write a batch and wait for the disk.
    pub commit: Distribution,
    /// Time to answer the callers and hand over.
    pub release: Distribution,
    /// Time from the submission of a command that brings events until it is on the disk.
    pub committed: Distribution,
    records: Distribution,
    bytes: Distribution,
}

impl Default for Turns {
    fn default() -> Self {
        let seconds = || Distribution::new(Unit::Seconds, SHORT);
        Self {
            decide: seconds(),
            commit: seconds(),
            release: seconds(),
            committed: seconds(),
            records: Distribution::new(Unit::Ones, RECORDS),
            bytes: Distribution::new(Unit::Ones, BYTES),
        }
    }
}

impl Turns {
    /// Counts the records and bytes of a batch.
    pub(crate) fn note(&self, batch: &CommittedBatch) {
        self.records.observe(batch.records.len() as u64);
        self.bytes.observe(batch.records.iter().map(kept_bytes).sum::<usize>() as u64);
    }

    /// Registers these metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let parts = [("decide", &self.decide), ("commit", &self.commit), ("release", &self.release)];
        let parts = parts.map(|(part, took)| (part, took.clone()));
        registry.register("turn_seconds", "The time that the sequencer took for a batch", LabelledMetrics::new("part", parts));
        registry.register("commit_records", "The number of records in a commit", self.records.clone());
        registry.register("commit_bytes", "The bytes of facts and bodies in a commit", self.bytes.clone());
    }
}

/// Registers a gauge.
pub(crate) fn gauge(registry: &mut Registry, name: &str, help: &str, figure: u64) {
    registry.register(name, help, ConstGauge::new(i64::try_from(figure).unwrap_or(i64::MAX)));
}

/// Registers a counter.
pub(crate) fn counter(registry: &mut Registry, name: &str, help: &str, figure: u64) {
    registry.register(name, help, ConstCounter::new(figure));
}

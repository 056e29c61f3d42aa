//! Distributions: histograms of plain atomics, for hot paths on which every microsecond adds to somebody's
//! wait.
//!
//! The histogram of `prometheus_client` takes a lock for each value. These take none, and allocate only when
//! they are created.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The bucket limits in nanoseconds, for durations from tens of microseconds to seconds.
pub const SHORT: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// The bucket limits in nanoseconds, for durations from a millisecond to hours.
pub const LONG: &[u64] = &[
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
    600_000_000_000,
    3_600_000_000_000,
];

/// The unit of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, reported as seconds.
    Seconds,
    /// Counts or bytes, reported as they are.
    Ones,
}

impl Unit {
    #[expect(clippy::cast_precision_loss, reason = "a metric has 53 bits")]
    fn to_float(self, value: u64) -> f64 {
        match self {
            Self::Seconds => value as f64 / 1e9,
            Self::Ones => value as f64,
        }
    }
}

/// A histogram; clones share its counts.
#[derive(Clone, Debug)]
pub struct Distribution(Arc<BucketCounts>);

#[derive(Debug)]
struct BucketCounts {
    limits: &'static [u64],
    unit: Unit,
    /// One count for each limit, and one for values over the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Distribution {
    /// Creates an empty one with a bucket up to each of `limits`, which must ascend, and one for values over
    /// the last.
    pub fn new(unit: Unit, limits: &'static [u64]) -> Self {
        let counts = (0..=limits.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(BucketCounts { limits, unit, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts a value, in the unit's own measure.
    pub fn observe(&self, value: u64) {
        let BucketCounts { limits, counts, sum, .. } = &*self.0;
        counts[limits.partition_point(|limit| *limit < value)].fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration.
    pub fn took(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl EncodeMetric for Distribution {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let BucketCounts { limits, unit, counts, sum } = &*self.0;
        let limits = limits.iter().map(|limit| unit.to_float(*limit)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = limits.zip(counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        // Summed from the buckets, so that the two agree whatever is counted meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(unit.to_float(sum.load(Ordering::Relaxed)), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Metrics of one name, one for each value of a label.
#[derive(Clone, Debug)]
pub struct LabelledMetrics<M> {
    label: &'static str,
    metrics: Vec<(&'static str, M)>,
}

impl<M> LabelledMetrics<M> {
    /// Creates it with one metric for each of the label's values, which are a closed list.
    pub fn new(label: &'static str, metrics: impl IntoIterator<Item = (&'static str, M)>) -> Self {
        Self { label, metrics: metrics.into_iter().collect() }
    }
}

impl<M: EncodeMetric> EncodeMetric for LabelledMetrics<M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.metrics.iter().try_for_each(|(value, metric)| metric.encode(encoder.encode_family(&[(self.label, *value)])?))
    }

    fn metric_type(&self) -> MetricType {
        self.metrics.first().map_or(MetricType::Unknown, |(_, metric)| metric.metric_type())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn value_counts_in_the_first_bucket_that_it_does_not_exceed() {
        let rows = Distribution::new(Unit::Ones, &[1, 10]);
        [0, 1, 2, 10, 11, 1_000].into_iter().for_each(|value| rows.observe(value));
        let took = Distribution::new(Unit::Seconds, SHORT);
        took.took(Duration::from_millis(3));
        let mut registry = Registry::default();
        registry.register("rows", "Rows", rows);
        registry.register("took_seconds", "Took", LabelledMetrics::new("part", [("commit", took)]));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "rows_sum 1024.0",
            "rows_count 6",
            "rows_bucket{le=\"1.0\"} 2",
            "rows_bucket{le=\"10.0\"} 4",
            "rows_bucket{le=\"+Inf\"} 6",
            "took_seconds_sum{part=\"commit\"} 0.003",
            "took_seconds_bucket{le=\"0.002\",part=\"commit\"} 0",
            "took_seconds_bucket{le=\"0.005\",part=\"commit\"} 1",
            "took_seconds_bucket{le=\"+Inf\",part=\"commit\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
    }
}

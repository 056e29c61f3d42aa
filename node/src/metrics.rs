//! Metrics of the node: how long the sequencer's turns take, and the figures of what stands behind the API.
//!
//! The queues' own are the API's, and so is the text.

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The limits of the histogram's buckets, in seconds: a turn without a wait for the disk takes some tens of microseconds.
const TURN_SECONDS: [f64; 13] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// A histogram for each value of the label `part`.
type ByPart = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// How long the parts of the sequencer's turns take.
#[derive(Clone, Debug)]
pub struct Turns {
    family: ByPart,
    /// Deciding, folding, and what follows.
    pub decide: Histogram,
    /// Writing a batch and waiting for the disk.
    pub commit: Histogram,
    /// Answering the callers and handing over.
    pub release: Histogram,
}

impl Default for Turns {
    fn default() -> Self {
        let family = ByPart::new_with_constructor(|| Histogram::new(TURN_SECONDS));
        let of = |part| Histogram::clone(&family.get_or_create(&[("part", part)]));
        let (decide, commit, release) = (of("decide"), of("commit"), of("release"));
        Self { family, decide, commit, release }
    }
}

impl Turns {
    /// Adds them to what is gathered.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("turn_seconds", "How long the sequencer took for a batch", self.family.clone());
    }
}

/// Adds a figure that goes up and down.
pub(crate) fn gauge(registry: &mut Registry, name: &str, help: &str, figure: u64) {
    registry.register(name, help, ConstGauge::new(i64::try_from(figure).unwrap_or(i64::MAX)));
}

/// Adds a figure that only goes up.
pub(crate) fn counter(registry: &mut Registry, name: &str, help: &str, figure: u64) {
    registry.register(name, help, ConstCounter::new(figure));
}

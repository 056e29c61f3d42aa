//! Metrics of a node, as a text that Prometheus reads.
//!
//! Nothing is counted here: each component owns its figures, which are gathered on request. Label values come
//! only from closed lists in the code, so that input can never add more of them.

mod distribution;
mod requests;
mod text;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::ports::Node;
use crate::queues::{Queue, Queues};

pub use distribution::{Distribution, LONG, LabelledMetrics, SHORT, Unit};
pub(crate) use requests::{Kind, Requests};
pub(crate) use text::MetricsFormat;

/// The prefix of each name.
const PREFIX: &str = "ensue";

/// Gathers all metrics.
pub(crate) fn gather(form: MetricsFormat, queues: &Queues, requests: &Requests, node: &dyn Node) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(OfQueues(queues.clone())));
    requests.register(&mut registry);
    node.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(form.write(text))
}

/// The queues' own figures.
#[derive(Debug)]
struct OfQueues(Queues);

impl OfQueues {
    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, figure: fn(&Queue) -> u64) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for queue in self.0.iter() {
            let labels = [("queue", queue.name().as_str())];
            ConstGauge::new(i64::try_from(figure(queue)).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for OfQueues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.gauges(&mut encoder, "queue_depth", "The current fill level of each queue", Queue::depth)?;
        self.gauges(&mut encoder, "queue_capacity", "The capacity of each queue", Queue::capacity)?;
        let help = "The number of rejections by each queue since the start";
        let mut family = encoder.encode_descriptor("queue_rejected", help, None, MetricType::Counter)?;
        for queue in self.0.iter() {
            let labels = [("queue", queue.name().as_str())];
            ConstCounter::new(queue.rejections()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

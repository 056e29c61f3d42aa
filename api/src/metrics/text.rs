//! The two text formats of metrics: OpenMetrics, and the older format that most tools read.
//!
//! The registry provides the content.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsFormat {
    /// Prometheus' own text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// The media types; the first is for callers that accept anything.
    pub(crate) const MEDIA_TYPES: &[&str] = &["text/plain", Self::OPEN_METRICS];
    const OPEN_METRICS: &str = "application/openmetrics-text";

    /// Returns the format of a media type that was chosen among [`MEDIA_TYPES`](Self::MEDIA_TYPES).
    pub(crate) fn of(media_type: &str) -> Self {
        if media_type == Self::OPEN_METRICS { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the whole media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Converts a text of OpenMetrics into this format.
    pub(crate) fn write(self, open_metrics: String) -> String {
        match self {
            Self::Prometheus => prometheus(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

/// Converts to the older format, which differs as follows: OpenMetrics names a counter without the `_total`
/// that its values have, reports units, and ends with a mark.
fn prometheus(open_metrics: &str) -> String {
    let kind = |line: &str| line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")).map(str::to_owned);
    let counters: BTreeSet<String> = open_metrics.lines().filter_map(kind).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let about = ["# HELP ", "# TYPE "].into_iter().find_map(|mark| Some((mark, line.strip_prefix(mark)?.split_once(' ')?)));
        let written = match about {
            Some((mark, (name, rest))) if counters.contains(name) => writeln!(text, "{mark}{name}_total {rest}"),
            Some(_) => writeln!(text, "{line}"),
            None if line.starts_with('#') => Ok(()),
            None => writeln!(text, "{line}"),
        };
        written.expect("a text takes whatever is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_format_names_a_counter_like_its_samples() {
        let open = "# HELP a_depth How deep.\n# TYPE a_depth gauge\na_depth 1\n# HELP a_sent Sent.\n# TYPE a_sent counter\na_sent_total 3\n# EOF\n";
        let older = "# HELP a_depth How deep.\n# TYPE a_depth gauge\na_depth 1\n# HELP a_sent_total Sent.\n# TYPE a_sent_total counter\na_sent_total 3\n";
        assert_eq!(MetricsFormat::Prometheus.write(open.to_owned()), older);
        assert_eq!(MetricsFormat::OpenMetrics.write(open.to_owned()), open);
    }
}

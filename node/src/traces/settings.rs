//! The operator's settings for traces.

use std::fmt;
use std::str::FromStr;

use ensue_engine::trace::Sampler;
use reqwest::Url;
use reqwest::header::HeaderMap;
use thiserror::Error;

/// Where a collector accepts traces, below its address.
const PATH: &str = "v1/traces";

/// The operator's settings for traces.
#[derive(Clone, Debug, Default)]
pub struct TraceSettings {
    /// The collector that traces are sent to; if none, no traces are sent.
    pub collector: Option<Collector>,
    /// The headers of each request to the collector; values are marked as sensitive, so that nothing shows
    /// them.
    pub headers: HeaderMap,
    /// The resource attributes in each request; they override the node's own.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
}

/// The address of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector(Url);

/// Why a text is not the address of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CollectorError {
    /// It is not an address.
    #[error("is not the address of a collector, like http://127.0.0.1:4318")]
    NoAddress,
    /// It contains more than an address.
    #[error(
        "contains credentials, a query or a fragment in addition to a collector's address; set credentials in OTEL_EXPORTER_OTLP_HEADERS"
    )]
    More,
}

impl Collector {
    /// Reads an address to which nothing is added.
    pub(crate) fn exactly(text: &str) -> Result<Self, CollectorError> {
        let url: Url = text.parse().map_err(|_| CollectorError::NoAddress)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(CollectorError::NoAddress);
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(CollectorError::More);
        }
        Ok(Self(url))
    }

    /// Reads an address below which the collector accepts traces, as OpenTelemetry says: the path of traces is
    /// always added.
    pub(crate) fn below(text: &str) -> Result<Self, CollectorError> {
        let Self(mut url) = Self::exactly(text)?;
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{PATH}"));
        Ok(Self(url))
    }

    /// Returns the address that traces are sent to.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Collector {
    type Err = CollectorError;

    /// Reads an address with or without the path of traces.
    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let exact = Self::exactly(text)?;
        let is_whole = exact.0.path().trim_end_matches('/').ends_with(&format!("/{PATH}"));
        if is_whole { Self::exactly(text.trim_end_matches('/')) } else { Self::below(text) }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collector_address_may_include_the_traces_path() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.test/in/v1/traces", "https://otel.example.test/in/v1/traces"),
            ("https://otel.example.test/in/v1/traces/", "https://otel.example.test/in/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), url);
        }
        for text in ["", "127.0.0.1:4318", "grpc://127.0.0.1:4317"] {
            assert_eq!(text.parse::<Collector>(), Err(CollectorError::NoAddress), "{text}");
        }
        for text in ["http://ada:secret@otel.example.test", "http://otel.example.test/?key=7"] {
            assert_eq!(text.parse::<Collector>(), Err(CollectorError::More), "{text}");
        }
    }

    #[test]
    fn opentelemetry_endpoints_are_extended_as_specified() {
        assert_eq!(Collector::below("http://127.0.0.1:4318/in/").unwrap().to_string(), "http://127.0.0.1:4318/in/v1/traces");
        assert_eq!(Collector::exactly("http://127.0.0.1:4318/in").unwrap().to_string(), "http://127.0.0.1:4318/in");
    }
}

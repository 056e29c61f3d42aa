//! OpenTelemetry's own variables, which Ensue's settings of the same kind override
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! They are often set for a whole machine or cluster, so an invalid one causes a warning and never prevents a start.
//! No warning shows a value: it may be a secret.

use std::collections::BTreeMap;

use ensue_engine::trace::{Sampler, Share};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::traces::{Collector, TraceSettings};

/// The prefix of all their names.
pub(super) const PREFIX: &str = "OTEL_";

const DISABLED: &str = "OTEL_SDK_DISABLED";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
/// Exporters of signals other than traces, which the node does not send.
const OTHER_SIGNALS: [&str; 2] = ["OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"];

/// Prefixes of variables that would change what a node sends if it read them. Other variables are for other programs
/// of the machine.
const OF_EXPORT: [&str; 9] = [
    "OTEL_ATTRIBUTE_",
    "OTEL_BLRP_",
    "OTEL_BSP_",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_EXPORTER_",
    "OTEL_METRIC_EXPORT_",
    "OTEL_SPAN_",
    "OTEL_TRACES_",
];

/// The maximum length of a resource attribute and of a header, in characters.
const PART_CHARS_MAX: usize = 4096;
/// The maximum number of resource attributes, and of headers.
const PARTS_MAX: usize = 64;

/// Applies the variables to the trace settings, which already contain Ensue's own settings, and returns the warnings.
pub(super) fn read(variables: &BTreeMap<String, String>, to: &mut TraceSettings) -> Vec<String> {
    let mut reading = VariableReader { variables, warnings: Vec::new() };
    if reading.is_disabled() {
        if to.collector.take().is_some() {
            reading.warnings.push(format!("no traces are sent, because {DISABLED} is true"));
        }
        return reading.warnings;
    }
    if to.collector.is_none() {
        to.collector = reading.collector();
    }
    reading.note_protocol(to);
    to.headers = reading.headers();
    to.resource = reading.resource();
    to.sampler = reading.sampler();
    reading.note_the_rest();
    reading.warnings
}

struct VariableReader<'v> {
    variables: &'v BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl<'v> VariableReader<'v> {
    /// Returns the first of these variables that is set, with its value.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &'v str)> {
        names.iter().find_map(|name| Some((*name, self.variables.get(*name)?.trim())))
    }

    fn ignore(&mut self, name: &str, why: &str) {
        self.warnings.push(format!("the environment variable {name} is ignored: {why}"));
    }

    fn is_disabled(&mut self) -> bool {
        let Some((name, value)) = self.first(&[DISABLED]) else { return false };
        let is_disabled = value.eq_ignore_ascii_case("true");
        if !is_disabled && !value.eq_ignore_ascii_case("false") {
            self.ignore(name, "it is neither `true` nor `false`");
        }
        is_disabled
    }

    /// Returns the collector that OpenTelemetry's variables name, or `None` if they name none that accepts traces.
    fn collector(&mut self) -> Option<Collector> {
        if let Some((_, "none")) = self.first(&[EXPORTER]) {
            return None;
        }
        let (name, value) = self.first(&ENDPOINT)?;
        let read = if name == ENDPOINT[0] { Collector::exactly(value) } else { Collector::below(value) };
        let collector = read.map_err(|why| self.ignore(name, &format!("it {why}"))).ok()?;
        match self.first(&PROTOCOL) {
            Some((protocol, "grpc")) => {
                self.warnings.push(format!("no traces are sent to the collector of {name}: {protocol} is `grpc`, but Ensue sends OTLP only over HTTP; set it to `http/json`, and the port to that of OTLP over HTTP, usually 4318"));
                None
            }
            Some(_) | None => Some(collector),
        }
    }

    /// Warns if the variables ask for a protocol other than the one in use.
    fn note_protocol(&mut self, to: &TraceSettings) {
        if to.collector.is_some()
            && let Some((name, value)) = self.first(&PROTOCOL)
            && value != "http/json"
        {
            self.ignore(name, "Ensue sends OTLP only over HTTP in JSON (`http/json`)");
        }
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((name, value)) = self.first(&HEADERS) else { return headers };
        let Some(pairs) = pairs(value) else {
            self.ignore(name, "it is not a list like `key=value,key2=value2`");
            return headers;
        };
        for (key, value) in pairs {
            let Some((key, mut value)) = HeaderName::from_bytes(key.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok()) else {
                self.ignore(name, "one of its entries is not a header");
                return HeaderMap::new();
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        headers
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let mut resource = Vec::new();
        if let Some((name, value)) = self.first(&[RESOURCE]) {
            match pairs(value) {
                Some(pairs) => resource = pairs,
                None => self.ignore(name, "it is not a list like `key=value,key2=value2`"),
            }
        }
        if let Some((_, name)) = self.first(&[SERVICE_NAME]) {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name.to_owned()));
        }
        resource
    }

    fn sampler(&mut self) -> Sampler {
        let Some((name, value)) = self.first(&[SAMPLER]) else { return Sampler::default() };
        let (kind, is_parent_based) = value.strip_prefix("parentbased_").map_or((value, false), |kind| (kind, true));
        let begun = match kind {
            "always_on" => Share::ALL,
            "always_off" => Share::NONE,
            "traceidratio" => self.ratio(),
            _ => {
                self.ignore(
                    name,
                    "Ensue supports only `always_on`, `always_off`, `traceidratio`, and these with the prefix `parentbased_`",
                );
                return Sampler::default();
            }
        };
        Sampler { begun, continued: (!is_parent_based).then_some(begun) }
    }

    fn ratio(&mut self) -> Share {
        let Some((name, value)) = self.first(&[SAMPLER_ARG]) else { return Share::ALL };
        let share = value.parse().ok().and_then(Share::of_ratio);
        if share.is_none() {
            self.ignore(name, "it is not a number from 0 to 1");
        }
        share.unwrap_or(Share::ALL)
    }

    /// Warns about unsupported variables that would change what is sent.
    fn note_the_rest(&mut self) {
        let read = [SAMPLER, SAMPLER_ARG].into_iter().chain(ENDPOINT).chain(HEADERS).chain(PROTOCOL).collect::<Vec<_>>();
        for (name, value) in self.variables {
            let (name, value) = (name.as_str(), value.trim());
            if read.contains(&name) {
                continue;
            }
            match name {
                EXPORTER if matches!(value, "otlp" | "none") => {}
                EXPORTER => self.ignore(name, "Ensue exports traces only with `otlp`"),
                PROPAGATORS => {
                    let is_known = |propagator: &str| matches!(propagator.trim(), "tracecontext" | "baggage");
                    if !value.split(',').all(is_known) || !value.contains("tracecontext") {
                        self.ignore(name, "Ensue reads and forwards only the W3C trace context (`tracecontext`)");
                    }
                }
                _ if COMPRESSION.contains(&name) && value == "none" => {}
                _ if OTHER_SIGNALS.contains(&name) && value != "none" => {
                    self.ignore(name, "Ensue sends only traces; its metrics are at /metrics, and its log is on standard error");
                }
                _ if OF_EXPORT.iter().any(|beginning| name.starts_with(beginning)) => self.ignore(name, "Ensue does not support it"),
                _ => {}
            }
        }
    }
}

/// Parses a percent-encoded list like `key=value,key2=value2`. Returns `None` if it is not such a list.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let entries = list.split(',').filter(|entry| !entry.trim().is_empty());
    let pairs: Option<Vec<_>> = entries
        .map(|entry| {
            let (key, value) = entry.split_once('=')?;
            let (key, value) = (decoded(key)?, decoded(value)?);
            (!key.is_empty() && key.len().max(value.len()) <= PART_CHARS_MAX).then_some((key, value))
        })
        .collect();
    pairs.filter(|pairs| pairs.len() <= PARTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const ENDPOINT_IS: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn config(variables: &[(&str, &str)]) -> Config {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(None, variables).unwrap()
    }

    fn collector(variables: &[(&str, &str)]) -> Option<String> {
        config(variables).traces.collector.map(|collector| collector.to_string())
    }

    #[test]
    fn collector_endpoint_prefers_ensue_s_variable_then_traces_then_general() {
        let own = ("ENSUE_TRACES_ENDPOINT", "http://own:4318");
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/in");
        assert_eq!(collector(&[ENDPOINT_IS]).as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(collector(&[ENDPOINT_IS, of_traces]).as_deref(), Some("http://traces:4318/in"));
        assert_eq!(collector(&[of_traces, own, ENDPOINT_IS]).as_deref(), Some("http://own:4318/v1/traces"));
        assert_eq!(collector(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
    }

    #[test]
    fn disabled_export_sends_nothing() {
        let disabled = config(&[ENDPOINT_IS, ("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(disabled.traces.collector.is_none() && disabled.otel_warnings.is_empty(), "{:?}", disabled.otel_warnings);
        let own = config(&[("ENSUE_TRACES_ENDPOINT", "http://own:4318"), ("OTEL_SDK_DISABLED", "true")]);
        assert!(own.traces.collector.is_none());
        assert_eq!(own.otel_warnings, ["no traces are sent, because OTEL_SDK_DISABLED is true"]);
        let none = config(&[ENDPOINT_IS, ("OTEL_TRACES_EXPORTER", "none")]);
        assert!(none.traces.collector.is_none() && none.otel_warnings.is_empty());
    }

    #[test]
    fn grpc_is_a_warning_and_disables_the_export() {
        let grpc = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(grpc.traces.collector.is_none());
        assert!(
            matches!(&grpc.otel_warnings[..], [only] if only.contains("grpc") && only.contains("http/json")),
            "{:?}",
            grpc.otel_warnings
        );
        let protobuf = config(&[ENDPOINT_IS, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")]);
        assert!(protobuf.traces.collector.is_some() && protobuf.otel_warnings.len() == 1);
        let json = config(&[ENDPOINT_IS, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(json.traces.collector.is_some() && json.otel_warnings.is_empty());
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let config = config(&[ENDPOINT_IS, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret, x-team = a%2Cb ")]);
        assert_eq!(config.traces.headers["authorization"], "Bearer s3cret");
        assert_eq!(config.traces.headers["x-team"], "a,b");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn service_name_variable_overrides_the_resource_attribute() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%20b");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(config(&[attributes]).traces.resource, [pair("service.name", "other"), pair("deployment.environment.name", "a b")]);
        let named = config(&[attributes, ("OTEL_SERVICE_NAME", "release-bot")]);
        assert_eq!(named.traces.resource, [pair("deployment.environment.name", "a b"), pair("service.name", "release-bot")]);
    }

    #[test]
    fn sampler_is_one_of_opentelemetry_s_six() {
        let sampler = |name: &str, argument: &str| config(&[(SAMPLER, name), (SAMPLER_ARG, argument)]).traces.sampler;
        let quarter = Share::of_ratio(0.25).unwrap();
        for (name, begun, continued) in [
            ("always_on", Share::ALL, Some(Share::ALL)),
            ("always_off", Share::NONE, Some(Share::NONE)),
            ("traceidratio", quarter, Some(quarter)),
            ("parentbased_always_on", Share::ALL, None),
            ("parentbased_always_off", Share::NONE, None),
            ("parentbased_traceidratio", quarter, None),
        ] {
            assert_eq!(sampler(name, "0.25"), Sampler { begun, continued }, "{name}");
        }
    }

    #[test]
    fn malformed_or_unsupported_variable_is_a_warning_without_its_value() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "s3cret"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ada:s3cret@127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=s3cret"),
            ("OTEL_TRACES_SAMPLER", "s3cret"),
            ("OTEL_TRACES_EXPORTER", "s3cret"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/s3cret"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_PROPAGATORS", "b3"),
        ] {
            let warnings = config(&[(name, value)]).otel_warnings;
            assert!(matches!(&warnings[..], [only] if only.contains(name) && !only.contains("s3cret")), "{name}: {warnings:?}");
        }
        let ratio = config(&[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")]);
        assert_eq!((ratio.traces.sampler.begun, ratio.otel_warnings.len()), (Share::ALL, 1));
        let known =
            [("OTEL_PROPAGATORS", "tracecontext,baggage"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_PYTHON_LOG_CORRELATION", "true")];
        assert!(config(&known).otel_warnings.is_empty());
    }
}

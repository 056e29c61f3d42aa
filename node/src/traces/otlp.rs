//! Spans in OTLP's JSON encoding (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in
//! hexadecimal, 64-bit numbers as text.

use ensue_engine::ids::LogId;
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::span::{Kind, Span, Value};
use crate::release::RELEASE;

/// The status of a failed span.
const STATUS_ERROR: u8 = 2;

/// Returns the resource of spans: the node's attributes, overridden by the operator's.
pub(super) fn resource(log: LogId, said: &[(String, String)]) -> Vec<(String, String)> {
    let own = [("service.name", "ensue".to_owned()), ("service.version", RELEASE.to_owned()), ("service.instance.id", log.to_string())];
    let mut all: Vec<(String, String)> = own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    for (key, value) in said {
        match all.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => value.clone_into(known),
            None => all.push((key.clone(), value.clone())),
        }
    }
    all
}

/// Writes spans as the body of an export request.
pub(super) fn encode_export<'s>(
    resource: &[(String, String)],
    spans: impl Iterator<Item = &'s Span> + Clone,
) -> Result<Vec<u8>, serde_json::Error> {
    let resource: Vec<Json> = resource.iter().map(|(key, value)| attribute(key, &Value::Text(value.clone()))).collect();
    serde_json::to_vec(&Export {
        resource_spans: [OfResource {
            resource: json!({ "attributes": resource }),
            scope_spans: [OfScope { scope: json!({ "name": "ensue", "version": RELEASE }), spans: AllSpans(spans) }],
        }],
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<S: Serialize> {
    resource_spans: [OfResource<S>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfResource<S: Serialize> {
    resource: Json,
    scope_spans: [OfScope<S>; 1],
}

#[derive(Serialize)]
struct OfScope<S: Serialize> {
    scope: Json,
    spans: S,
}

/// Spans are written one by one, so that only one at a time exists as a value.
struct AllSpans<I>(I);

impl<'s, I: Iterator<Item = &'s Span> + Clone> Serialize for AllSpans<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut spans = serializer.serialize_seq(None)?;
        for span in self.0.clone() {
            spans.serialize_element(&one(span))?;
        }
        spans.end()
    }
}

fn one(span: &Span) -> Json {
    let nanos = |micros: i64| (i128::from(micros) * 1_000).max(0).to_string();
    let attributes: Vec<Json> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut written = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        "startTimeUnixNano": nanos(span.from.micros()),
        // A clock that was set back does not produce spans of negative length.
        "endTimeUnixNano": nanos(span.until.micros().max(span.from.micros())),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = parent.to_string().into();
    }
    if let Some(why) = &span.error {
        written["status"] = json!({ "code": STATUS_ERROR });
        if !why.is_empty() {
            written["status"]["message"] = why.as_str().into();
        }
    }
    written
}

fn attribute(key: &str, value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({ "key": key, "value": { "stringValue": text } }),
        Value::Number(number) => json!({ "key": key, "value": { "intValue": number.to_string() } }),
    }
}

/// A collector's answer to an export.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExportAnswer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// Text or a number, because implementations write 64-bit numbers differently.
    rejected_spans: Json,
}

/// Returns how many spans a collector rejected although it answered successfully.
pub(super) fn count_rejected(answer: &[u8]) -> u64 {
    let answer: ExportAnswer = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.partial_success.unwrap_or_default().rejected_spans;
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_rejected_spans_is_read_from_the_collector_s_answer() {
        let cases: [(&str, u64); 5] = [
            ("{}", 0),
            ("", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":4}}"#, 4),
        ];
        for (answer, expected) in cases {
            assert_eq!(count_rejected(answer.as_bytes()), expected, "{answer}");
        }
    }
}

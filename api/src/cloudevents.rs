//! CloudEvents 1.0.2 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>): parsing them,
//! and building their payload.
//!
//! CloudEvents in headers are in `binary.rs`; writing an event as one is in `written.rs`. Whether a trigger
//! of its type exists is not checked here.

mod binary;
mod render;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ensue_engine::events::internal::SOURCE_OF_ENGINE;
use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use ensue_engine::trace::TraceContext;
use ensue_expression::Document;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::problem::{FieldError, Problem, quote};

pub(crate) use binary::{ATTRIBUTES, Attribute, binary, is_binary};
pub(crate) use render::render_event;

/// The media type of one event in JSON.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of a list of them.
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";

/// The payload field that holds the attributes, and the data if it is not an object, so that nothing of an
/// event is lost.
const CONTEXT: &str = "cloudevent";
/// The version that is accepted, and written.
const SPECVERSION: &str = "1.0";
/// The maximum length in bytes of an id and of a source: as much as lists of events show.
const NAME_BYTES_MAX: usize = 1024;

/// The source of events that callers send in the API's own format.
pub(crate) const SOURCE_OF_OURS: &str = "api";
/// The prefix of the source of an event that an execution emits.
const SOURCE_OF_EXECUTIONS: &str = "execution/";
/// The maximum number of errors reported for one event: further ones are rarely of another kind.
const ERRORS_MAX: usize = 20;

/// Reports whether a source is one that the node itself sets, apart from the refs of its sensors.
pub(crate) fn is_own_source(source: &str) -> bool {
    source == SOURCE_OF_OURS || source == SOURCE_OF_ENGINE || source.starts_with(SOURCE_OF_EXECUTIONS)
}

/// A well-formed CloudEvent.
#[derive(Debug)]
pub(crate) struct CloudEvent {
    /// Its `id`, unique within its source.
    pub(crate) id: String,
    /// Its `source`.
    pub(crate) source: String,
    /// Its `type`.
    pub(crate) of_type: String,
    /// Its `time`.
    pub(crate) time: Option<Timestamp>,
    /// The trace that it carries (the extension "distributed tracing"); `None` if that is not valid.
    pub(crate) trace: Option<String>,
    /// The payload that rules read: the fields of its data, and everything else under `cloudevent`.
    pub(crate) payload: Bytes,
}

/// Why a CloudEvent is rejected.
#[derive(Debug, Error, Explain)]
#[error("not a valid CloudEvent: `{at}` {why}")]
#[explain(slug = "cloudevent-invalid", fault = Invalid,
    hint = "send CloudEvents 1.0 with `specversion`, `id`, `source` and `type`; `errors` lists each attribute to fix")]
struct CloudEventRefusal {
    at: String,
    why: String,
}

/// Returns the problem for an invalid CloudEvent; `errors` must not be empty.
pub(crate) fn invalid_cloudevent(errors: Vec<FieldError>) -> Problem {
    let (at, why) = errors.first().map(|first| (first.pointer.clone(), first.message.clone())).unwrap_or_default();
    Problem::from(CloudEventRefusal { at, why }).with_errors(errors)
}

/// Parses an event in JSON at a place in the body. The JSON was already parsed strictly.
pub(crate) fn parse_structured(text: &str, at: &str) -> Result<CloudEvent, Problem> {
    let mut reading = CloudEventParser::at(at);
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        return Err(invalid_cloudevent(vec![FieldError { pointer: at.to_owned(), message: "must be an object".to_owned() }]));
    };
    let (mut json, mut base64) = (None, None);
    for (name, value) in members.0 {
        match name.as_str() {
            "data" => json = Some(value),
            "data_base64" if value.get() == "null" => {}
            "data_base64" => base64 = Some(value),
            // Arrays and objects are rejected, however large they are, without being parsed.
            _ if value.get().starts_with(['[', '{']) => reading.attribute(&name, Value::Array(Vec::new())),
            _ => match serde_json::from_str(value.get()) {
                Ok(value) => reading.attribute(&name, value),
                Err(why) => return Err(Problem::bug(&why)),
            },
        }
    }
    let data = match (json, base64) {
        (Some(_), Some(_)) => {
            reading.error("data_base64", "cannot be combined with `data`; an event has only one of them");
            None
        }
        (Some(json), None) => Some(Data::Json(json.get().to_owned())),
        (None, Some(base64)) => reading.bytes(base64.get()),
        (None, None) => None,
    };
    reading.finish(data)
}

/// The data of an event.
enum Data {
    /// JSON text.
    Json(String),
    /// Bytes, in Base64.
    Bytes(String),
}

/// An event while it is being parsed.
struct CloudEventParser<'a> {
    at: &'a str,
    attributes: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> CloudEventParser<'a> {
    fn at(at: &'a str) -> Self {
        Self { at, attributes: Map::new(), errors: Vec::new() }
    }

    fn error(&mut self, name: &str, message: impl Into<String>) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        let name = quote(name).replace('~', "~0").replace('/', "~1");
        self.errors.push(FieldError { pointer: format!("{}/{name}", self.at), message: message.into() });
    }

    /// Reads an attribute; null means that it is absent.
    fn attribute(&mut self, name: &str, value: Value) {
        let is_name = !name.is_empty() && name != "data" && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let why = match &value {
            _ if !is_name => "is not an attribute name: a name has only lower-case letters and digits, and is not `data`",
            Value::Null => return,
            Value::String(text) if text.chars().any(char::is_control) => "contains control characters",
            Value::Number(number) if number.as_i64().is_none_or(|number| i32::try_from(number).is_err()) => {
                "must be a whole number of 32 bits; send other numbers as strings"
            }
            Value::Array(_) | Value::Object(_) => "must be a string, a whole number, `true` or `false`; structured values belong in `data`",
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.attributes.insert(name.to_owned(), value);
                return;
            }
        };
        self.error(name, why);
    }

    /// Reads data in Base64, as JSON if the event says so.
    fn bytes(&mut self, json: &str) -> Option<Data> {
        let text: Option<String> = serde_json::from_str(json).ok();
        let Some((text, bytes)) = text.and_then(|text| BASE64.decode(&text).ok().map(|bytes| (text, bytes))) else {
            self.error("data_base64", "must be a Base64 string (RFC 4648)");
            return None;
        };
        if !self.attributes.get("datacontenttype").and_then(Value::as_str).is_some_and(is_json) {
            return Some(Data::Bytes(text));
        }
        match Document::parse(bytes.into()) {
            Ok(document) => Some(Data::Json(String::from_utf8_lossy(document.bytes()).into_owned())),
            Err(why) => {
                self.error("data_base64", format!("is not JSON, although `datacontenttype` declares it: {why}"));
                None
            }
        }
    }

    /// Returns an attribute that is a string, if it is present.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.attributes.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => {
                self.error(name, "must be a string that is not empty");
                None
            }
        }
    }

    /// Returns an attribute that every event must have, of at most as many bytes as lists show.
    fn required_text(&mut self, name: &str) -> String {
        if !self.attributes.contains_key(name) && !self.errors.iter().any(|error| error.pointer.ends_with(&format!("/{name}"))) {
            self.error(name, "is missing");
        }
        let text = self.text(name).unwrap_or_default();
        if text.len() > NAME_BYTES_MAX {
            self.error(name, format!("is longer than {NAME_BYTES_MAX} bytes"));
        }
        text
    }

    /// Checks what the specification requires of each attribute that it defines.
    fn finish(mut self, data: Option<Data>) -> Result<CloudEvent, Problem> {
        let version = self.required_text("specversion");
        if !version.is_empty() && version != SPECVERSION {
            self.error("specversion", format!("is `{}`, but only `{SPECVERSION}` is supported", quote(&version)));
        }
        let (id, source, of_type) = (self.required_text("id"), self.required_text("source"), self.required_text("type"));
        if !is_uri_reference(&source) {
            self.error("source", "must be a URI or a relative reference (RFC 3986); percent-encode characters that are not allowed");
        }
        let time = match self.text("time").map(|time| time.parse()) {
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => {
                self.error("time", "must be a time in RFC 3339, for example `2026-03-28T09:00:00Z`");
                None
            }
            None => None,
        };
        self.text("subject");
        if self.text("datacontenttype").is_some_and(|media| !media.split(';').next().is_some_and(|essence| essence.trim().contains('/'))) {
            self.error("datacontenttype", "must be a media type, for example `application/json`");
        }
        if self.text("dataschema").is_some_and(|schema| !is_uri(&schema)) {
            self.error("dataschema", "must be an absolute URI (RFC 3986)");
        }
        let trace = self.attributes.get("traceparent").and_then(Value::as_str).and_then(|trace| trace.parse().ok());
        let state = self.attributes.get("tracestate").and_then(Value::as_str).and_then(|state| state.parse().ok());
        let trace = trace.map(|parent| TraceContext { parent, state }.to_string());
        if let Some(Data::Json(text)) = &data
            && serde_json::from_str::<Members<'_>>(text).is_ok_and(|fields| fields.get(CONTEXT).is_some())
        {
            self.error("data", format!("has a field `{CONTEXT}`, which is reserved for the attributes; give it another name"));
        }
        if !self.errors.is_empty() {
            return Err(invalid_cloudevent(self.errors));
        }
        let payload = payload(&self.attributes, data).into();
        Ok(CloudEvent { id, source, of_type, time, trace, payload })
    }
}

/// Combines attributes and data. The fields of an object become the payload's own, so rules read them like
/// those of any other event.
fn payload(attributes: &Map<String, Value>, data: Option<Data>) -> String {
    let mut context = Value::from(attributes.clone()).to_string();
    let (name, value) = match data {
        None => return format!("{{\"{CONTEXT}\":{context}}}"),
        Some(Data::Json(text)) => match fields(&text) {
            Some(fields) => return format!("{{{fields},\"{CONTEXT}\":{context}}}"),
            None => ("data", text),
        },
        Some(Data::Bytes(base64)) => ("data_base64", format!("\"{base64}\"")),
    };
    // The four required attributes are always there, so the comma is always followed by something.
    context.truncate(context.len() - 1);
    format!("{{\"{CONTEXT}\":{context},\"{name}\":{value}}}}}")
}

/// Returns the text between the braces of an object that has fields.
fn fields(json: &str) -> Option<&str> {
    let fields = json.trim().strip_prefix('{')?.strip_suffix('}')?;
    (!fields.trim().is_empty()).then_some(fields)
}

/// Reports whether a media type is JSON: `*/json`, `*/*+json`.
fn is_json(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Reports whether a text has only characters allowed in a URI, with two digits after each percent sign.
fn is_uri_reference(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let mut escapes = text.split('%').skip(1);
    text.bytes().all(is_allowed) && escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()))
}

fn is_uri(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    is_uri_reference(text) && text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// The members of an object in their order, each as it is written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#""specversion":"1.0","id":"17","source":"/shop","type":"shop.order""#;

    fn with(more: &str) -> Result<CloudEvent, Problem> {
        parse_structured(&format!("{{{ORDER}{more}}}"), "")
    }

    fn payload_of(more: &str) -> Value {
        serde_json::from_slice(&with(more).unwrap().payload).unwrap()
    }

    fn refusal_detail(more: &str) -> String {
        let problem = with(more).unwrap_err();
        assert_eq!(problem.code(), "cloudevent_invalid");
        problem.detail().unwrap().to_owned()
    }

    #[test]
    fn payload_has_the_data_fields_and_the_context_under_cloudevent() {
        let payload = payload_of(r#","subject":"vip","rank":3,"data":{"number":1}"#);
        let context =
            serde_json::json!({ "specversion": "1.0", "id": "17", "source": "/shop", "type": "shop.order", "subject": "vip", "rank": 3 });
        assert_eq!(payload, serde_json::json!({ "number": 1, "cloudevent": context }));
    }

    #[test]
    fn non_object_data_is_stored_next_to_the_attributes() {
        for data in ["7", "null", "\"text\"", "[1]", "{ }"] {
            let payload = payload_of(&format!(",\"data\":{data}"));
            assert_eq!(payload["cloudevent"]["data"].to_string(), data.replace(' ', ""), "{payload}");
            assert_eq!(payload.as_object().unwrap().len(), 1);
        }
        assert_eq!(payload_of(r#","data_base64":"AP8=""#)["cloudevent"]["data_base64"], "AP8=");
        assert!(payload_of("")["cloudevent"].get("data").is_none());
    }

    #[test]
    fn base64_data_declared_as_json_is_parsed() {
        let number = BASE64.encode(r#"{"number":1}"#);
        assert_eq!(payload_of(&format!(r#","datacontenttype":"application/json","data_base64":"{number}""#))["number"], 1);
        assert!(refusal_detail(r#","datacontenttype":"text/json","data_base64":"AP8=""#).contains("/data_base64"));
    }

    #[test]
    fn null_attribute_counts_as_absent() {
        assert!(payload_of(r#","subject":null"#)["cloudevent"].get("subject").is_none());
        assert!(parse_structured(r#"{"specversion":"1.0","id":null,"source":"/s","type":"a.b"}"#, "").is_err());
    }

    #[test]
    fn errors_name_the_attribute() {
        for (more, pointer) in [
            (r#","Subject":"x""#, "/Subject"),
            (r#","sub_ject":"x""#, "/sub_ject"),
            (r#","subject":"""#, "/subject"),
            (r#","subject":7"#, "/subject"),
            (r#","rank":1.5"#, "/rank"),
            (r#","rank":2147483648"#, "/rank"),
            (r#","rank":{}"#, "/rank"),
            (r#","note":"a\u0000b""#, "/note"),
            (r#","time":"yesterday""#, "/time"),
            (r#","dataschema":"order.json""#, "/dataschema"),
            (r#","datacontenttype":"json""#, "/datacontenttype"),
            (r#","data":1,"data_base64":"AA==""#, "/data_base64"),
            (r#","data_base64":"no base64""#, "/data_base64"),
            (r#","data":{"cloudevent":1}"#, "/data"),
        ] {
            assert!(refusal_detail(more).contains(&format!("`{pointer}` ")), "{more}: {}", refusal_detail(more));
        }
        let bare = parse_structured("{}", "/3").unwrap_err();
        assert_eq!(bare.detail(), Some("not a valid CloudEvent: `/3/specversion` is missing"));
        for none in ["[]", "7", "\"x\""] {
            assert!(parse_structured(none, "").is_err(), "{none}");
        }
    }

    #[test]
    fn only_version_1_0_is_accepted() {
        for version in ["0.3", "1.0.2", "2.0"] {
            let other = parse_structured(&format!(r#"{{"specversion":"{version}","id":"1","source":"/s","type":"a.b"}}"#), "").unwrap_err();
            assert!(other.detail().unwrap().ends_with(&format!("is `{version}`, but only `1.0` is supported")), "{:?}", other.detail());
        }
    }

    #[test]
    fn source_is_a_uri_reference() {
        for good in
            ["/shop", "https://example.test/a?b=c#d", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "mailto:a@b", "1-555", "a%20b"]
        {
            assert!(is_uri_reference(good), "{good}");
        }
        for bad in ["a b", "é", "a%2", "%zz", "a\"b"] {
            assert!(!is_uri_reference(bad), "{bad}");
        }
    }
}

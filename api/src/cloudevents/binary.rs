//! A CloudEvent as an HTTP message (binary content mode): attributes in headers `ce-*`, the data as the body.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use bytes::Bytes;
use ensue_expression::Document;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::{BASE64, CloudEvent, CloudEventParser, Data, is_json};
use crate::body::BodyRefusal;
use crate::operation::BodyPresence;
use crate::problem::Problem;

/// The prefix of attribute headers.
const PREFIX: &str = "ce-";
/// The headers of the attributes that the specification defines.
pub(crate) const ATTRIBUTES: [Attribute; 7] = [
    Attribute::of_every_event(
        "ce-specversion",
        "`1.0`. With this header, or one of the next three, the body is the data of a CloudEvent.",
        "1.0",
    ),
    Attribute::of_every_event("ce-id", "The event's id, unique within its source, percent-encoded.", "17"),
    Attribute::of_every_event("ce-source", "The event's source: a URI or a relative reference, percent-encoded.", "/orders"),
    Attribute::of_every_event("ce-type", "The ref of its trigger.", "demo.hello"),
    Attribute::of_some("ce-time", "The time of the event, in RFC 3339.", "2026-03-28T09:00:00Z"),
    Attribute::of_some("ce-subject", "The subject of the event, percent-encoded.", "order/17"),
    Attribute::of_some("ce-dataschema", "The URI of the schema of its data.", "https://schemas.example.test/order"),
];

/// An attribute as a header.
#[derive(Clone, Copy)]
pub(crate) struct Attribute {
    /// The header's name.
    pub(crate) header: &'static str,
    /// Its meaning.
    pub(crate) means: &'static str,
    /// An example, as senders write it.
    pub(crate) example: &'static str,
    /// Whether every event has it.
    presence: BodyPresence,
}

impl Attribute {
    const fn of_every_event(header: &'static str, means: &'static str, example: &'static str) -> Self {
        Self { header, means, example, presence: BodyPresence::Required }
    }

    const fn of_some(header: &'static str, means: &'static str, example: &'static str) -> Self {
        Self { header, means, example, presence: BodyPresence::Optional }
    }
}

/// Reports whether a request's headers are those of an event. A single required attribute is enough, so that
/// missing ones are reported.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    ATTRIBUTES.iter().any(|attribute| attribute.presence == BodyPresence::Required && headers.contains_key(attribute.header))
}

/// Parses an event from its headers and its body. If it is rejected, errors point into its JSON form.
pub(crate) fn binary(headers: &HeaderMap, body: &Bytes) -> Result<CloudEvent, Problem> {
    let mut reading = CloudEventParser::at("");
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            _ if attribute == "datacontenttype" => reading.error(attribute, "must be sent as `Content-Type`, not as a header of its own"),
            (Some(value), None) => match decode_header(value) {
                Some(text) => reading.attribute(attribute, Value::String(text)),
                None => reading.error(attribute, "is not UTF-8 after percent-decoding"),
            },
            _ => reading.error(attribute, "is given more than once"),
        }
    }
    let media = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let data = if body.is_empty() { None } else { Some(data(media.as_deref(), body)?) };
    if let Some(media) = media {
        reading.attribute("datacontenttype", Value::String(media));
    }
    reading.finish(data)
}

/// Parses data according to its media type; bytes that are neither JSON nor text stay bytes.
fn data(media: Option<&str>, body: &Bytes) -> Result<Data, Problem> {
    let json = |document: &Document| Data::Json(String::from_utf8_lossy(document.bytes()).into_owned());
    let bytes = || Data::Bytes(BASE64.encode(body));
    Ok(match media {
        // Senders that leave the type out mostly mean JSON (as the Python SDK does): the data itself decides.
        None => Document::parse(body.clone()).map_or_else(|_| bytes(), |document| json(&document)),
        Some(media) if is_json(media) => json(&Document::parse(body.clone()).map_err(BodyRefusal::NotJson)?),
        Some(media) if is_text(media) => {
            std::str::from_utf8(body).map_or_else(|_| bytes(), |text| Data::Json(Value::from(text).to_string()))
        }
        Some(_) => bytes(),
    })
}

/// Reports whether a media type is UTF-8 text.
fn is_text(media: &str) -> bool {
    let media = media.to_ascii_lowercase();
    let mut parts = media.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_text = essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml");
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|charset| charset.trim_matches('"').to_owned());
    is_text && charset.is_none_or(|charset| matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii"))
}

/// Decodes a header as the binding requires: removes the quotes of a quoted string, then decodes percent
/// encoding, once.
fn decode_header(value: &HeaderValue) -> Option<String> {
    let text = unquote(value.as_bytes());
    percent_decode(&text).decode_utf8().ok().map(Cow::into_owned)
}

fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) else { return text.into() };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut inner = inner.iter();
    while let Some(byte) = inner.next() {
        bytes.push(if *byte == b'\\' { *inner.next().unwrap_or(byte) } else { *byte });
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(pairs: &[(&'static str, &'static str)], body: &'static [u8]) -> Result<CloudEvent, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("ce-specversion", "1.0"), ("ce-id", "17"), ("ce-source", "/shop"), ("ce-type", "shop.order")].iter().chain(pairs)
        {
            headers.append(*name, HeaderValue::from_static(value));
        }
        binary(&headers, &Bytes::from_static(body))
    }

    fn context(pairs: &[(&'static str, &'static str)], body: &'static [u8]) -> Value {
        let event = event(pairs, body).unwrap();
        serde_json::from_slice::<Value>(&event.payload).unwrap()["cloudevent"].take()
    }

    #[test]
    fn header_values_are_unquoted_and_percent_decoded_once() {
        // The binding's example, its older quoted form, and a percent sign that was encoded itself.
        for (sent, meant) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("Euro%20%e2%82%ac%20%f0%9f%98%80", "Euro € 😀"),
            (r#""a \"quoted\" b""#, r#"a "quoted" b"#),
            ("100%2525", "100%25"),
            ("50%", "50%"),
        ] {
            assert_eq!(context(&[("ce-subject", sent)], b"")["subject"], meant);
        }
        let overlong = event(&[("ce-subject", "%C0%A0")], b"").unwrap_err();
        assert!(overlong.detail().unwrap().contains("`/subject` is not UTF-8"), "{:?}", overlong.detail());
    }

    #[test]
    fn data_is_decoded_by_its_media_type() {
        let json = event(&[("content-type", "application/json; charset=utf-8")], br#"{"number":1}"#).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&json.payload).unwrap()["number"], 1);
        assert_eq!(context(&[("content-type", "application/xml")], b"<a/>")["data"], "<a/>");
        assert_eq!(context(&[("content-type", "text/plain")], b"\xff")["data_base64"], "/w==");
        assert_eq!(context(&[("content-type", "text/plain; charset=utf-16")], b"a")["data_base64"], "YQ==");
        assert_eq!(context(&[("content-type", "application/octet-stream")], b"a")["data_base64"], "YQ==");
        assert_eq!(context(&[], b"a")["data_base64"], "YQ==");
        let untold = event(&[], br#"{"number":1}"#).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&untold.payload).unwrap()["number"], 1);
        assert_eq!(context(&[("content-type", "application/json")], b"").get("data"), None);
        assert_eq!(event(&[("content-type", "application/json")], b"{").unwrap_err().code(), "body_not_json");
    }

    #[test]
    fn documented_headers_form_a_valid_event() {
        let told =
            ATTRIBUTES.map(|attribute| (header::HeaderName::from_static(attribute.header), HeaderValue::from_static(attribute.example)));
        let event = binary(&HeaderMap::from_iter(told), &Bytes::from_static(b"{}")).unwrap();
        assert_eq!((event.id.as_str(), event.source.as_str(), event.of_type.as_str()), ("17", "/orders", "demo.hello"));
        assert_eq!(event.time, Some("2026-03-28T09:00:00Z".parse().unwrap()));
        let payload: Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(payload["cloudevent"]["subject"], "order/17");
        assert_eq!(payload["cloudevent"]["dataschema"], "https://schemas.example.test/order");
    }

    #[test]
    fn duplicate_missing_or_misplaced_header_is_reported() {
        let told = |pairs: &[(&'static str, &'static str)]| event(pairs, b"").unwrap_err().detail().unwrap().to_owned();
        assert!(told(&[("ce-id", "18")]).contains("`/id` is given more than once"));
        assert!(told(&[("ce-datacontenttype", "text/plain")]).contains("`/datacontenttype` must be sent as `Content-Type`"));
        assert!(told(&[("ce-com-example", "x")]).contains("`/com-example` is not an attribute name"));
        let only_id = HeaderMap::from_iter([(header::HeaderName::from_static("ce-id"), HeaderValue::from_static("1"))]);
        assert!(is_binary(&only_id));
        assert!(binary(&only_id, &Bytes::new()).unwrap_err().detail().unwrap().contains("`/specversion` is missing"));
    }
}

//! Values in protobuf's JSON: as values of the language, as JSON documents, and compared with the result of
//! an expression.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_expression::Value;
use serde_json::Value as Json;

/// The only field of a value: its kind, and the value itself.
fn parts(value: &Json) -> (&str, &Json) {
    let fields = value.as_object().unwrap_or_else(|| panic!("{value} is no value"));
    let (kind, value) = fields.iter().next().unwrap_or_else(|| panic!("{value} is empty"));
    (kind, value)
}

fn items<'v>(value: &'v Json, field: &str) -> impl Iterator<Item = &'v Json> {
    value[field].as_array().into_iter().flatten()
}

/// A number of 64 bits, which protobuf's JSON writes as text; for doubles, those that JSON cannot represent.
fn number<N: std::str::FromStr>(value: &Json) -> N {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().ok().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn bytes(value: &Json) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).expect("bytes are written in base64")
}

/// The value of a binding, or `None` for a message that is not a value of the language.
pub(super) fn parse_value(value: &Json) -> Option<Value<'_>> {
    Some(match parts(value) {
        ("nullValue", _) => Value::Null,
        ("boolValue", value) => Value::Bool(value == true),
        ("int64Value", value) => Value::Int(number(value)),
        ("uint64Value", value) => Value::Uint(number(value)),
        ("doubleValue", value) => Value::Double(number(value)),
        ("stringValue", value) => Value::from(value.as_str().unwrap_or_default()),
        ("bytesValue", value) => Value::Bytes(bytes(value).into()),
        ("listValue", value) => Value::list(items(value, "values").map(parse_value).collect::<Option<Vec<_>>>()?),
        ("mapValue", value) => {
            let entries = items(value, "entries").map(|entry| Some((key(entry), parse_value(&entry["value"])?)));
            Value::map(entries.collect::<Option<Vec<_>>>()?)
        }
        ("objectValue", message) if message["@type"] == "type.googleapis.com/google.protobuf.Duration" => {
            Value::Duration(nanoseconds(message["value"].as_str().unwrap_or_default()))
        }
        _ => return None,
    })
}

/// A duration in protobuf's JSON: `123.321456789s`.
fn nanoseconds(text: &str) -> i64 {
    let (seconds, fraction) = text.trim_end_matches('s').split_once('.').expect("the case has a fraction");
    format!("{seconds}{fraction:0<9}").parse().expect("the case is in range")
}

fn key(entry: &Json) -> &str {
    entry["key"]["stringValue"].as_str().expect("the keys of bindings are text")
}

/// The value as JSON, if JSON can represent it without changing its type.
pub(super) fn json(value: &Json) -> Option<Json> {
    match parts(value) {
        ("nullValue", _) => Some(Json::Null),
        ("boolValue" | "stringValue", value) => Some(value.clone()),
        ("int64Value", value) => Some(Json::from(number::<i64>(value))),
        ("uint64Value", value) => Some(number::<u64>(value)).filter(|number| i64::try_from(*number).is_err()).map(Json::from),
        ("doubleValue", value) => serde_json::Number::from_f64(number(value)).map(Json::Number),
        ("listValue", value) => items(value, "values").map(json).collect::<Option<_>>().map(Json::Array),
        ("mapValue", value) => items(value, "entries")
            .map(|entry| Some((key(entry).to_owned(), json(&entry["value"])?)))
            .collect::<Option<_>>()
            .map(Json::Object),
        _ => None,
    }
}

/// Returns true if an expression returned exactly this: the same type and value, maps in any order, and any
/// NaN for NaN.
pub(super) fn equals(expected: &Json, given: &Value<'_>) -> bool {
    match (parts(expected), given) {
        (("nullValue", _), Value::Null) => true,
        (("boolValue", expected), Value::Bool(given)) => expected == given,
        (("int64Value", expected), Value::Int(given)) => number::<i64>(expected) == *given,
        (("uint64Value", expected), Value::Uint(given)) => number::<u64>(expected) == *given,
        (("doubleValue", expected), Value::Double(given)) => {
            let expected: f64 = number(expected);
            expected.to_bits() == given.to_bits() || (expected.is_nan() && given.is_nan())
        }
        (("stringValue", expected), Value::String(given)) => expected.as_str() == Some(given),
        (("bytesValue", expected), Value::Bytes(given)) => *bytes(expected) == **given,
        (("typeValue", expected), Value::Type(given)) => expected.as_str() == Some(given.name()),
        (("listValue", expected), given) => given.elements().is_some_and(|given| {
            let expected: Vec<_> = items(expected, "values").collect();
            expected.len() == given.len() && expected.iter().zip(&given).all(|(expected, given)| equals(expected, given))
        }),
        (("mapValue", expected), Value::Map(given)) => {
            let is_given =
                |entry: &Json| given.entries().iter().any(|(key, value)| equals(&entry["key"], key) && equals(&entry["value"], value));
            items(expected, "entries").count() == given.entries().len() && items(expected, "entries").all(is_given)
        }
        (("mapValue", expected), Value::Json(given)) => {
            let is_given = |entry: &Json| given.get(key(entry)).is_some_and(|given| equals(&entry["value"], &Value::from(given)));
            items(expected, "entries").count() == given.len() && items(expected, "entries").all(is_given)
        }
        _ => false,
    }
}

//! Converts values to JSON and from it, and defines the one text form of numbers, timestamps and durations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;

use super::{Text, Value};
use crate::error::{ErrorKind, EvaluationError, Fault, fault};
use crate::json::JSON_DEPTH_MAX;

/// The maximum size of a result's JSON text, in bytes.
pub const RESULT_BYTES_MAX: u64 = 4 << 20;
/// The maximum number of values in a result, including keys. Each takes much more memory than its text.
pub const RESULT_VALUES_MAX: u64 = 100_000;

/// How to treat a value that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// It is an error, because whatever uses the value would not know what was meant.
    Refused,
    /// It gets a form, because the value is only displayed.
    Shown,
}

pub(super) fn to_json(value: &Value<'_>, foreign: Foreign) -> Result<Json, Fault> {
    small_enough(value)?;
    json_at(value, 0, foreign)
}

/// Returns an error if the value is too large for a result.
pub(super) fn small_enough(value: &Value<'_>) -> Result<(), Fault> {
    let measure = value.measure();
    few_enough_bytes(measure.bytes)?;
    if measure.values > RESULT_VALUES_MAX {
        return Err(fault(ErrorKind::Budget, format!("the value contains more than {RESULT_VALUES_MAX} values")));
    }
    Ok(())
}

pub(super) fn few_enough_bytes(bytes: u64) -> Result<(), Fault> {
    if bytes > RESULT_BYTES_MAX {
        return Err(fault(ErrorKind::Budget, format!("the value is larger than {RESULT_BYTES_MAX} bytes as JSON")));
    }
    Ok(())
}

/// Returns an error if a part of a document is too large for a result that keeps its text.
pub(crate) fn short_enough(node: crate::json::Node<'_>) -> Result<(), EvaluationError> {
    few_enough_bytes(node.raw_len() as u64).map_err(|fault| *fault)
}

pub(super) fn json_at(value: &Value<'_>, depth: usize, foreign: Foreign) -> Result<Json, Fault> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => match serde_json::Number::from_f64(*value) {
            Some(number) => Json::Number(number),
            None if foreign == Foreign::Shown && value.is_nan() => Json::from("NaN"),
            None if foreign == Foreign::Shown => Json::from(if *value > 0.0 { "Infinity" } else { "-Infinity" }),
            None => return Err(no_json(&format!("the double {}", double_text(*value)))),
        },
        Value::String(text) => Json::from(&**text),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::List(list) => {
            let depth = deeper(depth)?;
            let items = list.items().iter().map(|item| json_at(item, depth, foreign));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let depth = deeper(depth)?;
            let mut object = serde_json::Map::new();
            for (key, value) in map.entries() {
                let key = key_text(key);
                if object.contains_key(&key) {
                    return Err(same_key(&key));
                }
                object.insert(key, json_at(value, depth, foreign)?);
            }
            Json::Object(object)
        }
        Value::Json(node) => {
            shallow_enough(*node, depth)?;
            if foreign == Foreign::Refused && node.holds_rounded() {
                return Err(rounding_fault());
            }
            node.to_value()
        }
        Value::Timestamp(moment) => Json::String(timestamp_text(moment)),
        Value::Duration(nanoseconds) => Json::String(duration_text(*nanoseconds)),
        Value::Type(kind) if foreign == Foreign::Shown => Json::from(kind.name()),
        Value::Type(kind) => return Err(no_json(&format!("the type `{}`", kind.name()))),
        Value::Optional(Some(value)) => json_at(value, depth, foreign)?,
        Value::Optional(None) if foreign == Foreign::Shown => Json::Null,
        Value::Optional(None) => {
            return Err(no_json("an absent optional").hint("add a default for when it is absent: `.orValue(…)`"));
        }
    })
}

pub(super) fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth >= JSON_DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(depth + 1)
}

/// Returns an error if a part of a document nests too deeply below `depth` levels.
pub(super) fn shallow_enough(node: crate::json::Node<'_>, depth: usize) -> Result<(), Fault> {
    if depth + height(node) > JSON_DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
}

/// Returns the error for a whole number that would become another one.
pub(crate) fn rounding_fault() -> Fault {
    fault(ErrorKind::Invalid, "an integer does not fit in 64 bits and would be rounded").hint("have it sent as a string, or do not read it")
}

pub(super) fn same_key(key: &str) -> Fault {
    fault(ErrorKind::Invalid, format!("two keys of a map become the same key `{key}` in JSON"))
}

fn too_deep() -> Fault {
    fault(ErrorKind::Budget, format!("the value nests deeper than {JSON_DEPTH_MAX} levels as JSON"))
}

/// Returns the levels of arrays and objects in a JSON text, counted by its brackets.
fn height(node: crate::json::Node<'_>) -> usize {
    let (mut open, mut highest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in node.raw().bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                highest = highest.max(open);
            }
            b']' | b'}' if !in_string => open -= 1,
            _ => {}
        }
    }
    highest
}

fn no_json(what: &str) -> Fault {
    fault(ErrorKind::Type, format!("{what} cannot be represented in JSON"))
}

pub(super) fn key_text(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        other => scalar_text(other).unwrap_or_default(),
    }
}

/// Returns the text of a scalar, as in `string(x)` and joined templates, or `None` for anything else.
pub(crate) fn scalar_text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::String(text) => text.to_string(),
        Value::Timestamp(moment) => timestamp_text(moment),
        Value::Duration(nanoseconds) => duration_text(*nanoseconds),
        _ => return None,
    })
}

/// Returns a double's shortest text that parses back to it: plain from 0.0001 to below 1e21, otherwise with
/// an exponent.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

pub(crate) fn timestamp_text(moment: &DateTime<Utc>) -> String {
    let text = moment.to_rfc3339_opts(SecondsFormat::Nanos, true);
    match text.split_once('.') {
        Some((seconds, fraction)) => {
            let digits = fraction.trim_end_matches('Z').trim_end_matches('0');
            if digits.is_empty() { format!("{seconds}Z") } else { format!("{seconds}.{digits}Z") }
        }
        None => text,
    }
}

/// Returns seconds with an `s`: `90s`, `0.25s`, `-1.5s`.
pub(crate) fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let magnitude = nanoseconds.unsigned_abs();
    let (seconds, rest) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

pub(super) fn from_json(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            if let Some(value) = number.as_i64() {
                Value::Int(value)
            } else if let Some(value) = number.as_u64() {
                Value::Uint(value)
            } else {
                number.as_f64().map_or(Value::Null, Value::Double)
            }
        }
        Json::String(text) => Value::String(Text::Borrowed(text)),
        Json::Array(items) => Value::list(items.iter().map(from_json)),
        Json::Object(entries) => Value::map(entries.iter().map(|(key, value)| (key.as_str(), from_json(value)))),
    }
}

//! Conversions between types, and `type` itself.

use chrono::{DateTime, Utc};

use super::signature::{ALL, BOOL, BYTES, DOUBLE, DURATION, Gives, INT, NUMBER, SCALAR, STRING, TIMESTAMP, TYPE, UINT, takes};
use super::time::timestamp_in_range;
use super::{Arguments, CallForm, Function};
use crate::error::Fault;
use crate::value::{DurationError, Value, parse_duration, scalar_text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Function, "int", "int(x)", &[takes(&[NUMBER.or(TIMESTAMP).or(STRING)], Gives::A(INT))], int),
    Function::new(CallForm::Function, "uint", "uint(x)", &[takes(&[NUMBER.or(STRING)], Gives::A(UINT))], uint),
    Function::new(CallForm::Function, "double", "double(x)", &[takes(&[NUMBER.or(STRING)], Gives::A(DOUBLE))], double),
    Function::new(CallForm::Function, "string", "string(x)", &[takes(&[SCALAR.or(BYTES)], Gives::A(STRING))], string),
    Function::new(CallForm::Function, "bool", "bool(x)", &[takes(&[BOOL.or(STRING)], Gives::A(BOOL))], bool),
    Function::new(CallForm::Function, "bytes", "bytes(text)", &[takes(&[BYTES.or(STRING)], Gives::A(BYTES))], bytes),
    Function::new(
        CallForm::Function,
        "timestamp",
        "timestamp(\"2026-01-31T09:00:00Z\")",
        &[takes(&[TIMESTAMP.or(INT).or(STRING)], Gives::A(TIMESTAMP))],
        timestamp,
    ),
    Function::new(CallForm::Function, "duration", "duration(\"1h30m\")", &[takes(&[DURATION.or(STRING)], Gives::A(DURATION))], duration),
    Function::new(CallForm::Function, "dyn", "dyn(x)", &[takes(&[ALL], Gives::First)], |arguments| Ok(arguments.value(0))),
    Function::new(CallForm::Function, "type", "type(x)", &[takes(&[ALL], Gives::A(TYPE))], |arguments| {
        Ok(Value::Type(arguments.values[0].kind()))
    }),
];

/// 2^63 and 2^64, the first whole numbers beyond an `int` and a `uint`.
const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;
const BEYOND_UINT: f64 = 18_446_744_073_709_551_616.0;

#[allow(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
fn int<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let value = match &arguments.values[0] {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) => (*value > -BEYOND_INT && *value < BEYOND_INT).then_some(*value as i64),
        Value::Timestamp(moment) => Some(moment.timestamp()),
        Value::String(text) => match text.parse() {
            Ok(value) => Some(value),
            Err(_) => return Err(not_a(arguments, "an int")),
        },
        _ => return Err(arguments.unfit()),
    };
    value.map(Value::Int).ok_or_else(|| out_of_range(arguments))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before the cast")]
fn uint<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let value = match &arguments.values[0] {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Uint(value) => Some(*value),
        Value::Double(value) => (*value >= 0.0 && *value < BEYOND_UINT).then_some(*value as u64),
        Value::String(text) => match text.parse() {
            Ok(value) => Some(value),
            Err(_) => return Err(not_a(arguments, "a uint")),
        },
        _ => return Err(arguments.unfit()),
    };
    value.map(Value::Uint).ok_or_else(|| out_of_range(arguments))
}

#[allow(clippy::cast_precision_loss, reason = "the nearest double is what `double` gives")]
fn double<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(Value::Double(match &arguments.values[0] {
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::Double(value) => *value,
        Value::String(text) => match text.parse() {
            Ok(value) => value,
            Err(_) => return Err(not_a(arguments, "a double")),
        },
        _ => return Err(arguments.unfit()),
    }))
}

fn string<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = match &arguments.values[0] {
        Value::String(_) => return Ok(arguments.value(0)),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(arguments.invalid("the bytes are not valid UTF-8")),
        },
        other => match scalar_text(other) {
            Some(text) => text,
            None => {
                return Err(arguments.unfit().hint("for a list, a map or null, write `json_text(x)`"));
            }
        },
    };
    arguments.charge_text(text)
}

fn bool<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match &arguments.values[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(not_a(arguments, "a bool")),
        },
        _ => Err(arguments.unfit()),
    }
}

fn bytes<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match &arguments.values[0] {
        Value::Bytes(_) => Ok(arguments.value(0)),
        Value::String(text) => {
            arguments.budget.charge_bytes(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => Err(arguments.unfit()),
    }
}

fn timestamp<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let moment = match &arguments.values[0] {
        Value::Timestamp(moment) => Some(*moment),
        Value::Int(seconds) => DateTime::from_timestamp(*seconds, 0),
        Value::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Some(moment.with_timezone(&Utc)),
            Err(_) => return Err(not_a(arguments, "a timestamp")),
        },
        _ => return Err(arguments.unfit()),
    };
    timestamp_in_range(arguments, moment)
}

fn duration<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match &arguments.values[0] {
        Value::Duration(nanoseconds) => Ok(Value::Duration(*nanoseconds)),
        Value::String(text) => match parse_duration(text) {
            Ok(nanoseconds) => Ok(Value::Duration(nanoseconds)),
            Err(DurationError::OutOfRange) => Err(arguments.out_of_range("durations must be shorter than 292 years")),
            Err(DurationError::Invalid) => Err(not_a(arguments, "a duration")),
        },
        _ => Err(arguments.unfit()),
    }
}

fn not_a(arguments: &Arguments<'_, '_>, what: &str) -> Fault {
    let error = arguments.invalid(format_args!("{} is not {what}", arguments.values[0].brief()));
    match what {
        "a timestamp" => {
            error.hint("write it as `2026-01-31T09:00:00Z`; `times.parseHttp`, `times.parseMail` and `times.parseLocal` read other forms")
        }
        "a duration" => error.hint("write it with units: `90s`, `1h30m`, `2d`, `250ms`; or as `PT1H30M`"),
        _ => error,
    }
}

fn out_of_range(arguments: &Arguments<'_, '_>) -> Fault {
    arguments.out_of_range(format_args!("{} is out of range", arguments.values[0].brief()))
}

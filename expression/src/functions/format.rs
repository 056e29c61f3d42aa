//! `"…".format([…])`: `%s` any value, `%d` numbers, `%f` and `%e` with a precision, `%b` `%o` `%x` `%X` bases.

use super::Arguments;
use crate::compare::{Elements, sorted_entries};
use crate::error::Fault;
use crate::value::{Type, Value, scalar_text};

/// The maximum number of digits of a precision.
const PRECISION_MAX: usize = 100;
/// The cost of a double's decimal digits in steps, in addition to one for each digit of the precision.
const DECIMAL_STEPS: u64 = 20;
/// The number of digits of `%f` and `%e` without a precision.
const PRECISION: usize = 6;

pub(super) fn format<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let template = arguments.read_text(0)?;
    let values = arguments.list(1)?;
    let mut values = values.iter();
    let mut out = String::new();
    let mut rest = &*template;
    while let Some(at) = rest.find('%') {
        arguments.budget.charge(1)?;
        push(arguments, &mut out, &rest[..at])?;
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            push(arguments, &mut out, "%")?;
            rest = after;
            continue;
        }
        let precision;
        (precision, rest) = read_precision(arguments, rest)?;
        let Some(clause) = rest.chars().next() else {
            return Err(arguments.invalid("the format string ends with a `%`; write `%%` for a literal `%`"));
        };
        rest = &rest[clause.len_utf8()..];
        let Some(value) = values.next() else {
            return Err(arguments.invalid("the format string has more `%` clauses than there are values"));
        };
        let text = clause_text(arguments, clause, precision, value)?;
        push(arguments, &mut out, &text)?;
    }
    push(arguments, &mut out, rest)?;
    Ok(Value::from(out))
}

fn push(arguments: &mut Arguments<'_, '_>, out: &mut String, text: &str) -> Result<(), Fault> {
    arguments.budget.charge_bytes(text.len())?;
    out.push_str(text);
    Ok(())
}

/// Parses `.3` before a clause's letter, and returns what follows it.
fn read_precision<'t>(arguments: &Arguments<'_, '_>, text: &'t str) -> Result<(Option<usize>, &'t str), Fault> {
    let Some(digits) = text.strip_prefix('.') else {
        return Ok((None, text));
    };
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    match digits[..len].parse() {
        Ok(precision) if precision <= PRECISION_MAX => Ok((Some(precision), &digits[len..])),
        _ => Err(arguments.invalid(format_args!("a precision must be a number up to {PRECISION_MAX}"))),
    }
}

#[allow(clippy::cast_precision_loss, reason = "the clause asks for a decimal fraction")]
fn clause_text(arguments: &mut Arguments<'_, '_>, clause: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, Fault> {
    let digits = precision.unwrap_or(PRECISION);
    let double = match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        _ => None,
    };
    if matches!((clause, double), ('f' | 'e', Some(_))) {
        arguments.budget.charge(DECIMAL_STEPS + digits as u64)?;
    }
    let text = match (clause, value) {
        ('s', value) => Some(text_of(arguments, value)?),
        ('d', Value::Int(value)) => Some(value.to_string()),
        ('d', Value::Uint(value)) => Some(value.to_string()),
        ('d' | 'f' | 'e', Value::Double(value)) if !value.is_finite() => Some(double_text(*value)),
        ('d', Value::Double(value)) => Some(value.to_string()),
        ('f', _) => double.map(|value| format!("{value:.digits$}")),
        ('e', _) => double.map(|value| with_exponent(value, digits)),
        ('b', Value::Bool(value)) => Some(u8::from(*value).to_string()),
        ('b', Value::Int(value)) => Some(with_sign(*value, |magnitude| format!("{magnitude:b}"))),
        ('b', Value::Uint(value)) => Some(format!("{value:b}")),
        ('o', Value::Int(value)) => Some(with_sign(*value, |magnitude| format!("{magnitude:o}"))),
        ('o', Value::Uint(value)) => Some(format!("{value:o}")),
        ('x', Value::Int(value)) => Some(with_sign(*value, |magnitude| format!("{magnitude:x}"))),
        ('x', Value::Uint(value)) => Some(format!("{value:x}")),
        ('x', Value::String(text)) => Some(hex(arguments, text.as_bytes())?),
        ('x', Value::Bytes(bytes)) => Some(hex(arguments, bytes)?),
        ('X', Value::Int(value)) => Some(with_sign(*value, |magnitude| format!("{magnitude:X}"))),
        ('X', Value::Uint(value)) => Some(format!("{value:X}")),
        ('X', Value::String(text)) => Some(hex(arguments, text.as_bytes())?.to_ascii_uppercase()),
        ('X', Value::Bytes(bytes)) => Some(hex(arguments, bytes)?.to_ascii_uppercase()),
        ('d' | 'b' | 'o' | 'x' | 'X', _) => None,
        (other, _) => {
            return Err(arguments.invalid(format_args!("unknown clause `%{other}`; use one of %s %d %f %e %b %o %x %X")));
        }
    };
    text.ok_or_else(|| arguments.invalid(format_args!("`%{clause}` does not accept {}", value.kind())))
}

/// Returns the text of any value. The parts of lists and maps are unquoted.
fn text_of(arguments: &mut Arguments<'_, '_>, value: &Value<'_>) -> Result<String, Fault> {
    arguments.budget.charge(1)?;
    arguments.budget.charge_bytes(value.weight())?;
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Double(value) => double_text(*value),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Type(kind) => kind.name().to_owned(),
        Value::Optional(_) => {
            return Err(arguments
                .invalid("an optional cannot be converted to text")
                .hint("add a default for when it is absent: `.orValue(…)`"));
        }
        other => match (scalar_text(other), other.kind()) {
            (Some(text), _) => text,
            (None, Type::List) => {
                let mut items = Vec::new();
                let mut elements = Elements::of(other);
                while let Some(item) = elements.next(arguments.budget)? {
                    items.push(text_of(arguments, &item)?);
                }
                format!("[{}]", items.join(", "))
            }
            (None, _) => {
                let mut parts = Vec::new();
                for (key, value) in sorted_entries(other, arguments.budget)? {
                    parts.push(format!("{}: {}", text_of(arguments, &key)?, text_of(arguments, &value)?));
                }
                parts.sort();
                format!("{{{}}}", parts.join(", "))
            }
        },
    })
}

fn double_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    scalar_text(&Value::Double(value)).unwrap_or_default()
}

/// `1.052033e+03`: at least two digits of exponent.
fn with_exponent(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

fn with_sign(value: i64, magnitude: impl Fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", magnitude(value.unsigned_abs()))
}

fn hex(arguments: &mut Arguments<'_, '_>, bytes: &[u8]) -> Result<String, Fault> {
    arguments.budget.charge_bytes(2 * bytes.len())?;
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

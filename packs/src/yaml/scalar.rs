//! The value of a plain scalar: strictly what YAML 1.2's JSON schema and YAML 1.1's readers agree on.
//!
//! If they disagree there is no value, only the reason.

use serde_json::Number;
use serde_saphyr::granit_parser::ScalarStyle;

pub(super) enum Plain {
    Null,
    Bool(bool),
    Number(Number),
    Text,
    Ambiguous(Ambiguity),
}

/// Why YAML readers disagree about a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ambiguity {
    /// `yes`, `Off`, `TRUE`: true or false for some, a text for others. Holds the boolean.
    Boolean(bool),
    /// `012`, `0x1f`, `1_000`, `+1`, `12:30`, `.5`, `1e3`: a number for some, another number or a text for
    /// others.
    Number,
    /// `.inf`, `.nan`, and numbers that no JSON reader preserves.
    NoJsonNumber,
    /// `2026-03-28`: a date for some, a text for others.
    Date,
}

/// The kind of a scalar's value, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarKind {
    /// `true`, `false` or `null`.
    Constant,
    Number,
    Text,
}

impl ScalarKind {
    /// Returns the kind of a scalar as it is written. One that readers disagree about is a text.
    pub(crate) fn of(value: &str, style: ScalarStyle) -> Self {
        if style != ScalarStyle::Plain {
            return Self::Text;
        }
        match Plain::of(value, false) {
            Plain::Null | Plain::Bool(_) => Self::Constant,
            Plain::Number(_) => Self::Number,
            Plain::Text | Plain::Ambiguous(_) => Self::Text,
        }
    }
}

impl Plain {
    pub(super) fn of(text: &str, is_absent: bool) -> Self {
        match text {
            "" => return Self::Null,
            "~" if is_absent => return Self::Null,
            "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            _ => {}
        }
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => return Self::Ambiguous(Ambiguity::Boolean(true)),
            "false" | "no" | "off" => return Self::Ambiguous(Ambiguity::Boolean(false)),
            ".inf" | "-.inf" | "+.inf" | ".nan" => return Self::Ambiguous(Ambiguity::NoJsonNumber),
            _ => {}
        }
        if is_json_number(text) {
            return match text.parse::<Number>() {
                Ok(number) if number.is_f64() && !text.contains('.') => Self::Ambiguous(Ambiguity::NoJsonNumber),
                Ok(number) => Self::Number(number),
                Err(_) => Self::Ambiguous(Ambiguity::NoJsonNumber),
            };
        }
        if looks_like_a_number(text) {
            return Self::Ambiguous(Ambiguity::Number);
        }
        if looks_like_a_date(text) {
            return Self::Ambiguous(Ambiguity::Date);
        }
        Self::Text
    }
}

/// Matches `-?(0|[1-9][0-9]*)(\.[0-9]+)?`: text that every reader parses as the same number. Exponents are
/// excluded, because some readers parse `1e3` as text.
fn is_json_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits)
}

fn looks_like_a_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix) || c == '_');
        }
    }
    let starts_well =
        lower.starts_with(|c: char| c.is_ascii_digit()) || (lower.starts_with('.') && lower[1..].starts_with(|c: char| c.is_ascii_digit()));
    if !starts_well {
        return false;
    }
    // Numbers in base 60 (`12:30:45`) exist only in YAML 1.1.
    if lower.contains(':') {
        return lower.split(':').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'_'));
    }
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let points = mantissa.bytes().filter(|b| *b == b'.').count();
    points <= 1
        && mantissa.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.'))
        && !exponent.is_empty()
        && exponent.bytes().all(|b| b.is_ascii_digit())
}

fn looks_like_a_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { *b == b'-' } else { b.is_ascii_digit() })
        && bytes.get(10).is_none_or(|b| matches!(b, b'T' | b't' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambiguity(text: &str) -> Option<Ambiguity> {
        match Plain::of(text, false) {
            Plain::Ambiguous(why) => Some(why),
            Plain::Null | Plain::Bool(_) | Plain::Number(_) | Plain::Text => None,
        }
    }

    #[test]
    fn ambiguous_scalar_has_no_value() {
        for text in ["yes", "No", "ON", "off", "True", "FALSE"] {
            assert!(matches!(ambiguity(text), Some(Ambiguity::Boolean(_))), "{text}");
        }
        for text in ["012", "-07", "0x1F", "0o17", "0b11", "1_000", "+1", "12:30:45", "1e3", ".5", "5.", "1.5e3"] {
            assert_eq!(ambiguity(text), Some(Ambiguity::Number), "{text}");
        }
        for text in ["2026-03-28", "2026-03-28T09:00:00Z"] {
            assert_eq!(ambiguity(text), Some(Ambiguity::Date), "{text}");
        }
        for text in [".inf", "-.INF", ".nan", "99999999999999999999"] {
            assert_eq!(ambiguity(text), Some(Ambiguity::NoJsonNumber), "{text}");
        }
    }

    #[test]
    fn unambiguous_scalar_is_accepted() {
        assert!(matches!(Plain::of("true", false), Plain::Bool(true)));
        assert!(matches!(Plain::of("null", false), Plain::Null));
        for text in ["0", "-1", "18446744073709551615", "1.50"] {
            assert!(matches!(Plain::of(text, false), Plain::Number(_)), "{text}");
        }
        for text in ["1.4.0", "v1", "24h", "a: b", "-", ".", "127.0.0.1:80", "10/8", "1st", "event.x == 1", "e5", "0xyz"] {
            assert!(matches!(Plain::of(text, false), Plain::Text), "{text}");
        }
    }
}

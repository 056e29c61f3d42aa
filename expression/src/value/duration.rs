//! The text form of durations, in expressions and wherever a duration is written.

const MILLISECOND: i128 = 1_000_000;
const SECOND: i128 = 1_000 * MILLISECOND;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// The maximum number of digits of a whole number, without zeros before it. A longer one is out of range in every unit.
const DIGITS_MAX: usize = 20;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// It has another form.
    Invalid,
    /// It is 292 years or longer.
    OutOfRange,
}

/// Parses a duration, and returns it in nanoseconds.
///
/// It is numbers with units (`1h30m`, `2d`, `1.5s`, `250ms`), or the form of ISO 8601 without years and months
/// (`PT1H30M`, `P1DT12H`, `P2W`); a day has 24 hours. A sign may precede either, and `0` needs no unit.
///
/// # Errors
/// If the text has another form, or the duration does not fit.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let (is_negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let total = match rest.strip_prefix('P') {
        Some(rest) => parse_iso_8601(rest)?,
        None if rest == "0" => 0,
        None => parse_units(rest)?,
    };
    i64::try_from(if is_negative { -total } else { total }).map_err(|_| DurationError::OutOfRange)
}

/// Parses `1h30m`, in any order of the units.
fn parse_units(text: &str) -> Result<i128, DurationError> {
    let (mut total, mut rest) = (0_i128, text);
    if rest.is_empty() {
        return Err(DurationError::Invalid);
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let (unit, after) = after.split_at(number_start(after));
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => MILLISECOND,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(DurationError::Invalid),
        };
        total = total.saturating_add(amount(number, unit)?);
        rest = after;
    }
    Ok(total)
}

/// Parses what follows the `P` of a duration in ISO 8601: weeks and days, then `T`, hours, minutes and seconds. Only the
/// last number may have a fraction. Years and months have no fixed length.
fn parse_iso_8601(text: &str) -> Result<i128, DurationError> {
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return Err(DurationError::Invalid),
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if text.is_empty() {
        return Err(DurationError::Invalid);
    }
    let mut total = 0_i128;
    for (part, units, is_last) in
        [(date, &[('W', 7 * DAY), ('D', DAY)][..], time.is_empty()), (time, &[('H', HOUR), ('M', MINUTE), ('S', SECOND)][..], true)]
    {
        let (mut rest, mut units) = (part, units.iter());
        while !rest.is_empty() {
            let (number, after) = split_number(rest);
            let unit = after.chars().next().ok_or(DurationError::Invalid)?;
            // Each unit at most once, in this order.
            let (_, nanoseconds) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Invalid)?;
            rest = &after[unit.len_utf8()..];
            let may_have_fraction = is_last && rest.is_empty();
            if number.contains('.') && !may_have_fraction {
                return Err(DurationError::Invalid);
            }
            total = total.saturating_add(amount(number, *nanoseconds)?);
        }
    }
    Ok(total)
}

/// Splits a text after the number with which it begins.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len()))
}

/// Returns where the next number of a text begins.
fn number_start(text: &str) -> usize {
    text.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(text.len())
}

/// Returns a number of units in nanoseconds; what is shorter than one is cut off.
fn amount(number: &str, unit: i128) -> Result<i128, DurationError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Invalid);
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS_MAX {
        return Err(DurationError::OutOfRange);
    }
    let mut total = whole.parse::<i128>().unwrap_or_default() * unit;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        total += i128::from(digit - b'0') * scale;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::convert::duration_text;

    #[test]
    fn duration_is_numbers_with_units_or_in_the_form_of_iso_8601() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("1m30s", 90.0),
            ("1.5h", 5_400.0),
            ("2d", 172_800.0),
            ("1d12h", 129_600.0),
            ("250ms", 0.25),
            ("-1.5s", -1.5),
            ("0", 0.0),
            ("PT1H", 3_600.0),
            ("PT1H30M", 5_400.0),
            ("P1DT12H", 129_600.0),
            ("P2W", 1_209_600.0),
            ("PT0.5S", 0.5),
            ("-PT1M", -60.0),
            ("000000000000000000001s", 1.0),
            ("PT0000000000000000000000M", 0.0),
            ("00000000000000000000000.5s", 0.5),
        ] {
            #[allow(clippy::cast_precision_loss, reason = "they are small")]
            let parsed = parse_duration(text).map(|nanoseconds| nanoseconds as f64 / 1e9);
            assert_eq!(parsed, Ok(seconds), "{text}");
        }
        for text in
            ["", "P", "PT", "P1DT", "1", "h", "P1Y", "P1M", "PT1S1M", "PT1.5H1M", "P1.5DT1H", "PT1H1H", "1w", "1D", "pt1h", "P-1D", "--1s"]
        {
            assert_eq!(parse_duration(text), Err(DurationError::Invalid), "{text}");
        }
        for text in ["999999999999h", "P99999999999999999999W", "-293000d"] {
            assert_eq!(parse_duration(text), Err(DurationError::OutOfRange), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_is_read_back_as_it_is_written(nanoseconds in any::<i64>()) {
            prop_assert_eq!(parse_duration(&duration_text(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn zeros_before_a_number_change_nothing(number in 0_u64..1_000_000, zeros in 0_usize..40, unit in "ms|s|m|h|d") {
            let text = format!("{}{number}{unit}", "0".repeat(zeros));
            prop_assert_eq!(parse_duration(&text), parse_duration(&format!("{number}{unit}")));
        }

        #[test]
        fn any_text_is_a_duration_or_an_error(text in "[-+0-9.PTWDHMSdhmsuµ]{0,12}") {
            if let Ok(nanoseconds) = parse_duration(&text) {
                prop_assert_eq!(parse_duration(&duration_text(nanoseconds)), Ok(nanoseconds));
            }
        }
    }

    #[test]
    fn many_numbers_are_out_of_range_and_no_overflow() {
        assert_eq!(parse_duration(&"99999999999999999999d".repeat(100_000)), Err(DurationError::OutOfRange));
    }
}

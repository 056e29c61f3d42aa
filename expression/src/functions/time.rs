//! The parts of timestamps, in UTC or in a named time zone, and of durations; and timestamps in the forms of others.
//!
//! There is no `now()`: the time is passed in as a value.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::signature::{DURATION, Gives, INT, STRING, Signature, TIMESTAMP, takes};
use super::{Arguments, Form, Function};
use crate::error::Fault;
use crate::value::{Value, in_range};

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// With or without the name of a time zone.
const CALENDAR: &[Signature] = &[takes(&[TIMESTAMP, STRING], Gives::A(INT)).or_without_last()];
const CLOCK: &[Signature] = &[takes(&[TIMESTAMP, STRING], Gives::A(INT)).or_without_last(), takes(&[DURATION], Gives::A(INT))];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(Form::Method, "getFullYear", "timestamp.getFullYear(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.year()))
    }),
    Function::new(Form::Method, "getMonth", "timestamp.getMonth(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.month0()))
    }),
    Function::new(Form::Method, "getDate", "timestamp.getDate(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.day()))
    }),
    Function::new(Form::Method, "getDayOfMonth", "timestamp.getDayOfMonth(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.day0()))
    }),
    Function::new(Form::Method, "getDayOfWeek", "timestamp.getDayOfWeek(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.weekday().num_days_from_sunday()))
    }),
    Function::new(Form::Method, "getDayOfYear", "timestamp.getDayOfYear(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.ordinal0()))
    }),
    Function::new(Form::Method, "getHours", "timestamp.getHours(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 3_600_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.hour()))
    }),
    Function::new(Form::Method, "getMinutes", "timestamp.getMinutes(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 60_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.minute()))
    }),
    Function::new(Form::Method, "getSeconds", "timestamp.getSeconds(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 1_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.second()))
    }),
    Function::new(
        Form::Function,
        "times.parseHttp",
        "times.parseHttp(\"Sat, 31 Jan 2026 09:00:00 GMT\")",
        &[takes(&[STRING], Gives::A(TIMESTAMP))],
        |arguments| {
            let text = arguments.read_text(0)?;
            moment(arguments, parse_http(&text), "the date of an HTTP header", "Sat, 31 Jan 2026 09:00:00 GMT")
        },
    ),
    Function::new(
        Form::Function,
        "times.parseMail",
        "times.parseMail(\"Sat, 31 Jan 2026 10:00:00 +0100\")",
        &[takes(&[STRING], Gives::A(TIMESTAMP))],
        |arguments| {
            let text = arguments.read_text(0)?;
            let parsed = DateTime::parse_from_rfc2822(&text).ok().map(|moment| moment.with_timezone(&Utc));
            moment(arguments, parsed, "the date of a mail", "Sat, 31 Jan 2026 10:00:00 +0100")
        },
    ),
    Function::new(
        Form::Function,
        "times.parseLocal",
        "times.parseLocal(\"2026-01-31 10:00:00\", \"Europe/Berlin\")",
        &[takes(&[STRING, STRING], Gives::A(TIMESTAMP))],
        local_time,
    ),
    Function::new(Form::Method, "getMilliseconds", "timestamp.getMilliseconds(\"Europe/Berlin\")", CLOCK, milliseconds),
];

/// Returns a part that only a timestamp has.
fn calendar<'a>(arguments: &mut Arguments<'_, 'a>, part: fn(NaiveDateTime) -> i64) -> Result<Value<'a>, Fault> {
    match &arguments.values[0] {
        Value::Timestamp(moment) => Ok(Value::Int(part(local(arguments, moment)?))),
        _ => Err(arguments.unfit()),
    }
}

/// Returns a part of a timestamp's time of day. For a duration, returns how often the unit fits into all of
/// it.
fn clock<'a>(arguments: &mut Arguments<'_, 'a>, unit: i64, part: fn(NaiveDateTime) -> i64) -> Result<Value<'a>, Fault> {
    match arguments.values {
        [Value::Duration(nanoseconds)] => Ok(Value::Int(nanoseconds / unit)),
        _ => calendar(arguments, part),
    }
}

/// Returns the milliseconds within the second, also for a duration.
fn milliseconds<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match arguments.values {
        [Value::Duration(nanoseconds)] => Ok(Value::Int(nanoseconds / NANOSECONDS_PER_MILLISECOND % 1_000)),
        _ => calendar(arguments, |local| i64::from(local.nanosecond()) / NANOSECONDS_PER_MILLISECOND),
    }
}

/// Returns the date and time of day in the zone that the second argument names.
fn local(arguments: &Arguments<'_, '_>, moment: &DateTime<Utc>) -> Result<NaiveDateTime, Fault> {
    if arguments.len() < 2 {
        return Ok(moment.naive_utc());
    }
    Ok(match zone(arguments, 1)? {
        Zone::Offset(offset) => moment.with_timezone(&offset).naive_local(),
        Zone::Named(zone) => moment.with_timezone(&zone).naive_local(),
    })
}

/// A time zone.
enum Zone {
    Offset(FixedOffset),
    Named(Tz),
}

/// Returns the time zone that an argument names.
fn zone(arguments: &Arguments<'_, '_>, index: usize) -> Result<Zone, Fault> {
    let name = arguments.text(index)?;
    if let Some(offset) = fixed_offset(&name) {
        return Ok(Zone::Offset(offset));
    }
    name.parse::<Tz>().map(Zone::Named).map_err(|_| {
        arguments
            .invalid(format_args!("unknown time zone `{}`", Value::from(&*name).brief().trim_matches('"')))
            .hint("write a name such as `Europe/Berlin`, or an offset such as `+02:00`")
    })
}

/// Returns a timestamp that was read from a text, or the error for an invalid text.
fn moment<'a>(arguments: &Arguments<'_, 'a>, parsed: Option<DateTime<Utc>>, what: &str, example: &str) -> Result<Value<'a>, Fault> {
    let Some(moment) = parsed else {
        let error = arguments.invalid(format_args!("{} is not {what}", arguments.values[0].brief()));
        return Err(error.hint(format!("it has the form `{example}`")));
    };
    in_range(moment).map(Value::Timestamp).ok_or_else(|| arguments.out_of_range("timestamps must be in the years 1 to 9999"))
}

/// Parses the date of an HTTP header, in the three forms that RFC 9110 (5.6.7) asks for. In the oldest but one, a year has
/// two digits: from 1969 to 2068, whatever the time is.
fn parse_http(text: &str) -> Option<DateTime<Utc>> {
    let forms = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    forms.into_iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|moment| moment.and_utc())
}

/// Returns the timestamp of a date and a time of day in a time zone.
fn local_time<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let zone = zone(arguments, 1)?;
    let Some(local) = parse_local(&text) else {
        return moment(arguments, None, "a date and a time of day without a time zone", "2026-01-31 10:00:00");
    };
    // A time of day that is there twice, when a clock is set back, is the first of the two.
    let earliest = match zone {
        Zone::Offset(offset) => offset.from_local_datetime(&local).earliest().map(|moment| moment.with_timezone(&Utc)),
        Zone::Named(zone) => zone.from_local_datetime(&local).earliest().map(|moment| moment.with_timezone(&Utc)),
    };
    match earliest {
        Some(_) => moment(arguments, earliest, "", ""),
        None => Err(arguments
            .invalid(format_args!("{} does not exist in the time zone {}", arguments.values[0].brief(), arguments.values[1].brief()))
            .hint("clocks are set forward over this time; use a time before or after, or an offset such as `+01:00`")),
    }
}

/// Parses `2026-01-31 10:00:00`, also with a `T`, without seconds, or with a fraction of a second.
fn parse_local(text: &str) -> Option<NaiveDateTime> {
    // The library would also take signs, spaces and numbers of other lengths.
    let is_of_form = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => matches!(byte, b' ' | b'T'),
        13 | 16 => byte == b':',
        19 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    if !is_of_form {
        return None;
    }
    let time = text.get(11..)?;
    let time = match time.len() {
        5 => NaiveTime::parse_from_str(time, "%H:%M"),
        8 | 10.. => NaiveTime::parse_from_str(time, "%H:%M:%S%.f"),
        _ => return None,
    };
    let date = NaiveDate::parse_from_str(&text[..10], "%Y-%m-%d").ok()?;
    Some(date.and_time(time.ok()?))
}

/// `+02:00`, `-08:30`, `02:00`
fn fixed_offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let number = |text: &str| match text.len() {
        1 | 2 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<i32>().ok(),
        _ => None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    FixedOffset::east_opt(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn local_time_has_exactly_one_form() {
        for text in ["2026-01-31 10:00:00", "2026-01-31T10:00", "2026-01-31 10:00:00.25"] {
            assert!(parse_local(text).is_some(), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31 10",
            "2026-1-31 10:00:00",
            "2026-02-30 10:00:00",
            "2026-01-31 24:00:00",
            "2026-01-31 10:00:00Z",
            "2026-01-31 10:00:00.",
            "2026-01-31  10:00",
            "+2026-01-31 10:00",
            "2026-01-31 10:00:",
            "2026-01-31é10:00:00",
        ] {
            assert_eq!(parse_local(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn date_of_http_is_read_in_each_of_its_forms(seconds in 0_i64..3_000_000_000) {
            let moment = DateTime::from_timestamp(seconds, 0).unwrap();
            for form in ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"] {
                prop_assert_eq!(parse_http(&moment.format(form).to_string()), Some(moment), "{}", form);
            }
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "[0-9A-Za-z:., +-]{0,40}|\\PC{0,40}") {
            let _ = (parse_http(&text), parse_local(&text), DateTime::parse_from_rfc2822(&text).ok());
        }
    }
}

//! The parts of timestamps, in UTC or in a named time zone, and of durations.
//!
//! There is no `now()`: the time is passed in as a value.

pub(super) mod parse;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;

use super::signature::{DURATION, Gives, INT, STRING, Signature, TIMESTAMP, takes};
use super::{Arguments, CallForm, Function};
use crate::error::Fault;
use crate::value::{Value, in_range};

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// With or without the name of a time zone.
const CALENDAR: &[Signature] = &[takes(&[TIMESTAMP, STRING], Gives::A(INT)).or_without_last()];
const CLOCK: &[Signature] = &[takes(&[TIMESTAMP, STRING], Gives::A(INT)).or_without_last(), takes(&[DURATION], Gives::A(INT))];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Method, "getFullYear", "timestamp.getFullYear(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.year()))
    }),
    Function::new(CallForm::Method, "getMonth", "timestamp.getMonth(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.month0()))
    }),
    Function::new(CallForm::Method, "getDate", "timestamp.getDate(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.day()))
    }),
    Function::new(CallForm::Method, "getDayOfMonth", "timestamp.getDayOfMonth(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.day0()))
    }),
    Function::new(CallForm::Method, "getDayOfWeek", "timestamp.getDayOfWeek(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.weekday().num_days_from_sunday()))
    }),
    Function::new(CallForm::Method, "getDayOfYear", "timestamp.getDayOfYear(\"Europe/Berlin\")", CALENDAR, |arguments| {
        calendar(arguments, |local| i64::from(local.ordinal0()))
    }),
    Function::new(CallForm::Method, "getHours", "timestamp.getHours(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 3_600_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.hour()))
    }),
    Function::new(CallForm::Method, "getMinutes", "timestamp.getMinutes(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 60_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.minute()))
    }),
    Function::new(CallForm::Method, "getSeconds", "timestamp.getSeconds(\"Europe/Berlin\")", CLOCK, |arguments| {
        clock(arguments, 1_000 * NANOSECONDS_PER_MILLISECOND, |local| i64::from(local.second()))
    }),
    Function::new(CallForm::Method, "getMilliseconds", "timestamp.getMilliseconds(\"Europe/Berlin\")", CLOCK, milliseconds),
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

/// Returns the value of a timestamp; `None` is one beyond what can be computed with.
pub(super) fn timestamp_in_range<'a>(arguments: &Arguments<'_, 'a>, moment: Option<DateTime<Utc>>) -> Result<Value<'a>, Fault> {
    moment.and_then(in_range).map(Value::Timestamp).ok_or_else(|| arguments.out_of_range("timestamps must be in the years 1 to 9999"))
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

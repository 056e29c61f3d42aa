//! Timestamps in the forms of HTTP, of mail, and of local time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};

use super::{Zone, timestamp_in_range, zone};
use crate::error::Fault;
use crate::functions::signature::{Gives, STRING, TIMESTAMP, takes};
use crate::functions::{Arguments, CallForm, Function};
use crate::value::Value;

const HTTP_EXAMPLE: &str = "Sat, 31 Jan 2026 09:00:00 GMT";
const MAIL_EXAMPLE: &str = "Sat, 31 Jan 2026 10:00:00 +0100";
const LOCAL_EXAMPLE: &str = "2026-01-31 10:00:00";

/// The forms of RFC 9110 (5.6.7): the present one, that of RFC 850, and that of `asctime`. In the second, a year has two
/// digits: from 1970 to 2069, whatever the time is.
const HTTP_FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The nanoseconds from which on a library's time of day means a leap second. It takes one in any minute.
const LEAP_SECOND: u32 = 1_000_000_000;

pub(in crate::functions) const FUNCTIONS: &[Function] = &[
    Function::new(
        CallForm::Function,
        "times.parseHttp",
        "times.parseHttp(\"Sat, 31 Jan 2026 09:00:00 GMT\")",
        &[takes(&[STRING], Gives::A(TIMESTAMP))],
        |arguments| {
            let text = arguments.read_text(0)?;
            let moment = parse_http(&text).ok_or_else(|| invalid(arguments, "the date of an HTTP header", HTTP_EXAMPLE))?;
            timestamp_in_range(arguments, Some(moment))
        },
    ),
    Function::new(
        CallForm::Function,
        "times.parseMail",
        "times.parseMail(\"Sat, 31 Jan 2026 10:00:00 +0100\")",
        &[takes(&[STRING], Gives::A(TIMESTAMP))],
        |arguments| {
            let text = arguments.read_text(0)?;
            let moment = parse_mail(&text).ok_or_else(|| invalid(arguments, "the date of a mail", MAIL_EXAMPLE))?;
            timestamp_in_range(arguments, Some(moment))
        },
    ),
    Function::new(
        CallForm::Function,
        "times.parseLocal",
        "times.parseLocal(\"2026-01-31 10:00:00\", \"Europe/Berlin\")",
        &[takes(&[STRING, STRING], Gives::A(TIMESTAMP))],
        local_time,
    ),
];

/// Returns the error for a text of another form.
fn invalid(arguments: &Arguments<'_, '_>, what: &str, example: &str) -> Fault {
    arguments.invalid(format_args!("{} is not {what}", arguments.values[0].brief())).hint(format!("it has the form `{example}`"))
}

/// Parses the date of an HTTP header.
fn parse_http(text: &str) -> Option<DateTime<Utc>> {
    HTTP_FORMS.into_iter().find_map(|form| {
        let moment = NaiveDateTime::parse_from_str(text, form).ok().filter(is_no_leap_second)?;
        // The library would also take signs, numbers of other lengths, and other spaces.
        moment.format(form).to_string().eq_ignore_ascii_case(text).then(|| moment.and_utc())
    })
}

/// Parses the date of a mail, as RFC 2822 (3.3 and 4.3) describes it.
fn parse_mail(text: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc2822(text).ok().filter(is_no_leap_second)?;
    // The time zone is the last word before the comments. What the letters of the army mean is not known (4.3), and the
    // library takes them for UTC.
    let zone = text.split('(').next()?.split_whitespace().next_back()?;
    let is_of_army = zone.len() == 1 && !zone.eq_ignore_ascii_case("Z");
    (!is_of_army).then(|| moment.with_timezone(&Utc))
}

/// Returns the timestamp of a date and a time of day in a time zone.
fn local_time<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let zone = zone(arguments, 1)?;
    let Some(local) = parse_local(&text) else {
        return Err(invalid(arguments, "a date and a time of day without a time zone", LOCAL_EXAMPLE));
    };
    // A time of day that is there twice, when a clock is set back, is the first of the two.
    let earliest = match zone {
        Zone::Offset(offset) => offset.from_local_datetime(&local).earliest().map(|moment| moment.with_timezone(&Utc)),
        Zone::Named(zone) => zone.from_local_datetime(&local).earliest().map(|moment| moment.with_timezone(&Utc)),
    };
    match earliest {
        Some(_) => timestamp_in_range(arguments, earliest),
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
    let time = time.ok().filter(is_no_leap_second)?;
    let date = NaiveDate::parse_from_str(&text[..10], "%Y-%m-%d").ok()?;
    Some(date.and_time(time))
}

fn is_no_leap_second(time: &impl Timelike) -> bool {
    time.nanosecond() < LEAP_SECOND
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> Option<DateTime<Utc>> {
        Some(text.parse().unwrap())
    }

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
            "2026-01-31 10:00:60",
            "2026-12-31 23:59:60.5",
        ] {
            assert_eq!(parse_local(text), None, "{text}");
        }
    }

    #[test]
    fn date_of_http_has_exactly_three_forms() {
        let moment = utc("2026-01-31T09:00:00Z");
        for text in [
            "Sat, 31 Jan 2026 09:00:00 GMT",
            "sat, 31 JAN 2026 09:00:00 GMT",
            "Saturday, 31-Jan-26 09:00:00 GMT",
            "Sat Jan 31 09:00:00 2026",
        ] {
            assert_eq!(parse_http(text), moment, "{text}");
        }
        for text in [
            "Sat, 31 Jan 26 09:00:00 GMT",
            "Sat, 31 Jan +2026 09:00:00 GMT",
            "Sat, 31 Jan 2026 9:0:0 GMT",
            "Sat,31Jan2026 09:00:00GMT",
            "Sat,  31 Jan 2026 09:00:00 GMT",
            " Sat, 31 Jan 2026 09:00:00 GMT",
            "Sat, 31 Jan 2026 09:00:60 GMT",
            "Sat, 31 Jan 2026 09:00:00 gmt",
            "Sat, 31 Jan 2026 09:00:00 UTC",
            "Sun, 31 Jan 2026 09:00:00 GMT",
            "Sat, 31 January 2026 09:00:00 GMT",
            "Sat, 31-Jan-26 09:00:00 GMT",
            "Saturday, 31-Jan-2026 09:00:00 GMT",
            "Sat Jan 31 9:00:00 2026",
            "Sun Feb 1 09:00:00 2026",
        ] {
            assert_eq!(parse_http(text), None, "{text}");
        }
        assert_eq!(parse_http("Sun Feb  1 09:00:00 2026"), utc("2026-02-01T09:00:00Z"));
    }

    #[test]
    fn year_of_two_digits_is_from_1970_to_2069() {
        assert_eq!(parse_http("Saturday, 31-Jan-70 09:00:00 GMT"), utc("1970-01-31T09:00:00Z"));
        assert_eq!(parse_http("Thursday, 31-Jan-69 09:00:00 GMT"), utc("2069-01-31T09:00:00Z"));
    }

    #[test]
    fn date_of_mail_has_the_forms_of_rfc_2822_also_its_old_ones() {
        for (text, moment) in [
            ("Sat, 31 Jan 2026 10:00:00 +0100", "2026-01-31T09:00:00Z"),
            ("31 Jan 2026 10:00:00 +0100", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 10:00 +0100", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 09:00:00 -0000", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 26 09:00:00 GMT", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 04:00:00 EST", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 02:00:00 PDT", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 09:00:00 Z", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 09:00:00 z (A)", "2026-01-31T09:00:00Z"),
            ("Sat, 31 Jan 2026 10:00:00 +0100 (CET (in winter))", "2026-01-31T09:00:00Z"),
            ("31 Jan 49 09:00:00 UT", "2049-01-31T09:00:00Z"),
            ("31 Jan 50 09:00:00 UT", "1950-01-31T09:00:00Z"),
            ("31 Jan 104 09:00:00 UT", "2004-01-31T09:00:00Z"),
        ] {
            assert_eq!(parse_mail(text), utc(moment), "{text}");
        }
        for text in [
            "",
            "Sat, 31 Jan 2026 09:00:00",
            "Sun, 31 Jan 2026 09:00:00 GMT",
            "Sat, 31 Jan 2026 09:00:60 GMT",
            "Sat, 31 Jan 2026 09:00:00 A",
            "Sat, 31 Jan 2026 09:00:00 k (Z)",
            "Sat, 31 Jan 2026 09:00:00 J",
            "Sat, 31 Jan 2026 09:00:00 CET",
            "2026-01-31T09:00:00Z",
        ] {
            assert_eq!(parse_mail(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn date_of_http_is_read_in_each_of_its_forms(seconds in 0_i64..3_000_000_000) {
            let moment = DateTime::from_timestamp(seconds, 0).unwrap();
            for form in HTTP_FORMS {
                prop_assert_eq!(parse_http(&moment.format(form).to_string()), Some(moment), "{}", form);
            }
        }

        #[test]
        fn text_that_is_almost_a_date_of_http_is_none(
            seconds in 0_i64..3_000_000_000, form in 0_usize..3, at in 0_usize..40, new in "[-+ 0-9]|", removed in 0_usize..2,
        ) {
            let date = DateTime::from_timestamp(seconds, 0).unwrap().format(HTTP_FORMS[form]).to_string();
            let at = at.min(date.len() - 1);
            let text = format!("{}{new}{}", &date[..at], &date[at + removed..]);
            if let Some(moment) = parse_http(&text) {
                prop_assert!(HTTP_FORMS.iter().any(|form| moment.format(form).to_string().eq_ignore_ascii_case(&text)), "{}", text);
            }
        }

        #[test]
        fn any_text_is_a_time_without_a_leap_second_or_none(text in "[0-9A-Za-z:., +()-]{0,40}|\\PC{0,40}") {
            for moment in [parse_http(&text), parse_mail(&text), parse_local(&text).map(|local| local.and_utc())].into_iter().flatten() {
                prop_assert!(is_no_leap_second(&moment));
            }
        }

        #[test]
        fn second_of_a_minute_is_at_most_59(second in 0_u32..100) {
            let is_second = second < 60;
            prop_assert_eq!(parse_local(&format!("2026-01-31 10:00:{second:02}")).is_some(), is_second);
            prop_assert_eq!(parse_http(&format!("Sat, 31 Jan 2026 09:00:{second:02} GMT")).is_some(), is_second);
            prop_assert_eq!(parse_mail(&format!("Sat, 31 Jan 2026 09:00:{second:02} +0100")).is_some(), is_second);
        }
    }
}

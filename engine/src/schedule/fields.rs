//! The fields of a cron expression. Each part is checked against the grammar in
//! `docs/reference/schedules.md`, and errors have its place.
//!
//! croner interprets the parts on a calendar. It accepts more than it understands (it reads `15W3` as `15W`,
//! and ignores `,,`), so only parts that it reads as documented are accepted here.

use std::fmt;

use super::ScheduleError;
use super::YEAR_LAST;
use super::error::{PartFault, excerpt};

/// A field of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59, in expressions of six and seven fields.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// The day of the month, 1 to 31.
    Day,
    /// 1 to 12, or a name.
    Month,
    /// The day of the week, 0 to 7 or a name; 0 and 7 are Sunday.
    Weekday,
    /// The year, in expressions of seven fields.
    Year,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of the month",
            Self::Month => "month",
            Self::Weekday => "day of the week",
            Self::Year => "year",
        })
    }
}

impl Field {
    /// All fields, in order.
    pub(super) const ALL: [Self; 7] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Weekday, Self::Year];

    /// Returns its lowest and highest number.
    pub(super) fn range(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
            Self::Year => (1, YEAR_LAST as u16),
        }
    }

    /// Returns how many different numbers there are; 0 and 7 are the same day.
    fn count(self) -> u16 {
        match self {
            Self::Weekday => 7,
            Self::Second | Self::Minute | Self::Hour | Self::Day | Self::Month | Self::Year => self.range().1 - self.range().0 + 1,
        }
    }

    /// Returns the names for its numbers, from the lowest on.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => MONTHS,
            Self::Weekday => WEEKDAYS,
            Self::Second | Self::Minute | Self::Hour | Self::Day | Self::Year => &[],
        }
    }

    /// Returns the number that a text contains or names, whether or not it is in the field's range.
    pub(super) fn number(self, text: &str) -> Option<u16> {
        let named = self.names().iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(index) = named.and_then(|index| u16::try_from(index).ok()) {
            return Some(index + self.range().0);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // A number that is too long to parse is still a number, out of range.
        Some(text.parse().unwrap_or(u16::MAX))
    }
}

/// A field of the input, with its place.
#[derive(Clone, Copy)]
pub(super) struct FieldText<'a> {
    pub(super) field: Field,
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl FieldText<'_> {
    /// Returns true if it restricts nothing.
    pub(super) fn is_all(self) -> bool {
        matches!(self.text, "*" | "?")
    }

    /// Returns the field in the form that croner reads, with numbers for names. Fails if a part of it is not
    /// in the grammar.
    pub(super) fn canonical(self) -> Result<String, ScheduleError> {
        let (sign, list) = match self.text.strip_prefix('+') {
            Some(list) if self.field == Field::Weekday => ("+", list),
            Some(_) | None => ("", self.text),
        };
        let mut start = self.start + sign.len();
        let parts: Vec<&str> = list.split(',').collect();
        let mut canonical = Vec::new();
        for text in &parts {
            let wrong = |fault| ScheduleError::Part { field: self.field, text: excerpt(text), fault, span: start..start + text.len() };
            if parts.len() > 1 && matches!(*text, "*" | "?") {
                return Err(wrong(PartFault::AllInList));
            }
            canonical.push(part(self.field, text).map_err(wrong)?);
            if canonical.iter().any(|part| part == "L") && canonical.iter().any(|part| part == "LW") {
                return Err(wrong(PartFault::TwoLasts));
            }
            start += text.len() + 1;
        }
        Ok(format!("{sign}{}", canonical.join(",")))
    }
}

fn part(field: Field, text: &str) -> Result<String, PartFault> {
    let upper = text.to_ascii_uppercase();
    match (upper.as_str(), field) {
        ("", _) => return Err(PartFault::Missing),
        ("*", _) | ("?", Field::Day | Field::Weekday) => return Ok("*".to_owned()),
        ("?", _) => return Err(PartFault::NoDay),
        ("L" | "LW", Field::Day) => return Ok(upper),
        ("L", Field::Weekday) => return Err(PartFault::LastOfWhat),
        _ => {}
    }
    match field {
        Field::Day => {
            if let Some(day) = upper.strip_suffix('W') {
                return Ok(format!("{}W", number(field, day)?));
            }
        }
        Field::Weekday => {
            if let Some((day, nth)) = upper.split_once('#') {
                let day = number(field, day)?;
                return match nth {
                    "" => Err(PartFault::Missing),
                    "1" | "2" | "3" | "4" | "5" => Ok(format!("{day}#{nth}")),
                    _ => Err(PartFault::NthTooHigh),
                };
            }
            if let Some(day) = upper.strip_suffix('L') {
                return Ok(format!("{}L", number(field, day)?));
            }
        }
        Field::Second | Field::Minute | Field::Hour | Field::Month | Field::Year => {}
    }
    parse_step(field, &upper)
}

fn parse_step(field: Field, text: &str) -> Result<String, PartFault> {
    let Some((of, step)) = text.split_once('/') else { return range(field, text) };
    let of = if of == "*" { of.to_owned() } else { range(field, of)? };
    let step: u16 = match step {
        "" => return Err(PartFault::Missing),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().unwrap_or(u16::MAX),
        _ => return Err(PartFault::Unknown),
    };
    match step {
        0 => Err(PartFault::StepZero),
        _ if of != "*" && !of.contains('-') => Err(PartFault::StepOfOne),
        _ if step > field.count() => Err(PartFault::StepTooLong),
        _ => Ok(format!("{of}/{step}")),
    }
}

fn range(field: Field, text: &str) -> Result<String, PartFault> {
    let Some((from, to)) = text.split_once('-') else { return Ok(number(field, text)?.to_string()) };
    let (first, mut last) = (number(field, from)?, number(field, to)?);
    if field == Field::Weekday && last == 0 && first > 0 && to.eq_ignore_ascii_case("SUN") {
        last = 7;
    }
    if first > last { Err(PartFault::Backwards) } else { Ok(format!("{first}-{last}")) }
}

fn number(field: Field, text: &str) -> Result<u16, PartFault> {
    let (least, most) = field.range();
    match field.number(text) {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        Some(_) => Err(PartFault::OutOfRange),
        None if text.is_empty() => Err(PartFault::Missing),
        None => Err(PartFault::Unknown),
    }
}

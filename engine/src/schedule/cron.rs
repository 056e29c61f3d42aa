//! A cron expression in a time zone.
//!
//! croner finds the days and times that the expression names, on a calendar without zones. Clock changes are
//! handled here, because croner handles them differently: it treats only a single time of day as fixed (`0,30
//! 2 * * *` is lost when clocks skip it, and doubled when they go back), and it gives up if they skip more
//! than two hours.

use std::fmt;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, Utc};
use croner::errors::CronError;

use super::error::excerpt;
use super::fields::{Field, FieldText};
use super::zone::{LocalMoments, Zone, naive};
use super::{EXPRESSION_BYTES_MAX, ScheduleError, YEAR_LAST};
use crate::time::Timestamp;

/// The names for expressions.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The number of years after which the calendar repeats, including its days of the week.
const CALENDAR_YEARS: i32 = 400;
/// The number of hours in a day.
const HOURS: usize = 24;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// A cron expression in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    written: String,
    days_and_times: croner::Cron,
    pace: Pace,
    zone: Zone,
}

/// What an expression follows when clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The hours that pass: times that clocks show twice are due twice, and times that they skip are not due.
    Hours,
    /// The day: times that clocks show twice are due once, and times that they skip are due after the skip.
    Days,
}

/// A due time, as people in the zone see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The local time.
    pub local: DateTime<FixedOffset>,
    /// The kind of clock change, if any.
    pub occasion: Occasion,
}

/// What the clocks do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// They show the time once.
    Usual,
    /// They have just skipped the named time.
    Skipped,
    /// They show the time for the first of two times.
    FirstOfTwo,
    /// They show the time for the second time.
    SecondOfTwo,
}

impl fmt::Display for Cron {
    /// Writes the expression as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Cron {
    /// Parses an expression.
    ///
    /// Fails if it is invalid, or never due.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ScheduleError::TooLong { bytes: text.len() });
        }
        let of_name = expand_name(text)?;
        let fields = written_fields(of_name.unwrap_or(text))?;
        let canonical = fields.iter().map(|field| field.canonical()).collect::<Result<Vec<_>, _>>()?;
        days_are_clear(&fields)?;
        let read = croner::parser::CronParser::new().parse(&canonical.join(" "));
        let unread = |why: CronError| ScheduleError::Unread { expression: excerpt(text.trim()), why: why.to_string() };
        let days_and_times = read.map_err(unread)?;
        let starts_with_all = fields.iter().any(|written| written.field == Field::Hour && written.text.starts_with('*'));
        let pace = if starts_with_all || days_and_times.pattern.hours.values().len() == HOURS { Pace::Hours } else { Pace::Days };
        let cron = Self { written: text.trim().to_owned(), days_and_times, pace, zone };
        if cron.is_ever_due() { Ok(cron) } else { Err(ScheduleError::Never { expression: excerpt(&cron.written) }) }
    }

    /// Returns its time zone.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Returns the first due time after this moment, on a whole second, or `None` if it is never due again.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let after = moment.micros().div_euclid(MICROS_PER_SECOND);
        let due = match self.pace {
            Pace::Hours => self.next_by_hours(after),
            Pace::Days => self.next_by_days(after),
        };
        due.map(|due| Timestamp::from_micros(due * MICROS_PER_SECOND))
    }

    /// Returns the local time at a due time, and why it is due then.
    pub fn firing(&self, due: Timestamp) -> Firing {
        let moment = due.micros().div_euclid(MICROS_PER_SECOND);
        let reading = self.zone.reading(moment);
        let offset = i32::try_from(self.zone.offset(moment)).ok().and_then(FixedOffset::east_opt);
        let local = naive(moment).and_utc().with_timezone(&offset.unwrap_or_else(|| Utc.fix()));
        let occasion = match self.zone.moments_of(reading) {
            _ if !self.days_and_times.is_time_matching(&reading).unwrap_or(true) => Occasion::Skipped,
            LocalMoments::Twice { first, .. } if first == moment => Occasion::FirstOfTwo,
            LocalMoments::Twice { .. } => Occasion::SecondOfTwo,
            LocalMoments::Once(_) | LocalMoments::Never { .. } => Occasion::Usual,
        };
        Firing { local, occasion }
    }

    fn next_by_hours(&self, after: i64) -> Option<i64> {
        let reading = self.zone.reading(after);
        let mut named = self.named_after(reading)?;
        if let LocalMoments::Twice { first, second } = self.zone.moments_of(reading)
            && first == after
        {
            // The clocks will go back: the times until then come first, then they are shown again.
            let back = self.zone.went_back(first, second);
            let offset = self.zone.offset(first);
            if named < naive(back + offset) {
                return Some(after + (named - reading).num_seconds());
            }
            named = self.named_from(self.zone.reading(back))?;
        }
        loop {
            match self.zone.moments_of(named) {
                LocalMoments::Once(moment) => return Some(moment),
                LocalMoments::Twice { first, .. } if first > after => return Some(first),
                LocalMoments::Twice { second, .. } => return Some(second),
                LocalMoments::Never { skipped_at } => named = self.named_from(self.zone.reading(skipped_at))?,
            }
        }
    }

    fn next_by_days(&self, after: i64) -> Option<i64> {
        let mut named = self.named_after(self.zone.reading(after))?;
        loop {
            match self.zone.moments_of(named) {
                LocalMoments::Once(moment) => return Some(moment),
                LocalMoments::Never { skipped_at } => return Some(skipped_at),
                LocalMoments::Twice { first, .. } if first > after => return Some(first),
                LocalMoments::Twice { first, second } => {
                    let back = self.zone.went_back(first, second);
                    named = self.named_from(naive(back + self.zone.offset(first)))?;
                }
            }
        }
    }

    /// Returns the first named time after this one.
    fn named_after(&self, reading: NaiveDateTime) -> Option<NaiveDateTime> {
        within_time(self.days_and_times.find_next_occurrence(&reading, false))
    }

    /// Returns the first named time at or after this one.
    fn named_from(&self, reading: NaiveDateTime) -> Option<NaiveDateTime> {
        within_time(self.days_and_times.find_next_occurrence(&reading, true))
    }

    /// Returns true if its years contain a day that it names.
    fn is_ever_due(&self) -> bool {
        let years: Vec<i32> = self.days_and_times.pattern.years.values().into_iter().map(i32::from).collect();
        let (first, last) = (years.first().copied().unwrap_or(1), years.last().copied().unwrap_or(1).min(YEAR_LAST));
        // If the years are consecutive, the last `CALENDAR_YEARS` of them contain every possible day.
        let is_run = years.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let begin = if is_run { first.max(last + 1 - CALENDAR_YEARS) } else { first };
        let begin = NaiveDate::from_ymd_opt(begin, 1, 1).map(NaiveDateTime::from);
        begin.is_some_and(|begin| self.named_from(begin).is_some())
    }
}

/// Returns the found time, if there is one and it is not after the last year.
fn within_time(found: Result<NaiveDateTime, CronError>) -> Option<NaiveDateTime> {
    found.ok().filter(|found| found.year() <= YEAR_LAST)
}

/// Returns the expression for a name, or `None` if the text is already an expression.
fn expand_name(text: &str) -> Result<Option<&'static str>, ScheduleError> {
    let name = text.trim();
    if !name.starts_with('@') {
        return Ok(None);
    }
    let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((_, expression)) = known {
        return Ok(Some(expression));
    }
    let start = text.len() - text.trim_start().len();
    let near = ensue_expression::nearest(name, NAMES.iter().map(|(known, _)| *known));
    Err(ScheduleError::NoSuchName { name: excerpt(name), near, span: start..start + name.len() })
}

/// Returns the fields of an expression, each with its kind.
fn written_fields(text: &str) -> Result<Vec<FieldText<'_>>, ScheduleError> {
    let mut words = Vec::new();
    let mut start = 0;
    for word in text.split(char::is_whitespace) {
        if !word.is_empty() {
            words.push((start, word));
        }
        // The white space after a word may have several bytes.
        start += word.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
    }
    let end = words.last().map(|(start, word)| start + word.len()).ok_or(ScheduleError::Empty)?;
    let fields = match words.len() {
        5 => &Field::ALL[1..6],
        6 => &Field::ALL[..6],
        7 => &Field::ALL[..],
        found => {
            let surplus = words.get(7).map_or(end, |(start, _)| *start);
            return Err(ScheduleError::FieldCount { found, span: surplus..end });
        }
    };
    Ok(fields.iter().zip(words).map(|(field, (start, text))| FieldText { field: *field, text, start }).collect())
}

/// Fails if both fields of days are restricted in a way that other programs read differently, and nothing
/// shows which reading is meant.
fn days_are_clear(fields: &[FieldText<'_>]) -> Result<(), ScheduleError> {
    let of = |field| fields.iter().find(|written| written.field == field);
    let (Some(day), Some(weekday)) = (of(Field::Day), of(Field::Weekday)) else { return Ok(()) };
    if day.is_all() || weekday.is_all() || weekday.text.starts_with('+') {
        return Ok(());
    }
    let Some(step) = [day, weekday].into_iter().find(|written| written.text.starts_with("*/")) else { return Ok(()) };
    let (least, most) = if step.field == Field::Weekday { (0, 6) } else { step.field.range() };
    let instead = step.text.replacen('*', &format!("{least}-{most}"), 1);
    Err(ScheduleError::EitherOrBoth {
        text: excerpt(step.text),
        instead: excerpt(&instead),
        span: step.start..step.start + step.text.len(),
    })
}

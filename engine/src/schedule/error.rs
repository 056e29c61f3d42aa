//! Errors in schedules: where they are, and what to write instead.

use std::ops::Range;

use thiserror::Error;

use super::fields::Field;
use crate::explain::Explain;

/// The last year in which a schedule can be due: croner, which computes the calendar, goes no further.
pub const YEAR_LAST: i32 = 4999;

/// The maximum length of a cron expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;

/// The maximum number of characters of the input that an error repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// The hint for an expression without the right fields.
const FIELDS: &str = "write minute, hour, day of the month, month and day of the week, for example `0 9 * * 1-5`";

/// Why a schedule is not valid.
#[derive(Clone, Debug, Error, Explain, PartialEq, Eq)]
#[non_exhaustive]
#[explain(slug = "schedule-invalid", fault = Invalid)]
pub enum ScheduleError {
    /// The expression is empty.
    #[error("the cron expression is empty")]
    #[explain(hint = FIELDS.to_owned())]
    Empty,
    /// The expression is too long.
    #[error("the cron expression has {bytes} bytes; the limit is {EXPRESSION_BYTES_MAX}")]
    #[explain(hint = FIELDS.to_owned())]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It has too few or too many fields.
    #[error("a cron expression has 5 fields, 6 with seconds, or 7 with seconds and years; this one has {found}")]
    #[explain(hint = if *found > 5 { "put the seconds first (6 fields), and the years last (7 fields)" } else { FIELDS }.to_owned())]
    FieldCount {
        /// The number of fields.
        found: usize,
        /// The extra fields, or the place where one is missing.
        span: Range<usize>,
    },
    /// An unknown name of the form `@daily`.
    #[error("there is no schedule named `{name}`")]
    #[explain(hint = near_or(*near, "write one of @hourly, @daily, @weekly, @monthly, @yearly"))]
    NoSuchName {
        /// The name in the input.
        name: String,
        /// The name that was probably meant, if there is one.
        near: Option<&'static str>,
        /// Its place.
        span: Range<usize>,
    },
    /// A part of a field is not valid.
    #[error("{}", fault.message(*field, text))]
    #[explain(hint = fault.hint(*field, text))]
    Part {
        /// The field.
        field: Field,
        /// The part in the input.
        text: String,
        /// The error.
        fault: PartFault,
        /// Its place.
        span: Range<usize>,
    },
    /// Both fields of days are restricted, one of them by a step of `*`, which other programs read in two
    /// ways.
    #[error("`{text}` is ambiguous together with another day field: some programs require both to match, others either one")]
    #[explain(hint = "write `+` before the day of the week if both must match, or `{instead}` instead of the step if either may match")]
    EitherOrBoth {
        /// The field with the step.
        text: String,
        /// The same days written without `*`.
        instead: String,
        /// Its place.
        span: Range<usize>,
    },
    /// The expression names a day that never comes.
    #[error("`{expression}` is never due: no such day exists")]
    #[explain(hint = "use a day that exists: February has at most 29 days; April, June, September and November have 30")]
    Never {
        /// The expression.
        expression: String,
    },
    /// croner rejects an expression that our grammar accepts: an internal error.
    #[error("`{expression}` cannot be read: {why}")]
    #[explain(fault = Bug)]
    Unread {
        /// The expression.
        expression: String,
        /// croner's message.
        why: String,
    },
    /// There is no such time zone.
    #[error("there is no time zone `{name}`")]
    #[explain(hint = near_or(*near, "use a name from the IANA database, for example `Europe/Berlin` or `UTC`"))]
    NoZone {
        /// The name in the input.
        name: String,
        /// The zone that was probably meant, if there is one.
        near: Option<&'static str>,
    },
    /// The text is not a moment.
    #[error("`{text}` is not a valid time")]
    #[explain(hint = "use RFC 3339, for example 2026-03-28T09:00:00Z")]
    NoMoment {
        /// The input.
        text: String,
    },
    /// Nothing can be due at this moment.
    #[error("`{text}` is outside the years 1 to {YEAR_LAST}, in which a schedule can be due")]
    #[explain(hint = "use RFC 3339, for example 2026-03-28T09:00:00Z")]
    OutOfTime {
        /// The input.
        text: String,
    },
}

/// The error in a part of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartFault {
    /// The part is empty.
    Missing,
    /// The field does not know it.
    Unknown,
    /// The number is out of the field's range.
    OutOfRange,
    /// The range ends before it begins.
    Backwards,
    /// The step is zero.
    StepZero,
    /// The step is larger than the field.
    StepTooLong,
    /// The step follows a single number.
    StepOfOne,
    /// `*` or `?` in a list.
    AllInList,
    /// `?` in a field that is not a day.
    NoDay,
    /// `L` alone as a day of the week.
    LastOfWhat,
    /// No month has that many of a day of the week.
    NthTooHigh,
    /// `L` and `LW` together.
    TwoLasts,
}

impl PartFault {
    fn message(&self, field: Field, text: &str) -> String {
        let (least, most) = field.range();
        match self {
            Self::Missing => format!("a {field} is missing next to a comma or after a sign"),
            Self::Unknown => format!("`{text}` is not a valid {field}"),
            Self::OutOfRange => format!("`{text}` is not a valid {field}: the range is {least} to {most}"),
            Self::Backwards => format!("the range `{text}` ends before it begins"),
            Self::StepZero => format!("the step of `{text}` is zero"),
            Self::StepTooLong => format!("the step of `{text}` is longer than the field: a {field} is {least} to {most}"),
            Self::StepOfOne => format!("`{text}` has a step but no range"),
            Self::AllInList => format!("`{text}` is part of a list, but it already means every value"),
            Self::NoDay => format!("`{text}` is only for day fields, but this is the {field}"),
            Self::LastOfWhat => format!("`{text}` means the last one, but it does not say which {field}"),
            Self::NthTooHigh => format!("`{text}` counts a weekday within a month, which must be from 1 to 5"),
            Self::TwoLasts => format!("`L` and `LW` cannot be combined, as in `{text}`"),
        }
    }

    fn hint(&self, field: Field, text: &str) -> Option<String> {
        match self {
            Self::Missing => Some("remove the sign, or add the missing value".to_owned()),
            Self::Unknown => Some(unknown_hint(field, text)),
            Self::OutOfRange => None,
            Self::Backwards => backwards_hint(field, text),
            Self::StepZero => Some("write a step of 1 or more".to_owned()),
            Self::StepTooLong => {
                Some("write the values one by one in a list: a step starts again each time that the next larger unit changes".to_owned())
            }
            Self::StepOfOne => {
                let (_, most) = field.range();
                text.split_once('/').map(|(from, step)| format!("write `{from}-{most}/{step}` to start there, or `*/{step}`"))
            }
            Self::AllInList => Some("remove either this part or the rest of the list".to_owned()),
            Self::NoDay => Some("write `*`".to_owned()),
            Self::LastOfWhat => Some("write `5L` for the last Friday of the month; 0 and 7 are Sunday".to_owned()),
            Self::NthTooHigh => Some("write `1#2` for the second Monday of the month, or `1L` for the last".to_owned()),
            Self::TwoLasts => Some("use `L` for the last day of the month, or `LW` for the last day from Monday to Friday".to_owned()),
        }
    }
}

fn unknown_hint(field: Field, text: &str) -> String {
    let (least, most) = field.range();
    let written = text.to_ascii_uppercase();
    let near = field.names().iter().find(|name| written.len() > 3 && written.starts_with(**name));
    match (near, field) {
        (Some(name), _) => format!("write `{name}`"),
        (None, Field::Month) => "write 1 to 12 or JAN to DEC, `*`, a list `1,7`, a range `1-6`, a step `*/3`".to_owned(),
        (None, Field::Weekday) => {
            "write 0 to 7 or SUN to SAT (0 and 7 are Sunday), `*`, a list `1,3`, a range `1-5`, `5L` for the last Friday, `1#2` for the second Monday"
                .to_owned()
        }
        (None, Field::Day) => {
            "write 1 to 31, `*`, a list `1,15`, a range `1-7`, a step `*/2`, `L` for the last day, `15W` for the weekday nearest to the 15th".to_owned()
        }
        (None, Field::Second | Field::Minute | Field::Hour | Field::Year) => {
            format!("write {least} to {most}, `*`, a list `1,2`, a range `1-5`, a step `*/5`")
        }
    }
}

/// Returns a range that wraps around the end of its field, written as two ranges.
fn backwards_hint(field: Field, text: &str) -> Option<String> {
    let (least, most) = field.range();
    let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
    let (from, to) = range.split_once('-')?;
    match (step, field) {
        (None, Field::Weekday) if field.number(from) == Some(6) => Some(format!("write `{from},0-{to}`")),
        (None, Field::Weekday) => Some(format!("write `{from}-6,0-{to}`")),
        (None, Field::Second | Field::Minute | Field::Hour | Field::Day | Field::Month) => {
            Some(format!("write `{from}-{most},{least}-{to}`"))
        }
        (Some(_), _) | (None, Field::Year) => None,
    }
}

impl ScheduleError {
    /// Returns the place of the error in the cron expression, in bytes, or `None` if it is the whole
    /// expression, or not in an expression.
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::FieldCount { span, .. } | Self::NoSuchName { span, .. } | Self::Part { span, .. } | Self::EitherOrBoth { span, .. } => {
                Some(span.clone())
            }
            Self::Empty
            | Self::TooLong { .. }
            | Self::Never { .. }
            | Self::Unread { .. }
            | Self::NoZone { .. }
            | Self::NoMoment { .. }
            | Self::OutOfTime { .. } => None,
        }
    }
}

fn near_or(near: Option<&str>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
}

/// Returns the input, shortened if it is long.
pub(super) fn excerpt(text: &str) -> String {
    let mut kept: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

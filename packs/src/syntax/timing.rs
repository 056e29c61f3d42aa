//! When something runs, and for how long: the fields that rules, actions and steps share.

use std::time::Duration;

use crate::diagnostics::{Code, Report};
use crate::fields::FieldReader;
use crate::shape::{Kind, ShapeField, optional_field};
use crate::yaml::Node;

pub(super) const PRIORITY: ShapeField = optional_field(
    "priority",
    Kind::Integer { from: -100, to: 100 },
    "Which executions run first if they have to wait: −100 to 100, higher first. The default is 0. A rule's priority overrides its \
        action's.",
);

pub(super) fn read_priority(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<i8> {
    fields.integer("priority", report).and_then(|number| i8::try_from(number).ok())
}

pub(super) fn read_timeout(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Duration> {
    read_some_time("timeout", fields, report)
}

/// A duration that is written out, or computed when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Period {
    Fixed(Duration),
    Computed(Node),
}

impl Period {
    /// Returns the duration, if it is written out.
    pub(crate) fn fixed_duration(&self) -> Option<Duration> {
        match self {
            Self::Fixed(duration) => Some(*duration),
            Self::Computed(_) => None,
        }
    }
}

/// Takes a duration greater than zero, or a text with expressions that returns one.
pub(super) fn read_period(name: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Period> {
    match fields.take_computed(name) {
        Some(node) => Some(Period::Computed(node)),
        None => read_some_time(name, fields, report).map(Period::Fixed),
    }
}

/// Takes a duration greater than zero.
pub(super) fn read_some_time(name: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Duration> {
    let at = fields.span_of(name);
    let time = fields.duration(name, report)?;
    if time.is_zero() {
        report.error(Code::InvalidDuration, fields.file, at, format!("`{name}` must be longer than zero")).hint("for example `10m`");
    }
    Some(time)
}

//! When something runs, and for how long: the fields that rules, actions and steps share.

use std::time::Duration;

use crate::diagnostics::{Code, Report};
use crate::fields::Fields;
use crate::shape::{Field, Kind, optional};

pub(super) const PRIORITY: Field = optional(
    "priority",
    Kind::Integer { from: -100, to: 100 },
    "Which executions run first if they have to wait: −100 to 100, higher first. The default is 0. A rule's priority overrides its \
        action's.",
);

pub(super) fn read_priority(fields: &mut Fields<'_>, report: &mut Report) -> Option<i8> {
    fields.integer("priority", report).and_then(|number| i8::try_from(number).ok())
}

pub(super) fn read_timeout(fields: &mut Fields<'_>, report: &mut Report) -> Option<Duration> {
    read_some_time("timeout", fields, report)
}

/// Takes a duration greater than zero.
pub(super) fn read_some_time(name: &str, fields: &mut Fields<'_>, report: &mut Report) -> Option<Duration> {
    let at = fields.span_of(name);
    let time = fields.duration(name, report)?;
    if time.is_zero() {
        report.error(Code::InvalidDuration, fields.file, at, format!("`{name}` must be longer than zero")).hint("for example `10m`");
    }
    Some(time)
}

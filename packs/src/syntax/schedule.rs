//! `schedule` of a rule and `timer` of a sensor: when they are due.

use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::schedule::plan::{EVERY_MILLIS_MIN, GRACE, GRACE_MIN, MADE_UP, MADE_UP_MAX, Misfire, Plan, When};
use ensue_engine::schedule::{Cron, ScheduleError, Zone, moment};
use ensue_engine::time::Timestamp;

use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, wrong_type};
use crate::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, Offsets, WithSpan, YamlEntry};

const MISFIRES: [(&str, Misfire); 3] = [("fire_once", Misfire::FireOnce), ("skip", Misfire::Skip), ("fire_all", Misfire::FireAll)];
const MISFIRE_WORDS: [&str; 3] = words(&MISFIRES);
const EXAMPLE: &str = "for example\nschedule: { cron: \"0 9 * * 1-5\", timezone: Europe/Berlin }";
/// 1 January 2026 in UTC: the gaps between the times of an expression are examined from here on.
const GAPS_FROM: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(super) static SCHEDULE: Shape = Shape { what: "`schedule`", fields: FIELDS, later: &[], between: BETWEEN };

pub(super) static TIMER: Shape = Shape { what: "`timer`", fields: FIELDS, later: &[], between: BETWEEN };

const FIELDS: &[ShapeField] = &[
    optional_field(
        "cron",
        Kind::Text(Form::Any),
        "A cron expression: minute, hour, day of the month, month, day of the week. `ensue cron next` says when it is due.",
    ),
    optional_field(
        "timezone",
        Kind::Text(Form::Any),
        "The time zone of `cron`, by its name in the IANA database: `Europe/Berlin`. The default is UTC.",
    ),
    optional_field(
        "every",
        Kind::Text(Form::SomeTime),
        "How long it is from one time to the next, at least one second. It counts from the record that installed the schedule.",
    ),
    optional_field(
        "at",
        Kind::Text(Form::Any),
        "One time, in quotes and with its offset from UTC: `\"2026-12-24T18:00:00+01:00\"`. A time that is in the past when the rule is \
        installed is never due.",
    ),
    optional_field(
        "misfire",
        Kind::Choice(&MISFIRE_WORDS),
        "What happens to times at which no node ran: `fire_once` (default), the newest fires for all; `skip`, none fires; `fire_all`, \
         each fires, at most `missed_max`.",
    ),
    optional_field(
        "grace",
        Kind::Text(Form::SomeTime),
        "With `misfire: skip`, how late a time may still fire, in addition to `jitter`; at least one second. The default is one minute.",
    ),
    optional_field(
        "missed_max",
        Kind::Integer { from: 1, to: MADE_UP_MAX as i64 },
        "With `misfire: fire_all`, how many times fire at most, the newest of them. The default is 100.",
    ),
    optional_field(
        "jitter",
        Kind::Text(Form::Duration),
        "The maximum random delay, so that not everything that is due at midnight runs at the same time. It must not be longer than the \
        interval between two times.",
    ),
];

const BETWEEN: &[FieldConstraint] = &[
    FieldConstraint::ExactlyOneOf(&["cron", "every", "at"]),
    FieldConstraint::OnlyBeside { field: "timezone", other: "cron" },
    FieldConstraint::OnlyBeside { field: "grace", other: "misfire" },
    FieldConstraint::OnlyFor { field: "grace", other: "misfire", pattern: "^skip$" },
    FieldConstraint::OnlyBeside { field: "missed_max", other: "misfire" },
    FieldConstraint::OnlyFor { field: "missed_max", other: "misfire", pattern: "^fire_all$" },
];

/// Reads when something is due. Returns `None` if that has errors, which have been reported.
pub(super) fn read(node: Node, shape: &'static Shape, file: &SourceText, report: &mut Report) -> Option<Plan> {
    let start = first_line(&node.span, file);
    let mut fields = FieldReader::open(node, shape, file, report)?;
    let given: Vec<&str> = ["cron", "every", "at"].into_iter().filter(|name| fields.has(name)).collect();
    if let [_, second, ..] = given[..] {
        let message = format!("{} must have only one of `cron`, `every` and `at`", shape.what);
        report
            .error(Code::NotExactlyOne, file, fields.key_of(second), message)
            .hint("remove the others, or split it into several rules or sensors");
        return None;
    }
    let has_zone = fields.has("timezone");
    let (zone_at, jitter_at) = (fields.key_of("timezone"), fields.span_of("jitter"));
    let has_misfire = fields.has("misfire");
    // An unknown word is reported, and does not show which fields go with it.
    let misfire = fields.choice("misfire", &MISFIRES, report).or_else(|| (!has_misfire).then(Misfire::default));
    let grace = read_grace(&mut fields, misfire, report);
    let made_up = read_missed_max(&mut fields, misfire, report);
    let jitter = if fields.has("jitter") { fields.duration("jitter", report) } else { Some(Duration::ZERO) };
    // An invalid zone is reported, and so is an error in the expression next to it.
    let zone = if has_zone { read_zone(&mut fields, report) } else { Some(Zone::UTC) };
    let when = match given.first() {
        Some(&"cron") => read_cron(&fields.take("cron")?, zone, file, report),
        Some(&"every") => read_every(&mut fields, report),
        Some(_) => read_at(&fields.text("at", report)?, file, report),
        None => {
            if !["cron", "every", "at"].iter().any(|name| fields.has_reported(name)) {
                let message = format!("{} needs one of `cron`, `every` and `at`", shape.what);
                report.error(Code::NotExactlyOne, file, start, message).hint(EXAMPLE.replace("schedule", shape.what.trim_matches('`')));
            }
            return None;
        }
    };
    if given != ["cron"] && has_zone {
        let message = "`timezone` is only for `cron`: it is the time zone of the cron expression";
        report.error(Code::FieldOutOfPlace, file, zone_at, message).hint("remove it; `at` contains its own offset from UTC");
        return None;
    }
    let plan = Plan { when: when?, misfire: misfire.unwrap_or_default(), grace: grace?, made_up: made_up?, jitter: jitter? };
    if plan.jitter_is_too_long(GAPS_FROM) {
        report
            .error(Code::InvalidSchedule, file, jitter_at, "`jitter` is longer than the time between two scheduled times")
            .hint("make it shorter: a time that is delayed that long would be overtaken by the next");
        return None;
    }
    Some(plan)
}

/// Reads how late a time may fire that is skipped otherwise.
fn read_grace(fields: &mut FieldReader<'_>, misfire: Option<Misfire>, report: &mut Report) -> Option<Duration> {
    if !fields.has("grace") {
        return Some(GRACE);
    }
    let (file, place) = (fields.file, fields.span_of("grace"));
    demand_misfire(fields, "grace", (misfire, Misfire::Skip), report)?;
    let grace = fields.duration("grace", report)?;
    if grace < GRACE_MIN {
        report
            .error(Code::InvalidSchedule, file, place, "`grace` is shorter than a second")
            .hint("use at least `1s`: a time always fires a little late");
        return None;
    }
    Some(grace)
}

/// Reads how many missed times fire at most.
fn read_missed_max(fields: &mut FieldReader<'_>, misfire: Option<Misfire>, report: &mut Report) -> Option<usize> {
    if !fields.has("missed_max") {
        return Some(MADE_UP);
    }
    demand_misfire(fields, "missed_max", (misfire, Misfire::FireAll), report)?;
    usize::try_from(fields.integer("missed_max", report)?).ok()
}

/// Reports a field that belongs to another `misfire`; then it returns `None`.
fn demand_misfire(fields: &FieldReader<'_>, name: &str, (given, wanted): (Option<Misfire>, Misfire), report: &mut Report) -> Option<()> {
    if given.is_none_or(|given| given == wanted) {
        return Some(());
    }
    let word = wanted.as_str();
    let message = format!("`{name}` is only for `misfire: {word}`");
    report.error(Code::FieldOutOfPlace, fields.file, fields.key_of(name), message).hint(format!("remove it, or write `misfire: {word}`"));
    None
}

/// Reads when something is due repeatedly, from the fields `every`, `cron` and `timezone` of a mapping that has
/// other fields, too. Returns `None` if that has errors, which have been reported.
pub(super) fn read_repeated(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<When> {
    let (file, start) = (fields.file, fields.start.clone());
    if fields.has("every") && fields.has("cron") {
        report
            .error(Code::NotExactlyOne, file, fields.key_of("cron"), "`poll` must have either `every` or `cron`, not both")
            .hint("remove one of them");
        return None;
    }
    if fields.has("timezone") && !fields.has("cron") {
        let message = "`timezone` is only for `cron`: it is the time zone of the cron expression";
        report.error(Code::FieldOutOfPlace, file, fields.key_of("timezone"), message).hint("remove it");
        return None;
    }
    if fields.has("every") {
        return read_every(fields, report);
    }
    let zone = if fields.has("timezone") { read_zone(fields, report) } else { Some(Zone::UTC) };
    if let Some(cron) = fields.take("cron") {
        return read_cron(&cron, zone, file, report);
    }
    if !fields.has_reported("every") && !fields.has_reported("cron") {
        report.error(Code::NotExactlyOne, file, start, "`poll` needs either `every` or `cron`").hint("for example `every: 1m`");
    }
    None
}

fn read_zone(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Zone> {
    let file = fields.file;
    let written = fields.text("timezone", report)?;
    let error = match written.value.parse::<Zone>() {
        Ok(zone) => return Some(zone),
        Err(error) => error,
    };
    let near = if let ScheduleError::NoZone { near, .. } = &error { *near } else { None };
    let diagnostic = report.error(Code::InvalidSchedule, file, written.span, error.to_string());
    match near {
        Some(near) => diagnostic.did_you_mean(Some(near)),
        None => diagnostic.hint(error.hint().unwrap_or_default()),
    };
    None
}

fn read_cron(entry: &YamlEntry, zone: Option<Zone>, file: &SourceText, report: &mut Report) -> Option<When> {
    let Content::Text { value, style } = &entry.value.content else {
        wrong_type(&entry.value, "`cron`", "a string", file, report);
        return None;
    };
    match Cron::parse(value, zone.unwrap_or(Zone::UTC)) {
        Ok(cron) => zone.map(|_| When::Cron(Box::new(cron))),
        Err(error) => {
            let place = match error.span() {
                Some(span) => Offsets::align(value, file.slice(&entry.value.span), *style, entry.value.span.start).of(&span),
                None => first_line(&entry.value.span, file),
            };
            let place = if place.is_empty() { first_line(&entry.value.span, file) } else { place };
            let diagnostic = report.error(Code::InvalidSchedule, file, place, error.to_string());
            if let Some(hint) = error.hint() {
                diagnostic.hint(hint);
            }
            None
        }
    }
}

fn read_every(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<When> {
    let (file, place) = (fields.file, fields.span_of("every"));
    let every = fields.duration("every", report)?;
    if every < Duration::from_millis(EVERY_MILLIS_MIN) {
        report
            .error(Code::InvalidSchedule, file, place, "`every` is shorter than a second")
            .hint("use at least `1s`; for anything more frequent, have a program post events");
        return None;
    }
    Some(When::Every(every))
}

fn read_at(written: &WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<When> {
    match moment(&written.value) {
        Ok(at) => Some(When::At(at)),
        Err(error) => {
            let in_utc = format!("{}Z", written.value);
            if moment(&in_utc).is_ok() {
                let message = format!("`{}` has no offset from UTC, so it is not clear which moment it is", written.value);
                report
                    .error(Code::InvalidSchedule, file, written.span.clone(), message)
                    .hint(format!("write `{in_utc}`, or for example `{}+01:00`", written.value));
                return None;
            }
            let diagnostic = report.error(Code::InvalidSchedule, file, written.span.clone(), error.to_string());
            diagnostic.hint("write RFC 3339 with the offset from UTC, for example `2026-12-24T18:00:00+01:00`");
            None
        }
    }
}

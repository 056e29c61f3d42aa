//! `dedupe`, `throttle`, `debounce`, `window`, `missing` and `concurrency` of a rule: which of its matches
//! are acted on, and when.

use std::time::Duration;

use ensue_engine::catalog::{Acts, Control, Does, Excess, THROTTLE_LIMIT_MAX, WINDOW_COUNT_MAX};

use super::concurrency;
use super::timing::read_some_time;
use crate::diagnostics::{Code, Report};
use crate::fields::FieldReader;
use crate::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Node, WithSpan, YamlEntry};

const EXCESSES: [(&str, Excess); 2] = [("drop", Excess::Drop), ("delay", Excess::Delay)];
const EXCESS_WORDS: [&str; 2] = words(&EXCESSES);

const ACTS: [(&str, Acts); 2] = [("last", Acts::OnLast), ("all", Acts::OnAll)];
const ACTS_WORDS: [&str; 2] = words(&ACTS);

const KEY: ShapeField = optional_field(
    "key",
    Kind::Expression,
    "The key of a match: an expression that returns a string, a number, true or false. Without it, all matches of the rule share one key.",
);

static DEDUPE_SHAPE: Shape = Shape {
    what: "`dedupe`",
    fields: &[
        KEY,
        required_field(
            "within",
            "within: 10m",
            Kind::Text(Form::SomeTime),
            "For how long after a match further matches of its key count as repeats. It counts from the first match.",
        ),
    ],
    ..Shape::BARE
};

static THROTTLE_SHAPE: Shape = Shape {
    what: "`throttle`",
    fields: &[
        required_field(
            "limit",
            "limit: 5",
            Kind::Integer { from: 1, to: THROTTLE_LIMIT_MAX as i64 },
            "How many matches of a key pass in `per`: that many at once, and then one every `per` / `limit`.",
        ),
        required_field("per", "per: 1m", Kind::Text(Form::SomeTime), "The period for `limit`."),
        KEY,
        optional_field(
            "excess",
            Kind::Choice(&EXCESS_WORDS),
            "What happens to further matches: `drop` (default), they are not acted on; or `delay`, they are acted on later, in order.",
        ),
    ],
    ..Shape::BARE
};

static DEBOUNCE_SHAPE: Shape = Shape {
    what: "`debounce`",
    fields: &[
        required_field(
            "quiet",
            "quiet: 30s",
            Kind::Text(Form::SomeTime),
            "How long no match of the key must come before the last one is acted on.",
        ),
        optional_field(
            "most",
            Kind::Text(Form::SomeTime),
            "The longest time from the first match of the key until one is acted on, however many follow. Without it, a steady stream \
             is never acted on.",
        ),
        optional_field(
            "events",
            Kind::Choice(&ACTS_WORDS),
            "Which of the matches are acted on: `last` (default), or `all` of them together, as `events`. At most 100 are gathered.",
        ),
        KEY,
    ],
    ..Shape::BARE
};

static WINDOW_SHAPE: Shape = Shape {
    what: "`window`",
    fields: &[
        optional_field(
            "count",
            Kind::Integer { from: 2, to: WINDOW_COUNT_MAX as i64 },
            "Which match of a key is acted on, with those before it as `events`. Counting then starts over. With `until`, the default is \
             100.",
        ),
        optional_field("within", Kind::Text(Form::SomeTime), "How long a match counts. If too few come in this time, none is acted on."),
        optional_field(
            "until",
            Kind::Text(Form::SomeTime),
            "How long matches are gathered, from the first match of a key on. Then all of them are acted on as one, however many came.",
        ),
        optional_field(
            "of",
            Kind::Texts { of: Form::Ref, least: 2 },
            "Triggers of the rule, instead of `count`: one match of each is acted on together. Of one trigger, the newest match counts.",
        ),
        optional_field(
            "distinct",
            Kind::Expression,
            "An expression that returns a string, a number, true or false: `count` counts different values of it. Of equal values, the \
             newest match counts.",
        ),
        KEY,
    ],
    between: &[
        FieldConstraint::ExactlyOneOf(&["within", "until"]),
        FieldConstraint::OnlyBesideOneOf { field: "within", others: &["count", "of"] },
        FieldConstraint::NotBoth("of", "until"),
        FieldConstraint::NotBoth("of", "count"),
        FieldConstraint::NotBoth("distinct", "until"),
        FieldConstraint::OnlyBeside { field: "distinct", other: "count" },
    ],
    ..Shape::BARE
};

static MISSING_SHAPE: Shape = Shape {
    what: "`missing`",
    fields: &[
        required_field(
            "for",
            "for: 26h",
            Kind::Text(Form::SomeTime),
            "How long no other match of the key must follow a match before it is acted on.",
        ),
        KEY,
    ],
    ..Shape::BARE
};

pub(super) const DEDUPE: ShapeField =
    optional_field("dedupe", Kind::Fields(&DEDUPE_SHAPE), "Matches of one key are acted on once in a period.");
pub(super) const THROTTLE: ShapeField =
    optional_field("throttle", Kind::Fields(&THROTTLE_SHAPE), "Only a limited number of matches of one key are acted on in a period.");
pub(super) const DEBOUNCE: ShapeField = optional_field(
    "debounce",
    Kind::Fields(&DEBOUNCE_SHAPE),
    "The last match of a key is acted on, once no further match has come for a while.",
);
pub(super) const WINDOW: ShapeField = optional_field(
    "window",
    Kind::Fields(&WINDOW_SHAPE),
    "Several matches of a key are acted on together, and expressions read their events as `events`.",
);
pub(super) const MISSING: ShapeField = optional_field(
    "missing",
    Kind::Fields(&MISSING_SHAPE),
    "The last match of a key is acted on if no other match follows it for a while.",
);

/// One flow control of a rule, with its expressions not compiled yet.
pub(crate) struct FlowStage {
    pub(crate) does: Does,
    pub(crate) key: Option<Node>,
    pub(crate) distinct: Option<Node>,
    /// The triggers of which a window needs one each, as written.
    pub(crate) of: Vec<WithSpan<String>>,
}

/// Takes the flow controls of a rule. Returns `None` if one has errors, which have been reported.
pub(super) fn read_flow(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<FlowStage>> {
    let window_key = fields.key_of(Control::Window.as_str());
    let mut stages: Option<Vec<FlowStage>> = Some(Vec::new());
    for control in Control::ALL {
        let Some(YamlEntry { value, .. }) = fields.take(control.as_str()) else { continue };
        let stage = read_stage(control, value, fields.file, report);
        stages = stages.zip(stage).map(|(mut stages, stage)| {
            stages.push(stage);
            stages
        });
    }
    let gathering = stages.iter().flatten().filter(|stage| stage.does.gathers());
    if gathering.count() > 1 {
        let message = "`window` and `debounce` with `events: all` both gather the events of a rule";
        report.error(Code::FieldOutOfPlace, fields.file, window_key, message).hint("remove `events: all`, or one of the two");
        return None;
    }
    stages
}

fn read_stage(control: Control, node: Node, file: &SourceText, report: &mut Report) -> Option<FlowStage> {
    let shape = match control {
        Control::Dedupe => &DEDUPE_SHAPE,
        Control::Throttle => &THROTTLE_SHAPE,
        Control::Debounce => &DEBOUNCE_SHAPE,
        Control::Window => &WINDOW_SHAPE,
        Control::Missing => &MISSING_SHAPE,
        Control::Concurrency => &concurrency::SHAPE_OF_RULE,
    };
    let mut fields = FieldReader::open(node, shape, file, report)?;
    let key = fields.take("key").map(|entry| entry.value);
    if control == Control::Window {
        return read_window(fields, key, report);
    }
    let does = match control {
        Control::Dedupe => read_millis("within", &mut fields, report).map(|within_millis| Does::Dedupe { within_millis }),
        Control::Throttle => {
            let (has_excess, excess) = (fields.has("excess"), fields.choice("excess", &EXCESSES, report));
            let (limit, per_millis) = (read_count("limit", &mut fields, report), read_millis("per", &mut fields, report));
            let excess = if has_excess { excess } else { Some(Excess::default()) };
            let (limit, per_millis) = limit.zip(per_millis)?;
            excess.map(|excess| Does::Throttle { limit, per_millis, excess })
        }
        Control::Debounce => read_debounce(&mut fields, report),
        Control::Window => None,
        Control::Missing => read_millis("for", &mut fields, report).map(|for_millis| Does::Missing { for_millis }),
        Control::Concurrency => {
            concurrency::read_numbers(&mut fields, report).map(|(limit, conflict)| Does::Concurrency { limit, conflict })
        }
    };
    Some(FlowStage { does: does?, key, distinct: None, of: Vec::new() })
}

fn read_debounce(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Does> {
    let (has_events, acts) = (fields.has("events"), fields.choice("events", &ACTS, report));
    let acts = if has_events { acts } else { Some(Acts::default()) };
    let (has_most, most_at) = (fields.has("most"), fields.span_of("most"));
    let most_millis = read_some_time("most", fields, report).map(in_millis);
    let quiet_millis = read_millis("quiet", fields, report)?;
    if most_millis.is_some_and(|most| most <= quiet_millis) {
        report
            .error(Code::InvalidDuration, fields.file, most_at, "`most` must be longer than `quiet`")
            .hint("make it longer: otherwise the first match is acted on before it has been quiet");
        return None;
    }
    let most_millis = if has_most { Some(most_millis?) } else { None };
    Some(Does::Debounce { quiet_millis, most_millis, acts: acts? })
}

/// Takes a window of one of its four kinds.
fn read_window(mut fields: FieldReader<'_>, key: Option<Node>, report: &mut Report) -> Option<FlowStage> {
    let file = fields.file;
    let is_digest = fields.has("until");
    let has_within = fields.has("within");
    if is_digest == has_within {
        let (message, at) = match is_digest {
            true => ("`window` must have either `within` or `until`, not both", fields.key_of("until")),
            false => ("`window` needs the field `within` or `until`", fields.start.clone()),
        };
        if is_digest || !(fields.has_reported("within") || fields.has_reported("until")) {
            report.error(Code::NotExactlyOne, file, at, message).hint(
                "`within: 5m` waits for enough matches and drops them if too few come; `until: 5m` acts on all that came in this time",
            );
        }
        return None;
    }
    let out_of_place = |field: &str, why: &str, fields: &FieldReader<'_>, report: &mut Report| {
        report.error(Code::FieldOutOfPlace, file, fields.key_of(field), format!("`{field}` {why}")).hint("remove one of the two");
        None
    };
    if let Some(field) = ["of", "distinct"].into_iter().find(|field| is_digest && fields.has(field)) {
        return out_of_place(field, "cannot be next to `until`, which acts on every match", &fields, report);
    }
    if let Some(field) = ["count", "distinct"].into_iter().find(|field| fields.has("of") && fields.has(field)) {
        return out_of_place(field, "cannot be next to `of`, which says what the window needs", &fields, report);
    }
    let distinct = fields.take("distinct").map(|entry| entry.value);
    if is_digest {
        let count = if fields.has("count") { read_count("count", &mut fields, report) } else { Some(WINDOW_COUNT_MAX) };
        let until_millis = read_millis("until", &mut fields, report);
        let does = Does::Digest { count: count?, until_millis: until_millis? };
        return Some(FlowStage { does, key, distinct, of: Vec::new() });
    }
    let within_millis = read_millis("within", &mut fields, report);
    if fields.has("of") {
        let of = read_of(&mut fields, report)?;
        let refs = of.iter().filter_map(|trigger| trigger.value.parse().ok()).collect();
        return Some(FlowStage { does: Does::Each { of: refs, within_millis: within_millis? }, key, distinct, of });
    }
    if !fields.has("count") {
        if !fields.has_reported("count") && !fields.has_reported("of") {
            report
                .error(Code::MissingField, file, fields.start.clone(), "`window` needs the field `count` or `of`")
                .hint("for example\ncount: 3");
        }
        return None;
    }
    let (count, within_millis) = (read_count("count", &mut fields, report)?, within_millis?);
    let does = match &distinct {
        Some(_) => Does::Distinct { count, within_millis },
        None => Does::Window { count, within_millis },
    };
    Some(FlowStage { does, key, distinct, of: Vec::new() })
}

/// Takes the triggers of which a window needs one each: at least two, and none twice.
fn read_of(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<WithSpan<String>>> {
    let (file, at) = (fields.file, fields.span_of("of"));
    let of = fields.texts("of", report)?;
    let twice = of.iter().enumerate().find(|(index, one)| of[..*index].iter().any(|first| first.value == one.value));
    if let Some((_, twice)) = twice {
        report
            .error(Code::InvalidValue, file, twice.span.clone(), format!("`of` names `{}` twice", twice.value))
            .hint("remove one of the two: to act on several events of one trigger, use `count`");
        return None;
    }
    if !(2..=WINDOW_COUNT_MAX as usize).contains(&of.len()) {
        let message = format!("`of` must name 2 to {WINDOW_COUNT_MAX} triggers, not {}", of.len());
        report.error(Code::InvalidValue, file, at, message).hint("for example\nof: [ci.built, qa.passed]");
        return None;
    }
    Some(of)
}

fn in_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a required duration.
fn read_millis(name: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<u64> {
    if !fields.has(name) {
        fields.take_required(name, report);
        return None;
    }
    read_some_time(name, fields, report).map(in_millis)
}

/// Takes a required number.
fn read_count(name: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<u32> {
    if !fields.has(name) {
        fields.take_required(name, report);
        return None;
    }
    fields.integer(name, report).and_then(|count| u32::try_from(count).ok())
}

//! `dedupe`, `throttle`, `debounce`, `window`, `missing` and `concurrency` of a rule: which of its matches
//! are acted on, and when.

use std::time::Duration;

use ensue_engine::catalog::{Control, Does, Excess, THROTTLE_LIMIT_MAX, WINDOW_COUNT_MAX};

use super::concurrency;
use super::timing::read_some_time;
use crate::diagnostics::Report;
use crate::fields::Fields;
use crate::shape::{Field, Form, Kind, Shape, optional, required, words};
use crate::source::SourceText;
use crate::yaml::{Entry, Node};

const EXCESSES: [(&str, Excess); 2] = [("drop", Excess::Drop), ("delay", Excess::Delay)];
const EXCESS_WORDS: [&str; 2] = words(&EXCESSES);

const KEY: Field = optional(
    "key",
    Kind::Expression,
    "The key of a match: an expression that returns a string, a number, true or false. Without it, all matches of the rule share one key.",
);

static DEDUPE_SHAPE: Shape = Shape {
    what: "`dedupe`",
    fields: &[
        KEY,
        required(
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
        required(
            "limit",
            "limit: 5",
            Kind::Integer { from: 1, to: THROTTLE_LIMIT_MAX as i64 },
            "How many matches of a key pass in `per`: that many at once, and then one every `per` / `limit`.",
        ),
        required("per", "per: 1m", Kind::Text(Form::SomeTime), "The period for `limit`."),
        KEY,
        optional(
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
        required(
            "quiet",
            "quiet: 30s",
            Kind::Text(Form::SomeTime),
            "How long no match of the key must come before the last one is acted on.",
        ),
        KEY,
    ],
    ..Shape::BARE
};

static WINDOW_SHAPE: Shape = Shape {
    what: "`window`",
    fields: &[
        required(
            "count",
            "count: 3",
            Kind::Integer { from: 2, to: WINDOW_COUNT_MAX as i64 },
            "Which match of a key in the period is acted on, with those before it as `events`. Counting then starts over.",
        ),
        required("within", "within: 5m", Kind::Text(Form::SomeTime), "How long a match counts."),
        KEY,
    ],
    ..Shape::BARE
};

static MISSING_SHAPE: Shape = Shape {
    what: "`missing`",
    fields: &[
        required(
            "for",
            "for: 26h",
            Kind::Text(Form::SomeTime),
            "How long no other match of the key must follow a match before it is acted on.",
        ),
        KEY,
    ],
    ..Shape::BARE
};

pub(super) const DEDUPE: Field = optional("dedupe", Kind::Fields(&DEDUPE_SHAPE), "Matches of one key are acted on once in a period.");
pub(super) const THROTTLE: Field =
    optional("throttle", Kind::Fields(&THROTTLE_SHAPE), "Only a limited number of matches of one key are acted on in a period.");
pub(super) const DEBOUNCE: Field =
    optional("debounce", Kind::Fields(&DEBOUNCE_SHAPE), "The last match of a key is acted on, once no further match has come for a while.");
pub(super) const WINDOW: Field = optional(
    "window",
    Kind::Fields(&WINDOW_SHAPE),
    "Several matches of a key in a period are acted on together, and expressions read them as `events`.",
);
pub(super) const MISSING: Field =
    optional("missing", Kind::Fields(&MISSING_SHAPE), "The last match of a key is acted on if no other match follows it for a while.");

/// One flow control of a rule, with its key not compiled yet.
pub(crate) struct Stage {
    pub(crate) does: Does,
    pub(crate) key: Option<Node>,
}

/// Takes the flow controls of a rule. Returns `None` if one has errors, which have been reported.
pub(super) fn read_flow(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Stage>> {
    let mut stages = Some(Vec::new());
    for control in Control::ALL {
        let Some(Entry { value, .. }) = fields.take(control.as_str()) else { continue };
        let stage = read_stage(control, value, fields.file, report);
        stages = stages.zip(stage).map(|(mut stages, stage)| {
            stages.push(stage);
            stages
        });
    }
    stages
}

fn read_stage(control: Control, node: Node, file: &SourceText, report: &mut Report) -> Option<Stage> {
    let shape = match control {
        Control::Dedupe => &DEDUPE_SHAPE,
        Control::Throttle => &THROTTLE_SHAPE,
        Control::Debounce => &DEBOUNCE_SHAPE,
        Control::Window => &WINDOW_SHAPE,
        Control::Missing => &MISSING_SHAPE,
        Control::Concurrency => &concurrency::SHAPE_OF_RULE,
    };
    let mut fields = Fields::open(node, shape, file, report)?;
    let key = fields.take("key").map(|entry| entry.value);
    let does = match control {
        Control::Dedupe => read_millis("within", &mut fields, report).map(|within_millis| Does::Dedupe { within_millis }),
        Control::Throttle => {
            let (has_excess, excess) = (fields.has("excess"), fields.choice("excess", &EXCESSES, report));
            let (limit, per_millis) = (read_count("limit", &mut fields, report), read_millis("per", &mut fields, report));
            let excess = if has_excess { excess } else { Some(Excess::default()) };
            let (limit, per_millis) = limit.zip(per_millis)?;
            excess.map(|excess| Does::Throttle { limit, per_millis, excess })
        }
        Control::Debounce => read_millis("quiet", &mut fields, report).map(|quiet_millis| Does::Debounce { quiet_millis }),
        Control::Window => {
            let (count, within_millis) = (read_count("count", &mut fields, report), read_millis("within", &mut fields, report));
            count.zip(within_millis).map(|(count, within_millis)| Does::Window { count, within_millis })
        }
        Control::Missing => read_millis("for", &mut fields, report).map(|for_millis| Does::Missing { for_millis }),
        Control::Concurrency => {
            concurrency::read_numbers(&mut fields, report).map(|(limit, conflict)| Does::Concurrency { limit, conflict })
        }
    };
    Some(Stage { does: does?, key })
}

/// Takes a required duration.
fn read_millis(name: &str, fields: &mut Fields<'_>, report: &mut Report) -> Option<u64> {
    if !fields.has(name) {
        fields.take_required(name, report);
        return None;
    }
    read_some_time(name, fields, report).map(|time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Takes a required number.
fn read_count(name: &str, fields: &mut Fields<'_>, report: &mut Report) -> Option<u32> {
    if !fields.has(name) {
        fields.take_required(name, report);
        return None;
    }
    fields.integer(name, report).and_then(|count| u32::try_from(count).ok())
}

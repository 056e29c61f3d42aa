//! `repeat`: how often a step is repeated, and when to stop.

use std::time::Duration;

use ensue_engine::catalog::TURNS_MAX;

use crate::diagnostics::Report;
use crate::fields::Fields;
use crate::shape::{Form, Kind, Shape, optional, required};
use crate::yaml::{Entry, Node};

pub(super) static REPEAT: Shape = Shape {
    what: "`repeat`",
    fields: &[
        required(
            "max",
            "max: 20",
            Kind::Integer { from: 1, to: TURNS_MAX as i64 },
            "How many turns there are at most. After the last of them the step succeeds; what must not go on then says so with `fail`.",
        ),
        optional(
            "while",
            Kind::Expression,
            "Asked before each turn, the first included: where it does not hold, there is none more. It reads `previous`, what the turn before \
             gave, null at first, and `iteration`, from 1.",
        ),
        optional(
            "until",
            Kind::Expression,
            "Asked after each turn: where it holds, that was the last. It reads the turn's `result`, `previous` and `iteration`.",
        ),
        optional(
            "every",
            Kind::Text(Form::Duration),
            "How long is waited after a turn, before the next. Not at all where nothing is said.",
        ),
        optional(
            "collect",
            Kind::Expression,
            "A list of each turn, over its `result`, `previous` and `iteration`. The step gives all of them, joined. Without it, what the \
             last turn gave.",
        ),
    ],
    later: &[],
    between: &[],
};

/// How a step is repeated.
pub(crate) struct Repeat {
    pub(crate) while_holds: Option<Node>,
    pub(crate) until: Option<Node>,
    pub(crate) every: Option<Duration>,
    pub(crate) max: u32,
    pub(crate) collect: Option<Node>,
}

/// Takes the field `repeat`. Returns `None` if it is absent, or has errors that have been reported.
pub(super) fn read_repeat(fields: &mut Fields<'_>, report: &mut Report) -> Option<Repeat> {
    let Entry { value, .. } = fields.take("repeat")?;
    let mut fields = Fields::open(value, &REPEAT, fields.file, report)?;
    let has_max = fields.has("max");
    let max = fields.integer("max", report).and_then(|max| u32::try_from(max).ok());
    if !has_max {
        fields.take_required("max", report);
    }
    let every = fields.duration("every", report);
    let [while_holds, until, collect] = ["while", "until", "collect"].map(|name| fields.take(name).map(|entry| entry.value));
    Some(Repeat { while_holds, until, every, max: max?, collect })
}

//! `repeat`: how often a step is repeated, and when to stop.

use ensue_engine::catalog::TURNS_MAX;

use super::timing::Period;
use crate::diagnostics::Report;
use crate::fields::FieldReader;
use crate::shape::{Form, Kind, Shape, optional_field, required_field};
use crate::yaml::{Node, YamlEntry};

pub(super) static REPEAT: Shape = Shape {
    what: "`repeat`",
    fields: &[
        required_field(
            "max",
            "max: 20",
            Kind::Integer { from: 1, to: TURNS_MAX as i64 },
            "The maximum number of turns. After the last turn, the step succeeds; if the workflow must not continue then, use a step \
                with `fail`.",
        ),
        optional_field(
            "while",
            Kind::Expression,
            "Evaluated before each turn, including the first: if it is false, there are no further turns. It reads `previous`, the \
             result of the turn before, null at first, and `iteration`, from 1.",
        ),
        optional_field(
            "until",
            Kind::Expression,
            "Evaluated after each turn: if it is true, that was the last turn. It reads the turn's `result`, `previous` and `iteration`.",
        ),
        optional_field(
            "every",
            Kind::Text(Form::Wait),
            "How long to wait after a turn, before the next one. It may contain `${{ … }}`. By default, there is no wait.",
        ),
        optional_field(
            "collect",
            Kind::Expression,
            "A list for each turn, over its `result`, `previous` and `iteration`. The step returns all these lists, joined. Without it, \
             the step returns the result of the last turn.",
        ),
    ],
    ..Shape::BARE
};

/// How a step is repeated.
pub(crate) struct Repeat {
    pub(crate) while_holds: Option<Node>,
    pub(crate) until: Option<Node>,
    pub(crate) every: Option<Period>,
    pub(crate) max: u32,
    pub(crate) collect: Option<Node>,
}

/// Takes the field `repeat`. Returns `None` if it is absent, or has errors that have been reported.
pub(super) fn read_repeat(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Repeat> {
    let YamlEntry { value, .. } = fields.take("repeat")?;
    let mut fields = FieldReader::open(value, &REPEAT, fields.file, report)?;
    let has_max = fields.has("max");
    let max = fields.integer("max", report).and_then(|max| u32::try_from(max).ok());
    if !has_max {
        fields.take_required("max", report);
    }
    let every = match fields.take_computed("every") {
        Some(node) => Some(Period::Computed(node)),
        None => fields.duration("every", report).map(Period::Fixed),
    };
    let [while_holds, until, collect] = ["while", "until", "collect"].map(|name| fields.take(name).map(|entry| entry.value));
    Some(Repeat { while_holds, until, every, max: max?, collect })
}

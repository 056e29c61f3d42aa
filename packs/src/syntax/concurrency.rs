//! `concurrency`: the limit on open executions of an action or a rule.

use ensue_engine::catalog::{CONCURRENCY_LIMIT_MAX, LockConflict};

use crate::diagnostics::Report;
use crate::fields::FieldReader;
use crate::shape::{Kind, Shape, ShapeField, optional_field, words};
use crate::yaml::{Node, YamlEntry};

const CONFLICTS: [(&str, LockConflict); 3] =
    [("queue", LockConflict::Queue), ("skip", LockConflict::Skip), ("cancel_running", LockConflict::CancelRunning)];
const CONFLICT_WORDS: [&str; 3] = words(&CONFLICTS);

const LIMIT: ShapeField = optional_field(
    "limit",
    Kind::Integer { from: 1, to: CONCURRENCY_LIMIT_MAX as i64 },
    "How many executions per key may be open at once. The default is 1.",
);

static SHAPE: Shape = Shape {
    what: "`concurrency`",
    fields: &[
        LIMIT,
        optional_field(
            "key",
            Kind::Expression,
            "The key of an execution: an expression over `params` and `config` that returns a string, a number, true or false. Without \
             it, all executions of the action share one key.",
        ),
        optional_field(
            "conflict",
            Kind::Choice(&CONFLICT_WORDS),
            "What happens to further executions: `queue` (default), they wait for their turn; `skip`, they are cancelled at once; or \
             `cancel_running`, the executions before them are asked to end, and they wait for that.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static SHAPE_OF_RULE: Shape = Shape {
    what: "`concurrency`",
    fields: &[
        LIMIT,
        optional_field(
            "key",
            Kind::Expression,
            "The key of a match: an expression that returns a string, a number, true or false. Without it, all matches of the rule share \
             one key.",
        ),
        optional_field(
            "conflict",
            Kind::Choice(&CONFLICT_WORDS),
            "What happens to further matches: `queue` (default), their executions wait for their turn; `skip`, they are not acted on; \
             or `cancel_running`, the executions before them are asked to end, and their own executions wait for that.",
        ),
    ],
    ..Shape::BARE
};

pub(super) const CONCURRENCY: ShapeField = optional_field(
    "concurrency",
    Kind::Fields(&SHAPE),
    "How many executions of the action may be open at once, by their keys. By default, there is no limit.",
);

pub(super) const CONCURRENCY_OF_RULE: ShapeField = optional_field(
    "concurrency",
    Kind::Fields(&SHAPE_OF_RULE),
    "How many executions that the rule led to may be open at once, by the keys of their matches. It applies after all other flow control.",
);

/// The limit on open executions of an action, with its key not compiled yet.
pub(crate) struct Concurrency {
    pub(crate) limit: u32,
    pub(crate) key: Option<Node>,
    pub(crate) conflict: LockConflict,
}

/// Takes the `concurrency` of an action. Returns `None` if it has errors, which have been reported.
pub(super) fn read_concurrency(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Option<Concurrency>> {
    let Some(YamlEntry { value, .. }) = fields.take("concurrency") else { return Some(None) };
    let mut fields = FieldReader::open(value, &SHAPE, fields.file, report)?;
    let key = fields.take("key").map(|entry| entry.value);
    let (limit, conflict) = read_numbers(&mut fields, report)?;
    Some(Some(Concurrency { limit, key, conflict }))
}

/// Takes the limit and the policy for executions over it. Returns `None` if one of them has an error.
pub(super) fn read_numbers(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<(u32, LockConflict)> {
    let (has_limit, has_conflict) = (fields.has("limit"), fields.has("conflict"));
    let limit = fields.integer("limit", report).and_then(|limit| u32::try_from(limit).ok());
    let conflict = fields.choice("conflict", &CONFLICTS, report);
    let limit = if has_limit { limit } else { Some(1) };
    let conflict = if has_conflict { conflict } else { Some(LockConflict::default()) };
    limit.zip(conflict)
}

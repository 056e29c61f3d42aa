//! The meaning of a generated condition without CEL: the slow reference implementation for the evaluation of
//! rules.

use serde_json::Value;

use crate::pack::Condition;

/// The result of a condition for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It cannot be evaluated.
    Error,
}

/// Evaluates a condition on a payload from a source, with the pack's setting.
pub(super) fn of(condition: &Condition, payload: &Value, source: &str, least: u64) -> Meaning {
    let of = |condition: &Condition| of(condition, payload, source, least);
    let say = |holds: bool| if holds { Meaning::Yes } else { Meaning::No };
    match condition {
        Condition::Always => Meaning::Yes,
        Condition::Bug => Meaning::Error,
        Condition::NumberIs(number) => payload.get("n").map_or(Meaning::Error, |n| say(n.as_u64() == Some(*number))),
        Condition::NumberBelow(number) => payload.get("n").and_then(Value::as_u64).map_or(Meaning::Error, |n| say(n < *number)),
        Condition::NumberBelowSetting => payload.get("n").and_then(Value::as_u64).map_or(Meaning::Error, |n| say(n < least)),
        Condition::NumberIn(numbers) => payload.get("n").map_or(Meaning::Error, |n| say(n.as_u64().is_some_and(|n| numbers.contains(&n)))),
        Condition::TextIs(text) => payload.get("text").map_or(Meaning::Error, |given| say(given.as_str() == Some(text))),
        Condition::Flag => payload.get("flag").and_then(Value::as_bool).map_or(Meaning::Error, say),
        Condition::Has(field) => say(payload.get(field).is_some()),
        Condition::SourceIs(name) => say(source == *name),
        Condition::And(one, other) => match (of(one), of(other)) {
            (Meaning::No, _) | (_, Meaning::No) => Meaning::No,
            (Meaning::Error, _) | (_, Meaning::Error) => Meaning::Error,
            (Meaning::Yes, Meaning::Yes) => Meaning::Yes,
        },
        Condition::Or(one, other) => match (of(one), of(other)) {
            (Meaning::Yes, _) | (_, Meaning::Yes) => Meaning::Yes,
            (Meaning::Error, _) | (_, Meaning::Error) => Meaning::Error,
            (Meaning::No, Meaning::No) => Meaning::No,
        },
        Condition::Not(one) => match of(one) {
            Meaning::Yes => Meaning::No,
            Meaning::No => Meaning::Yes,
            Meaning::Error => Meaning::Error,
        },
    }
}

//! The keys that distinguish the matches of a rule, for its flow controls, as digests. The values themselves
//! are not stored.

use std::collections::BTreeMap;

use ensue_expression::{Budget, ErrorKind, EvaluationError, Expression, Scope, Value};

use crate::catalog::{Control, Flow, Rule, Stage};
use crate::record::Digest;
use crate::rules::local;
use crate::text::describe;

/// The keys of a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The key for each flow control of its rule.
    pub of: BTreeMap<Control, Digest>,
    /// The value by which the rule's window tells matches of one key apart, if it does.
    pub distinct: Option<Digest>,
}

/// Why a match has no keys.
pub(crate) enum NoKeys {
    /// A key cannot be computed, or is not a valid key.
    Rejected(String),
    /// The budget is used up.
    Budget(EvaluationError),
}

/// Returns the key shared by all matches of a flow control that does not distinguish them.
pub(crate) fn only_key() -> Digest {
    Digest::of(b"")
}

/// Computes the keys of a match; `scope` has no local values yet.
pub(crate) fn keys<'a>(rule: &'a Rule, flow: &'a Flow, mut scope: Scope<'a>, budget: &mut Budget) -> Result<Keys, NoKeys> {
    let reads_local = flow.stages().iter().flat_map(Stage::expressions).any(|expression| expression.reads_root("local"));
    let failed = if reads_local { local::computable(&mut scope, &rule.local, budget).map_err(NoKeys::Budget)? } else { Vec::new() };
    let mut computed = |expression: &Expression, what: &str| match expression.evaluate(&scope, budget) {
        Ok(value) => key_digest(&value).map_err(|why| NoKeys::Rejected(format!("{what} {why}"))),
        Err(error) if error.kind == ErrorKind::Budget => Err(NoKeys::Budget(error)),
        Err(error) => Err(NoKeys::Rejected(format!("{what}: {}", describe(&local::cause(expression, error, &failed))))),
    };
    let mut keys = Keys::default();
    for Stage { does, key, distinct } in flow.stages() {
        let control = does.control();
        let key = match key {
            None => only_key(),
            Some(expression) => computed(expression, &format!("the key of `{}`", control.as_str()))?,
        };
        keys.of.insert(control, key);
        if let Some(expression) = distinct {
            keys.distinct = Some(computed(expression, "`distinct` of `window`")?);
        }
    }
    Ok(keys)
}

/// Returns the digest of a key: equal values have the same one, and a number never has that of a text.
pub(crate) fn key_digest(value: &Value<'_>) -> Result<Digest, String> {
    let text = match value {
        Value::Bool(value) => format!("bool {value}"),
        Value::Int(number) => format!("number {number}"),
        Value::Uint(number) => format!("number {number}"),
        // In JSON 1 and 1.0 are the same number, and in conditions they are equal.
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => format!("number {}", number + 0.0),
        Value::Double(number) if number.is_finite() => format!("number {number}"),
        other => match other.as_str() {
            Some(text) => format!("text {text}"),
            None => return Err(format!("is {}, but it must be a string, a number, true or false", other.brief())),
        },
    };
    Ok(Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_the_same_key_digest() {
        let key = |value: Value<'_>| key_digest(&value).ok();
        assert_eq!(key(Value::from(1_i64)), key(Value::Double(1.0)));
        assert_eq!(key(Value::Double(-0.0)), key(Value::from(0_i64)));
        assert_ne!(key(Value::from(1_i64)), key(Value::from("1")));
        assert_ne!(key(Value::from(true)), key(Value::from("true")));
        assert_ne!(key(Value::Double(0.5)), key(Value::Double(0.25)));
        assert_eq!(key(Value::from("")).is_some(), key(Value::Null).is_none());
        assert!(key(Value::list([])).is_none() && key(Value::Double(f64::NAN)).is_none());
    }
}

//! Compiled parts of definitions: templates without expressions, and parts that need not be given.

use ensue_expression::{Roots, Template};
use serde_json::Value;

/// Returns a template without expressions.
pub(super) fn literal(value: &Value) -> Template {
    Template::compile(value, &Roots::default()).expect("a value of ours without `${{` has nothing to get wrong")
}

/// Turns "not given, or given and compiled or not" into "compiled or not".
pub(super) fn optional<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(compiled) => compiled.map(Some),
    }
}

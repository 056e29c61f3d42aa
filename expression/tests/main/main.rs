//! The rules of the expression language, as sentences with their cases.

mod analysis;
mod bounds;
mod chains;
mod checker;
mod conformance;
mod demands;
mod differential;
mod explanation;
mod implication;
mod json;
mod language;
mod reference;
#[path = "../../../tests/support/skipped.rs"]
mod skipped;
mod soundness;
mod templates;

use bytes::Bytes;
use ensue_expression::{Budget, Document, EvaluationError, Expression, Roots, Scope, Value};
use serde_json::Value as Json;

/// A typical event of a webhook, with everything awkward: nulls, escapes, large numbers.
const EVENT: &str = r#"{
    "trigger": "github.pull_request",
    "payload": {
        "action": "opened",
        "number": 7,
        "assignee": null,
        "draft": false,
        "title": "Gr\u00fc\u00dfe \"an\" alle",
        "ratio": 0.25,
        "big": 18446744073709551615,
        "labels": [{"name": "bug"}, {"name": "urgent"}],
        "repository": {"full_name": "acme/shop", "owner": {"login": "acme"}, "private": true},
        "counts": {"b": 2, "a": 1, "c": 3}
    }
}"#;

fn roots() -> Roots {
    Roots::new(["event", "config", "local"])
}

fn document(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes())).expect("the text is JSON")
}

fn compile(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap_or_else(|error| panic!("{source}: {error} at {:?}", error.span))
}

/// Applies `act` to the result of the expression over [`EVENT`].
fn over_event<T>(source: &str, act: impl FnOnce(Result<Value<'_>, EvaluationError>) -> T) -> T {
    let event = document(EVENT);
    let expression = compile(source);
    let config = Value::map([("owner", Value::from("acme")), ("limit", Value::from(3_i64))]);
    let scope = Scope::new().with("event", event.root()).with("config", config);
    act(expression.evaluate(&scope, &mut Budget::default()))
}

#[track_caller]
fn gives(source: &str, expected: &Json) {
    let given = over_event(source, |value| value.and_then(|value| value.to_json()));
    assert_eq!(given.as_ref(), Ok(expected), "{source}");
}

#[track_caller]
fn error_of(source: &str) -> EvaluationError {
    over_event(source, |value| match value {
        Ok(value) => panic!("{source} gives {}", value.brief()),
        Err(error) => error,
    })
}

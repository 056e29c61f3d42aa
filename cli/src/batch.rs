//! Evaluates expressions line by line: `{"expr": …, "data": {…}}` in, `{"value": …}` or `{"error": …}` out,
//! in order and without delay.
//!
//! A line that cannot be parsed produces an error line like any other, and the rest continues.

use bytes::Bytes;
use ensue_expression::{Budget, CompileError, Document, EvaluationError, Expression, NodeKind, Roots, Scope, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::json_lines;
use crate::report::CommandResult;

/// An input line. Other fields are ignored: they may be the caller's own.
#[derive(Deserialize)]
struct EvalRequest {
    expr: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// Answers every line of standard input.
pub(crate) fn run() -> CommandResult {
    json_lines::answer_each(answer, |message| json!({ "error": unreadable(message) }))
}

/// Answers one line.
fn answer(line: &[u8]) -> Json {
    match evaluate(line) {
        Ok(value) => json!({ "value": value }),
        Err(error) => json!({ "error": error }),
    }
}

fn evaluate(line: &[u8]) -> Result<Json, Json> {
    let line: EvalRequest = serde_json::from_slice(line).map_err(|why| unreadable(&why.to_string()))?;
    let data = line.data.map_or_else(|| "{}".to_owned(), |data| String::from(Box::<str>::from(data)));
    let document = Document::parse(Bytes::from(data)).map_err(|why| unreadable(&format!("`data`: {why}")))?;
    let names = names(&document).ok_or_else(|| unreadable("`data` must be an object: its fields become names in the expression"))?;
    let expression = Expression::compile(&line.expr, &Roots::new(names.iter().cloned())).map_err(|why| misspelt(&why))?;
    let value = expression.evaluate(&scope(&names, &document), &mut Budget::default());
    value.as_ref().map_err(Clone::clone).and_then(Value::to_json_shown).map_err(|why| error(&why))
}

/// Returns the names that the fields of a document become; `None` if it is not an object.
pub(crate) fn names(document: &Document) -> Option<Vec<String>> {
    let root = document.root();
    (root.kind() == NodeKind::Object).then(|| root.entries().map(|(name, _)| name.into_owned()).collect())
}

/// Returns a scope with the values of these names.
pub(crate) fn scope<'a>(names: &'a [String], document: &'a Document) -> Scope<'a> {
    let mut scope = Scope::new();
    for (name, (_, node)) in names.iter().zip(document.root().entries()) {
        scope.set(name, node);
    }
    scope
}

/// Returns an evaluation error as JSON.
pub(crate) fn error(error: &EvaluationError) -> Json {
    let span = json!({ "start": error.span.start, "end": error.span.end });
    json!({ "kind": error.kind.to_string(), "message": error.message, "span": span, "hint": error.hint })
}

fn misspelt(error: &CompileError) -> Json {
    let span = json!({ "start": error.span.start, "end": error.span.end });
    json!({ "kind": "compile", "message": error.message, "span": span, "hint": error.hint })
}

fn unreadable(message: &str) -> Json {
    json!({ "kind": "line", "message": message, "span": null, "hint": "write one object a line: {\"expr\": …, \"data\": {…}}" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Json {
        answer(line.as_bytes())["value"].clone()
    }

    fn kind(line: &[u8]) -> String {
        answer(line)["error"]["kind"].as_str().unwrap_or("none").to_owned()
    }

    #[test]
    fn fields_of_the_data_are_variables() {
        assert_eq!(value(r#"{"expr":"a + b.c","data":{"a":1,"b":{"c":2}}}"#), 3);
        assert_eq!(value(r#"{"expr":"1 + 1"}"#), 2);
        assert_eq!(value(r#"{"expr":"1 + 1","data":null,"id":"mine"}"#), 2);
    }

    #[test]
    fn values_without_a_json_form_are_encoded_consistently() {
        let cases = [
            ("b'abc'", json!("YWJj")),
            ("7u", json!(7)),
            ("0.0 / 0.0", json!("NaN")),
            ("-1.0 / 0.0", json!("-Infinity")),
            ("[1.0 / 0.0]", json!(["Infinity"])),
            ("timestamp('2026-11-20T10:00:00Z')", json!("2026-11-20T10:00:00Z")),
            ("duration('90s')", json!("90s")),
            ("type(1)", json!("int")),
            ("optional.of(1)", json!(1)),
            ("optional.none()", json!(null)),
            ("{1: {true: 'x'}}", json!({ "1": { "true": "x" } })),
        ];
        for (expr, expected) in cases {
            assert_eq!(answer(json!({ "expr": expr }).to_string().as_bytes()), json!({ "value": expected }), "{expr}");
        }
    }

    #[test]
    fn every_error_is_one_line() {
        assert_eq!(kind(br#"{"expr":"a.b","data":{"a":{}}}"#), "missing");
        assert_eq!(kind(br#"{"expr":"1 +"}"#), "compile");
        assert_eq!(kind(br#"{"expr":"nope"}"#), "compile");
        for line in [&b"not json"[..], b"", b"\xff", b"{}", br#"{"expr":"1","data":[1]}"#, br#"{"expr":"1","data":{"a":1,"a":2}}"#] {
            assert_eq!(kind(line), "line", "{}", String::from_utf8_lossy(line));
        }
    }
}

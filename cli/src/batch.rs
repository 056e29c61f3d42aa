//! Expressions by the line: `{"expr": …, "data": {…}}` in, `{"value": …}` or `{"error": …}` out, in order and as they come.
//!
//! A line that cannot be read is an error line like any other; the rest goes on.

use std::io::{BufRead, BufReader, Read, Write};

use bytes::Bytes;
use ensue_expression::{Budget, CompileError, Document, EvaluationError, Expression, NodeKind, Roots, Scope, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::report::{Failure, Outcome, say_bytes};

/// The most bytes of a line; what is longer is passed over.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// As many bytes of answers are gathered while more lines wait.
const GATHERED_BYTES: usize = 64 * 1024;

/// A line that comes in. Other fields are passed over: they may be the caller's own.
#[derive(Deserialize)]
struct Line {
    expr: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// Answers every line of standard input.
pub(crate) fn run() -> Outcome {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut answers = Vec::new();
    while let Some(line) = next_line(&mut input).map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))? {
        let answer = match line {
            Ok(line) => answer(&line),
            Err(message) => json!({ "error": unreadable(&message) }),
        };
        writeln!(answers, "{answer}").map_err(|error| Failure::new(error.to_string()))?;
        // Whoever waits for an answer before the next line gets it.
        if input.buffer().is_empty() || answers.len() >= GATHERED_BYTES {
            say_bytes(&answers);
            answers.clear();
        }
    }
    say_bytes(&answers);
    Ok(())
}

/// Reads a line, or says why it is none; nothing at the end.
fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        pass_over(input)?;
        return Ok(Some(Err(format!("the line is over {LINE_BYTES_MAX} bytes"))));
    }
    Ok(Some(Ok(line)))
}

/// Reads on to the end of a line, and keeps nothing of it.
fn pass_over(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let waiting = input.fill_buf()?;
        let end = waiting.iter().position(|byte| *byte == b'\n');
        let (passed, is_over) = (end.map_or(waiting.len(), |at| at + 1), end.is_some() || waiting.is_empty());
        input.consume(passed);
        if is_over {
            return Ok(());
        }
    }
}

/// Answers one line.
fn answer(line: &[u8]) -> Json {
    match evaluated(line) {
        Ok(value) => json!({ "value": value }),
        Err(error) => json!({ "error": error }),
    }
}

fn evaluated(line: &[u8]) -> Result<Json, Json> {
    let line: Line = serde_json::from_slice(line).map_err(|why| unreadable(&why.to_string()))?;
    let data = line.data.map_or_else(|| "{}".to_owned(), |data| String::from(Box::<str>::from(data)));
    let document = Document::parse(Bytes::from(data)).map_err(|why| unreadable(&format!("`data`: {why}")))?;
    let names = names(&document).ok_or_else(|| unreadable("`data` must be an object, whose fields become names"))?;
    let expression = Expression::compile(&line.expr, &Roots::new(names.iter().cloned())).map_err(|why| misspelt(&why))?;
    let value = expression.evaluate(&scope(&names, &document), &mut Budget::default());
    value.as_ref().map_err(Clone::clone).and_then(Value::to_json_shown).map_err(|why| error(&why))
}

/// The names that the fields of a document become; none where it is no object.
pub(crate) fn names(document: &Document) -> Option<Vec<String>> {
    let root = document.root();
    (root.kind() == NodeKind::Object).then(|| root.entries().map(|(name, _)| name.into_owned()).collect())
}

/// The values of these names.
pub(crate) fn scope<'a>(names: &'a [String], document: &'a Document) -> Scope<'a> {
    let mut scope = Scope::new();
    for (name, (_, node)) in names.iter().zip(document.root().entries()) {
        scope.set(name, node);
    }
    scope
}

/// An evaluation's error for programs.
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
    fn the_fields_of_the_data_are_names() {
        assert_eq!(value(r#"{"expr":"a + b.c","data":{"a":1,"b":{"c":2}}}"#), 3);
        assert_eq!(value(r#"{"expr":"1 + 1"}"#), 2);
        assert_eq!(value(r#"{"expr":"1 + 1","data":null,"id":"mine"}"#), 2);
    }

    #[test]
    fn what_json_does_not_have_has_one_form_all_the_same() {
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
    fn every_way_to_go_wrong_is_an_error_line() {
        assert_eq!(kind(br#"{"expr":"a.b","data":{"a":{}}}"#), "missing");
        assert_eq!(kind(br#"{"expr":"1 +"}"#), "compile");
        assert_eq!(kind(br#"{"expr":"nope"}"#), "compile");
        for line in [&b"not json"[..], b"", b"\xff", b"{}", br#"{"expr":"1","data":[1]}"#, br#"{"expr":"1","data":{"a":1,"a":2}}"#] {
            assert_eq!(kind(line), "line", "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 10];
        input.extend(b"\nnext");
        let mut input = &input[..];
        assert!(matches!(next_line(&mut input), Ok(Some(Err(_)))));
        assert_eq!(next_line(&mut input).unwrap(), Some(Ok(b"next".to_vec())));
        assert_eq!(next_line(&mut input).unwrap(), None);
    }
}

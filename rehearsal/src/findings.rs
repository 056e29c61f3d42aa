//! The differences between a case's expectations and the outcome: the line, what was expected, and what
//! happened.

use ensue_packs::cases::{Closeness, ExpectedEnd, ExpectedError, ExpectedItem, ExpectedStep, Status};
use serde_json::Value;

use crate::history::{End, Execution, History, ItemOfStep, StepHistory};
use ensue_engine::executions::facts::Failure;
use ensue_engine::ids::ExecutionId;

/// The maximum number of differences reported for one value.
const DIFFERENCES_MAX: usize = 20;

/// An expectation of a case that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetExpectation {
    /// The line of the case with the expectation.
    pub line: usize,
    /// The subject: a step, a rule, a var.
    pub what: String,
    /// The differences.
    pub differences: Vec<Difference>,
    /// The cause or a suggestion, if known.
    pub hint: Option<String>,
}

/// One difference. At least one side is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where it is: `status`, `with.version`.
    pub at: String,
    /// The expected value, as JSON or a word; `None` if nothing was expected here.
    pub expected: Option<String>,
    /// The actual value, likewise; `None` if it is missing.
    pub got: Option<String>,
}

impl UnmetExpectation {
    /// Creates a finding without differences: something could not continue.
    pub fn plain(line: usize, what: impl Into<String>, hint: Option<String>) -> Self {
        Self { line, what: what.into(), differences: Vec::new(), hint }
    }
}

/// Compares the end of an execution with the expected end.
pub(crate) fn end_of(history: &History, id: ExecutionId, what: &str, expected: &ExpectedEnd) -> Vec<UnmetExpectation> {
    let Some(execution) = history.execution(id) else { return Vec::new() };
    let end = execution.end.as_ref();
    let mut differences = Vec::new();
    status(expected.status, end, &mut differences);
    result(expected.result.as_ref(), end, expected.closeness, &mut differences);
    error(expected.error.as_ref(), end, &mut differences);
    if let Some(expected) = &expected.undone {
        let (expected, got) = (expected.iter().map(ToString::to_string).collect::<Vec<_>>(), history.undone(id));
        if expected != got {
            let shown = |names: Vec<String>| Some(format!("[{}]", names.join(", ")));
            differences.push(Difference { at: "undone".to_owned(), expected: shown(expected), got: shown(got) });
        }
    }
    let mut findings = Vec::new();
    if !differences.is_empty() {
        let hint = why(end).or_else(|| first_failure(history, id));
        findings.push(UnmetExpectation { line: expected.line, what: what.to_owned(), differences, hint });
    }
    let steps = history.steps_of(id);
    for step in &expected.steps {
        findings.extend(step_of(history, steps.get(step.path.as_str()).copied(), step));
    }
    findings
}

/// Compares parameters with the expected parameters.
pub(crate) fn compare_params(expected: &Value, got: &Value, closeness: Closeness) -> Vec<Difference> {
    compare_at("with", expected, got, closeness)
}

/// Compares a value at a place.
pub(crate) fn compare_at(at: &str, expected: &Value, got: &Value, closeness: Closeness) -> Vec<Difference> {
    let mut differences = Vec::new();
    values(at, expected, got, closeness, &mut differences);
    differences
}

fn step_of(history: &History, step: Option<&StepHistory>, expected: &ExpectedStep) -> Vec<UnmetExpectation> {
    let what = format!("step `{}`", expected.path);
    let Some(step) = step else {
        let difference =
            Difference { at: "status".to_owned(), expected: Some(word(expected.is.status)), got: Some("it was never reached".to_owned()) };
        return vec![UnmetExpectation { line: expected.line, what, differences: vec![difference], hint: None }];
    };
    let executions: Vec<&Execution> = step.items.values().filter_map(|item| history.execution(item.execution?)).collect();
    let mut findings = one(&what, &expected.is, step.end.as_ref(), &executions);
    let Some(items) = &expected.items else { return findings };
    let got: Vec<&ItemOfStep> = if step.is_several { step.items.values().collect() } else { Vec::new() };
    if items.len() != got.len() {
        let difference = Difference { at: "items".to_owned(), expected: Some(count_items(items.len())), got: Some(count_items(got.len())) };
        findings.push(UnmetExpectation { line: expected.line, what: what.clone(), differences: vec![difference], hint: None });
    }
    for (number, (expected, item)) in items.iter().zip(got).enumerate() {
        let execution: Vec<&Execution> = item.execution.and_then(|id| history.execution(id)).into_iter().collect();
        findings.extend(one(&format!("{what}, item {number}"), expected, item.end.as_ref(), &execution));
    }
    findings
}

fn one(what: &str, expected: &ExpectedItem, end: Option<&End>, executions: &[&Execution]) -> Vec<UnmetExpectation> {
    let mut differences = Vec::new();
    status(expected.status, end, &mut differences);
    if let Some(with) = &expected.with {
        match executions.first() {
            Some(execution) => differences.extend(compare_params(with, &execution.params, expected.closeness)),
            None => differences.push(Difference {
                at: "with".to_owned(),
                expected: Some(with.to_string()),
                got: Some("it did not run".to_owned()),
            }),
        }
    }
    result(expected.result.as_ref(), end, expected.closeness, &mut differences);
    error(expected.error.as_ref(), end, &mut differences);
    if let Some(attempts) = expected.attempts {
        let got: u32 = executions.iter().map(|execution| execution.attempts).sum();
        if got != attempts {
            differences.push(Difference { at: "attempts".to_owned(), expected: Some(attempts.to_string()), got: Some(got.to_string()) });
        }
    }
    if differences.is_empty() {
        return Vec::new();
    }
    vec![UnmetExpectation { line: expected.line, what: what.to_owned(), differences, hint: why(end) }]
}

fn status(expected: Option<Status>, end: Option<&End>, differences: &mut Vec<Difference>) {
    let Some(expected) = expected else { return };
    if end.map(|end| end.status) != Some(expected) {
        let got = end.map_or("it has not ended", |end| end.status.as_str());
        differences.push(Difference { at: "status".to_owned(), expected: Some(expected.as_str().to_owned()), got: Some(got.to_owned()) });
    }
}

fn result(expected: Option<&Value>, end: Option<&End>, closeness: Closeness, differences: &mut Vec<Difference>) {
    let Some(expected) = expected else { return };
    match end.and_then(|end| end.result.as_ref()) {
        Some(got) => values("result", expected, got, closeness, differences),
        None => differences.push(Difference { at: "result".to_owned(), expected: Some(expected.to_string()), got: None }),
    }
}

fn error(expected: Option<&ExpectedError>, end: Option<&End>, differences: &mut Vec<Difference>) {
    let Some(expected) = expected else { return };
    let Some(got) = end.and_then(|end| end.error.as_ref()) else {
        let kind = expected.kind.map_or("an error", |kind| kind.as_str());
        differences.push(Difference { at: "error".to_owned(), expected: Some(kind.to_owned()), got: None });
        return;
    };
    if let Some(kind) = expected.kind.filter(|kind| *kind != got.kind) {
        differences.push(Difference {
            at: "error.kind".to_owned(),
            expected: Some(kind.as_str().to_owned()),
            got: Some(got.kind.as_str().to_owned()),
        });
    }
    if let Some(message) = expected.message.as_ref().filter(|message| !got.message.contains(message.as_str())) {
        let quoted = |text: &str| Value::from(text).to_string();
        differences.push(Difference { at: "error.message".to_owned(), expected: Some(quoted(message)), got: Some(quoted(&got.message)) });
    }
    if let Some(detail) = expected.detail.filter(|detail| Some(*detail) != got.detail) {
        let got = got.detail.map(|detail| detail.to_string());
        differences.push(Difference { at: "error.detail".to_owned(), expected: Some(detail.to_string()), got });
    }
}

fn values(at: &str, expected: &Value, got: &Value, closeness: Closeness, found: &mut Vec<Difference>) {
    if found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (expected, got) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (name, expected) in wanted {
                let at = format!("{at}.{name}");
                match there.get(name) {
                    Some(got) => values(&at, expected, got, closeness, found),
                    None => found.push(Difference { at, expected: Some(expected.to_string()), got: None }),
                }
            }
            if closeness == Closeness::Equals {
                let more = there.iter().filter(|(name, _)| !wanted.contains_key(*name));
                found.extend(more.map(|(name, got)| Difference { at: format!("{at}.{name}"), expected: None, got: Some(got.to_string()) }));
            }
        }
        (Value::Array(wanted), Value::Array(there)) if wanted.len() == there.len() => {
            for (index, (expected, got)) in wanted.iter().zip(there).enumerate() {
                values(&format!("{at}[{index}]"), expected, got, closeness, found);
            }
        }
        (expected, got) if is_same(expected, got) => {}
        (expected, got) => {
            found.push(Difference { at: at.to_owned(), expected: Some(expected.to_string()), got: Some(got.to_string()) });
        }
    }
}

/// Compares numbers by value: `3` equals `3.0`.
fn is_same(expected: &Value, got: &Value) -> bool {
    match (expected.as_f64(), got.as_f64()) {
        (Some(one), Some(other)) if expected.as_i64().is_none() || got.as_i64().is_none() => one == other,
        (_, _) => expected == got,
    }
}

/// Returns the error with which something ended, if there is one.
fn why(end: Option<&End>) -> Option<String> {
    end.and_then(|end| end.error.as_ref()).map(describe_failure)
}

/// Returns the first step that failed or whose outcome is unknown, for an execution that has no error itself.
fn first_failure(history: &History, id: ExecutionId) -> Option<String> {
    let steps = history.steps_of(id);
    let failed = steps.iter().find_map(|(path, step)| Some((path, step.end.as_ref()?.error.as_ref()?)));
    let unknown = || steps.iter().find(|(_, step)| step.end.as_ref().is_some_and(|end| end.status == Status::Indeterminate));
    match failed {
        Some((path, error)) => Some(format!("`{path}`: {}", describe_failure(error))),
        None => unknown().map(|(path, _)| format!("`{path}` waits for a person to settle it (`on_lost: ask`)")),
    }
}

fn describe_failure(error: &Failure) -> String {
    format!("{}: {}", error.kind.as_str(), error.message)
}

fn word(status: Option<Status>) -> String {
    status.map_or("it ends", Status::as_str).to_owned()
}

fn count_items(count: usize) -> String {
    if count == 1 { "1 item".to_owned() } else { format!("{count} items") }
}

//! Checks runners whose result has a fixed form: whether an action's declared `result` and its mocks are
//! possible.
//!
//! The output of a program is up to its author, so `process` and `shell` have no fixed form. That a mock fits
//! the action's own `result` is checked elsewhere.

use ensue_engine::catalog::{AnswerForm, Schema};
use ensue_expression::{MapType, Occurrence, Others, ValueType};
use serde_json::Value;

use super::schemas::{ValueForm, type_of};
use crate::diagnostics::{Code, Report};
use crate::fields::{first_line, quote_names};
use crate::source::SourceText;
use crate::syntax::{self, WrittenRun};
use crate::yaml::{Content, Node};

/// Returns the names with which `output` reads what a runner returns, each with its type.
pub(super) fn raw_fields(run: &WrittenRun) -> Vec<(&'static str, ValueType)> {
    match run {
        WrittenRun::Http(http) => {
            let body = body_type(super::http::written_form(http.parse.as_ref()));
            vec![("status", ValueType::integer()), ("headers", ValueType::object()), ("body", body)]
        }
        WrittenRun::Process { .. } | WrittenRun::Shell { .. } => vec![("stdout", ValueType::text()), ("exit_code", ValueType::integer())],
        WrittenRun::Mail(_) | WrittenRun::Emit { .. } | WrittenRun::Workflow(_) | WrittenRun::Builtin { .. } => Vec::new(),
    }
}

/// Returns the type of `body` of an answer. An empty body is always null.
fn body_type(form: Option<AnswerForm>) -> ValueType {
    match form {
        None | Some(AnswerForm::Json) => ValueType::json(),
        Some(AnswerForm::Text | AnswerForm::Base64) => ValueType::text().or_null(),
        Some(AnswerForm::Artifact) => {
            let fields = MapType::new(Others::None)
                .with_wording("the fields of `body`", None)
                .with("artifact", ValueType::text(), Occurrence::Always)
                .with("bytes", ValueType::integer(), Occurrence::Always)
                .with("media_type", ValueType::text().or_null(), Occurrence::Always);
            ValueType::map(fields).or_null()
        }
    }
}

/// The result of a runner that always has the same form.
pub(super) struct Gives {
    /// The runner's name.
    runner: &'static str,
    /// The fields, as shown to authors.
    form: &'static str,
    /// The fields that are always there.
    fields: Vec<(&'static str, ValueType)>,
    /// What to write instead of a schema that never fits.
    instead: &'static str,
}

impl Gives {
    /// Returns the fixed form of an action's result; `None` if it has none.
    pub(super) fn of(run: &WrittenRun) -> Option<Self> {
        match run {
            WrittenRun::Http(_) => Some(Self {
                runner: "http",
                form: "{ status, headers, body }",
                fields: raw_fields(run),
                instead: "the server's response is in `body`:\n\
                          result: { status: integer, headers: object, body: object }\n\
                          a step reads it as `steps.<name>.result.body.<field>`; to describe the fields of `body`, use a whole JSON \
                          Schema",
            }),
            WrittenRun::Mail(_) => Some(Self {
                runner: "mail",
                form: "{ message_id, accepted, refused, response }",
                fields: vec![
                    ("message_id", ValueType::text()),
                    ("accepted", ValueType::list(ValueType::text())),
                    ("refused", ValueType::list(ValueType::object())),
                    ("response", ValueType::text()),
                ],
                instead: "the recipients are in `accepted` and `refused`:\n\
                          result: { message_id: string, accepted: \"[string]\", refused: \"[object]\", response: string }",
            }),
            WrittenRun::Emit { .. } => Some(Self {
                runner: "emit",
                form: "{ event }",
                fields: vec![("event", ValueType::text())],
                instead: "`event` is the id of the event:\nresult: { event: string }",
            }),
            WrittenRun::Process { .. } | WrittenRun::Shell { .. } | WrittenRun::Workflow(_) | WrittenRun::Builtin { .. } => None,
        }
    }

    /// Reports a declared `result` that the runner can never return.
    pub(super) fn check_result(&self, action: &syntax::Action, file: &SourceText, report: &mut Report) {
        let (Some(schema), Some(node)) = (&action.result, &action.result_at) else { return };
        let Schema::Fields(fields) = schema else {
            let is_map = type_of(schema, ValueForm::Accepted, "", None).overlaps(&ValueType::object());
            let required = match schema {
                Schema::Whole(whole) => whole.source().get("required").and_then(serde_json::Value::as_array),
                Schema::Any | Schema::Fields(_) => None,
            };
            let is_given = |name: &serde_json::Value| self.fields.iter().any(|(given, _)| name.as_str() == Some(given));
            if !is_map || !required.into_iter().flatten().all(is_given) {
                self.report(node, "no result can ever fit this schema", file, report);
            }
            return;
        };
        for field in &fields.0 {
            let entry = match &node.content {
                Content::Map(entries) => entries.iter().find(|entry| entry.key.value == field.name),
                _ => None,
            };
            let Some((_, gives)) = self.fields.iter().find(|(name, _)| *name == field.name) else {
                let key = entry.map(|entry| Node { span: entry.key.span.clone(), content: Content::Null });
                self.report(key.as_ref().unwrap_or(node), &format!("`{}` is never in the result", field.name), file, report);
                continue;
            };
            let whole = type_of(schema, ValueForm::Accepted, "", None);
            if whole.at(&format!("/{}", field.name)).is_some_and(|takes| !takes.overlaps(gives)) {
                let message = format!("`{}` of the result is never {}", field.name, field.kind);
                self.report(entry.map_or(node, |entry| &entry.value), &message, file, report);
            }
        }
    }

    fn report(&self, at: &Node, what: &str, file: &SourceText, report: &mut Report) {
        let message = format!("{what}: `{}` always returns `{}`", self.runner, self.form);
        report.error(Code::ResultImpossible, file, first_line(&at.span, file), message).hint(self.instead);
    }

    /// Reports a mock of a result that the runner can never return. A mock may leave fields out.
    pub(super) fn check_mock(&self, mock: &Node, file: &SourceText, report: &mut Report) {
        if mock.is_poisoned() {
            return;
        }
        let Content::Map(entries) = &mock.content else {
            self.report_mock(mock, &format!("the result is {}", mock.what()), file, report);
            return;
        };
        for entry in entries.iter().filter(|entry| !entry.value.is_poisoned()) {
            let (name, value) = (entry.key.value.as_str(), entry.value.to_value());
            let Some((_, gives)) = self.fields.iter().find(|(field, _)| *field == name) else {
                let key = Node { span: entry.key.span.clone(), content: Content::Null };
                self.report_mock(&key, &format!("`{name}` is never in the result"), file, report);
                continue;
            };
            if !gives.overlaps(&ValueType::of_value(&ensue_expression::Value::from_json(&value))) {
                self.report_mock(&entry.value, &format!("`{name}` is never {}", entry.value.what()), file, report);
            } else if name == "status" && self.runner == "http" && is_failure(&value) {
                report
                    .error(
                        Code::ResultImpossible,
                        file,
                        entry.value.span.clone(),
                        format!("a response with status {value} is a failure, not a result"),
                    )
                    .hint(format!("{{ error: {{ kind: http_status, detail: {value} }} }}"));
            }
        }
    }

    fn report_mock(&self, at: &Node, what: &str, file: &SourceText, report: &mut Report) {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| *name).collect();
        report
            .error(
                Code::ResultImpossible,
                file,
                first_line(&at.span, file),
                format!("{what}: `{}` always returns `{}`", self.runner, self.form),
            )
            .hint(format!("write only the fields that matter among {}", quote_names(&names)));
    }
}

fn is_failure(status: &Value) -> bool {
    status.as_i64().is_some_and(|status| status >= 400)
}

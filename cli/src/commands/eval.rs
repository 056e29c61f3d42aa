//! `ensue eval`: the value of an expression over an event of the node, over any JSON, or without data.
//!
//! It evaluates locally, with the crate that the node uses; the node is asked only for events and rules.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use ensue_engine::rules::local;
use ensue_expression::{Budget, CompileError, Document, EvaluationError, Explanation, Expression, Roots, Scope, Value};
use ensue_packs::excerpt;
use serde_json::{Value as Json, json};

use super::{Asking, read_input};
use crate::batch;
use crate::client::{Client, segment};
use crate::reason::{self, Words};
use crate::report::{CommandResult, Exit, Failure, printable, printable_document, say};
use crate::style::Style;

/// The most bytes of a document that an expression is evaluated over.
const DATA_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Evaluate an expression, on an event, on JSON, or on no input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue eval '1 + 1'
  ensue eval 'event.payload.action == \"opened\"' --event 019c… --explain
  ensue eval 'local.version' --event 019c… --rule release.ship_on_tag
  ensue eval 'size(labels)' --data issue.json     its fields are names
  ensue eval --batch < lines.jsonl                {\"expr\": …, \"data\": {…}}")]
pub(crate) struct Eval {
    /// The expression.
    #[arg(value_name = "EXPR", required_unless_present = "batch", conflicts_with = "batch")]
    expr: Option<String>,
    /// An event of the node, available as `event`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["data", "batch"])]
    event: Option<String>,
    /// A rule of the node, whose `config`, `local` and `rule` are available.
    #[arg(long, value_name = "REF", requires = "event")]
    rule: Option<String>,
    /// The file with a JSON object, whose fields are available by their names. `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    data: Option<PathBuf>,
    /// Print every part with its value, which parts decided the result, and what would change it.
    #[arg(long, conflicts_with = "batch")]
    explain: bool,
    /// Read JSON lines `{"expr": …, "data": {…}}` from standard input, and write
    /// `{"value": …}` or `{"error": …}` for each.
    #[arg(long)]
    batch: bool,
}

/// The words for boolean outcomes.
const OF_TRUTHS: Words = Words { outcomes: ["true", "false", "error"], would: ["it would be true", "it would be false"] };

impl Eval {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let Some(source) = &self.expr else { return batch::run() };
        let names = match (&self.event, &self.data) {
            (Some(event), _) => Names::of_event(&asking.client()?, event, self.rule.as_deref()).await?,
            (None, Some(file)) => Names::of_file(file)?,
            (None, None) => Names::default(),
        };
        let expression = Expression::compile(source, &names.roots()).map_err(|error| misspelt(source, &error))?;
        let (scope, failed) = names.scope()?;
        let given = expression.evaluate(&scope, &mut Budget::default()).map_err(|error| local::cause(&expression, error, &failed));
        let explanation = self.explain.then(|| expression.explain(&scope, &mut Budget::default()));
        let shown = given.as_ref().map_err(Clone::clone).and_then(Value::to_json_shown);
        asking.output.print(&document(&given, &shown, explanation.as_ref()), || {
            if let Ok(value) = &shown {
                say(printable(&format!("{value:#}")));
            }
            if let Some(explanation) = &explanation {
                say(render_explanation(explanation, asking.output.style()).join("\n"));
            }
        });
        let of_local = |error: &EvaluationError| failed.iter().find(|(_, other)| other == error).map(|(name, _)| *name);
        shown.map(drop).map_err(|error| match of_local(&error).and_then(|name| Some((name, names.local_source(name)?))) {
            Some((name, source)) => evaluation_failure(&format!("local.{name}"), source, &error),
            None => evaluation_failure("expression", expression.source(), &error),
        })
    }
}

/// Returns the answer for programs.
fn document(given: &Result<Value<'_>, EvaluationError>, shown: &Result<Json, EvaluationError>, explanation: Option<&Explanation>) -> Json {
    let mut document = match (given, shown) {
        (Ok(value), Ok(shown)) => json!({ "value": shown, "type": value.kind().name() }),
        (_, Err(error)) | (Err(error), _) => json!({ "error": batch::error(error) }),
    };
    if let (Some(explanation), Some(fields)) = (explanation, document.as_object_mut())
        && let Json::Object(told) = explanation.to_json()
    {
        fields.extend(told);
    }
    document
}

/// Returns the explanation for people: why a condition gave its result, then every part with its value.
fn render_explanation(explanation: &Explanation, style: Style) -> Vec<String> {
    let told = explanation.to_json();
    let root = &printable_document(&told["explanation"]);
    let mut lines = Vec::new();
    let outcome = match root["outcome"].as_str() {
        Some("true") => Some(reason::ConditionOutcome::True),
        Some("false") => Some(reason::ConditionOutcome::False),
        Some("error") => Some(reason::ConditionOutcome::Neither),
        Some(_) | None => None,
    };
    // An expression that is not made of conditions has only its parts to show.
    if let Some(outcome) = outcome.filter(|_| root["shape"] != "whole") {
        lines.extend(reason::of_condition(&told, outcome, &OF_TRUTHS, style));
        lines.push("every part:".to_owned());
    }
    note_parts(root, 1, style, &mut lines);
    lines
}

fn note_parts(part: &Json, depth: usize, style: Style, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let source = part["source"].as_str().unwrap_or_default();
    let not_taken = if part["reached"] == false { style.faint("   (not taken)") } else { String::new() };
    lines.push(format!("{indent}{source} → {}{not_taken}", reason::value_of(part)));
    for element in part["elements"]["decided"].as_array().into_iter().flatten() {
        let (at, value) = (element["at"].as_str().unwrap_or_default(), element["value"].as_str().unwrap_or_default());
        lines.push(format!("{indent}  at {at}: {value}"));
        note_parts(&element["part"], depth + 2, style, lines);
    }
    for below in part["parts"].as_array().into_iter().flatten() {
        note_parts(below, depth + 1, style, lines);
    }
}

fn misspelt(source: &str, error: &CompileError) -> Failure {
    failure("expression", source, error.message.clone(), error.span.clone(), error.hint.as_deref())
}

fn evaluation_failure(name: &str, source: &str, error: &EvaluationError) -> Failure {
    failure(name, source, error.message.clone(), error.span.clone(), error.hint.as_deref())
}

fn failure(name: &str, source: &str, message: String, span: std::ops::Range<usize>, hint: Option<&str>) -> Failure {
    let failure = Failure::new(message).notes(excerpt(name, source, span));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The names that an expression sees: the fields of a document, and a rule's local values.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    document: Option<Document>,
    local: Option<Vec<(String, Expression)>>,
}

impl Names {
    /// The fields of a JSON object.
    fn of(document: Document, from: &str) -> Result<Self, Failure> {
        let names = batch::names(&document).ok_or_else(|| {
            Failure::with(Exit::Refused, format!("`{from}` is not a JSON object"))
                .hint("pass an object: its fields become the names of the expression")
        })?;
        Ok(Self { names, document: Some(document), local: None })
    }

    fn of_file(file: &Path) -> Result<Self, Failure> {
        let bytes = Bytes::from(read_input(file, DATA_BYTES_MAX)?);
        let not_json = |error| Failure::with(Exit::Refused, format!("`{}` is not JSON: {error}", file.display()));
        Self::of(Document::parse(bytes).map_err(not_json)?, &file.display().to_string())
    }

    /// Returns `event` as rules see it; with a rule, also its other names.
    async fn of_event(client: &Client, id: &str, rule: Option<&str>) -> Result<Self, Failure> {
        let event = client.get(&format!("/events/{}", segment(id)), &[]).await?;
        let fields = ["id", "trigger", "payload", "source", "time"];
        let event: serde_json::Map<String, Json> = fields.map(|field| (field.to_owned(), event[field].clone())).into_iter().collect();
        let mut names = json!({ "event": event });
        let Some(rule) = rule else { return Self::of(Document::from_value(&names), id) };
        let shown = client.get(&format!("/rules/{}", segment(rule)), &[]).await?;
        let pack = client.get(&format!("/packs/{}", segment(shown["pack"].as_str().unwrap_or_default())), &[]).await?;
        names["config"] = pack["config"].clone();
        names["rule"] = json!({ "ref": shown["ref"] });
        let mut names = Self::of(Document::from_value(&names), id)?;
        let roots = names.roots().with("local");
        let written = shown["local"].as_array().map(Vec::as_slice).unwrap_or_default();
        let local = written.iter().map(|local| {
            let (name, source) = (local["name"].as_str().unwrap_or_default(), local["expression"].as_str().unwrap_or_default());
            let expression = Expression::compile(source, &roots).map_err(|error| misspelt(source, &error))?;
            Ok((name.to_owned(), expression))
        });
        names.local = Some(local.collect::<Result<_, Failure>>()?);
        Ok(names)
    }

    fn roots(&self) -> Roots {
        let roots = Roots::new(self.names.iter().cloned());
        if self.local.is_some() { roots.with("local") } else { roots }
    }

    fn local_source(&self, name: &str) -> Option<&str> {
        self.local.iter().flatten().find(|(known, _)| known == name).map(|(_, expression)| expression.source())
    }

    /// Returns the values of the names, and the local values that err. As in a rule's condition, those are
    /// absent, and anything that reads them errs.
    fn scope(&self) -> Result<(Scope<'_>, Vec<local::FailedLocal<'_>>), Failure> {
        let mut scope = match &self.document {
            Some(document) => batch::scope(&self.names, document),
            None => Scope::new(),
        };
        let failed = match &self.local {
            Some(local) => local::computable(&mut scope, local, &mut Budget::default()).map_err(|error| {
                let failure = Failure::new(format!("the rule's local values: {}", error.message));
                match error.hint.as_deref() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?,
            None => Vec::new(),
        };
        Ok((scope, failed))
    }
}

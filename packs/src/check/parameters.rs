//! Checks a mapping of values (`with`, a payload) against its schema, as far as it can be known before
//! anything runs.
//!
//! The value of `${{ … }}` is known only once it is computed: the engine checks that.

use std::cell::LazyCell;
use std::ops::Range;
use std::slice;

use ensue_engine::catalog::{Extra, JsonSchema, Presence, Schema, Type};
use ensue_expression::{Document, Template, nearest};
use serde_json::json;

use super::code;
use super::expression_findings::Taker;
use super::literals::literal;
use super::schemas::{ValueForm, type_of};
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::{InexactNumber, first_line, inexact_numbers, quote_names, report_inexact, wrong_type};
use crate::schema;
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, quote_yaml};

/// The most numbers of one value that are probed on their own against a whole schema. Each takes the time of two checks.
const PROBES_MAX: usize = 20;

/// Compiles the parameters passed to an action, and checks them against the declared ones, if those are
/// known.
pub(super) fn with(
    file: &SourceText,
    action: &WithSpan<String>,
    node: Option<&Node>,
    parameters: Option<&Schema>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Template> {
    if let Some(node) = node
        && !matches!(node.content, Content::Map(_))
    {
        wrong_type(node, "`with`", "a mapping of parameters", file, report);
        return None;
    }
    let taker = format!("the action `{}`", action.value);
    if let Some(parameters) = parameters {
        if !check_code(file, node, parameters, scope, report) {
            return None;
        }
        let given = MappingCheck { file, node, at: action.span.clone(), taker: taker.clone(), called: "parameter" };
        given.check(parameters, Extra::Refused, report);
        check_numbers(file, node, parameters, report);
    }
    let taker = parameters.map(|parameters| Taker { takes: type_of(parameters, ValueForm::Accepted, "", None), name: taker });
    match node {
        Some(node) => scope.template_for(node, taker.as_ref(), report),
        None => Some(literal(&json!({}))),
    }
}

/// Checks that nothing is interpolated into a parameter that is code.
fn check_code(file: &SourceText, node: Option<&Node>, parameters: &Schema, scope: &Scope<'_>, report: &mut Report) -> bool {
    let Some(Node { content: Content::Map(entries), .. }) = node else { return true };
    let is_code = |name: &str| schema::is_code(parameters, name) == Some(true);
    let mut is_fine = true;
    for entry in entries.iter().filter(|entry| is_code(&entry.key.value)) {
        is_fine &= code::check_literal(&entry.value, scope, file, report);
    }
    is_fine
}

/// Reports the numbers whose text is not what was written, where a parameter takes a text as well and may use
/// the number as one: a variable `3.10` in the `env` of `core.shell`.
pub(super) fn check_numbers(file: &SourceText, node: Option<&Node>, parameters: &Schema, report: &mut Report) {
    let Some(node) = node.filter(|node| !node.is_poisoned()) else { return };
    let mut inexact = inexact_numbers(node, file, report);
    if inexact.is_empty() {
        return;
    }
    match parameters {
        Schema::Any => return,
        Schema::Fields(fields) => inexact.retain(|number| {
            let name = number.pointer.split('/').nth(1).unwrap_or_default();
            fields.get(name).is_some_and(|field| schema::holds_object(&field.kind))
        }),
        // What an expression returns is known only once it is computed. Here it is the text that is written.
        Schema::Whole(schema) => retain_texts(&mut inexact, node, schema.as_ref(), report),
    }
    for number in &inexact {
        report_inexact(number, file, report);
    }
}

/// Retains the numbers of a value in whose place a whole schema takes a text, but not an object. Where anything fits, the
/// value is JSON, and no text is made of it.
fn retain_texts(inexact: &mut Vec<InexactNumber<'_>>, node: &Node, schema: &dyn JsonSchema, report: &Report) {
    let written = node.to_value();
    let misfits = |numbers: &[InexactNumber<'_>], stand_in: StandIn| {
        let mut value = written.clone();
        for number in numbers {
            if let Some(place) = value.pointer_mut(&number.pointer) {
                *place = match stand_in {
                    StandIn::Text => json!(number.written),
                    StandIn::Object => json!({}),
                };
            }
        }
        schema.misfit_pointers(Document::from_value(&value).root())
    };
    let (Some(no_texts), Some(no_objects)) = (misfits(inexact, StandIn::Text), misfits(inexact, StandIn::Object)) else {
        inexact.clear();
        return;
    };
    let as_written = LazyCell::new(|| misfits(&[], StandIn::Text).unwrap_or_default());
    let mut probes = 0;
    inexact.retain(|number| {
        let pointer = &number.pointer;
        if no_texts.contains(pointer) || no_objects.contains(pointer) {
            return !no_texts.contains(pointer);
        }
        let is_within_misfit = pointer.match_indices('/').any(|(end, _)| no_objects.contains(&pointer[..end]));
        if !is_within_misfit || probes == PROBES_MAX || report.is_over() {
            return false;
        }
        // Of alternatives, as below `anyOf`, the misfit is that of what holds the number.
        probes += 1;
        let fits = |stand_in| misfits(slice::from_ref(number), stand_in).is_none_or(|found| found.is_subset(&as_written));
        fits(StandIn::Text) && !fits(StandIn::Object)
    });
}

/// What takes the place of a number, to learn what a schema takes there.
#[derive(Clone, Copy, Debug)]
enum StandIn {
    /// The text of the number.
    Text,
    /// An object.
    Object,
}

/// A mapping that is being checked, with its names for messages.
pub(super) struct MappingCheck<'a> {
    pub(super) file: &'a SourceText,
    /// The mapping; `None` if none is written.
    pub(super) node: Option<&'a Node>,
    /// Where a missing field is reported.
    pub(super) at: Range<usize>,
    /// The consumer of the values: "the action `core.echo`".
    pub(super) taker: String,
    /// The word for one of the values: "parameter".
    pub(super) called: &'static str,
}

impl MappingCheck<'_> {
    pub(super) fn check(&self, schema: &Schema, extra: Extra, report: &mut Report) {
        match schema {
            Schema::Any => {}
            Schema::Fields(fields) => self.check_fields(fields, extra, report),
            Schema::Whole(_) => self.check_whole(schema, report),
        }
    }

    fn check_fields(&self, fields: &ensue_engine::catalog::Fields, extra: Extra, report: &mut Report) {
        let entries = match self.node.map(|node| &node.content) {
            None => &[][..],
            Some(Content::Map(entries)) => entries,
            // The value of a single expression is known only once it is computed, and a wrong type has been
            // reported.
            Some(_) => return,
        };
        let names: Vec<&str> = fields.0.iter().map(|field| field.name.as_str()).collect();
        let mut misspelt = Vec::new();
        for entry in entries {
            let name = entry.key.value.as_str();
            let Some(field) = fields.get(name) else {
                if extra == Extra::Refused {
                    let near = nearest(name, names.iter().copied());
                    misspelt.extend(near);
                    let message = format!("{} has no {} `{name}`", self.taker, self.called);
                    let diagnostic = report.error(Code::UnknownParameter, self.file, entry.key.span.clone(), message);
                    diagnostic.did_you_mean(near);
                    diagnostic.hint(if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", quote_names(&names)) });
                }
                continue;
            };
            if entry.value.is_poisoned() {
                continue;
            }
            if let Some(message) = self.misfit(field, &entry.value) {
                let span = first_line(&entry.value.span, self.file);
                let is_bare = matches!(entry.value.content, Content::Number(_) | Content::Bool(_));
                let diagnostic = report.error(Code::ParameterType, self.file, span, format!("`{name}` of {} {message}", self.taker));
                let mut hint = format!("`{name}` is declared as {}", describe(field));
                if is_bare && matches!(field.kind, Type::String { .. } | Type::OneOf(_)) {
                    let as_text = quote_yaml(self.file.slice(&entry.value.span).trim_end());
                    hint = format!("quote it: {as_text}\n{hint}");
                    diagnostic.suggestion = Some(as_text);
                }
                diagnostic.hint(hint);
            }
        }
        let is_missing = |field: &&ensue_engine::catalog::Field| {
            field.presence == Presence::Required && entries.iter().all(|entry| entry.key.value != field.name)
        };
        // A misspelled one has been reported.
        for field in fields.0.iter().filter(is_missing).filter(|field| !misspelt.contains(&field.name.as_str())) {
            report
                .error(
                    Code::MissingParameter,
                    self.file,
                    self.at.clone(),
                    format!("{} needs the {} `{}`", self.taker, self.called, field.name),
                )
                .hint(format!("`{}` is declared as {}", field.name, describe(field)));
        }
    }

    fn check_whole(&self, schema: &Schema, report: &mut Report) {
        // Reported where the schema is written.
        if schema.is_too_complex() {
            return;
        }
        let Some(node) = self.node.filter(|node| !node.is_poisoned() && !has_expression(node)) else { return };
        let document = Document::from_value(&node.to_value());
        for misfit in schema.misfits(document.root(), Extra::Refused) {
            let at = node.at(&misfit.pointer).map_or(self.at.clone(), |node| first_line(&node.span, self.file));
            report.error(Code::ParameterType, self.file, at, format!("the value does not fit {}: {}", self.taker, misfit.message));
        }
    }

    fn misfit(&self, field: &ensue_engine::catalog::Field, node: &Node) -> Option<String> {
        if !has_expression(node) {
            if matches!(node.content, Content::Null) && field.presence != Presence::Required {
                return Some(format!("should be {}, but is empty; to leave the value out, remove the line", field.kind));
            }
            return schema::misfit(field, &node.to_value());
        }
        // Text around an expression makes a text. A list or mapping that contains expressions keeps its type.
        let fits = match (&node.content, &field.kind) {
            (_, Type::Any) => true,
            (Content::Text { value, .. }, kind) => {
                is_sole_expression(value) || matches!(kind, Type::String { .. } | Type::OneOf(_) | Type::Connection(_))
            }
            (Content::List(_), kind) => matches!(kind, Type::List(_)),
            (Content::Map(_), kind) => matches!(kind, Type::Object),
            (_, _) => true,
        };
        (!fits).then(|| format!("should be {}, but is {}", field.kind, node.what()))
    }
}

fn describe(field: &ensue_engine::catalog::Field) -> String {
    let presence = match &field.presence {
        Presence::Required => "required".to_owned(),
        Presence::Optional => "optional".to_owned(),
        Presence::Default(value) => format!("default: {value}"),
    };
    match &field.description {
        Some(description) => format!("{} ({presence}): {description}", field.kind),
        None => format!("{} ({presence})", field.kind),
    }
}

pub(super) fn has_expression(node: &Node) -> bool {
    match &node.content {
        Content::Text { value, .. } => value.contains("${{"),
        Content::List(items) => items.iter().any(has_expression),
        Content::Map(entries) => entries.iter().any(|entry| has_expression(&entry.value)),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Poisoned => false,
    }
}

fn is_sole_expression(text: &str) -> bool {
    // Two adjacent expressions are rare, and they make a text: the engine checks it once it is computed.
    text.starts_with("${{") && text.ends_with("}}")
}

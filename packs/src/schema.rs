//! Schemas as packs write them: the short form of named fields, or a whole JSON Schema under `schema:`.
//!
//! This module builds the engine's schemas. The engine checks values against them.

mod property_order;
mod reads;
mod short_form;
mod whole_schema;
mod work_bound;

use std::sync::Arc;

use ensue_engine::catalog::{Extra, Field, Fields as SchemaFields, JsonSchema, Misfit, Presence, Schema, Type};
use ensue_engine::names::is_name;
use ensue_expression::{Document, nearest};
use regex::RegexBuilder;
use serde_json::{Value, json};

use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, inexact_numbers, report_inexact, text, wrong_type};
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, YamlEntry, quote_yaml};

/// The most bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// What the pattern of a field counts as, because the work of compiling it is not known, in bytes.
const PATTERN_WORK: usize = 128 << 10;

const MARKS: [(&str, bool); 1] = [("code", true)];
const MARK_WORDS: [&str; 1] = words(&MARKS);

/// A pattern for the type `string` as written.
const TYPE_STRING: &str = r"^\s*string\s*$";

pub(crate) static LONG_FIELD: Shape = Shape {
    what: "a field's long form",
    fields: &[
        required_field(
            "type",
            "type: string",
            Kind::Type,
            "`string`, `integer`, `number`, `boolean`, `object`, `any`, one of several strings as `dev | prod`, or a list as `[string]`.",
        ),
        optional_field("title", Kind::Text(Form::Any), "What a form calls the field; without it, its name."),
        optional_field("description", Kind::Text(Form::Any), "The purpose, in a sentence."),
        optional_field(
            "pattern",
            Kind::Text(Form::Any),
            "A regular expression that some part of the string must match; use `^…$` to match all of it. Only for a `string`.",
        ),
        optional_field(
            "x-ensue",
            Kind::Choice(&MARK_WORDS),
            "`code` means that the string becomes code, so nothing may be spliced into it. Only for a `string`.",
        ),
        optional_field("default", Kind::Value, "The default value. It must fit the type."),
        optional_field("optional", Kind::Boolean, "Whether it may be absent."),
    ],
    later: &[],
    between: &[
        FieldConstraint::OnlyFor { field: "pattern", other: "type", pattern: TYPE_STRING },
        FieldConstraint::OnlyFor { field: "x-ensue", other: "type", pattern: TYPE_STRING },
        FieldConstraint::NotBesideTrue { field: "default", flag: "optional" },
    ],
};

/// Compiles a whole JSON Schema, draft 2020-12, that is not part of a pack: that of an inquiry's answer.
///
/// Fails with the place of the error if it is not a JSON Schema, and if it is too complex to check an answer
/// against.
pub fn whole_schema(source: Value) -> Result<Arc<dyn JsonSchema>, Misfit> {
    match whole_schema::compile(source) {
        Ok(schema) => match schema.too_complex() {
            Some(why) => Err(Misfit { pointer: String::new(), message: format!("the schema is too complex: {why}") }),
            None => Ok(Arc::new(schema)),
        },
        Err(whole_schema::SchemaFault { pointer, message }) => Err(Misfit { pointer, message }),
    }
}

/// Reads a schema. Returns `None` if it has an error, so that nothing is checked against half a schema.
pub(crate) fn read(node: Node, naming: Naming, file: &SourceText, report: &mut Report) -> Option<Schema> {
    let entries = match node.content {
        Content::Map(entries) => entries,
        Content::Poisoned => return None,
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::List(_) => {
            wrong_type(&node, "a schema", "a mapping of names to types such as `region: string`", file, report);
            return None;
        }
    };
    if let Some(at) = entries.iter().position(|entry| entry.key.value == "schema") {
        return read_whole(entries, at, file, report);
    }
    let mut fields = Vec::new();
    let mut is_whole = true;
    for entry in entries {
        match read_field(entry, naming, file, report) {
            Some(field) => fields.push(field),
            None => is_whole = false,
        }
    }
    is_whole.then_some(Schema::Fields(SchemaFields(fields)))
}

/// Returns how a value does not fit a field's type.
pub(crate) fn misfit(field: &Field, value: &Value) -> Option<String> {
    let required = Field { presence: Presence::Required, ..field.clone() };
    let name = field.name.clone();
    let schema = Schema::Fields(SchemaFields(vec![required]));
    let document = Document::from_value(&json!({ name: value }));
    schema.misfits(document.root(), Extra::Allowed).into_iter().next().map(|misfit| {
        let inside = misfit.pointer.split('/').skip(2).collect::<Vec<_>>().join("/");
        if inside.is_empty() { misfit.message } else { format!("item {inside} {}", misfit.message) }
    })
}

/// Returns true if values of a type are objects, or lists of them: their fields are of any type, and may be used as text,
/// as the variables of a program.
pub(crate) fn holds_object(kind: &Type) -> bool {
    match kind {
        Type::Object => true,
        Type::List(item) => holds_object(item),
        Type::Any | Type::String { .. } | Type::Integer | Type::Number | Type::Boolean | Type::OneOf(_) | Type::Connection(_) => false,
    }
}

/// Returns true if a parameter is declared as code; `None` if there is no such parameter.
pub(crate) fn is_code(parameters: &Schema, name: &str) -> Option<bool> {
    match parameters {
        Schema::Any => Some(false),
        Schema::Fields(fields) => fields.get(name).map(|field| field.is_code),
        Schema::Whole(schema) => Some(schema.source()["properties"][name]["x-ensue"] == "code"),
    }
}

fn read_whole(mut entries: Vec<YamlEntry>, at: usize, file: &SourceText, report: &mut Report) -> Option<Schema> {
    let entry = entries.remove(at);
    if let Some(other) = entries.first() {
        report
            .error(
                Code::InvalidSchema,
                file,
                other.key.span.clone(),
                format!("`{}` is not allowed next to `schema`, which is a whole JSON Schema", other.key.value),
            )
            .hint("write all fields in the short form, where none may be named `schema`, or all of them under `schema:`");
        return None;
    }
    if entry.value.is_poisoned() {
        return None;
    }
    let source = property_order::with_property_order(&entry.value);
    report.count_patterns(PATTERN_WORK.saturating_mul(whole_schema::patterns(&source)), file, first_line(&entry.value.span, file));
    if report.is_over() {
        return None;
    }
    match whole_schema::compile(source) {
        Ok(schema) => {
            if let Some(why) = schema.too_complex() {
                let span = first_line(&entry.value.span, file);
                report.error(Code::SchemaTooComplex, file, span, format!("this JSON Schema is too complex: {why}")).hint(
                    "refer to each part only once for each place in a value; an `allOf` with the same reference twice doubles the work",
                );
            }
            Some(Schema::Whole(Arc::new(schema)))
        }
        Err(fault) => {
            let at = entry.value.at(&fault.pointer).unwrap_or(&entry.value);
            let span = first_line(&at.span, file);
            report
                .error(Code::InvalidSchema, file, span, format!("invalid JSON Schema: {}", fault.message))
                .hint("write JSON Schema 2020-12 without remote references, or use the short form: `region: string`, `count: integer = 3`");
            None
        }
    }
}

fn read_field(entry: YamlEntry, naming: Naming, file: &SourceText, report: &mut Report) -> Option<Field> {
    let name = entry.key.value;
    let is_fine = match naming {
        Naming::Ours => is_our_name(&name),
        Naming::Theirs => !name.is_empty(),
    };
    if !is_fine {
        report_bad_name(&name, &entry.key.span, file, report);
        return None;
    }
    let span = first_line(&entry.value.span, file);
    let field = match entry.value.content {
        Content::Poisoned => return None,
        Content::Text { value, .. } => match short_form::declaration(&value) {
            Ok((kind, presence)) => {
                // Earlier releases took such defaults.
                if !report.is_of_installed()
                    && holds_object(&kind)
                    && let Err(inexact) = short_form::check_default(&value)
                {
                    report.error(Code::AmbiguousValue, file, span, inexact.message).hint(inexact.hint);
                    return None;
                }
                Field { name, title: None, description: None, kind, presence, is_code: false }
            }
            Err(fault) => {
                fault.report(file, span, report);
                return None;
            }
        },
        Content::List(items) => {
            let kind = read_list(items, &span, file, report)?;
            Field { name, title: None, description: None, kind, presence: Presence::Required, is_code: false }
        }
        Content::Map(_) => read_long(name, entry.value, file, report)?,
        Content::Null | Content::Bool(_) | Content::Number(_) => {
            let what = entry.value.what();
            report
                .error(Code::InvalidSchema, file, span, format!("`{name}` needs a type, but is {what}"))
                .hint("for example `string`, `integer?`, `boolean = true`, `dev | prod`, `[string]`");
            return None;
        }
    };
    if let Presence::Default(default) = &field.presence
        && let Some(misfit) = misfit(&field, default)
    {
        report.error(Code::InvalidSchema, file, span, format!("the default of `{}` does not fit its type: it {misfit}", field.name));
        return None;
    }
    Some(field)
}

/// `[string]`, which YAML parses as a list with one text.
fn read_list(mut items: Vec<Node>, span: &std::ops::Range<usize>, file: &SourceText, report: &mut Report) -> Option<Type> {
    let only = if items.len() == 1 { items.pop() } else { None };
    let Some(item) = only else {
        report
            .error(Code::InvalidSchema, file, span.clone(), "a list must have exactly one type for all its items")
            .hint("write `[string]` for a list of strings, `dev | prod` for one of several strings, or `[any]` for a list of anything");
        return None;
    };
    let item_span = first_line(&item.span, file);
    let kind = match item.content {
        Content::Text { value, .. } => match short_form::kind(&value) {
            Ok(kind) => kind,
            Err(fault) => {
                fault.report(file, item_span, report);
                return None;
            }
        },
        Content::List(items) => read_list(items, &item_span, file, report)?,
        Content::Poisoned => return None,
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Map(_) => {
            wrong_type(&item, "the type of a list's items", "a type such as `string`", file, report);
            return None;
        }
    };
    Some(Type::List(Box::new(kind)))
}

/// Returns true if a mapping has no field of the long form, nor one that was meant to be: someone nested a
/// schema.
fn is_nested(node: &Node) -> bool {
    let names = LONG_FIELD.names();
    let is_of_long = |name: &str| names.contains(&name) || nearest(name, names.iter().copied()).is_some();
    matches!(&node.content, Content::Map(entries) if !entries.is_empty() && entries.iter().all(|entry| !is_of_long(&entry.key.value)))
}

fn read_long(name: String, node: Node, file: &SourceText, report: &mut Report) -> Option<Field> {
    if is_nested(&node) {
        let span = first_line(&node.span, file);
        let diagnostic =
            report.error(Code::InvalidSchema, file, span, format!("the fields of `{name}` cannot be listed in the short form"));
        if name == "properties" {
            diagnostic.hint("put the whole JSON Schema under `schema:`, and nothing next to it");
        } else {
            diagnostic
                .hint(format!("write `{name}: object`, whose fields are not checked, or put a JSON Schema for all fields under `schema:`"));
        }
        return None;
    }
    let mut fields = FieldReader::open(node, &LONG_FIELD, file, report)?;
    let before = fields.start.clone();
    let kind = fields.take_required_like("type", &format!("{name}: {{ type: string, description: what it is for }}"), report)?;
    let title = fields.text("title", report).map(|text| text.value);
    let description = fields.text("description", report).map(|text| text.value);
    let pattern = fields.text("pattern", report);
    let is_code = fields.choice("x-ensue", &MARKS, report).unwrap_or(false);
    let default = fields.take("default");
    let is_optional = fields.boolean("optional", report).unwrap_or(false);

    let kind_span = first_line(&kind.value.span, file);
    let mut kind = match kind.value.content {
        Content::List(items) => read_list(items, &kind_span, file, report)?,
        _ => {
            let written = text(kind.value, "`type`", file, report)?;
            match short_form::kind(&written.value) {
                Ok(kind) => kind,
                Err(fault) => {
                    fault.report(file, kind_span, report);
                    return None;
                }
            }
        }
    };
    if let Some(written) = pattern {
        report.count_patterns(PATTERN_WORK, file, written.span.clone());
        if report.is_over() {
            return None;
        }
        let compiled = RegexBuilder::new(&written.value).size_limit(PATTERN_BYTES_MAX).build();
        match (&mut kind, compiled) {
            (Type::String { pattern }, Ok(regex)) => *pattern = Some(regex),
            (Type::String { .. }, Err(error)) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                report
                    .error(Code::InvalidSchema, file, written.span, format!("the pattern is not a valid regular expression: {reason}"))
                    .hint("do not use look-around or back-references: every pattern must run in linear time");
                return None;
            }
            (_, _) => {
                report.error(
                    Code::InvalidSchema,
                    file,
                    written.span,
                    format!("only a `string` can have a pattern, but `{name}` is {kind}"),
                );
                return None;
            }
        }
    }
    if is_code && !matches!(kind, Type::String { .. }) {
        report.error(Code::InvalidSchema, file, before, format!("only a `string` can be code, but `{name}` is {kind}"));
        return None;
    }
    let presence = match (default, is_optional) {
        (Some(default), true) => {
            report
                .error(Code::InvalidSchema, file, default.key.span, format!("`{name}` is optional and has a default"))
                .hint("keep one of the two: a field with a default is never absent");
            return None;
        }
        (Some(default), false) if default.value.is_poisoned() => return None,
        (Some(default), false) => {
            let inexact = if holds_object(&kind) { inexact_numbers(&default.value, file, report) } else { Vec::new() };
            for number in &inexact {
                report_inexact(number, file, report);
            }
            if !inexact.is_empty() {
                return None;
            }
            Presence::Default(default.value.to_value())
        }
        (None, true) => Presence::Optional,
        (None, false) => Presence::Required,
    };
    Some(Field { name, title, description, kind, presence, is_code })
}

/// Returns true if a text can be the name of a parameter, a local value or a setting, as used in expressions.
pub(crate) fn is_our_name(name: &str) -> bool {
    is_name(name) && !matches!(name, "in" | "true" | "false" | "null")
}

/// Reports a name that an expression could not use.
pub(crate) fn report_bad_name(name: &str, span: &std::ops::Range<usize>, file: &SourceText, report: &mut Report) {
    let mended: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let diagnostic = report.error(Code::InvalidName, file, span.clone(), format!("`{name}` is not a valid name"));
    diagnostic.hint(
        "begin with a-z, continue with a-z, 0-9 and `_`, at most 64 characters in all, and do not use `in`, `true`, `false` or `null`",
    );
    if is_our_name(&mended) {
        diagnostic.did_you_mean(Some(&mended));
    }
}

/// An error in a type in the short form.
struct TypeFault {
    message: String,
    hint: String,
    suggestion: Option<String>,
}

impl TypeFault {
    fn report(self, file: &SourceText, span: std::ops::Range<usize>, report: &mut Report) {
        let diagnostic = report.error(Code::InvalidSchema, file, span, self.message);
        diagnostic.did_you_mean(self.suggestion.as_deref());
        diagnostic.hint(self.hint);
    }
}

/// Returns a hint with a text in JSON's quotes, and the whole in YAML's.
fn default_hint(kind: &str, default: &str) -> String {
    format!("write {}", quote_yaml(&format!("{kind} = {}", Value::from(default))))
}

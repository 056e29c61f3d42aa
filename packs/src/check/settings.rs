//! The operator's settings for each pack: completed with the defaults, and checked against the pack's
//! `config`.
//!
//! It does not read `ensue.yaml`: callers pass parsed values.

use std::collections::BTreeMap;

use ensue_engine::catalog::{Extra, Schema, Type};
use ensue_engine::names::PackName;
use ensue_expression::{Document, nearest};
use serde_json::Value;

use super::GoodPack;
use crate::diagnostics::{Code, Diagnostic, Report, Severity};
use crate::fields::quote_names;
use crate::settings_check::{ChosenConnection, SETTINGS_FILE};
use crate::source::SourceText;
use crate::syntax;

pub(super) fn complete(value: &mut Value, schema: &Schema) {
    if let (Value::Object(values), Some(fields)) = (value, schema.fields()) {
        fields.complete(values);
    }
}

pub(super) fn report_misfits(pack: &syntax::WrittenPack, schema: &Schema, value: &Value, report: &mut Report) {
    let file = SourceText::new(SETTINGS_FILE, "");
    let at = format!("packs.{}.config", pack.name);
    let mut misspelt = Vec::new();
    if let (Some(fields), Value::Object(values)) = (schema.fields(), value) {
        let names: Vec<&str> = fields.0.iter().map(|field| field.name.as_str()).collect();
        for name in values.keys().filter(|name| fields.get(name).is_none()) {
            let near = nearest(name, names.iter().copied());
            misspelt.extend(near.map(|near| format!("/{near}")));
            let diagnostic = report.error(Code::ConfigInvalid, &file, 0..0, format!("`{at}` has no setting `{name}`"));
            diagnostic.did_you_mean(near);
            diagnostic.hint(if names.is_empty() {
                "the pack has no settings".to_owned()
            } else {
                format!("it has {}", quote_names(&names))
            });
        }
    }
    // Reported where the schema is written.
    if schema.is_too_complex() {
        return;
    }
    let document = Document::from_value(value);
    for misfit in schema.misfits(document.root(), Extra::Allowed) {
        // A misspelled one has been reported.
        if misspelt.contains(&misfit.pointer) {
            continue;
        }
        let hint = match misfit.pointer.strip_prefix('/').filter(|name| !name.contains('/')) {
            Some(name) => format!("set it in `ensue.yaml`:\npacks:\n  {}:\n    config: {{ {name}: … }}", pack.name),
            None => "fix it in `ensue.yaml`".to_owned(),
        };
        let path = format!("{at}{}", misfit.pointer.replace('/', "."));
        report.error(Code::ConfigInvalid, &file, 0..0, format!("`{path}` {}", misfit.message)).hint(hint);
    }
}

/// Returns the connections that the operator chose in the settings of a pack.
pub(super) fn chosen_connections(schema: Option<&Schema>, settings: &Value) -> Vec<ChosenConnection> {
    let fields = schema.and_then(Schema::fields).into_iter().flat_map(|fields| &fields.0);
    let chosen = fields.filter_map(|field| match (&field.kind, settings.get(&field.name)) {
        (Type::Connection(kind), Some(Value::String(name))) => {
            Some(ChosenConnection { setting: field.name.clone(), name: name.clone(), kind: *kind })
        }
        _ => None,
    });
    chosen.collect()
}

/// Reports settings for a pack that does not exist: its name is probably misspelled.
pub(super) fn warn_unknown_packs(given: &BTreeMap<PackName, Value>, good: &[GoodPack], diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
    let file = SourceText::new(SETTINGS_FILE, "");
    let has_errors = diagnostics.iter().any(|one| one.severity == Severity::Error);
    let mut found = Vec::new();
    for name in given.keys().filter(|name| !has_errors && good.iter().all(|pack| pack.name != **name)) {
        let message = format!("`packs.{name}` configures a pack that does not exist");
        let mut one = Diagnostic::new(Severity::Warning, Code::UnknownPack, &file, 0..0, message);
        one.did_you_mean(nearest(name.as_str(), good.iter().map(|pack| pack.name.as_str())));
        found.push(one);
    }
    found
}

//! The names that expressions read in several kinds of definitions: `vars`, `event`, `config` and `local`.

use ensue_engine::catalog::Schema;
use ensue_engine::names::TriggerRef;
use ensue_expression::{Expression, MapType, Occurrence, Others, ValueType};

use super::Checking;
use super::schemas::{ValueForm, type_of};
use super::scope::Scope;
use crate::diagnostics::Report;
use crate::yaml::YamlEntry;

/// The type of `vars`: nobody declares them.
pub(super) fn vars() -> ValueType {
    ValueType::map(MapType::new(Others::Are(ValueType::json())))
}

/// The type of `event` for a rule with these triggers, or for a step that waits for one of them.
pub(super) fn event(checking: &mut Checking<'_>, named: &[Option<(TriggerRef, Option<&Schema>)>]) -> ValueType {
    let payloads = named.iter().map(|trigger| match trigger {
        Some((name, Some(schema))) => checking.payload_type(name, schema),
        // This has its own error.
        Some((_, None)) | None => ValueType::json(),
    });
    let payload = payloads.reduce(ValueType::or).unwrap_or_else(ValueType::json);
    let triggers: Option<Vec<&str>> = named.iter().map(|trigger| trigger.as_ref().map(|(name, _)| name.as_str())).collect();
    let trigger = triggers.map_or_else(ValueType::text, ValueType::one_of);
    let fields = MapType::new(Others::None)
        .with_wording("the fields of `event`", None)
        .with("id", ValueType::text(), Occurrence::Always)
        .with("trigger", trigger, Occurrence::Always)
        .with("payload", payload, Occurrence::Always)
        .with("source", ValueType::text(), Occurrence::Always)
        .with("time", ValueType::text(), Occurrence::Always);
    ValueType::map(fields)
}

/// The type of the pack's settings.
pub(super) fn config_type(checking: &Checking<'_>) -> ValueType {
    match &checking.pack.manifest.config {
        Some(schema) => type_of(schema, ValueForm::Completed, "the settings of `config`", None),
        None => ValueType::anything(),
    }
}

/// The compiled names of `local`, in order; `None` if one of them has an error.
pub(super) type Locals = Option<Vec<(String, Expression)>>;

/// Compiles the names that are computed first, each in the scope of those before it, which may include names of
/// an outer `local`. Returns the scope with all of them.
pub(super) fn locals<'a>(base: &Scope<'a>, written: &'a [YamlEntry], report: &mut Report) -> (Locals, Scope<'a>) {
    let mut scope = base.clone().with_locals();
    let mut compiled = Some(Vec::new());
    for entry in written {
        let name = entry.key.value.as_str();
        let expression = scope.expression(&entry.value, &format!("`{name}`"), report);
        // A name with an error, which has been reported, is defined all the same.
        let value = expression.as_ref().map_or_else(ValueType::anything, |(_, value)| value.clone());
        scope = scope.with_local(name, value);
        match (&mut compiled, expression) {
            (Some(list), Some((expression, _))) => list.push((name.to_owned(), expression)),
            (_, _) => compiled = None,
        }
    }
    (compiled, scope)
}

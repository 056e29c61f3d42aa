//! A rule against the catalog: its triggers and its action are there, and it gives the action what the action takes.

use std::sync::Arc;

use ensue_engine::catalog::{Mode, Schema};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_expression::{Expression, MapType, Occurrence, Others, Template, ValueType};
use serde_json::Value;

use super::actions::{Locals, locals, no_locals};
use super::refs::{action_named, trigger_named};
use super::schemas::{Form, type_of};
use super::scope::Scope;
use super::sensors::optional;
use super::{Checking, parameters};
use crate::diagnostics::Report;
use crate::source::SourceText;
use crate::written;
use crate::yaml::Content;

/// A rule that is checked, its action still a ref: the catalog is built of all packs at once.
pub(crate) struct CheckedRule {
    pub(crate) name: RuleRef,
    pub(crate) description: String,
    pub(crate) mode: Mode,
    pub(crate) triggers: Vec<TriggerRef>,
    pub(crate) when: Option<Expression>,
    pub(crate) local: Vec<(String, Expression)>,
    pub(crate) action: ActionRef,
    pub(crate) with: Template,
    pub(crate) config: Arc<Value>,
    pub(crate) priority: Option<i8>,
}

pub(super) fn rule(
    checking: &mut Checking<'_>,
    name: RuleRef,
    file: &SourceText,
    written: &written::Rule,
    config: &Arc<Value>,
    report: &mut Report,
) -> Option<CheckedRule> {
    let named: Vec<_> = written.triggers.iter().map(|trigger| trigger_named(checking, file, trigger, report)).collect();
    let base = Scope::new(file).with("event", event(checking, &named)).with("config", config_type(checking)).with(
        "rule",
        ValueType::map(MapType::new(Others::None).called("the fields of `rule`", None).with("ref", ValueType::text(), Occurrence::Always)),
    );
    let (local, when, scope) = conditions(&base, written, report);
    let action = action_named(checking, file, &written.action, "rule", report);
    let parameters = action.as_ref().and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
    let with = parameters::with(file, &written.action, written.with.as_ref(), parameters, &scope, report);
    Some(CheckedRule {
        name,
        description: written.description.clone(),
        mode: written.mode,
        triggers: named.into_iter().map(|trigger| Some(trigger?.0)).collect::<Option<_>>()?,
        when: optional(when)?,
        local: local?,
        action: action?.0,
        with: with?,
        config: config.clone(),
        priority: written.priority,
    })
}

/// What `event` can be for a rule that listens to these triggers.
fn event(checking: &mut Checking<'_>, named: &[Option<(TriggerRef, Option<&Schema>)>]) -> ValueType {
    let payloads = named.iter().map(|trigger| match trigger {
        Some((name, Some(schema))) => checking.payload_type(name, schema),
        // It has its own error.
        Some((_, None)) | None => ValueType::json(),
    });
    let payload = payloads.reduce(ValueType::or).unwrap_or_else(ValueType::json);
    let triggers: Option<Vec<&str>> = named.iter().map(|trigger| trigger.as_ref().map(|(name, _)| name.as_str())).collect();
    let trigger = triggers.map_or_else(ValueType::text, ValueType::one_of);
    let fields = MapType::new(Others::None)
        .called("the fields of `event`", None)
        .with("id", ValueType::text(), Occurrence::Always)
        .with("trigger", trigger, Occurrence::Always)
        .with("payload", payload, Occurrence::Always)
        .with("source", ValueType::text(), Occurrence::Always)
        .with("time", ValueType::text(), Occurrence::Always);
    ValueType::map(fields)
}

/// What the pack's settings can be.
pub(super) fn config_type(checking: &Checking<'_>) -> ValueType {
    match &checking.pack.manifest.config {
        Some(schema) => type_of(schema, Form::Completed, "the settings of `config`", None),
        None => ValueType::anything(),
    }
}

type Conditions<'a> = (Locals, Option<Option<Expression>>, Scope<'a>);

/// Compiles `when` and `local`, and gives the scope of what follows them.
///
/// Local values are computed before the condition only if it reads them; else only for events that match.
fn conditions<'a>(base: &Scope<'a>, written: &'a written::Rule, report: &mut Report) -> Conditions<'a> {
    let Some(node) = &written.when else {
        let (local, scope) = locals(base, &written.local, report);
        return (local, None, scope);
    };
    let reads_local = matches!(&node.content, Content::Text { value, .. } if value.contains("local"));
    if reads_local || written.local.is_empty() {
        let (local, scope) = locals(base, &written.local, report);
        let when = scope.condition(node, "`when`", report);
        let scope = scope.after(when.as_ref());
        return (local, Some(when), scope);
    }
    let when = base.clone().with("local", no_locals()).condition(node, "`when`", report);
    let (local, scope) = locals(&base.clone().after(when.as_ref()), &written.local, report);
    (local, Some(when), scope)
}

//! Checks a rule against the catalog: its triggers and its action exist, and it passes the action the right
//! parameters.

use std::sync::Arc;

use std::time::Duration;

use ensue_engine::catalog::{Action, Fields, Given, OnLost, Schema};
use ensue_engine::names::{RuleRef, TriggerRef, WorkerQueueName};
use ensue_engine::vars::reads::VARS;
use ensue_expression::{Expression, MapType, Occurrence, Others, Template, ValueType};
use serde_json::{Value, json};

use super::actions::{Locals, literal, locals, no_locals};
use super::refs::{action_named, schedule_trigger, trigger_named};
use super::schemas::{Form, type_of};
use super::scope::Scope;
use super::sensors::optional;
use super::{Checking, flow, parameters, workflows};
use crate::checked::{CheckedRule, CheckedTask};
use crate::diagnostics::Report;
use crate::source::SourceText;
use crate::written;
use crate::yaml::Content;

pub(super) fn rule(
    checking: &mut Checking<'_>,
    name: RuleRef,
    file: &SourceText,
    written: &written::Rule,
    config: &Arc<Value>,
    report: &mut Report,
) -> Option<CheckedRule> {
    let named: Vec<_> = match &written.schedule {
        Some(_) => vec![schedule_trigger(checking)],
        None => written.triggers.iter().map(|trigger| trigger_named(checking, file, trigger, report)).collect(),
    };
    let event = event(checking, &named);
    let base = Scope::new(file).with("event", event.clone()).with("config", config_type(checking)).with(VARS, vars()).with(
        "rule",
        ValueType::map(MapType::new(Others::None).called("the fields of `rule`", None).with("ref", ValueType::text(), Occurrence::Always)),
    );
    let (local, when, scope) = conditions(&base, written, report);
    let flow = flow::flow(file, &written.flow, &scope, report);
    let scope = flow::with_events(scope, &written.flow, event);
    let task = task(checking, &name, file, (written, &local, config), &scope, report);
    let (task, with) = task?;
    Some(CheckedRule {
        name,
        description: written.description.clone(),
        mode: written.mode,
        triggers: named.into_iter().map(|trigger| Some(trigger?.0)).collect::<Option<_>>()?,
        schedule: written.schedule.clone().map(Arc::new),
        when: optional(when)?,
        local: local?,
        flow: flow?.map(Arc::new),
        task,
        with,
        config: config.clone(),
        priority: written.priority,
    })
}

fn task(
    checking: &mut Checking<'_>,
    name: &RuleRef,
    file: &SourceText,
    (rule, local, config): (&written::Rule, &Locals, &Arc<Value>),
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<(CheckedTask, Template)> {
    match &rule.task {
        written::RuleTask::Action { action: written, with } => {
            let action = action_named(checking, file, written, "rule", report);
            let parameters = action.as_ref().and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
            let with = parameters::with(file, written, with.as_ref(), parameters, scope, report);
            Some((CheckedTask::Action(action?.0), with?))
        }
        written::RuleTask::Steps(workflow) => {
            let run = workflows::workflow(checking, file, None, (Given::Event, workflow), scope, report)?;
            let action = Action {
                name: name.as_str().parse().expect("the ref of a rule has the shape of an action's"),
                description: rule.description.clone(),
                parameters: Schema::Fields(Fields::default()),
                result: None,
                local: local.clone()?,
                run,
                timeout: Duration::ZERO,
                limit: None,
                grace: Duration::ZERO,
                idempotent: false,
                on_lost: OnLost::default(),
                retry: None,
                concurrency: None,
                priority: 0,
                queue: WorkerQueueName::default(),
                config: config.clone(),
                pack: checking.pack.digest,
                templates: std::collections::BTreeMap::new(),
                labels: std::collections::BTreeMap::new(),
            };
            Some((CheckedTask::Steps(Arc::new(action)), literal(&json!({}))))
        }
    }
}

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
        .called("the fields of `event`", None)
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
        Some(schema) => type_of(schema, Form::Completed, "the settings of `config`", None),
        None => ValueType::anything(),
    }
}

type Conditions<'a> = (Locals, Option<Option<Expression>>, Scope<'a>);

/// Compiles `when` and `local`, and returns the scope for the fields after them.
///
/// If the condition reads local values, they are computed before it. Otherwise they are computed only for
/// events that match.
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

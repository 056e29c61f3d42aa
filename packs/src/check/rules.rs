//! Checks a rule against the catalog: its triggers and its action exist, and it passes the action the right
//! parameters.

use std::sync::Arc;

use std::time::Duration;

use ensue_engine::catalog::{Action, Fields, OnLost, Retry, RunAs, Schema, WorkflowInput};
use ensue_engine::names::{RuleRef, WorkerQueueName};
use ensue_engine::vars::reads::VARS;
use ensue_expression::{Expression, MapType, Occurrence, Others, Template, ValueType};
use serde_json::{Value, json};

use super::literals::{literal, optional};
use super::refs::{action_named, schedule_trigger, trigger_named};
use super::roots::{Locals, config_type, event, locals, vars};
use super::scope::Scope;
use super::{Checking, connections, flow, parameters, workflows};
use crate::definitions::{CheckedRule, CheckedTask};
use crate::diagnostics::Report;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::Content;

pub(super) fn rule(
    checking: &mut Checking<'_>,
    name: RuleRef,
    file: &SourceText,
    written: &syntax::Rule,
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
        ValueType::map(MapType::new(Others::None).with_wording("the fields of `rule`", None).with(
            "ref",
            ValueType::text(),
            Occurrence::Always,
        )),
    );
    let (local, when, scope) = conditions(&base, written, report);
    let flow = flow::flow(file, written, &scope, report);
    let scope = flow::with_events(scope, &written.flow, event);
    let task = task(checking, &name, file, (written, &local, config), &scope, report);
    let retry = retry(checking, file, written, report);
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
        retry: optional(retry)?,
        priority: written.priority,
    })
}

/// Compiles the `retry` of a rule. The inner `None` means that it has an error.
fn retry(checking: &mut Checking<'_>, file: &SourceText, written: &syntax::Rule, report: &mut Report) -> Option<Option<Retry>> {
    let (retry, at) = written.retry.as_ref()?;
    let syntax::RuleTask::Action { action, .. } = &written.task else { return None };
    // Its errors are reported with the task.
    let named = action_named(checking, file, action, "rule", &mut Report::default());
    let has = super::retry::has_attempts(file, named.as_ref(), at, "the rule", report);
    Some(if has { super::retry::retry(file, retry, report) } else { None })
}

fn task(
    checking: &mut Checking<'_>,
    name: &RuleRef,
    file: &SourceText,
    (rule, local, config): (&syntax::Rule, &Locals, &Arc<Value>),
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<(CheckedTask, Template)> {
    match &rule.task {
        syntax::RuleTask::Action { action: written, with } => {
            let action = action_named(checking, file, written, "rule", report);
            let parameters = action.as_ref().and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
            connections::check_passed(checking, with.as_ref(), parameters, file, report);
            let with = parameters::with(file, written, with.as_ref(), parameters, scope, report);
            Some((CheckedTask::Action(action?.0), with?))
        }
        syntax::RuleTask::Steps(workflow) => {
            let run = workflows::workflow(checking, file, None, (WorkflowInput::Event, workflow), scope, report)?;
            let action = Action {
                name: name.as_str().parse().expect("the ref of a rule has the shape of an action's"),
                description: rule.description.clone(),
                parameters: Schema::Fields(Fields::default()),
                result: None,
                output: None,
                local: local.clone()?,
                run,
                run_as: RunAs::Pack,
                has_token: false,
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

type Conditions<'a> = (Locals, Option<Option<Expression>>, Scope<'a>);

/// Compiles `when` and `local`, and returns the scope for the fields after them.
///
/// If the condition reads local values, they are computed before it. Otherwise they are computed only for
/// events that match.
fn conditions<'a>(base: &Scope<'a>, written: &'a syntax::Rule, report: &mut Report) -> Conditions<'a> {
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
    let when = base.clone().with_locals().condition(node, "`when`", report);
    let (local, scope) = locals(&base.clone().after(when.as_ref()), &written.local, report);
    (local, Some(when), scope)
}

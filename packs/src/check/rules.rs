//! A rule against the catalog: its triggers and its action are there, and it gives the action what the action takes.

use std::sync::Arc;

use ensue_engine::catalog::{Extra, Mode, Schema};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_expression::{Expression, Template};
use serde_json::{Value, json};

use super::actions::{literal, locals};
use super::parameters::Given;
use super::refs::{action_named, trigger_named};
use super::scope::Scope;
use super::sensors::optional;
use super::{Checking, code};
use crate::diagnostics::Report;
use crate::fields::wrong_type;
use crate::schema;
use crate::source::SourceText;
use crate::written;
use crate::yaml::{Content, Node};

/// The fields of `event`, as expressions of a rule see it.
const EVENT: [&str; 5] = ["id", "trigger", "payload", "source", "time"];
/// The fields of `rule`.
const RULE: [&str; 1] = ["ref"];

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
    let payloads: Vec<Option<&Schema>> = named.iter().map(|trigger| trigger.as_ref().and_then(|(_, schema)| *schema)).collect();
    let base = Scope::new(file, &["event", "config", "rule"])
        .schemas(&["event", "payload"], "the payload's fields", payloads)
        .fields(&["event"], "the fields of `event`", EVENT)
        .fields(&["rule"], "the fields of `rule`", RULE)
        .schemas(&["config"], "the settings of `config`", [checking.pack.manifest.config.as_ref()]);
    let (local, scope) = locals(&base, &written.local, report);
    let when = written.when.as_ref().map(|node| scope.expression(node, "`when`", report));
    let action = action_named(checking, file, &written.action, report);
    let with = with(file, written, action.as_ref().and_then(|(_, parameters)| *parameters), &scope, report);
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

/// Compiles `with`, and checks it against the parameters of the action, where they are known.
fn with(
    file: &SourceText,
    written: &written::Rule,
    parameters: Option<&Schema>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Template> {
    let node = written.with.as_ref();
    if let Some(node) = node
        && !matches!(node.content, Content::Map(_))
    {
        wrong_type(node, "`with`", "a mapping of parameters", file, report);
        return None;
    }
    if let Some(parameters) = parameters {
        if !check_code(file, node, parameters, scope, report) {
            return None;
        }
        let given = Given {
            file,
            node,
            at: written.action.span.clone(),
            taker: format!("the action `{}`", written.action.value),
            called: "parameter",
        };
        given.check(parameters, Extra::Refused, report);
    }
    match node {
        Some(node) => scope.template(node, report),
        None => Some(literal(&json!({}))),
    }
}

/// Checks that nothing is spliced into a parameter that is code.
fn check_code(file: &SourceText, node: Option<&Node>, parameters: &Schema, scope: &Scope<'_>, report: &mut Report) -> bool {
    let Some(Node { content: Content::Map(entries), .. }) = node else { return true };
    let is_code = |name: &str| schema::is_code(parameters, name) == Some(true);
    let mut is_fine = true;
    for entry in entries.iter().filter(|entry| is_code(&entry.key.value)) {
        is_fine &= code::check_literal(&entry.value, scope, file, report);
    }
    is_fine
}

//! Checks the flow control of a rule: the names that its keys may read, and the rule's access to the events
//! of a window.

use ensue_engine::catalog::{Concurrency, Control, Flow, Stage};
use ensue_expression::{Expression, ValueType, nearest};

use super::literals::optional;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::{Node, WithSpan};

/// Compiles the flow controls of a rule. Returns `None` if one of them has an error.
pub(super) fn flow(file: &SourceText, rule: &syntax::Rule, scope: &Scope<'_>, report: &mut Report) -> Option<Option<Flow>> {
    let stages: Vec<Option<Stage>> = rule
        .flow
        .iter()
        .map(|stage| {
            let control = stage.does.control();
            let compiled = stage.key.as_ref().map(|node| key(control, file, node, scope, report));
            let distinct = stage.distinct.as_ref().map(|node| scalar((node, "`distinct`"), DIFFERENT, file, scope, report));
            let are_known = are_triggers_of(rule, &stage.of, file, report);
            let (key, distinct) = (optional(compiled)?, optional(distinct)?);
            are_known.then(|| Stage { does: stage.does.clone(), key, distinct })
        })
        .collect();
    stages.into_iter().collect::<Option<Vec<_>>>().map(Flow::new)
}

/// Compiles the limit on open executions of an action.
pub(super) fn concurrency(file: &SourceText, written: &syntax::Concurrency, scope: &Scope<'_>, report: &mut Report) -> Option<Concurrency> {
    let key = written.key.as_ref().map(|node| key(Control::Concurrency, file, node, scope, report));
    Some(Concurrency { limit: written.limit, key: optional(key)?, conflict: written.conflict })
}

/// Compiles a key, which is a scalar.
fn key(control: Control, file: &SourceText, node: &Node, scope: &Scope<'_>, report: &mut Report) -> Option<Expression> {
    let hint = match control {
        Control::Concurrency => "use the field that tells executions apart, for example `params.region` or `event.payload.host`",
        Control::Dedupe | Control::Throttle | Control::Debounce | Control::Window | Control::Missing => {
            "use the field that tells matches apart, for example `event.payload.host`"
        }
    };
    scalar((node, "`key`"), (&format!("the key of `{}`", control.as_str()), hint), file, scope, report)
}

/// How a value of `distinct` is called, and what to use for it.
const DIFFERENT: (&str, &str) = ("`distinct` of `window`", "use the field whose values must differ, for example `event.payload.region`");

/// Compiles an expression whose value is a scalar.
fn scalar(
    (node, name): (&Node, &str),
    (called, hint): (&str, &str),
    file: &SourceText,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Expression> {
    let (expression, value) = scope.expression(node, name, report)?;
    let scalar = ValueType::text().or(ValueType::number()).or(ValueType::integer()).or(ValueType::boolean());
    if value.is_unknown_or_nothing() || scalar.overlaps(&value) {
        return Some(expression);
    }
    let message = format!("{called} must be a string, a number, true or false, not {value}");
    report.error(Code::TypeMismatch, file, first_line(&node.span, file), message).hint(hint);
    None
}

/// Returns true if all of these are triggers of the rule; reports those that are not.
fn are_triggers_of(rule: &syntax::Rule, of: &[WithSpan<String>], file: &SourceText, report: &mut Report) -> bool {
    let mut are_known = true;
    for trigger in of.iter().filter(|of| rule.triggers.iter().all(|trigger| trigger.value != of.value)) {
        let near = nearest(&trigger.value, rule.triggers.iter().map(|trigger| trigger.value.as_str()));
        let message = format!("`of` names `{}`, which is not a trigger of the rule", trigger.value);
        report
            .error(Code::InvalidValue, file, trigger.span.clone(), message)
            .did_you_mean(near)
            .hint("the rule judges only events of its triggers: add it to `trigger`, or remove it here");
        are_known = false;
    }
    are_known
}

/// Makes the events that a rule gathers available to what the rule runs.
pub(super) fn with_events<'a>(scope: Scope<'a>, written: &[syntax::FlowStage], event: ValueType) -> Scope<'a> {
    let gathers = written.iter().any(|stage| stage.does.gathers());
    if gathers { scope.with("events", ValueType::list(event)) } else { scope }
}

//! Checks the flow control of a rule: the names that its keys may read, and the rule's access to the events
//! of a window.

use ensue_engine::catalog::{Concurrency, Control, Flow, Stage};
use ensue_expression::{Expression, ValueType};

use super::compiled::optional;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::written;
use crate::yaml::Node;

/// Compiles the flow controls of a rule. Returns `None` if one of them has an error.
pub(super) fn flow(file: &SourceText, written: &[written::Stage], scope: &Scope<'_>, report: &mut Report) -> Option<Option<Flow>> {
    let stages: Vec<Option<Stage>> = written
        .iter()
        .map(|stage| {
            let compiled = stage.key.as_ref().map(|node| key(stage.does.control(), file, node, scope, report));
            Some(Stage { does: stage.does, key: optional(compiled)? })
        })
        .collect();
    stages.into_iter().collect::<Option<Vec<_>>>().map(Flow::new)
}

/// Compiles the limit on open executions of an action.
pub(super) fn concurrency(
    file: &SourceText,
    written: &written::Concurrency,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Concurrency> {
    let key = written.key.as_ref().map(|node| key(Control::Concurrency, file, node, scope, report));
    Some(Concurrency { limit: written.limit, key: optional(key)?, conflict: written.conflict })
}

/// Compiles a key, which is a scalar.
fn key(control: Control, file: &SourceText, node: &Node, scope: &Scope<'_>, report: &mut Report) -> Option<Expression> {
    let (expression, value) = scope.expression(node, "`key`", report)?;
    let scalar = ValueType::text().or(ValueType::number()).or(ValueType::integer()).or(ValueType::boolean());
    if value.is_unknown_or_nothing() || scalar.overlaps(&value) {
        return Some(expression);
    }
    let message = format!("the key of `{}` must be a string, a number, true or false, not {value}", control.as_str());
    report.error(Code::TypeMismatch, file, first_line(&node.span, file), message).hint(match control {
        Control::Concurrency => "use the field that tells executions apart, for example `params.region` or `event.payload.host`",
        Control::Dedupe | Control::Throttle | Control::Debounce | Control::Window | Control::Missing => {
            "use the field that tells matches apart, for example `event.payload.host`"
        }
    });
    None
}

/// Makes the events of a rule's window available to what the rule runs.
pub(super) fn with_events<'a>(scope: Scope<'a>, written: &[written::Stage], event: ValueType) -> Scope<'a> {
    let has_window = written.iter().any(|stage| stage.does.control() == Control::Window);
    if has_window { scope.with("events", ValueType::list(event)) } else { scope }
}

//! Checks `retry` and the names that it can read: the failure and the number of the attempt.

use std::ops::Range;

use ensue_engine::catalog;
use ensue_engine::executions::facts::FailureKind;
use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, MapType, Occurrence, Others, Value, ValueType};

use super::refs::NamedAction;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::Node;

/// The kinds of failure that have no number and that a retry may fix, the likeliest first.
const WITHOUT_DETAIL: [FailureKind; 4] = [FailureKind::Timeout, FailureKind::Network, FailureKind::ResultInvalid, FailureKind::OutputLimit];

/// Compiles `retry`. Returns `None` if it has an error.
pub(super) fn retry(file: &SourceText, written: &syntax::Retry, report: &mut Report) -> Option<catalog::Retry> {
    let syntax::Retry { attempts, backoff, delay, delay_max, jitter, retry_after, when } = written;
    let when = match when {
        Some(node) => {
            let when = scope(file).condition(node, "`when`", report)?;
            warn_erring_detail(&when, node, file, report);
            Some(when)
        }
        None => None,
    };
    Some(catalog::Retry {
        attempts: *attempts,
        backoff: *backoff,
        delay: *delay,
        delay_max: *delay_max,
        jitter: *jitter,
        retry_after: *retry_after,
        when,
    })
}

/// Returns true if an action has attempts that can be retried; if not, reports it and `whose` the `retry` is.
pub(super) fn has_attempts(
    file: &SourceText,
    named: Option<&NamedAction<'_>>,
    at: &Range<usize>,
    whose: &str,
    report: &mut Report,
) -> bool {
    let Some((name, Some(action))) = named else { return true };
    let is = match &action.run {
        syntax::WrittenRun::Workflow(_) => "consists of steps: its steps have attempts, but it has none",
        syntax::WrittenRun::Builtin { which: catalog::Builtin::Sleep | catalog::Builtin::Inquiry | catalog::Builtin::Wait, .. } => {
            "waits and has no attempts"
        }
        _ => return true,
    };
    let message = format!("{whose} has a `retry`, but `{name}` {is}");
    report.error(Code::FieldOutOfPlace, file, at.clone(), message).hint("move `retry` to where the attempts are, or remove it");
    false
}

/// Warns of a condition that errs for failures without a number: such failures are then not retried.
fn warn_erring_detail(when: &Expression, node: &Node, file: &SourceText, report: &mut Report) {
    let errs = |kind: FailureKind, detail: Value<'static>| {
        let error = Value::map([("detail", detail), ("kind", Value::from(kind.as_str())), ("message", Value::from(""))]);
        let scope = ensue_expression::Scope::new().with("error", error).with("attempt", Value::from(1_i64));
        when.holds(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX)).is_err()
    };
    let erring = WITHOUT_DETAIL.into_iter().find(|kind| errs(*kind, Value::Null) && !errs(*kind, Value::from(503_i64)));
    if let Some(kind) = erring {
        let message = format!(
            "`error.detail` is null if `error.kind` is \"{}\": `when` then fails with an error, and the failure is not retried",
            kind.as_str()
        );
        report
            .warning(Code::MayBeMissing, file, first_line(&node.span, file), message)
            .hint("check the kind first, for example `error.kind == \"http_status\" && error.detail >= 500`");
    }
}

fn scope(file: &SourceText) -> Scope<'_> {
    // `retry` does not apply to cancelled or lost attempts.
    let kinds = FailureKind::ALL.into_iter().filter(|kind| {
        !matches!(kind, FailureKind::Lost | FailureKind::ChildFailed | FailureKind::Fail | FailureKind::Expired | FailureKind::Assertion)
    });
    let error = MapType::new(Others::None)
        .with_wording("the fields of `error`", None)
        .with("kind", ValueType::one_of(kinds.map(FailureKind::as_str)), Occurrence::Always)
        .with("message", ValueType::text(), Occurrence::Always)
        .with("detail", ValueType::integer().or_null(), Occurrence::Always);
    Scope::new(file).with("error", ValueType::map(error)).with("attempt", ValueType::integer())
}

//! `retry` against what can be read there: the failure, and which attempt it was.

use ensue_engine::catalog;
use ensue_engine::executions::facts::FailureKind;
use ensue_expression::{MapType, Occurrence, Others, ValueType};

use super::scope::Scope;
use crate::diagnostics::Report;
use crate::source::SourceText;
use crate::written;

/// Compiles what is said of trying again; nothing where it has a mistake.
pub(super) fn retry(file: &SourceText, written: &written::Retry, report: &mut Report) -> Option<catalog::Retry> {
    let written::Retry { attempts, backoff, delay, delay_max, jitter, when } = written;
    let when = match when {
        Some(node) => Some(scope(file).condition(node, "`when`", report)?),
        None => None,
    };
    Some(catalog::Retry { attempts: *attempts, backoff: *backoff, delay: *delay, delay_max: *delay_max, jitter: *jitter, when })
}

fn scope(file: &SourceText) -> Scope<'_> {
    // What somebody cancelled, and what is lost, is not tried again by this.
    let kinds = FailureKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, FailureKind::Lost | FailureKind::ChildFailed | FailureKind::Fail | FailureKind::Expired));
    let error = MapType::new(Others::None)
        .called("the fields of `error`", None)
        .with("kind", ValueType::one_of(kinds.map(FailureKind::as_str)), Occurrence::Always)
        .with("message", ValueType::text(), Occurrence::Always)
        .with("detail", ValueType::integer().or_null(), Occurrence::Always);
    Scope::new(file).with("error", ValueType::map(error)).with("attempt", ValueType::integer())
}

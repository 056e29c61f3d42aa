//! Reports the findings of the expression checker at their places in the file, and checks the types of
//! values.
//!
//! The findings themselves are defined in `ensue-expression`.

use std::ops::Range;

use ensue_expression::{Finding, FindingKind, ValueType};

use crate::diagnostics::{Code, Report};
use crate::source::SourceText;

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvaluationGuard {
    /// For every event, or every time the operation is performed.
    Always,
    /// Only if a condition held before. That the expression reads a field that may be missing is then up to
    /// the condition.
    AfterCondition,
}

/// Reports the findings; returns true if the expression may be used.
pub(super) fn report_findings(
    findings: &[Finding],
    turn: EvaluationGuard,
    locate: impl Fn(Range<usize>) -> Range<usize>,
    file: &SourceText,
    report: &mut Report,
) -> bool {
    let mut is_fine = true;
    for finding in findings {
        if finding.kind == FindingKind::MayBeMissing && turn == EvaluationGuard::AfterCondition {
            continue;
        }
        let (code, place) = (code_of(finding.kind), locate(finding.span.clone()));
        let diagnostic = if finding.kind.is_never_right() {
            is_fine = false;
            report.error(code, file, place, finding.message.clone())
        } else {
            report.warning(code, file, place, finding.message.clone())
        };
        diagnostic.hint.clone_from(&finding.hint);
    }
    is_fine
}

fn code_of(kind: FindingKind) -> Code {
    match kind {
        FindingKind::UnknownField | FindingKind::UnlikelyField => Code::UnknownRead,
        FindingKind::Unfit => Code::TypeMismatch,
        FindingKind::Impossible => Code::ImpossibleComparison,
        FindingKind::NotBoolean => Code::NotBoolean,
        FindingKind::AlwaysTrue => Code::AlwaysTrue,
        FindingKind::AlwaysFalse => Code::AlwaysFalse,
        FindingKind::MayBeMissing => Code::MayBeMissing,
        FindingKind::Erring => Code::CertainError,
    }
}

/// The consumer of the values of a template.
pub(super) struct Taker {
    /// The type that it accepts.
    pub(super) takes: ValueType,
    /// Its description: "the action `core.echo`".
    pub(super) name: String,
}

impl Taker {
    /// Reports a value at a JSON Pointer that the consumer never accepts. Returns true if it may accept the
    /// value.
    pub(super) fn check(&self, pointer: &str, given: &ValueType, place: Range<usize>, file: &SourceText, report: &mut Report) -> bool {
        let Some(takes) = self.takes.at(pointer) else { return true };
        let given = given.to_json_type();
        if given.is_unknown_or_nothing() || takes.overlaps(&given) {
            return true;
        }
        let field = pointer.trim_start_matches('/').replace('/', ".");
        let what = if field.is_empty() { self.name.clone() } else { format!("`{field}` of {}", self.name) };
        let diagnostic =
            report.error(Code::ParameterType, file, place, format!("{what} should be {}, but is {}", describe(&takes), describe(&given)));
        diagnostic.hint = hint(&takes, &given);
        false
    }
}

fn describe(known: &ValueType) -> String {
    match known.texts() {
        Some(texts) if texts.len() <= 8 => texts.iter().map(|text| format!("`\"{text}\"`")).collect::<Vec<_>>().join(" or "),
        _ => known.to_string(),
    }
}

fn hint(takes: &ValueType, given: &ValueType) -> Option<String> {
    let (text, number) = (ValueType::text(), ValueType::number());
    if takes.overlaps(&number) && given.overlaps(&text) {
        return Some("convert it to a number: `int(…)` or `double(…)`".to_owned());
    }
    if takes.overlaps(&text) && given.overlaps(&number) {
        return Some("convert it to a string: `string(…)`".to_owned());
    }
    if takes.overlaps(&text) && (given.overlaps(&ValueType::object()) || given.overlaps(&ValueType::list(ValueType::json()))) {
        return Some("convert it to a string: `json_text(…)`".to_owned());
    }
    None
}

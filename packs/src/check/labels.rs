//! Checks the labels of an action, which are computed before it runs.

use std::collections::BTreeMap;

use ensue_engine::catalog::label_value;
use ensue_engine::names::LabelName;
use ensue_expression::{Budget, Scope, Template, ValueType};

use super::expression_findings::Taker;
use super::scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax::Label;

/// Compiles the labels. Returns `None` if one of them has an error.
pub(super) fn labels(
    file: &SourceText,
    written: &[Label],
    scope: &scope::Scope<'_>,
    report: &mut Report,
) -> Option<BTreeMap<LabelName, Template>> {
    let compiled: Vec<_> = written.iter().map(|label| self::label(file, label, scope, report)).collect();
    compiled.into_iter().collect()
}

fn label(file: &SourceText, Label { name, value }: &Label, scope: &scope::Scope<'_>, report: &mut Report) -> Option<(LabelName, Template)> {
    let takes = ValueType::text().or(ValueType::number()).or(ValueType::integer()).or(ValueType::boolean());
    let taker = Taker { takes, name: format!("the label `{name}`") };
    let template = scope.template_for(value, Some(&taker), report)?;
    let constant = template.is_literal().then(|| template.render(&Scope::new(), &mut Budget::steps(1)));
    if let Some(Ok(constant)) = constant
        && let Err(why) = label_value(&constant)
    {
        let span = first_line(&value.span, file);
        report.error(Code::InvalidValue, file, span, format!("the label `{name}` {why}"));
        return None;
    }
    Some((name.clone(), template))
}

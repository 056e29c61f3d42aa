//! Why a rule judged an event as it did: its condition taken apart, and the local values that it reads.
//!
//! The verdict itself comes from `judge.rs`; this only explains it, at any later time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_expression::{Budget, EvaluationError, Explanation, Expression, Outcome, Value};

use crate::catalog::Rule;
use crate::rules::judge::{EventTexts, EventView, RULE_STEPS_MAX, base_scope, event_value};
use crate::rules::local::{self, FailedLocal};
use crate::vars::values::SeenVars;

/// The explanation of a rule's verdict. All of it is empty if explaining met an internal error.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// The condition; `None` if the rule has none.
    pub when: Option<Explanation>,
    /// The local values that can be computed, in their order; for one rule of many, only if its condition reads any.
    pub locals: Vec<LocalValue>,
    /// The local value whose error is the condition's error, if the condition read one that errs.
    pub erred_local: Option<ErredLocal>,
}

/// A local value of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalValue {
    /// Its name.
    pub name: String,
    /// Its value, abbreviated.
    pub value: String,
}

/// A local value of a rule that could not be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErredLocal {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub source: String,
    /// Why.
    pub error: EvaluationError,
}

/// Returns the explanation of one rule, with every value on the way.
pub fn explain(rule: &Rule, event: &EventView<'_>, vars: &SeenVars) -> Reason {
    reason(rule, event, vars, Thoroughness::Everything)
}

/// Returns the explanation of one rule of many, down to the smallest parts of its condition. The rules share
/// `steps_left`; returns `None` once less of it is left than a judgement may take.
pub fn explain_briefly(rule: &Rule, event: &EventView<'_>, vars: &SeenVars, steps_left: &mut u64) -> Option<Reason> {
    (*steps_left >= RULE_STEPS_MAX).then(|| reason(rule, event, vars, Thoroughness::Conditions { steps_left }))
}

/// How much of a rule is taken apart.
enum Thoroughness<'s> {
    /// The condition, into its smallest parts.
    Conditions { steps_left: &'s mut u64 },
    /// Everything that has a value.
    Everything,
}

fn reason(rule: &Rule, event: &EventView<'_>, vars: &SeenVars, thoroughness: Thoroughness<'_>) -> Reason {
    // If an internal error stops it, it is reported as something that could not be explained, as `judge.rs`
    // reports it for the judgement.
    catch_unwind(AssertUnwindSafe(|| worked_out(rule, event, vars, thoroughness))).unwrap_or_default()
}

fn worked_out(rule: &Rule, event: &EventView<'_>, vars: &SeenVars, thoroughness: Thoroughness<'_>) -> Reason {
    let texts = EventTexts::of(event);
    let event = event_value(event, &texts);
    let mut scope = vars.within(base_scope(rule, &event));
    let mut reason = Reason::default();
    let mut budget = Budget::steps(RULE_STEPS_MAX);
    let reads_local = rule.when.as_ref().is_some_and(|when| when.reads_root("local"));
    let failed = match &thoroughness {
        // A condition that reads local values is judged with them within one budget; if that is used up,
        // there is nothing to report.
        _ if reads_local => match local::computable(&mut scope, &rule.local, &mut budget) {
            Ok(failed) => failed,
            Err(_) => return reason,
        },
        Thoroughness::Everything => local::computable(&mut scope, &rule.local, &mut Budget::steps(RULE_STEPS_MAX)).unwrap_or_default(),
        Thoroughness::Conditions { .. } => Vec::new(),
    };
    if let Some(Value::Map(values)) = scope.get("local") {
        let found = rule.local.iter().filter_map(|(name, _)| Some((name, values.get_str(name)?)));
        reason.locals = found.map(|(name, value)| LocalValue { name: name.clone(), value: value.brief() }).collect();
    }
    let Some(when) = &rule.when else { return reason };
    reason.when = Some(match thoroughness {
        Thoroughness::Everything => when.explain(&scope, &mut budget),
        Thoroughness::Conditions { steps_left } => {
            let explained = when.explain_conditions(&scope, &mut budget, steps_left);
            *steps_left = steps_left.saturating_sub(budget.steps_spent());
            explained
        }
    });
    reason.erred_local = reason.when.as_ref().and_then(|explained| culprit(rule, when, explained, &failed));
    reason
}

/// Returns the local value whose error is the condition's error, if the condition read one that errs.
fn culprit(rule: &Rule, when: &Expression, explained: &Explanation, failed: &[FailedLocal<'_>]) -> Option<ErredLocal> {
    let Outcome::Erred(error) = explained.outcome() else { return None };
    let cause = local::cause(when, error.clone(), failed);
    let (name, error) = failed.iter().find(|(_, failed)| *failed == cause)?;
    let (_, expression) = rule.local.iter().find(|(known, _)| known == name)?;
    Some(ErredLocal { name: (*name).to_owned(), source: expression.source().to_owned(), error: error.clone() })
}

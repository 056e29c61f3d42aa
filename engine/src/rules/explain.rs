//! Why a rule made of an event what it made of it: its condition taken apart, and the local values that it reads.
//!
//! The verdict itself is `judge.rs`'s; here it is only given its reasons, at any time later.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_expression::{Budget, EvaluationError, Explanation, Scope, Value};

use crate::catalog::Rule;
use crate::rules::judge::{EventTexts, EventView, RULE_STEPS_MAX, base_scope, event_value, reads_local};

/// What a rule's verdict comes from. All of it is empty where explaining met a bug of ours.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// The condition; none where the rule has none, and where a local value that it reads erred before.
    pub when: Option<Explanation>,
    /// The local values, in the order in which they are worked out.
    pub locals: Vec<LocalValue>,
    /// The one after them, where it erred.
    pub erred_local: Option<ErredLocal>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErredLocal {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub source: String,
    /// Why.
    pub error: EvaluationError,
}

/// Gives the reason of one rule, down to every value on the way.
pub fn explain(rule: &Rule, event: &EventView<'_>) -> Reason {
    reason(rule, event, Thoroughness::Everything)
}

/// Gives the reason of one rule of many, down to the smallest parts of its condition. They draw their steps from `steps_left`
/// together; none is given once less is left of it than a judgement may take.
pub fn explain_briefly(rule: &Rule, event: &EventView<'_>, steps_left: &mut u64) -> Option<Reason> {
    (*steps_left >= RULE_STEPS_MAX).then(|| reason(rule, event, Thoroughness::Conditions { steps_left }))
}

/// How much of a rule is taken apart.
enum Thoroughness<'s> {
    /// The condition, into its smallest parts.
    Conditions { steps_left: &'s mut u64 },
    /// All that has a value.
    Everything,
}

fn reason(rule: &Rule, event: &EventView<'_>, thoroughness: Thoroughness<'_>) -> Reason {
    // What a bug stops is told as what could not be explained, as `judge.rs` tells it of the judgement.
    catch_unwind(AssertUnwindSafe(|| worked_out(rule, event, thoroughness))).unwrap_or_default()
}

fn worked_out(rule: &Rule, event: &EventView<'_>, thoroughness: Thoroughness<'_>) -> Reason {
    let texts = EventTexts::of(event);
    let event = event_value(event, &texts);
    let scope = base_scope(rule, &event);
    let Some(when) = &rule.when else {
        return match thoroughness {
            Thoroughness::Conditions { .. } => Reason::default(),
            Thoroughness::Everything => with_locals(rule, scope, &mut Budget::steps(RULE_STEPS_MAX)).1,
        };
    };
    let mut budget = Budget::steps(RULE_STEPS_MAX);
    let (scope, mut told) = match &thoroughness {
        // A condition that reads local values is judged with them within one budget.
        _ if reads_local(when) => with_locals(rule, scope, &mut budget),
        Thoroughness::Everything => with_locals(rule, scope, &mut Budget::steps(RULE_STEPS_MAX)),
        Thoroughness::Conditions { .. } => (scope, Reason::default()),
    };
    let is_judged = told.erred_local.is_none() || !reads_local(when);
    match thoroughness {
        Thoroughness::Everything => told.when = is_judged.then(|| when.explain(&scope, &mut budget)),
        Thoroughness::Conditions { steps_left } => {
            told.when = is_judged.then(|| when.explain_conditions(&scope, &mut budget, steps_left));
            *steps_left = steps_left.saturating_sub(budget.spent());
        }
    }
    told
}

/// Adds the local values to a scope, as far as they can be worked out.
fn with_locals<'a>(rule: &'a Rule, mut scope: Scope<'a>, budget: &mut Budget) -> (Scope<'a>, Reason) {
    let mut told = Reason::default();
    let mut values: Vec<(&str, Value<'_>)> = Vec::with_capacity(rule.local.len());
    for (name, expression) in &rule.local {
        scope.set("local", Value::map(values.iter().cloned()));
        match expression.evaluate(&scope, budget) {
            Ok(value) => {
                told.locals.push(LocalValue { name: name.clone(), value: value.brief() });
                values.push((name, value));
            }
            Err(error) => {
                told.erred_local = Some(ErredLocal { name: name.clone(), source: expression.source().to_owned(), error });
                break;
            }
        }
    }
    scope.set("local", Value::map(values));
    (scope, told)
}

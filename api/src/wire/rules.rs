//! Rules, what they have been doing, and what one made of an event.

use ensue_engine::catalog::{Mode, Rule};
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, RuleId};
use ensue_engine::names::{ActionRef, PackName, RuleRef, TriggerRef};
use ensue_engine::time::Timestamp;
use ensue_expression::{Explanation, Outcome, Part};
use ensue_views::enforcements::OutcomeName;
use ensue_views::{Enforcement, RuleActivity};
use serde::Serialize;

/// A rule, and what it has been doing.
#[derive(Serialize)]
pub(crate) struct WireRule {
    r#ref: RuleRef,
    id: RuleId,
    pack: PackName,
    description: String,
    mode: Mode,
    declared_mode: Mode,
    triggers: Vec<TriggerRef>,
    when: Option<String>,
    action: ActionRef,
    priority: i8,
    matched: WireMatches,
    matched_at: Option<Timestamp>,
    erred: u64,
    errors: Vec<WireRuleError>,
    suspended: Option<WireSuspension>,
}

/// Matches by what became of them.
#[derive(Default, Serialize)]
struct WireMatches {
    executed: u64,
    shadowed: u64,
    rejected: u64,
}

/// One kind of error of a rule.
#[derive(Serialize)]
struct WireRuleError {
    message: String,
    count: u64,
    first_event: EventId,
    first_at: Timestamp,
    last_event: EventId,
    last_at: Timestamp,
}

/// Why a rule is out of the way.
#[derive(Serialize)]
struct WireSuspension {
    event: EventId,
    depth: u32,
    at: Timestamp,
}

impl WireRule {
    /// Shows a rule. An operator's word on its mode stands over its pack's.
    pub(crate) fn new(rule: &Rule, activity: Option<RuleActivity>) -> Self {
        let matched = activity.as_ref().map(|activity| activity.matched).unwrap_or_default();
        Self {
            r#ref: rule.name.clone(),
            id: rule.id,
            pack: rule.name.pack(),
            description: rule.description.clone(),
            mode: activity.as_ref().and_then(|activity| activity.mode).unwrap_or(rule.mode),
            declared_mode: rule.mode,
            triggers: rule.triggers.clone(),
            when: rule.when.as_ref().map(|when| when.source().to_owned()),
            action: rule.action.name.clone(),
            priority: rule.priority.unwrap_or(rule.action.priority),
            matched: WireMatches { executed: matched.executed, shadowed: matched.shadowed, rejected: matched.rejected },
            matched_at: activity.as_ref().and_then(|activity| activity.matched_at),
            erred: activity.as_ref().map(|activity| activity.erred).unwrap_or_default(),
            suspended: activity.as_ref().and_then(|activity| activity.suspended).map(|suspended| WireSuspension {
                event: suspended.event,
                depth: suspended.depth,
                at: suspended.at,
            }),
            errors: activity
                .map(|activity| activity.errors)
                .unwrap_or_default()
                .into_iter()
                .map(|error| WireRuleError {
                    message: error.message,
                    count: error.count,
                    first_event: error.first_event,
                    first_at: error.first_at,
                    last_event: error.last_event,
                    last_at: error.last_at,
                })
                .collect(),
        }
    }
}

/// A rule's mode after it was set.
#[derive(Serialize)]
pub(crate) struct WireRuleMode {
    pub(crate) r#ref: RuleRef,
    pub(crate) mode: Mode,
}

/// What one rule made of an event, and why.
#[derive(Serialize)]
pub(crate) struct WireVerdict {
    rule: RuleRef,
    rule_id: RuleId,
    verdict: &'static str,
    /// The parts of the condition that decided, a line each; empty where the rule has no condition.
    why: Vec<String>,
    when: Option<String>,
    explanation: Option<WirePart>,
    enforcement: Option<EnforcementId>,
    outcome: Option<OutcomeName>,
    error: Option<String>,
    execution: Option<ExecutionId>,
}

impl WireVerdict {
    /// Shows what a rule made of an event; `explanation` is none where the rule has no condition, and so always matches.
    pub(crate) fn new(rule: &Rule, explanation: Option<&Explanation>, enforcement: Option<&Enforcement>) -> Self {
        let verdict = match explanation.map(Explanation::outcome) {
            None | Some(Outcome::Truth(true)) => "matched",
            Some(Outcome::Truth(false)) => "not_matched",
            // A condition that gives another value than true or false is an error, as is one that is not evaluated.
            Some(_) => "erred",
        };
        Self {
            rule: rule.name.clone(),
            rule_id: rule.id,
            verdict,
            why: explanation.map(|explanation| explanation.decisive().iter().map(ToString::to_string).collect()).unwrap_or_default(),
            when: rule.when.as_ref().map(|when| when.source().to_owned()),
            explanation: explanation.map(|explanation| WirePart::from(&explanation.root)),
            enforcement: enforcement.map(|enforcement| enforcement.id),
            outcome: enforcement.map(|enforcement| enforcement.outcome),
            error: enforcement.and_then(|enforcement| enforcement.error.clone()),
            execution: enforcement.and_then(|enforcement| enforcement.execution),
        }
    }

    /// Says whether the rule did not match; one that erred did not either, but says so itself.
    pub(crate) fn is_match(&self) -> bool {
        self.verdict == "matched"
    }

    /// Leaves out the parts: a trace is for the eye.
    pub(crate) fn without_explanation(self) -> Self {
        Self { explanation: None, ..self }
    }
}

/// A part of a condition with its outcome.
#[derive(Serialize)]
struct WirePart {
    source: String,
    outcome: &'static str,
    value: Option<String>,
    readings: Vec<WireReading>,
    parts: Vec<WirePart>,
}

/// A field that a part of a condition reads.
#[derive(Serialize)]
struct WireReading {
    path: String,
    value: String,
}

impl From<&Part> for WirePart {
    fn from(part: &Part) -> Self {
        let (outcome, value) = match &part.outcome {
            Outcome::Truth(true) => ("true", None),
            Outcome::Truth(false) => ("false", None),
            Outcome::Value(value) => ("value", Some(value.clone())),
            Outcome::Erred(error) => ("error", Some(error.to_string())),
            Outcome::Skipped => ("skipped", None),
            // The crate may learn new outcomes; they are shown as what they are not.
            _ => ("unknown", None),
        };
        Self {
            source: part.source.clone(),
            outcome,
            value,
            readings: part
                .readings
                .iter()
                .map(|reading| WireReading { path: reading.path.clone(), value: reading.value.clone() })
                .collect(),
            parts: part.parts.iter().map(Self::from).collect(),
        }
    }
}

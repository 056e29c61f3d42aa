//! Rules, and what they have been doing.

use ensue_engine::catalog::{Mode, Rule};
use ensue_engine::ids::{EventId, RuleId};
use ensue_engine::names::{ActionRef, PackName, RuleRef, TriggerRef};
use ensue_engine::time::Timestamp;
use ensue_views::RuleActivity;
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
    local: Vec<WireLocal>,
    action: ActionRef,
    priority: i8,
    matched: WireMatches,
    matched_at: Option<Timestamp>,
    erred: u64,
    errors: Vec<WireRuleError>,
    suspended: Option<WireSuspension>,
}

/// A local value of a rule, as it is written.
#[derive(Serialize)]
struct WireLocal {
    name: String,
    expression: String,
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
            local: rule
                .local
                .iter()
                .map(|(name, expression)| WireLocal { name: name.clone(), expression: expression.source().to_owned() })
                .collect(),
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

//! Rules and their recent activity.

use ensue_engine::catalog::{Control, Flow, Mode, Rule, Stage};
use ensue_engine::ids::{EventId, RuleId};
use ensue_engine::names::{ActionRef, PackName, RuleRef, TriggerRef};
use ensue_engine::time::Timestamp;
use ensue_views::rules::Matches;
use ensue_views::{RuleActivity, Schedule};
use schemars::JsonSchema;
use serde::Serialize;

use crate::shapes;
use crate::wire::timers::WireSchedule;

/// A rule and its recent activity.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireRule {
    #[schemars(with = "shapes::RuleRef")]
    r#ref: RuleRef,
    #[schemars(with = "shapes::RuleId")]
    id: RuleId,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    #[schemars(with = "shapes::Mode")]
    mode: Mode,
    #[schemars(with = "shapes::Mode")]
    declared_mode: Mode,
    #[schemars(with = "Vec<shapes::TriggerRef>")]
    triggers: Vec<TriggerRef>,
    schedule: Option<WireSchedule>,
    when: Option<String>,
    local: Vec<WireLocal>,
    /// The flow controls that decide which of its matches are acted on, and when, in the order in which they
    /// are applied.
    flow: Vec<WireFlowControl>,
    #[schemars(with = "shapes::ActionRef")]
    action: ActionRef,
    priority: i8,
    matched: WireMatches,
    #[schemars(with = "Option<shapes::Timestamp>")]
    matched_at: Option<Timestamp>,
    erred: u64,
    errors: Vec<WireRuleError>,
    suspended: Option<WireSuspension>,
}

/// A local value of a rule, as written in the rule.
#[derive(Serialize, JsonSchema)]
struct WireLocal {
    name: String,
    expression: String,
}

/// Matches by their outcome.
#[derive(Default, Serialize, JsonSchema)]
struct WireMatches {
    executed: u64,
    shadowed: u64,
    rejected: u64,
    /// The rule's flow control holds them.
    held: u64,
    /// They were held, but are not acted on.
    superseded: u64,
    /// They are duplicates of another match.
    deduplicated: u64,
    /// There were too many within a period.
    throttled: u64,
}

/// A flow control of a rule.
#[derive(Serialize, JsonSchema)]
struct WireFlowControl {
    #[schemars(with = "shapes::Control")]
    control: Control,
    /// What it does, in words.
    does: String,
    /// The expression that groups matches by key; null if all matches have the same key.
    key: Option<String>,
}

impl From<Matches> for WireMatches {
    fn from(matched: Matches) -> Self {
        Self {
            executed: matched.executed,
            shadowed: matched.shadowed,
            rejected: matched.rejected,
            held: matched.held,
            superseded: matched.superseded,
            deduplicated: matched.deduplicated,
            throttled: matched.throttled,
        }
    }
}

impl From<&Stage> for WireFlowControl {
    fn from(stage: &Stage) -> Self {
        let key = stage.key.as_ref().map(|key| key.source().to_owned());
        Self { control: stage.does.control(), does: stage.does.to_string(), key }
    }
}

/// One kind of error of a rule.
#[derive(Serialize, JsonSchema)]
struct WireRuleError {
    message: String,
    count: u64,
    #[schemars(with = "shapes::EventId")]
    first_event: EventId,
    #[schemars(with = "shapes::Timestamp")]
    first_at: Timestamp,
    #[schemars(with = "shapes::EventId")]
    last_event: EventId,
    /// When the error was last counted: at most about a minute after the event, as long as a node is running.
    #[schemars(with = "shapes::Timestamp")]
    last_at: Timestamp,
}

/// Why a rule is suspended.
#[derive(Serialize, JsonSchema)]
struct WireSuspension {
    #[schemars(with = "shapes::EventId")]
    event: EventId,
    depth: u32,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
}

impl WireRule {
    /// Shows a rule. A mode set by an operator takes precedence over its pack's.
    pub(crate) fn new(rule: &Rule, activity: Option<RuleActivity>, waiting: Option<Schedule>) -> Self {
        let matched = activity.as_ref().map(|activity| activity.matched).unwrap_or_default();
        Self {
            r#ref: rule.name.clone(),
            id: rule.id,
            pack: rule.name.pack(),
            description: rule.description.clone(),
            mode: activity.as_ref().and_then(|activity| activity.mode).unwrap_or(rule.mode),
            declared_mode: rule.mode,
            triggers: rule.triggers.clone(),
            schedule: rule.schedule.as_ref().map(|plan| WireSchedule::new(plan, waiting)),
            when: rule.when.as_ref().map(|when| when.source().to_owned()),
            local: rule
                .local
                .iter()
                .map(|(name, expression)| WireLocal { name: name.clone(), expression: expression.source().to_owned() })
                .collect(),
            flow: rule.flow.as_deref().map(Flow::stages).unwrap_or_default().iter().map(WireFlowControl::from).collect(),
            action: rule.action.name.clone(),
            priority: rule.priority.unwrap_or(rule.action.priority),
            matched: WireMatches::from(matched),
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
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireRuleMode {
    #[schemars(with = "shapes::RuleRef")]
    pub(crate) r#ref: RuleRef,
    #[schemars(with = "shapes::Mode")]
    pub(crate) mode: Mode,
}

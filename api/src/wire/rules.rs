//! Rules and their recent activity.

use ensue_derive::wire;
use ensue_engine::catalog::{Control, FileLocation, Flow, Mode, Rule, Stage};
use ensue_engine::ids::{EventId, RuleId};
use ensue_engine::names::{ActionRef, PackName, RuleRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_views::rules::Matches;
use ensue_views::{RuleActivity, Schedule};
use schemars::JsonSchema;
use serde::Serialize;

use crate::wire::timers::WireSchedule;

/// A rule and its recent activity.
#[wire(Serialize)]
pub(crate) struct WireRule {
    r#ref: RuleRef,
    id: RuleId,
    pack: PackName,
    /// The file of its pack that defines it.
    file: Option<String>,
    /// The line where it begins in the file, from 1.
    line: Option<usize>,
    description: String,
    mode: Mode,
    declared_mode: Mode,
    triggers: Vec<TriggerRef>,
    schedule: Option<WireSchedule>,
    when: Option<String>,
    local: Vec<WireLocal>,
    /// The flow controls that decide which of its matches are acted on, and when, in the order in which they
    /// are applied.
    flow: Vec<WireFlowControl>,
    action: ActionRef,
    priority: i8,
    /// Its matches by their outcome. Null with `as_of`, as is `matched_at`: the records of matches are not the rule's own.
    matched: Option<WireMatches>,
    matched_at: Option<Timestamp>,
    erred: u64,
    errors: Vec<WireRuleError>,
    suspended: Option<WireSuspension>,
}

/// The versions of a rule: a change of the file that defines it is a version.
#[wire(Serialize)]
pub(crate) struct WireRuleVersions {
    /// The file of its pack.
    pub(crate) file: String,
    /// The versions, the newest first.
    pub(crate) items: Vec<WireRuleVersion>,
    /// Whether there may be older versions, whose files are no longer stored, or which are more than the node looks at.
    pub(crate) truncated: bool,
}

/// A version of a rule.
#[wire(Serialize)]
pub(crate) struct WireRuleVersion {
    /// The revision of the catalog that has it first, with which its file is read.
    pub(crate) catalog: CatalogRevision,
    pub(crate) change: VersionChange,
    pub(crate) at: Timestamp,
    /// Who installed it: `identity/<id>`, `token/<name>`, or `operator`.
    pub(crate) by: String,
    /// The record of the change of its pack.
    pub(crate) position: Position,
    /// The version of its pack; null if the pack was removed.
    pub(crate) pack_version: Option<String>,
}

/// What a version is, compared with the one before it.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RuleVersionChange")]
pub(crate) enum VersionChange {
    /// There was none before it.
    Added,
    /// The one before it was another.
    Changed,
    /// The rule is gone.
    Removed,
    /// The one before it is no longer stored.
    Unknown,
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
    /// The maximum number of the rule's executions was open.
    skipped: u64,
}

/// A flow control of a rule.
#[wire(Serialize)]
struct WireFlowControl {
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
            skipped: matched.skipped,
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
#[wire(Serialize)]
struct WireRuleError {
    message: String,
    count: u64,
    first_event: EventId,
    first_at: Timestamp,
    last_event: EventId,
    /// When the error was last counted: at most about a minute after the event, as long as a node is running.
    last_at: Timestamp,
}

/// Why a rule is suspended.
#[wire(Serialize)]
struct WireSuspension {
    event: EventId,
    depth: u32,
    at: Timestamp,
}

impl WireRule {
    /// Shows a rule. A mode set by an operator takes precedence over its pack's.
    pub(crate) fn new(rule: &Rule, place: Option<&FileLocation>, activity: Option<RuleActivity>, waiting: Option<Schedule>) -> Self {
        let matched = activity.as_ref().map(|activity| activity.matched).unwrap_or_default();
        Self {
            r#ref: rule.name.clone(),
            id: rule.id,
            pack: rule.name.pack(),
            file: place.map(|place| place.file.clone()),
            line: place.map(|place| place.line),
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
            matched: Some(WireMatches::from(matched)),
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

impl WireRule {
    /// Leaves out what the rule's own records do not say.
    pub(crate) fn without_matches(self) -> Self {
        Self { matched: None, matched_at: None, ..self }
    }
}

/// A rule's mode after it was set.
#[wire(Serialize)]
pub(crate) struct WireRuleMode {
    pub(crate) r#ref: RuleRef,
    pub(crate) mode: Mode,
}

//! Enforcements.

use ensue_engine::catalog::Control;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::rules::flow::facts::SupersededBecause;
use ensue_engine::time::Timestamp;
use ensue_views::Enforcement;
use ensue_views::enforcements::{Became, HeldBy, OutcomeName, ReleasedName};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::shapes;

/// An enforcement.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireEnforcement {
    #[schemars(with = "shapes::EnforcementId")]
    id: EnforcementId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::RuleRef")]
    rule: RuleRef,
    #[schemars(with = "shapes::RuleId")]
    rule_id: RuleId,
    #[schemars(with = "shapes::CatalogRevision")]
    rule_revision: CatalogRevision,
    #[schemars(with = "shapes::EventId")]
    event: EventId,
    #[schemars(with = "shapes::OutcomeName")]
    outcome: OutcomeName,
    /// The flow control that holds it, or held it last; null if it was never held.
    held: Option<WireHeld>,
    /// What became of it after it was held; null while it is held, or if it never was.
    became: Option<WireBecame>,
    /// The enforcement that it repeats.
    #[schemars(with = "Option<shapes::EnforcementId>")]
    repeats: Option<EnforcementId>,
    error: Option<String>,
    #[schemars(with = "Option<shapes::ExecutionId>")]
    execution: Option<ExecutionId>,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
    #[schemars(with = "shapes::Id")]
    correlation: Id,
    /// Only for a single enforcement: the parameters that the rule rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Option<Box<RawValue>>>,
}

/// The flow control that holds an enforcement.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireHeld {
    /// The flow control of its rule.
    #[schemars(with = "shapes::Control")]
    by: Control,
    /// When the hold ends, unless something else ends it earlier.
    #[schemars(with = "shapes::Timestamp")]
    until: Timestamp,
}

/// What became of an enforcement after it was held.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireBecame {
    #[schemars(with = "shapes::ReleasedName")]
    outcome: ReleasedName,
    /// Why it is not acted on; null if it is.
    #[schemars(with = "Option<shapes::SupersededBecause>")]
    why: Option<SupersededBecause>,
    /// The enforcement that replaced it, if there is one.
    #[schemars(with = "Option<shapes::EnforcementId>")]
    by: Option<EnforcementId>,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
}

impl From<HeldBy> for WireHeld {
    fn from(held: HeldBy) -> Self {
        Self { by: held.by, until: held.until }
    }
}

impl From<Became> for WireBecame {
    fn from(became: Became) -> Self {
        Self { outcome: became.outcome, why: became.why, by: became.by, time: became.time }
    }
}

impl WireEnforcement {
    /// Shows an enforcement as an item of a list.
    pub(crate) fn listed(enforcement: Enforcement) -> Self {
        Self {
            id: enforcement.id,
            position: enforcement.position,
            rule: enforcement.rule,
            rule_id: enforcement.rule_id,
            rule_revision: enforcement.rule_revision,
            event: enforcement.event,
            outcome: enforcement.outcome,
            held: enforcement.held.map(WireHeld::from),
            became: enforcement.became.map(WireBecame::from),
            repeats: enforcement.repeats,
            error: enforcement.error,
            execution: enforcement.execution,
            time: enforcement.time,
            correlation: enforcement.correlation,
            inputs: None,
        }
    }

    /// Shows a single enforcement; its inputs are null if it requested nothing or they were erased.
    pub(crate) fn whole(enforcement: Enforcement, inputs: Option<Box<RawValue>>) -> Self {
        Self { inputs: Some(inputs), ..Self::listed(enforcement) }
    }
}

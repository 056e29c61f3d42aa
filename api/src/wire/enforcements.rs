//! Enforcements.

use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Enforcement;
use ensue_views::enforcements::OutcomeName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::openapi::shapes;

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
    error: Option<String>,
    #[schemars(with = "Option<shapes::ExecutionId>")]
    execution: Option<ExecutionId>,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
    #[schemars(with = "shapes::Id")]
    correlation: Id,
    /// Only of a single enforcement: the parameters that the rule rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Option<Box<RawValue>>>,
}

impl WireEnforcement {
    /// Shows an enforcement in a list.
    pub(crate) fn listed(enforcement: Enforcement) -> Self {
        Self {
            id: enforcement.id,
            position: enforcement.position,
            rule: enforcement.rule,
            rule_id: enforcement.rule_id,
            rule_revision: enforcement.rule_revision,
            event: enforcement.event,
            outcome: enforcement.outcome,
            error: enforcement.error,
            execution: enforcement.execution,
            time: enforcement.time,
            correlation: enforcement.correlation,
            inputs: None,
        }
    }

    /// Shows an enforcement alone; its inputs are null where it asked for nothing, or they were erased.
    pub(crate) fn whole(enforcement: Enforcement, inputs: Option<Box<RawValue>>) -> Self {
        Self { inputs: Some(inputs), ..Self::listed(enforcement) }
    }
}

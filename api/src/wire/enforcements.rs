//! Enforcements.

use ensue_derive::wire;
use ensue_engine::catalog::Control;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::rules::flow::facts::SupersededBecause;
use ensue_engine::time::Timestamp;
use ensue_views::Enforcement;
use ensue_views::enforcements::{FinalOutcome, HeldBy, OutcomeName, ReleasedName};
use serde::Serialize;
use serde_json::value::RawValue;

/// An enforcement.
#[wire(Serialize)]
pub(crate) struct WireEnforcement {
    id: EnforcementId,
    position: Position,
    rule: RuleRef,
    rule_id: RuleId,
    rule_revision: CatalogRevision,
    event: EventId,
    outcome: OutcomeName,
    /// The flow control that holds it, or held it last; null if it was never held.
    held: Option<WireHeld>,
    /// What became of it after it was held; null while it is held, or if it never was.
    became: Option<WireBecame>,
    /// The enforcement that it repeats.
    repeats: Option<EnforcementId>,
    error: Option<String>,
    execution: Option<ExecutionId>,
    time: Timestamp,
    correlation: Id,
    /// Only for a single enforcement: the parameters that the rule rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Option<Box<RawValue>>>,
}

/// The flow control that holds an enforcement.
#[wire(Serialize)]
pub(crate) struct WireHeld {
    /// The flow control of its rule.
    by: Control,
    /// When the hold ends, unless something else ends it earlier.
    until: Timestamp,
}

/// What became of an enforcement after it was held.
#[wire(Serialize)]
pub(crate) struct WireBecame {
    outcome: ReleasedName,
    /// Why it is not acted on; null if it is.
    why: Option<SupersededBecause>,
    /// The enforcement that replaced it, if there is one.
    by: Option<EnforcementId>,
    time: Timestamp,
}

impl From<HeldBy> for WireHeld {
    fn from(held: HeldBy) -> Self {
        Self { by: held.by, until: held.until }
    }
}

impl From<FinalOutcome> for WireBecame {
    fn from(became: FinalOutcome) -> Self {
        Self { outcome: became.outcome, why: became.why, by: became.by, time: became.time }
    }
}

impl WireEnforcement {
    /// Shows an enforcement as an item of a list.
    pub(crate) fn for_list(enforcement: Enforcement) -> Self {
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
        Self { inputs: Some(inputs), ..Self::for_list(enforcement) }
    }
}

//! Triggers.

use ensue_engine::catalog::Trigger;
use ensue_engine::names::{PackName, RuleRef, TriggerRef};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::shapes;

/// A trigger.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireTrigger {
    #[schemars(with = "shapes::TriggerRef")]
    r#ref: TriggerRef,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    payload: Value,
    index: Vec<String>,
    #[schemars(with = "Vec<shapes::RuleRef>")]
    rules: Vec<RuleRef>,
}

impl WireTrigger {
    /// Shows a trigger with the rules that use it.
    pub(crate) fn new(trigger: &Trigger, rules: Vec<RuleRef>) -> Self {
        Self {
            r#ref: trigger.name.clone(),
            pack: trigger.name.pack(),
            description: trigger.description.clone(),
            payload: trigger.payload.to_json(),
            index: trigger.index.clone(),
            rules,
        }
    }
}

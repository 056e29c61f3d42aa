//! Triggers.

use ensue_derive::wire;
use ensue_engine::catalog::Trigger;
use ensue_engine::names::{PackName, RuleRef, TriggerRef};
use serde::Serialize;
use serde_json::Value;

/// A trigger.
#[wire(Serialize)]
pub(crate) struct WireTrigger {
    r#ref: TriggerRef,
    pack: PackName,
    description: String,
    payload: Value,
    index: Vec<String>,
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

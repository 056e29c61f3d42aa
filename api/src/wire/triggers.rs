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
    /// The schema of a payload of the newest version.
    payload: Value,
    /// The newest version of the payload.
    version: u32,
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
            version: trigger.version.number(),
            index: trigger.index.clone(),
            rules,
        }
    }
}

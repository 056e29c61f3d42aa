//! I31: nothing starts whose principal may not start it at its position, and nothing is rejected whose principal may.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::sometimes;

/// The actions of the pack `core` that every pack may run. The others of the world are of the pack itself, or set a var.
const HARMLESS: [&str; 5] = ["core.noop", "core.echo", "core.sleep", "core.wait", "core.emit"];

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut may_set_vars = true;
    let mut actions: BTreeMap<&str, &str> = BTreeMap::new();
    for record in records {
        let at = record.position;
        match record.kind.as_str() {
            "pack.permissions_set" if record.text("name") == "sim" => {
                // The operator accepts what is listed, and the pack lists nothing.
                may_set_vars = record.said.get("permissions").is_none();
                let held = record.said.get("permissions").and_then(Value::as_array);
                demand!(held.is_none_or(Vec::is_empty), "I31", "the pack may do {held:?} at {at}, but never asked for anything");
            }
            "execution.requested" => {
                let Some(id) = record.stream.strip_prefix("execution/") else { continue };
                let action = record.text("action");
                actions.insert(id, action);
                let workflow = record.said.pointer("/part_of/workflow").and_then(Value::as_str);
                let is_by_pack = workflow.is_some() || (record.actor == "engine" && record.said.get("rule").is_some());
                if !is_by_pack {
                    continue;
                }
                let may = action.starts_with("sim.") || HARMLESS.contains(&action) || may_set_vars;
                demand!(may, "I31", "the pack `sim` requests {action} at {at}, which it may not");
                let principal = record.said.get("principal").and_then(Value::as_str);
                let expected = workflow.map(|_| "pack/sim");
                demand!(principal == expected, "I31", "{id} at {at} runs as {principal:?}, and not as {expected:?}");
                sometimes!(action == "core.set_var", "a pack ran an action of another pack that it may run");
            }
            "step.failed" if record.said.pointer("/error/kind").is_some_and(|kind| kind == "not_permitted") => {
                let workflow = record.stream.strip_prefix("execution/").and_then(|id| actions.get(id));
                demand!(!may_set_vars, "I31", "a step of {workflow:?} is rejected at {at}, but the pack may do everything");
                demand!(record.text("step") == "change", "I31", "the step {} of {workflow:?} is rejected at {at}", record.text("step"));
                sometimes!("a step was rejected because its pack may not run the action");
            }
            _ => {}
        }
    }
    Ok(())
}

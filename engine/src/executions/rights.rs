//! What an execution may lead to, on whose rights it runs.
//!
//! A pack may use its own definitions, and those of other packs that its permissions cover. Nothing ever runs on the
//! rights of another principal instead.

use crate::access::limit::Target;
use crate::access::permission::Permission;
use crate::access::principal::Principal;
use crate::catalog::{Action, Rule, Run};
use crate::executions::state::Execution;
use crate::names::{PackName, SensorRef, TriggerRef};
use crate::state::State;
use crate::time::Timestamp;

/// The pack whose actions do whatever their parameters say, so that whoever chose these answers for it.
const CORE: &str = "core";

/// Returns true if a principal has a permission for a thing at a time.
pub fn permits(state: &State, principal: &Principal, permission: Permission, target: &Target<'_>, now: Timestamp) -> bool {
    let access = state.access();
    match principal {
        Principal::Pack(pack) => state.packs().permit(pack, permission, target),
        Principal::Identity(id) => access.rights_of(*id, now).is_ok_and(|held| held.rights.include(permission, target)),
        Principal::Token(name) => {
            let held = access.token_named(name).and_then(|(id, _)| access.effective_rights(&id, now).ok());
            held.is_some_and(|held| held.rights.include(permission, target))
        }
    }
}

/// Checks that a rule may run its action, or returns why it may not.
pub(crate) fn rule_may_run(state: &State, rule: &Rule) -> Result<(), String> {
    if rule.has_steps() { Ok(()) } else { pack_may_run(state, &rule.name.pack(), &rule.action) }
}

/// Checks that the rules and workflows of a pack may run an action, or returns why they may not.
pub(crate) fn pack_may_run(state: &State, pack: &PackName, action: &Action) -> Result<(), String> {
    if action.name.pack() == *pack || is_harmless(action) {
        return Ok(());
    }
    let target = Target::of_action(action.name.as_str());
    if state.packs().permit(pack, Permission::ActionsExecute, &target) {
        return Ok(());
    }
    Err(format!("not_permitted: the pack `{pack}` may not run `{name}`; it needs `actions:execute on action={name}`", name = action.name))
}

/// Checks that the caller of a workflow may run an action itself, or returns why not.
pub(crate) fn caller_may_run(state: &State, caller: Option<&Principal>, action: &Action, now: Timestamp) -> Result<(), String> {
    let name = &action.name;
    let Some(caller) = caller else {
        return Err(format!("not_permitted: the workflow runs as its caller, which was not recorded, so it may not run `{name}`"));
    };
    let is_own = matches!(caller, Principal::Pack(pack) if *pack == name.pack());
    if is_own || is_harmless(action) || permits(state, caller, Permission::ActionsExecute, &Target::of_action(name.as_str()), now) {
        return Ok(());
    }
    Err(format!("not_permitted: the workflow runs as its caller, and {caller} may not run `{name}`"))
}

/// Checks that an execution may emit an event of a trigger, or returns why it may not.
pub(crate) fn may_emit(state: &State, execution: &Execution, trigger: &TriggerRef, now: Timestamp) -> Result<(), String> {
    let pack = execution.action.pack();
    let by = if pack.as_str() == CORE { execution.principal.clone() } else { Some(Principal::Pack(pack)) };
    // An older release recorded no principal, and accepted the event.
    let Some(by) = by else { return Ok(()) };
    let is_own = matches!(&by, Principal::Pack(pack) if *pack == trigger.pack());
    if is_own || permits(state, &by, Permission::EventsWrite, &Target::in_pack_of(trigger.as_str()), now) {
        return Ok(());
    }
    Err(format!("not_permitted: {by} may not emit `{trigger}`; it needs `events:write on pack={}`", trigger.pack()))
}

/// Checks that a sensor may create an event of a trigger, or returns why it may not.
pub(crate) fn sensor_may_emit(state: &State, sensor: &SensorRef, trigger: &TriggerRef) -> Result<(), String> {
    let (by, name) = (sensor.as_str(), trigger.as_str());
    let is_own = by.find('.').is_some_and(|dot| name.starts_with(&by[..=dot]));
    if is_own || state.packs().permit(&sensor.pack(), Permission::EventsWrite, &Target::in_pack_of(name)) {
        return Ok(());
    }
    let pack = trigger.pack();
    Err(format!("not_permitted: the sensor `{sensor}` may not create events of `{trigger}`; its pack needs `events:write on pack={pack}`"))
}

/// Returns true if an action has no effect outside its workflow, or one that is checked where it happens.
fn is_harmless(action: &Action) -> bool {
    if let Run::Builtin(builtin) = action.run { builtin.is_harmless() } else { false }
}

//! Programs that call the API with the token of their attempt: what they may do, and the chain that their requests
//! belong to.
//!
//! A program acts for its pack, and if its workflow runs as its caller, for both. Its token counts only while its
//! attempt runs.

use crate::access::limit::Limit;
use crate::access::permission::Permission;
use crate::access::principal::Principal;
use crate::access::rights::Rights;
use crate::access::scope::Scope;
use crate::access::state::Access;
use crate::access::state::effective_rights::NotHeld;
use crate::catalog::state::InstalledPacks;
use crate::command::Refusal;
use crate::events::internal::InternalTriggers;
use crate::ids::{AttemptId, Id, Role};
use crate::names::PackName;
use crate::record::{Actor, Cause, DEPTH_MAX, Draft};
use crate::state::State;
use crate::time::Timestamp;

/// What the token of an attempt allows, and until when that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRights {
    /// What it may do.
    pub rights: Rights,
    /// The earliest time at which the rights change by themselves.
    pub valid_until: Option<Timestamp>,
}

/// Returns what a program of a pack may do with the token of its attempt: what the pack may do with others, its pack's
/// own actions and events, and to see its own execution. If its workflow runs as its caller, the caller must be allowed to
/// do the same.
///
/// A pack without `permissions` is not limited in what its workflows may run, but its tokens reach nothing of others.
///
/// # Errors
/// Fails if the credential of the caller is gone, or its identity is disabled.
pub fn rights_of_program(
    access: &Access,
    packs: &InstalledPacks,
    (pack, caller): (&PackName, Option<&Principal>),
    now: Timestamp,
) -> Result<ProgramRights, NotHeld> {
    let mut rights = Rights::default();
    let own = Limit::of_pack(pack);
    rights.add_all(OF_ITS_OWN_PACK, Some(&own));
    let listed = packs.permissions(pack).unwrap_or_default();
    add(&mut rights, listed);
    rights.add_itself();
    let Some(caller) = caller else { return Ok(ProgramRights { rights, valid_until: None }) };
    let (of_caller, valid_until) = rights_of_caller(access, packs, caller, now)?;
    let rights = rights.and(of_caller);
    Ok(ProgramRights { rights, valid_until })
}

/// What a program may do with the definitions of its own pack.
const OF_ITS_OWN_PACK: [Permission; 2] = [Permission::ActionsExecute, Permission::EventsWrite];

fn add(rights: &mut Rights, scopes: &[Scope]) {
    // A release that knows other permissions of packs may have written them.
    let known = scopes.iter().filter(|scope| scope.permission.is_for_packs());
    known.for_each(|scope| rights.add(scope.permission, scope.on.as_ref()));
}

fn rights_of_caller(
    access: &Access,
    packs: &InstalledPacks,
    caller: &Principal,
    now: Timestamp,
) -> Result<(Rights, Option<Timestamp>), NotHeld> {
    let held = match caller {
        Principal::Identity(id) => access.rights_of(*id, now)?,
        Principal::Token(name) => {
            let (id, _) = access.token_named(name).ok_or(NotHeld::Unknown)?;
            access.effective_rights(&id, now)?
        }
        Principal::Pack(pack) => {
            let Some(listed) = packs.permissions(pack) else { return Ok((Rights::everything(), None)) };
            let mut rights = Rights::default();
            rights.add_all(OF_ITS_OWN_PACK, Some(&Limit::of_pack(pack)));
            add(&mut rights, listed);
            return Ok((rights, None));
        }
    };
    Ok((held.rights, held.valid_until))
}

/// Returns why a request is refused whose sender is a program that does not run any longer.
pub(crate) fn demand_running(state: &State, actor: &Actor) -> Result<(), Refusal> {
    let Actor::Execution(of) = actor else { return Ok(()) };
    if state.executions().running_as(*of).is_some() {
        return Ok(());
    }
    Err(Refusal::NotRunning(AttemptId(Id::derive(state.log(), of.execution.0, Role::Attempt(of.number)))))
}

/// What a program's request continues.
pub(crate) struct ProgramContext {
    /// The cause of what it requests: one deeper in the chain of its execution, as events that attempts emit are.
    pub(crate) cause: Cause,
    /// The engine's own triggers that have an event above in the chain.
    pub(crate) internal_above: InternalTriggers,
    /// On whose rights an execution runs that it requests.
    pub(crate) principal: Principal,
}

/// Returns what the request of a program continues; `None` if the actor is no program.
pub(crate) fn context_of(state: &State, actor: &Actor) -> Option<ProgramContext> {
    let Actor::Execution(of) = actor else { return None };
    let (execution, attempt) = state.executions().running_as(*of)?;
    let cause = execution.cause(attempt.id.0);
    let principal = state.executions().caller_of_program(execution).unwrap_or_else(|| Principal::Pack(execution.action.pack()));
    Some(ProgramContext { cause: Cause { depth: cause.depth + 1, ..cause }, internal_above: execution.internal_above.clone(), principal })
}

impl ProgramContext {
    /// Checks that the chain is not so deep that it may be a loop.
    pub(crate) fn demand_shallow(&self) -> Result<(), Refusal> {
        if self.cause.depth > DEPTH_MAX { Err(Refusal::TooDeep { max: DEPTH_MAX }) } else { Ok(()) }
    }
}

/// Puts what a program asked for into the chain of its execution.
pub(crate) fn place_in_chain(state: &State, actor: &Actor, drafts: &mut [Draft]) {
    let Some(continued) = context_of(state, actor) else { return };
    for draft in drafts.iter_mut().filter(|draft| draft.cause.is_none()) {
        draft.cause = Some(continued.cause.clone());
    }
}

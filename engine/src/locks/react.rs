//! The consequences of locks: an execution that finds one held waits, is skipped, or cancels those before it;
//! a waiting execution continues when the lock is free.

use super::facts::{BEHIND_MAX, Claim, Lock, LockAcquired, LockAwaited};
use super::state::{Claimant, Standing};
use crate::catalog::LockConflict;
use crate::executions::decide::may_be_cancelled;
use crate::executions::facts::{ExecutionCancelRequested, ExecutionCancelled, Failure, FailureKind};
use crate::executions::pausing::is_ending;
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id};
use crate::reaction::{Consequence, Reaction};
use crate::record::{Draft, Record, StreamId};
use crate::state::State;
use crate::workflows::facts::PartRole;

/// How many executions are asked to end at once.
const ASKED_AT_ONCE: usize = 100;

/// What a record that would let an execution begin leads to.
pub(crate) enum Begins {
    /// It begins.
    Now,
    /// This comes first, or instead.
    First(Reaction),
    /// It waits, or another record lets it begin.
    NotNow,
}

/// Returns whether an execution begins with a record that would let it begin.
pub(crate) fn begins(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution)) -> Begins {
    let Some(claimant) = state.locks().claimant(&id) else { return Begins::Now };
    let awaited = claimant.awaits().filter(|_| execution.phase == Phase::Blocked);
    let Some(claim) = awaited else {
        let is_by_this = claimant.held.last() == Some(&record.position) && claimant.standing == Standing::Holding;
        return if is_by_this { Begins::Now } else { Begins::NotNow };
    };
    let draft = |fact: Fact| own(id, execution, record.id, fact);
    if claim.conflict == LockConflict::Skip && !cleans_up(state, id) {
        let error = Some(Failure::new(FailureKind::Cancelled, skipped_because(state, &claim.lock())));
        let end = ExecutionCancelled { error, part_of: execution.part_of.clone(), by: None };
        return Begins::First(Reaction::last(vec![draft(end.into())]));
    }
    let mut drafts = Vec::new();
    if matches!(claimant.standing, Standing::Waiting { is_told: false } | Standing::Aside { is_told: false }) {
        let lock = claim.lock();
        let limit = state.locks().limit(&claim.owner).unwrap_or(claim.limit);
        let behind = state.locks().holders(&lock).take(BEHIND_MAX).collect();
        drafts.push(draft(LockAwaited { lock, limit, behind }.into()));
    }
    if claim.conflict == LockConflict::CancelRunning {
        drafts.extend(cancelled_for(state, (id, execution, claim), record.id));
    }
    if drafts.is_empty() { Begins::NotNow } else { Begins::First(Reaction::from(drafts, Consequence::FIRST)) }
}

/// Returns the reason, for people, why an execution is not run.
pub(crate) fn skipped_because(state: &State, lock: &Lock) -> String {
    let (noun, name) = (lock.owner.noun(), lock.owner.as_str());
    let holder = state.locks().holders(lock).next();
    let by = holder.map_or_else(String::new, |holder| format!(": execution {holder} is open"));
    format!("the {noun} `{name}` already has as many open executions with this key as `concurrency` allows{by}")
}

/// Asks executions ahead of this one to end, the oldest first, until only as many are left as may be open
/// together with it.
fn cancelled_for(state: &State, (id, execution, claim): (ExecutionId, &Execution, &Claim), parent: Id) -> Vec<Draft> {
    let (locks, lock) = (state.locks(), claim.lock());
    let limit = locks.limit(&claim.owner).unwrap_or(claim.limit) as usize;
    let waiters = locks.waiters(&lock).take_while(|waiter| locks.stands_before(waiter, &id));
    let goes_on = |before: &ExecutionId| {
        let other = state.executions().get(before);
        let other = other.filter(|other| other.phase != Phase::Woken && !is_ending(*before, other, state.workflows()));
        other.is_some_and(|other| may_be_cancelled(state, *before, other)) && !cleans_up(state, *before)
    };
    let before: Vec<ExecutionId> = locks.holders(&lock).chain(waiters).filter(goes_on).collect();
    let surplus = (before.len() + 1).saturating_sub(limit);
    let asked = before.into_iter().take(surplus.min(ASKED_AT_ONCE));
    asked.map(|before| own(before, execution, parent, ExecutionCancelRequested {}.into())).collect()
}

/// Returns true if an execution undoes another's effect or cleans up: it, or a workflow around it, undoes a
/// step or is inside a workflow that is ending.
fn cleans_up(state: &State, id: ExecutionId) -> bool {
    let mut at = id;
    while let Some(part_of) = state.executions().get(&at).and_then(|execution| execution.part_of.as_ref()) {
        let around = state.executions().get(&part_of.workflow);
        if part_of.role == PartRole::Undo || around.is_some_and(|around| is_ending(part_of.workflow, around, state.workflows())) {
            return true;
        }
        at = part_of.workflow;
    }
    false
}

/// Returns the record that lets an execution continue which waits for a free lock. If it must end with a
/// workflow around it, that comes first.
pub(crate) fn next_acquired(state: &State, parent: Id) -> Option<Draft> {
    let (lock, id) = state.locks().next_free()?;
    let execution = state.executions().get(&id)?;
    match state.workflows().to_end(id, execution, state.executions()) {
        Some(to_end) => Some(own(to_end, execution, parent, ExecutionCancelRequested {}.into())),
        // The cause of its start is the execution itself; that another one has ended is not part of its chain.
        None => Some(own(id, execution, id.0, LockAcquired { lock: lock.clone() }.into())),
    }
}

fn own(id: ExecutionId, of: &Execution, parent: Id, fact: Fact) -> Draft {
    let cause = Some(of.cause(parent));
    Draft::by_engine(StreamId::Execution(id), fact).because(cause)
}

/// Returns the claims that an execution must meet itself, without those that an execution around it already holds.
pub(crate) fn own_claims(state: &State, above: ExecutionId, claim: Option<Claim>) -> Vec<Claim> {
    let is_held_above = |claim: &Claim| {
        let mut at = Some(above);
        while let Some(id) = at {
            if state.locks().claimant(&id).is_some_and(|around: &Claimant| around.claims.iter().any(|held| held.lock() == claim.lock())) {
                return true;
            }
            at = state.executions().get(&id).and_then(|around| around.part_of.as_ref()).map(|part_of| part_of.workflow);
        }
        false
    };
    claim.into_iter().filter(|claim| !is_held_above(claim)).collect()
}

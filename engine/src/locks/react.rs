//! What follows from locks: who finds one held waits, is not run, or has those before it end; and who waits goes on when it is free.

use super::facts::{BEHIND_MAX, Claim, Lock, LockAcquired, LockAwaited};
use super::state::{Claimant, Standing};
use crate::catalog::LockConflict;
use crate::engine::{Engine, Reaction};
use crate::executions::decide::may_be_cancelled;
use crate::executions::facts::{ExecutionCancelRequested, ExecutionCancelled, Failure, FailureKind};
use crate::executions::pausing::is_ending;
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id};
use crate::mutants;
use crate::record::{Actor, Draft, Record, StreamId};
use crate::workflows::facts::PartRole;

/// How many executions are asked to end at once.
const ASKED_AT_ONCE: usize = 100;

/// What a record of an execution means that would have it begin.
pub(crate) enum Begins {
    /// It does.
    Now,
    /// This comes first, or instead.
    First(Reaction),
    /// It waits, or another record has it begin.
    NotNow,
}

/// Says whether an execution begins with a record that would have it do so.
pub(crate) fn begins(engine: &Engine, record: &Record, (id, execution): (ExecutionId, &Execution)) -> Begins {
    let Some(claimant) = engine.locks().claimant(&id) else { return Begins::Now };
    let awaited = claimant.awaits().filter(|_| execution.phase == Phase::Blocked);
    let Some(claim) = awaited else {
        let is_by_this = claimant.held.last() == Some(&record.position) && claimant.standing == Standing::Holding;
        return if is_by_this { Begins::Now } else { Begins::NotNow };
    };
    let draft = |fact: Fact| own(id, execution, record.id, fact);
    if claim.conflict == LockConflict::Skip && !cleans_up(engine, id) && !mutants::is("who is to be skipped waits") {
        let error = Some(Failure::new(FailureKind::Cancelled, skipped_because(engine, &claim.lock())));
        let end = ExecutionCancelled { error, part_of: execution.part_of.clone() };
        return Begins::First(Reaction::last(vec![draft(end.into())]));
    }
    let mut drafts = Vec::new();
    if matches!(claimant.standing, Standing::Waiting { is_told: false } | Standing::Aside { is_told: false }) {
        let lock = claim.lock();
        let limit = engine.locks().limit(&claim.owner).unwrap_or(claim.limit);
        let behind = engine.locks().holders(&lock).take(BEHIND_MAX).collect();
        drafts.push(draft(LockAwaited { lock, limit, behind }.into()));
    }
    if claim.conflict == LockConflict::CancelRunning && !mutants::is("newcomer has nobody cancelled") {
        drafts.extend(cancelled_for(engine, (id, execution, claim), record.id));
    }
    if drafts.is_empty() { Begins::NotNow } else { Begins::First(Reaction::from(drafts, 0)) }
}

/// Says for people why an execution is not run.
pub(crate) fn skipped_because(engine: &Engine, lock: &Lock) -> String {
    let (noun, name) = (lock.owner.noun(), lock.owner.as_str());
    let holder = engine.locks().holders(lock).next();
    let by = holder.map_or_else(String::new, |holder| format!(": execution {holder} is open"));
    format!("the {noun} `{name}` already has as many open executions with this key as `concurrency` allows{by}")
}

/// Asks those that stand before an execution to end, the oldest first, until as many are left as may be open beside it.
fn cancelled_for(engine: &Engine, (id, execution, claim): (ExecutionId, &Execution, &Claim), parent: Id) -> Vec<Draft> {
    let (locks, lock) = (engine.locks(), claim.lock());
    let limit = locks.limit(&claim.owner).unwrap_or(claim.limit) as usize;
    let waiters = locks.waiters(&lock).take_while(|waiter| locks.stands_before(waiter, &id));
    let goes_on = |before: &ExecutionId| {
        let other = engine.executions().get(before);
        let other = other.filter(|other| !other.has_come && !is_ending(*before, other, engine.workflows()));
        other.is_some_and(|other| may_be_cancelled(engine, *before, other)) && !cleans_up(engine, *before)
    };
    let before: Vec<ExecutionId> = locks.holders(&lock).chain(waiters).filter(goes_on).collect();
    let surplus = (before.len() + 1).saturating_sub(limit);
    let asked = before.into_iter().take(surplus.min(ASKED_AT_ONCE));
    asked.map(|before| own(before, execution, parent, ExecutionCancelRequested {}.into())).collect()
}

/// Says whether an execution takes back what another did, or cleans up: it, or a workflow around it, undoes a step or stands in what ends.
fn cleans_up(engine: &Engine, id: ExecutionId) -> bool {
    let mut at = id;
    while let Some(part_of) = engine.executions().get(&at).and_then(|execution| execution.part_of.as_ref()) {
        let around = engine.executions().get(&part_of.workflow);
        if part_of.role == PartRole::Undo || around.is_some_and(|around| is_ending(part_of.workflow, around, engine.workflows())) {
            return true;
        }
        at = part_of.workflow;
    }
    false
}

/// Gives the record by which somebody goes on that waits for a lock which is free. Where it is to end with a workflow around it, that
/// comes first.
pub(crate) fn next_acquired(engine: &Engine, parent: Id) -> Option<Draft> {
    let (lock, id) = engine.locks().next_free()?;
    let execution = engine.executions().get(&id)?;
    match engine.workflows().to_end(id, execution, engine.executions()) {
        Some(to_end) => Some(own(to_end, execution, parent, ExecutionCancelRequested {}.into())),
        // What led to its start is the execution itself; that another has ended is no part of its story.
        None => Some(own(id, execution, id.0, LockAcquired { lock: lock.clone() }.into())),
    }
}

fn own(id: ExecutionId, of: &Execution, parent: Id, fact: Fact) -> Draft {
    let cause = Some(of.cause(parent));
    Draft { stream: StreamId::Execution(id), begins: None, actor: Actor::Engine, cause, trace: None, fact, body: None }
}

/// Gives the claims of an execution that stand in its way: those that one around it holds already do not.
pub(crate) fn own_claims(engine: &Engine, above: ExecutionId, claim: Option<Claim>) -> Vec<Claim> {
    let is_held_above = |claim: &Claim| {
        let mut at = Some(above);
        while let Some(id) = at {
            if engine.locks().claimant(&id).is_some_and(|around: &Claimant| around.claims.iter().any(|held| held.lock() == claim.lock())) {
                return true;
            }
            at = engine.executions().get(&id).and_then(|around| around.part_of.as_ref()).map(|part_of| part_of.workflow);
        }
        false
    };
    claim.into_iter().filter(|claim| !is_held_above(claim)).collect()
}

//! Locks: the holders of each lock, and the executions that wait for it.

use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::locks::facts::{Lock, LockOwner};
use ensue_engine::names::{ActionRef, RuleRef};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_views::executions::AwaitedLock;
use serde::Serialize;

/// A lock that executions hold or wait for.
#[wire(Serialize)]
pub(crate) struct WireLock {
    /// The action whose executions it limits.
    action: Option<ActionRef>,
    /// The rule whose executions it limits.
    rule: Option<RuleRef>,
    /// The digest of the lock's key.
    key: Digest,
    /// The maximum number of holders.
    limit: u32,
    /// The number of holders.
    holders_count: usize,
    /// The number of executions that wait for it.
    waiters_count: usize,
    /// The first of the holders, longest first.
    pub(crate) holders: Vec<WireHolder>,
    /// The first of the waiting executions, next one first.
    pub(crate) waiters: Vec<WireWaiter>,
}

/// An execution that holds a lock.
#[wire(Serialize)]
pub(crate) struct WireHolder {
    pub(crate) execution: ExecutionId,
    pub(crate) since: Timestamp,
}

/// An execution that waits for a lock.
#[wire(Serialize)]
pub(crate) struct WireWaiter {
    pub(crate) execution: ExecutionId,
    pub(crate) since: Timestamp,
    /// Its place among the waiting executions, from 1.
    pub(crate) place: usize,
    /// −100 … 100; higher goes first.
    pub(crate) priority: i8,
    /// Whether it is paused: it keeps its place, and others overtake it.
    pub(crate) is_paused: bool,
}

/// The lock that an execution waits for before it starts.
#[wire(Serialize)]
pub(crate) struct WireAwaitedLock {
    action: Option<ActionRef>,
    rule: Option<RuleRef>,
    /// The digest of the key.
    key: Digest,
    /// The maximum number of holders.
    limit: u32,
    /// The first of the executions that held it when this one began to wait, oldest first.
    behind: Vec<ExecutionId>,
    since: Timestamp,
}

fn owners(owner: LockOwner) -> (Option<ActionRef>, Option<RuleRef>) {
    match owner {
        LockOwner::Action(action) => (Some(action), None),
        LockOwner::Rule(rule) => (None, Some(rule)),
    }
}

impl WireLock {
    /// Shows a lock; the lists are limited to the number of items that are shown.
    pub(crate) fn new(lock: Lock, limit: u32, mut holders: Vec<WireHolder>, mut waiters: Vec<WireWaiter>, shown_max: usize) -> Self {
        let (holders_count, waiters_count) = (holders.len(), waiters.len());
        holders.truncate(shown_max);
        waiters.truncate(shown_max);
        let (action, rule) = owners(lock.owner);
        Self { action, rule, key: lock.key, limit, holders_count, waiters_count, holders, waiters }
    }
}

impl From<AwaitedLock> for WireAwaitedLock {
    fn from(awaited: AwaitedLock) -> Self {
        let (action, rule) = owners(awaited.lock.owner);
        Self { action, rule, key: awaited.lock.key, limit: awaited.limit, behind: awaited.behind, since: awaited.since }
    }
}

//! The holders of locks and the executions that wait for them: a row for each open execution that must hold
//! locks.
//!
//! A lock itself has no row; the rows of its holders and waiters describe it together.

use ensue_derive::sparse;
use ensue_engine::executions::facts::ExecutionRequested;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::locks::facts::{Lock, LockOwner};
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::TimerKind;
use serde::{Deserialize, Serialize};

use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which the rows can be filtered.
pub const COLUMNS: &[Column] = &[Column::Action, Column::Rule];

/// An open execution that must hold locks.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockClaims {
    /// The execution.
    pub id: ExecutionId,
    /// The position of its request in the log.
    pub position: Position,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// The revision of the catalog with which it was requested.
    pub catalog: CatalogRevision,
    /// −100 … 100; higher goes first.
    pub priority: i8,
    /// The locks, in the order in which it takes them.
    pub claims: Vec<LockClaim>,
    /// Since when it has been waiting for the first of them that it does not hold.
    pub waits_since: Option<Timestamp>,
    /// Whether somebody paused it. It keeps its locks and its place, and others may overtake it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_paused: bool,
}

/// A lock that an execution must hold.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockClaim {
    /// The lock.
    pub lock: Lock,
    /// How many executions may hold it at once.
    pub limit: u32,
    /// Since when it has held it.
    pub held_since: Option<Timestamp>,
}

impl View for LockClaims {
    const NAME: ViewName = ViewName::Locks;
    type Key = ExecutionId;

    fn key(record: &Record) -> Option<Touch<ExecutionId>> {
        let StreamId::Execution(id) = &record.stream else { return None };
        match &record.fact {
            Fact::ExecutionRequested(fact) => (!fact.locks.is_empty()).then_some(Touch::Begins(*id)),
            Fact::LockAwaited(_) | Fact::LockAcquired(_) | Fact::ExecutionPaused(_) | Fact::ExecutionResumed(_) => {
                Some(Touch::Changes(*id))
            }
            Fact::TimerFired(fact) if matches!(fact.kind, TimerKind::Start | TimerKind::Turn) => Some(Touch::Changes(*id)),
            fact => fact.execution_end().map(|_| Touch::Changes(*id)),
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let StreamId::Execution(id) = &record.stream else { return before };
        if let Fact::ExecutionRequested(fact) = &record.fact {
            return (!fact.locks.is_empty()).then(|| Self::from_request(*id, fact, record));
        }
        let mut row = before?;
        match &record.fact {
            Fact::LockAwaited(fact) => row.wait(&fact.lock, fact.limit, record.time),
            Fact::LockAcquired(_) => row.hold_the_rest(record.time),
            Fact::ExecutionPaused(_) => row.is_paused = true,
            Fact::ExecutionResumed(_) => row.is_paused = false,
            Fact::TimerFired(_) => row.hold_the_rest(record.time),
            fact => return fact.execution_end().is_none().then_some(row),
        }
        Some(row)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.requested_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        let of = |is_wanted: fn(&LockOwner) -> bool| {
            let claim = self.claims.iter().find(|claim| is_wanted(&claim.lock.owner));
            claim.map(|claim| claim.lock.owner.as_str().into())
        };
        vec![of(|owner| matches!(owner, LockOwner::Action(_))), of(|owner| matches!(owner, LockOwner::Rule(_)))]
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

impl LockClaims {
    /// Returns the lock that it waits for.
    pub fn awaits(&self) -> Option<&LockClaim> {
        self.waits_since.and_then(|_| self.claims.iter().find(|claim| claim.held_since.is_none()))
    }

    fn from_request(id: ExecutionId, fact: &ExecutionRequested, record: &Record) -> Self {
        let claims = fact.locks.iter().map(|claim| LockClaim { lock: claim.lock(), limit: claim.limit, held_since: None });
        let mut row = Self {
            id,
            position: record.position,
            requested_at: record.time,
            catalog: fact.catalog,
            priority: fact.priority,
            claims: claims.collect(),
            waits_since: None,
            is_paused: false,
        };
        if fact.start_at.is_none() && fact.wait_millis.is_none() {
            row.hold_the_rest(record.time);
        }
        row
    }

    /// Marks all its locks as held. If it does not hold one of them, the next record says so.
    fn hold_the_rest(&mut self, since: Timestamp) {
        self.waits_since = None;
        for claim in &mut self.claims {
            claim.held_since.get_or_insert(since);
        }
    }

    fn wait(&mut self, lock: &Lock, limit: u32, since: Timestamp) {
        let Some(at) = self.claims.iter().position(|claim| claim.lock == *lock) else { return };
        self.claims[at].limit = limit;
        self.claims[at..].iter_mut().for_each(|claim| claim.held_since = None);
        self.waits_since = Some(since);
    }
}

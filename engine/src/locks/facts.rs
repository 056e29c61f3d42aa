//! What can happen between executions and the locks that they have to hold.
//!
//! That a lock is let go is no fact: it is with the end of its holder.

use serde::{Deserialize, Serialize};

use crate::catalog::LockConflict;
use crate::ids::ExecutionId;
use crate::names::{ActionRef, RuleRef};
use crate::record::Digest;

/// The most holders that are named to who waits for them: the oldest.
pub const BEHIND_MAX: usize = 3;

/// Whose executions a lock is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LockOwner {
    /// Those that a rule led to.
    Rule(RuleRef),
    /// Those of an action.
    Action(ActionRef),
}

impl LockOwner {
    /// Gives the ref of the action or the rule.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Rule(rule) => rule.as_str(),
            Self::Action(action) => action.as_str(),
        }
    }

    /// Gives what it is.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Rule(_) => "rule",
            Self::Action(_) => "action",
        }
    }
}

/// A lock: one of each owner and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Whose executions it is for.
    pub owner: LockOwner,
    /// The digest of their key.
    pub key: Digest,
}

/// A lock that an execution has to hold while it is open: a part of `execution.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Whose executions it is for.
    pub owner: LockOwner,
    /// The digest of their key.
    pub key: Digest,
    /// How many may hold it at once.
    pub limit: u32,
    /// What becomes of more.
    #[serde(default, skip_serializing_if = "LockConflict::is_queue")]
    pub conflict: LockConflict,
}

impl Claim {
    /// Gives the lock.
    pub fn lock(&self) -> Lock {
        Lock { owner: self.owner.clone(), key: self.key }
    }
}

/// An execution may not begin: others hold a lock that it has to hold, or wait for it before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockAwaited {
    /// The lock.
    pub lock: Lock,
    /// How many may hold it at once.
    pub limit: u32,
    /// Those that hold it, the oldest first: at most [`BEHIND_MAX`].
    pub behind: Vec<ExecutionId>,
}

/// An execution that waited for a lock holds it now, until its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockAcquired {
    /// The lock.
    pub lock: Lock,
}

//! The facts of executions and the locks that they must hold.
//!
//! The release of a lock is not a separate fact: it is released by the end of its holder.

use serde::{Deserialize, Serialize};

use crate::catalog::LockConflict;
use crate::ids::ExecutionId;
use crate::names::{ActionRef, RuleRef};
use crate::record::Digest;
use crate::sparse::is_default;

/// The maximum number of holders that are named to a waiting execution: the oldest.
pub const BEHIND_MAX: usize = 3;

/// The owner of a lock: whose executions it limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LockOwner {
    /// The executions that a rule requested.
    Rule(RuleRef),
    /// The executions of an action.
    Action(ActionRef),
}

impl LockOwner {
    /// Returns the ref of the action or the rule.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Rule(rule) => rule.as_str(),
            Self::Action(action) => action.as_str(),
        }
    }

    /// Returns the kind of owner.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Rule(_) => "rule",
            Self::Action(_) => "action",
        }
    }
}

/// A lock: there is one for each owner and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The owner whose executions it limits.
    pub owner: LockOwner,
    /// The digest of the executions' key.
    pub key: Digest,
}

/// A lock that an execution must hold while it is open: a part of `execution.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The owner whose executions it limits.
    pub owner: LockOwner,
    /// The digest of the executions' key.
    pub key: Digest,
    /// How many may hold it at once.
    pub limit: u32,
    /// What happens to executions over the limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conflict: LockConflict,
}

impl Claim {
    /// Returns the lock.
    pub fn lock(&self) -> Lock {
        Lock { owner: self.owner.clone(), key: self.key }
    }
}

/// An execution may not begin: others hold a lock that it must hold, or wait for it ahead of this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockAwaited {
    /// The lock.
    pub lock: Lock,
    /// How many may hold it at once.
    pub limit: u32,
    /// The executions that hold it, the oldest first: at most [`BEHIND_MAX`].
    pub behind: Vec<ExecutionId>,
}

/// An execution that waited for a lock now holds it, until its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockAcquired {
    /// The lock.
    pub lock: Lock,
}

//! Limits on the number of open executions of an action or a rule.

use crate::catalog::LockConflict;
use ensue_expression::Expression;

/// The highest limit on open executions.
pub const CONCURRENCY_LIMIT_MAX: u32 = 100_000;

/// A limit on the open executions of an action, for each key.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// The limit, from 1 to [`CONCURRENCY_LIMIT_MAX`].
    pub limit: u32,
    /// The expression that computes the key; `None` means that all executions of the action share one key.
    pub key: Option<Expression>,
    /// What happens to executions over the limit.
    pub conflict: LockConflict,
}

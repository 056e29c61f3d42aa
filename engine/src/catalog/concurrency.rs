//! How many executions of an action, or of a rule, may be open at once.

use crate::catalog::LockConflict;
use ensue_expression::Expression;

/// The most executions that a limit lets be open at once.
pub const CONCURRENCY_LIMIT_MAX: u32 = 100_000;

/// How many executions of an action with one key may be open at once.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// How many, from 1 to [`CONCURRENCY_LIMIT_MAX`].
    pub limit: u32,
    /// What tells them apart; where there is none, all of the action are of one key.
    pub key: Option<Expression>,
    /// What becomes of more.
    pub conflict: LockConflict,
}

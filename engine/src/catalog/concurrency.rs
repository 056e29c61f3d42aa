//! How many executions of an action, or of a rule, may be open at once.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, Node, Scope, Value};
use serde::{Deserialize, Serialize};

use crate::catalog::{Action, Misfit};
use crate::locks::facts::{Claim, LockOwner};
use crate::rules::flow::keys::{key_digest, only_key};
use crate::rules::judge::describe;

/// The most executions that a limit lets be open at once.
pub const CONCURRENCY_LIMIT_MAX: u32 = 100_000;

/// What becomes of an execution that finds its lock held by as many as may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockConflict {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is not run.
    Skip,
    /// Those before it are asked to end, and it waits until they have.
    CancelRunning,
}

impl LockConflict {
    /// Lists all of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::CancelRunning];

    /// Gives the word that authors write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::CancelRunning => "cancel_running",
        }
    }

    /// Says whether it is what happens where nothing is said.
    pub(crate) fn is_queue(&self) -> bool {
        *self == Self::Queue
    }
}

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

impl Action {
    /// Gives the lock that an execution with these parameters has to hold while it is open; none where its author says nothing. Fails
    /// where the key cannot be worked out, or is no text, number, true or false.
    pub fn claim(&self, params: Node<'_>) -> Result<Option<Claim>, Misfit> {
        let Some(concurrency) = &self.concurrency else { return Ok(None) };
        let misfit = |why: String| Misfit { pointer: String::new(), message: format!("the key of `concurrency` {why}") };
        let key = match &concurrency.key {
            None => only_key(),
            Some(expression) => {
                let scope = Scope::new().with("params", Value::from(params)).with("config", Value::from_json(&self.config));
                let value = expression.evaluate(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX));
                let value = value.map_err(|error| misfit(format!("errs: {}", describe(&error))))?;
                key_digest(&value).map_err(misfit)?
            }
        };
        let owner = LockOwner::Action(self.name.clone());
        Ok(Some(Claim { owner, key, limit: concurrency.limit, conflict: concurrency.conflict }))
    }
}

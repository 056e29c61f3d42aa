//! The lock that an execution of an action must hold while it is open.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Node, Scope, Value};

use crate::catalog::{Action, Misfit};
use crate::locks::facts::{Claim, LockOwner};
use crate::rules::flow::match_keys::{key_digest, only_key};
use crate::text::describe;

impl Action {
    /// Returns the lock that an execution with these parameters must hold while it is open; `None` if the
    /// action defines none. Fails if the key cannot be computed, or is not a text, number, true or false.
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

//! Decisions on setting and removing vars, by hand or by an attempt with its report.

use ensue_expression::Node;
use thiserror::Error;

use crate::command::{Answer, Decision, Refusal, SeenVar, VarChange};
use crate::fact::Fact;
use crate::ids::ExecutionId;
use crate::names::{NameError, VarName};
use crate::record::{Actor, Body, Cause, Draft, StreamId};
use crate::state::State;
use crate::vars::facts::{VarRemoved, VarSet};

/// The maximum size of a var's value as JSON, in bytes.
pub const VALUE_BYTES_MAX: u64 = 16 * 1024;

/// The maximum number of vars with a value.
pub const VARS_MAX: usize = 10_000;

/// Why an action's parameters are not a valid change of a var.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotAChange {
    /// The name of the var is not valid.
    #[error("`name` is not valid: {0}")]
    Name(#[from] NameError),
    /// The value is too large.
    #[error("`value` is {0} bytes long as JSON; the limit for a var is {VALUE_BYTES_MAX}; large data belongs in a store")]
    TooLarge(u64),
}

impl VarChange {
    /// Returns the change that the parameters of `core.set_var` ask for; a null removes the var.
    ///
    /// # Errors
    /// Fails if the name of the var is not valid, or its value is too large.
    pub fn asked_for(params: Node<'_>) -> Result<Self, NotAChange> {
        let name = params.get("name").and_then(Node::as_str).unwrap_or_default().parse()?;
        let value = params.get("value").filter(|value| !value.is_null()).map(|value| Body::json(value.raw().to_owned()));
        match value.as_ref().map(|value| value.bytes).filter(|bytes| *bytes > VALUE_BYTES_MAX) {
            Some(bytes) => Err(NotAChange::TooLarge(bytes)),
            None => Ok(Self { name, value }),
        }
    }
}

/// The origin of a change of vars, as recorded.
pub(crate) struct Changer<'a> {
    /// The actor that asks.
    pub(crate) actor: &'a Actor,
    /// The record that led to it; `None` if it comes from outside.
    pub(crate) cause: Option<Cause>,
    /// The trace of the request.
    pub(crate) trace: Option<&'a str>,
    /// The execution whose attempt changes the vars, if any.
    pub(crate) execution: Option<ExecutionId>,
}

/// Sets a var, if it is still as the caller has seen it.
pub(crate) fn set(state: &State, actor: &Actor, trace: Option<&str>, (name, value): (&VarName, &Body), seen: SeenVar) -> Decision {
    if let Err(refusal) = is_as_seen(state, name, seen) {
        return Decision::Refused(refusal);
    }
    let by = Changer { actor, cause: None, trace, execution: None };
    match change_each(state, &by, &[VarChange { name: name.clone(), value: Some(value.clone()) }]) {
        Ok(drafts) => Decision::Done { drafts, answer: Answer::Done },
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// Removes a var, if it is still as the caller has seen it.
pub(crate) fn remove(state: &State, actor: &Actor, trace: Option<&str>, name: &VarName, seen: SeenVar) -> Decision {
    if state.vars().get(name).is_none() {
        return Decision::Refused(Refusal::NoVar(name.clone()));
    }
    if let Err(refusal) = is_as_seen(state, name, seen) {
        return Decision::Refused(refusal);
    }
    let by = Changer { actor, cause: None, trace, execution: None };
    match change_each(state, &by, &[VarChange { name: name.clone(), value: None }]) {
        Ok(drafts) => Decision::Done { drafts, answer: Answer::Done },
        Err(refusal) => Decision::Refused(refusal),
    }
}

fn is_as_seen(state: &State, name: &VarName, seen: SeenVar) -> Result<(), Refusal> {
    let is_so = match (seen, state.vars().get(name)) {
        (SeenVar::Anyhow, _) | (SeenVar::NotThere, None) | (SeenVar::There, Some(_)) => true,
        (SeenVar::At(seen), Some(now)) => now.at == seen,
        (SeenVar::NotThere, Some(_)) | (SeenVar::At(_) | SeenVar::There, None) => false,
    };
    if is_so { Ok(()) } else { Err(Refusal::VarChanged(name.clone())) }
}

/// Creates a draft of each change; removing a var without a value changes nothing.
pub(crate) fn change_each(state: &State, by: &Changer<'_>, changes: &[VarChange]) -> Result<Vec<Draft>, Refusal> {
    let mut drafts = Vec::with_capacity(changes.len());
    let mut new = 0;
    for VarChange { name, value } in changes {
        let is_there = state.vars().get(name).is_some();
        let fact: Fact = match value {
            Some(value) => {
                if value.bytes > VALUE_BYTES_MAX {
                    let message =
                        format!("the value of var `{name}` is {} bytes long as JSON; the limit is {VALUE_BYTES_MAX}", value.bytes);
                    return Err(Refusal::TooLarge(message));
                }
                new += usize::from(!is_there);
                if !is_there && state.vars().len() + new > VARS_MAX {
                    return Err(Refusal::TooManyVars { name: name.clone(), max: VARS_MAX });
                }
                VarSet { name: name.clone(), execution: by.execution }.into()
            }
            None if is_there => VarRemoved { name: name.clone(), execution: by.execution }.into(),
            None => continue,
        };
        drafts.push(
            Draft::new(StreamId::Var(name.clone()), by.actor, fact).because(by.cause.clone()).with_trace(by.trace).with_body(value.clone()),
        );
    }
    Ok(drafts)
}

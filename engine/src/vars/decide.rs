//! What may be asked of vars: to have a value, or none any more. By hand, or by an attempt with its report.

use ensue_expression::Node;
use thiserror::Error;

use crate::command::{Answer, Decision, Refusal, SeenVar, VarChange};
use crate::engine::Engine;
use crate::fact::Fact;
use crate::ids::ExecutionId;
use crate::mutants;
use crate::names::{NameError, VarName};
use crate::record::{Actor, Body, Cause, Draft, StreamId};
use crate::vars::facts::{VarRemoved, VarSet};

/// The most bytes of a var's value, as JSON.
pub const VALUE_BYTES_MAX: u64 = 16 * 1024;

/// The most vars that may have a value.
pub const VARS_MAX: usize = 10_000;

/// Why what an action asks for is no change of a var.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotAChange {
    /// It names no var.
    #[error("`name` is not valid: {0}")]
    Name(#[from] NameError),
    /// The value is too large.
    #[error("`value` is {0} bytes long as JSON; the limit for a var is {VALUE_BYTES_MAX}; large data belongs in a store")]
    TooLarge(u64),
}

impl VarChange {
    /// Gives the change that the parameters of `core.set_var` ask for; a null takes the value away.
    ///
    /// # Errors
    /// Where they name no var, or the value is too large for one.
    pub fn asked_for(params: Node<'_>) -> Result<Self, NotAChange> {
        let name = params.get("name").and_then(Node::as_str).unwrap_or_default().parse()?;
        let value = params.get("value").filter(|value| !value.is_null()).map(|value| Body::json(value.raw().to_owned()));
        match value.as_ref().map(|value| value.bytes).filter(|bytes| *bytes > VALUE_BYTES_MAX) {
            Some(bytes) => Err(NotAChange::TooLarge(bytes)),
            None => Ok(Self { name, value }),
        }
    }
}

/// Who changes vars, as their records say it.
pub(crate) struct Changer<'a> {
    /// Who asks.
    pub(crate) actor: &'a Actor,
    /// What in the log led to it; none where it comes from outside.
    pub(crate) cause: Option<Cause>,
    /// The trace of the request.
    pub(crate) trace: Option<&'a str>,
    /// The execution whose attempt it is.
    pub(crate) execution: Option<ExecutionId>,
}

/// Gives a var a value, where it is as whoever asks has seen it.
pub(crate) fn set(engine: &Engine, actor: &Actor, trace: Option<&str>, (name, value): (&VarName, &Body), seen: SeenVar) -> Decision {
    if let Err(refusal) = is_as_seen(engine, name, seen) {
        return Decision::Refused(refusal);
    }
    let by = Changer { actor, cause: None, trace, execution: None };
    match change_each(engine, &by, &[VarChange { name: name.clone(), value: Some(value.clone()) }]) {
        Ok(drafts) => Decision::Done { drafts, answer: Answer::Done },
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// Takes the value of a var away, where it is as whoever asks has seen it.
pub(crate) fn remove(engine: &Engine, actor: &Actor, trace: Option<&str>, name: &VarName, seen: SeenVar) -> Decision {
    if engine.vars().get(name).is_none() {
        return Decision::Refused(Refusal::NoVar(name.clone()));
    }
    if let Err(refusal) = is_as_seen(engine, name, seen) {
        return Decision::Refused(refusal);
    }
    let by = Changer { actor, cause: None, trace, execution: None };
    match change_each(engine, &by, &[VarChange { name: name.clone(), value: None }]) {
        Ok(drafts) => Decision::Done { drafts, answer: Answer::Done },
        Err(refusal) => Decision::Refused(refusal),
    }
}

fn is_as_seen(engine: &Engine, name: &VarName, seen: SeenVar) -> Result<(), Refusal> {
    let is_so = match (seen, engine.vars().get(name)) {
        (SeenVar::Anyhow, _) | (SeenVar::NotThere, None) | (SeenVar::There, Some(_)) => true,
        (SeenVar::At(seen), Some(now)) => now.at == seen,
        (SeenVar::NotThere, Some(_)) | (SeenVar::At(_) | SeenVar::There, None) => false,
    };
    if is_so || mutants::is("var set whatever was seen") { Ok(()) } else { Err(Refusal::VarChanged(name.clone())) }
}

/// Makes a draft of each change; one that takes away what is not there changes nothing.
pub(crate) fn change_each(engine: &Engine, by: &Changer<'_>, changes: &[VarChange]) -> Result<Vec<Draft>, Refusal> {
    let mut drafts = Vec::with_capacity(changes.len());
    let mut new = 0;
    for VarChange { name, value } in changes {
        let is_there = engine.vars().get(name).is_some();
        let fact: Fact = match value {
            Some(value) => {
                if value.bytes > VALUE_BYTES_MAX {
                    let message =
                        format!("the value of var `{name}` is {} bytes long as JSON; the limit is {VALUE_BYTES_MAX}", value.bytes);
                    return Err(Refusal::TooLarge(message));
                }
                new += usize::from(!is_there);
                if !is_there && engine.vars().len() + new > VARS_MAX {
                    return Err(Refusal::TooManyVars { name: name.clone(), max: VARS_MAX });
                }
                VarSet { name: name.clone(), execution: by.execution }.into()
            }
            None if is_there => VarRemoved { name: name.clone(), execution: by.execution }.into(),
            None => continue,
        };
        drafts.push(Draft {
            stream: StreamId::Var(name.clone()),
            begins: None,
            actor: by.actor.clone(),
            cause: by.cause.clone(),
            trace: by.trace.map(str::to_owned),
            fact,
            body: value.clone(),
        });
    }
    Ok(drafts)
}

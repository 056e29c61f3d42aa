//! Refusals: the typed no to a command.
//!
//! What to do about each is told in `explain/outcomes.rs`.

use thiserror::Error;

use crate::ids::{AttemptId, ExecutionId, Id, InquiryId};
use crate::names::{ActionRef, KeyRef, PackName, RuleRef, TriggerRef, VarName};
use crate::record::{CatalogRevision, Digest, Position};
use crate::time::Timestamp;

/// Why a command is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The trigger is not in the catalog any more.
    #[error("there is no trigger `{0}`")]
    NoTrigger(TriggerRef),
    /// The payload does not fit.
    #[error("the payload does not fit the trigger `{trigger}`: {misfits}")]
    PayloadMisfit {
        /// The trigger.
        trigger: TriggerRef,
        /// How.
        misfits: String,
    },
    /// Another event was accepted under the same key.
    #[error("the dedupe key was already used {} for another event; a key identifies a single event", place(*position))]
    KeyReused {
        /// Where; 0 for an event of the same command.
        position: Position,
    },
    /// Another request was carried out under the same key.
    #[error(
        "this `Idempotency-Key` was already used for another request, which was answered at position {position}; a key identifies a single request"
    )]
    RequestDiffers {
        /// Where.
        position: Position,
    },
    /// The action is not in the catalog any more.
    #[error("there is no action `{0}`")]
    NoAction(ActionRef),
    /// The parameters do not fit.
    #[error("the parameters do not fit the action `{action}`: {misfits}")]
    ParametersMisfit {
        /// The action.
        action: ActionRef,
        /// How.
        misfits: String,
    },
    /// The labels that were given do not go with those of the action.
    #[error("{why}")]
    LabelsMisfit {
        /// The action.
        action: ActionRef,
        /// How.
        why: String,
    },
    /// There is no such execution, or it ended long ago.
    #[error("the execution {0} is not open")]
    NotOpen(ExecutionId),
    /// The execution is asked to end, or undoes itself.
    #[error("the execution {0} is already ending, so it cannot be paused")]
    IsEnding(ExecutionId),
    /// The execution is not paused itself.
    #[error("the execution {execution} is not paused{}", .by.map_or(String::new(), |by| format!(": it is part of {by}, which is")))]
    NotPaused {
        /// The execution.
        execution: ExecutionId,
        /// The one around it that is.
        by: Option<ExecutionId>,
    },
    /// The execution goes on, and can be run again only once it has ended.
    #[error("the execution {0} has not ended")]
    NotEnded(ExecutionId),
    /// The attempt does not run, or does not run any more.
    #[error("the attempt {0} is no longer running, so nothing more is accepted from it")]
    NotRunning(AttemptId),
    /// The attempt has said too much.
    #[error("the attempt {attempt} has already made {max} {what}, which is the limit")]
    TooManyMessages {
        /// The attempt.
        attempt: AttemptId,
        /// Of what.
        what: &'static str,
        /// The most.
        max: u32,
    },
    /// The report comes with another token than the attempt has.
    #[error("the token {given} is not the current token of attempt {attempt}")]
    WrongToken {
        /// The attempt.
        attempt: AttemptId,
        /// The token given.
        given: u64,
    },
    /// The execution is not indeterminate.
    #[error("the execution {0} is not indeterminate; only an indeterminate execution can be settled")]
    NotIndeterminate(ExecutionId),
    /// No answer to the inquiry is taken any more.
    #[error("the inquiry {0} is closed: it was answered or cancelled, or it expired")]
    InquiryClosed(InquiryId),
    /// Somebody else is asked.
    #[error("`{name}` is not an assignee of the inquiry {inquiry}")]
    NotAsked {
        /// The inquiry.
        inquiry: InquiryId,
        /// Who answered.
        name: String,
    },
    /// Who answered is excluded.
    #[error("`{name}` may not answer the inquiry {inquiry}: the inquiry excludes this name or the requester of the work")]
    MayNotAnswer {
        /// The inquiry.
        inquiry: InquiryId,
        /// Who answered.
        name: String,
    },
    /// The same person has answered already.
    #[error("you already answered the inquiry {inquiry} at {at}; each person can answer once")]
    AnsweredBefore {
        /// The inquiry.
        inquiry: InquiryId,
        /// When.
        at: Timestamp,
    },
    /// The answer does not name what was shown, and the inquiry requires that.
    #[error("the inquiry {inquiry} requires the digest of the question with each answer; its digest is {digest}")]
    DigestMissing {
        /// The inquiry.
        inquiry: InquiryId,
        /// What it asks.
        digest: Digest,
    },
    /// What was shown is not what is asked.
    #[error("the answer is for another question than the one that the inquiry {inquiry} asks; its digest is {digest}")]
    ApprovalStale {
        /// The inquiry.
        inquiry: InquiryId,
        /// What it asks.
        digest: Digest,
    },
    /// The answer is none to what the engine itself asks.
    #[error("the answer does not fit the question of the inquiry {inquiry}: {misfit}")]
    AnswerMisfit {
        /// The inquiry.
        inquiry: InquiryId,
        /// Where, and why.
        misfit: String,
    },
    /// The inquiry's `veto` erred over the answer.
    #[error("the `veto` of the inquiry {inquiry} fails on this answer: {why}")]
    VetoErred {
        /// The inquiry.
        inquiry: InquiryId,
        /// How.
        why: String,
    },
    /// The catalog has moved on.
    #[error("the catalog is at revision {now}, but the change was made for revision {base}")]
    CatalogMoved {
        /// The revision now.
        now: CatalogRevision,
        /// The revision the change was made for.
        base: CatalogRevision,
    },
    /// The catalog of a revision is not built.
    #[error("the catalog of revision {0} is not built")]
    NoCatalog(CatalogRevision),
    /// A pack is not installed.
    #[error("there is no pack `{0}`")]
    NoPack(PackName),
    /// A rule is not in the catalog.
    #[error("there is no rule `{0}`")]
    NoRule(RuleRef),
    /// A key has a newer version already.
    #[error("key `{key}` is already at version {now}, but version {given} was given; set it again")]
    KeyVersion {
        /// The key.
        key: KeyRef,
        /// The version now.
        now: u32,
        /// The version given.
        given: u32,
    },
    /// A key is not set.
    #[error("key `{0}` is not set")]
    NoKey(KeyRef),
    /// A var has no value.
    #[error("there is no var `{0}`")]
    NoVar(VarName),
    /// Somebody changed the var meanwhile.
    #[error("var `{0}` has changed since this update was prepared")]
    VarChanged(VarName),
    /// There are as many vars as may be.
    #[error("var `{name}` cannot be created: {max} vars have a value, which is the limit")]
    TooManyVars {
        /// The var.
        name: VarName,
        /// The most.
        max: usize,
    },
    /// A name is taken.
    #[error("a token named `{0}` already exists; revoke it first or choose another name")]
    TokenNameTaken(String),
    /// A token does not exist.
    #[error("there is no token named `{0}`")]
    NoToken(String),
    /// The last token that can make others would be gone.
    #[error("`{0}` is the last token with the role admin; add another one first")]
    LastAdmin(String),
    /// The dead letter was dealt with, or there are too many newer ones.
    #[error("the dead letter {0} is not open")]
    LetterNotOpen(Id),
    /// No reaction of that record is parked.
    #[error("no reaction of the record at position {0} is parked")]
    NotParked(Position),
    /// Too much work is open.
    #[error("{open} executions are open, and the limit is {max}: try again later")]
    TooMuchOpen {
        /// How much.
        open: u64,
        /// The most.
        max: u64,
    },
    /// What would be recorded is too large.
    #[error("{0}")]
    TooLarge(String),
    /// A bug of ours stopped the command; nothing was changed.
    #[error("an internal error stopped the command; nothing was changed")]
    Bug(String),
    /// The store did not take what the command would record; nothing was changed.
    #[error("the store refused the command's records: {0}")]
    Unstorable(String),
}

fn place(position: Position) -> String {
    if position == Position::default() { "in the same request".to_owned() } else { format!("at position {position}") }
}

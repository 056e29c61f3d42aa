//! Refusals: the reasons why commands are rejected.
//!
//! `explain/outcomes.rs` has the hint for each.

use thiserror::Error;

use crate::ids::{AttemptId, ExecutionId, Id, InquiryId};
use crate::names::{ActionRef, KeyRef, PackName, RuleRef, TriggerRef, VarName};
use crate::record::{CatalogRevision, Digest, Position};
use crate::time::Timestamp;

/// The reason why a command is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The trigger is no longer in the catalog.
    #[error("there is no trigger `{0}`")]
    NoTrigger(TriggerRef),
    /// The payload does not fit the trigger's schema.
    #[error("the payload does not fit the trigger `{trigger}`: {misfits}")]
    PayloadMisfit {
        /// The trigger.
        trigger: TriggerRef,
        /// The errors.
        misfits: String,
    },
    /// Another event was accepted under the same key.
    #[error("the dedupe key was already used {} for another event; a key identifies a single event", place(*position))]
    KeyReused {
        /// The position of that event; 0 if it is an event of the same command.
        position: Position,
    },
    /// Another request was carried out under the same key.
    #[error(
        "this `Idempotency-Key` was already used for another request, which was answered at position {position}; a key identifies a single request"
    )]
    RequestDiffers {
        /// The position of that request.
        position: Position,
    },
    /// The action is no longer in the catalog.
    #[error("there is no action `{0}`")]
    NoAction(ActionRef),
    /// The parameters do not fit the action's schema.
    #[error("the parameters do not fit the action `{action}`: {misfits}")]
    ParametersMisfit {
        /// The action.
        action: ActionRef,
        /// The errors.
        misfits: String,
    },
    /// The given labels conflict with those of the action.
    #[error("{why}")]
    LabelsMisfit {
        /// The action.
        action: ActionRef,
        /// The reason.
        why: String,
    },
    /// The execution does not exist, or ended long ago.
    #[error("the execution {0} is not open")]
    NotOpen(ExecutionId),
    /// The execution was asked to end, or is undoing its steps.
    #[error("the execution {0} is already ending, so it cannot be paused")]
    IsEnding(ExecutionId),
    /// The execution itself is not paused.
    #[error("the execution {execution} is not paused{}", .by.map_or(String::new(), |by| format!(": it is part of {by}, which is")))]
    NotPaused {
        /// The execution.
        execution: ExecutionId,
        /// The paused execution around it, if there is one.
        by: Option<ExecutionId>,
    },
    /// The execution has not ended, so it cannot be rerun yet.
    #[error("the execution {0} has not ended")]
    NotEnded(ExecutionId),
    /// The attempt is not running.
    #[error("the attempt {0} is no longer running, so nothing more is accepted from it")]
    NotRunning(AttemptId),
    /// The attempt has sent too many messages.
    #[error("the attempt {attempt} has already made {max} {what}, which is the limit")]
    TooManyMessages {
        /// The attempt.
        attempt: AttemptId,
        /// The kind of message.
        what: &'static str,
        /// The limit.
        max: u32,
    },
    /// The token of the report is not the token of the attempt.
    #[error("the token {given} is not the current token of attempt {attempt}")]
    WrongToken {
        /// The attempt.
        attempt: AttemptId,
        /// The token in the report.
        given: u64,
    },
    /// The execution is not indeterminate.
    #[error("the execution {0} is not indeterminate; only an indeterminate execution can be settled")]
    NotIndeterminate(ExecutionId),
    /// The inquiry no longer accepts answers.
    #[error("the inquiry {0} is closed: it was answered or cancelled, or it expired")]
    InquiryClosed(InquiryId),
    /// The inquiry asks somebody else.
    #[error("`{name}` is not an assignee of the inquiry {inquiry}")]
    NotAsked {
        /// The inquiry.
        inquiry: InquiryId,
        /// The name of the person who answered.
        name: String,
    },
    /// The person who answered is excluded.
    #[error("`{name}` may not answer the inquiry {inquiry}: the inquiry excludes this name or the requester of the work")]
    MayNotAnswer {
        /// The inquiry.
        inquiry: InquiryId,
        /// The name of that person.
        name: String,
    },
    /// The same person has answered already.
    #[error("you already answered the inquiry {inquiry} at {at}; each person can answer once")]
    AnsweredBefore {
        /// The inquiry.
        inquiry: InquiryId,
        /// The time of that answer.
        at: Timestamp,
    },
    /// The answer does not name the digest of the question, which the inquiry requires.
    #[error("the inquiry {inquiry} requires the digest of the question with each answer; its digest is {digest}")]
    DigestMissing {
        /// The inquiry.
        inquiry: InquiryId,
        /// The digest of the question.
        digest: Digest,
    },
    /// The digest in the answer is not that of the question.
    #[error("the answer is for another question than the one that the inquiry {inquiry} asks; its digest is {digest}")]
    ApprovalStale {
        /// The inquiry.
        inquiry: InquiryId,
        /// The digest of the question.
        digest: Digest,
    },
    /// The answer is not valid for a question of the engine itself.
    #[error("the answer does not fit the question of the inquiry {inquiry}: {misfit}")]
    AnswerMisfit {
        /// The inquiry.
        inquiry: InquiryId,
        /// Where, and why.
        misfit: String,
    },
    /// The inquiry's `veto` condition failed for this answer.
    #[error("the `veto` of the inquiry {inquiry} fails on this answer: {why}")]
    VetoErred {
        /// The inquiry.
        inquiry: InquiryId,
        /// The error.
        why: String,
    },
    /// The catalog has changed since.
    #[error("the catalog is at revision {now}, but the change was made for revision {base}")]
    CatalogMoved {
        /// The current revision.
        now: CatalogRevision,
        /// The revision that the change is based on.
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
    /// The key already has a newer version.
    #[error("key `{key}` is already at version {now}, but version {given} was given; set it again")]
    KeyVersion {
        /// The key.
        key: KeyRef,
        /// The current version.
        now: u32,
        /// The version in the command.
        given: u32,
    },
    /// The key is not set.
    #[error("key `{0}` is not set")]
    NoKey(KeyRef),
    /// The var has no value.
    #[error("there is no var `{0}`")]
    NoVar(VarName),
    /// The var was changed meanwhile.
    #[error("var `{0}` has changed since this update was prepared")]
    VarChanged(VarName),
    /// The maximum number of vars is reached.
    #[error("var `{name}` cannot be created: {max} vars have a value, which is the limit")]
    TooManyVars {
        /// The var.
        name: VarName,
        /// The limit.
        max: usize,
    },
    /// The token name is taken.
    #[error("a token named `{0}` already exists; revoke it first or choose another name")]
    TokenNameTaken(String),
    /// The token does not exist.
    #[error("there is no token named `{0}`")]
    NoToken(String),
    /// This would remove the last token that can create others.
    #[error("`{0}` is the last token with the role admin; add another one first")]
    LastAdmin(String),
    /// The dead letter is not open: it was handled, or there are too many newer ones.
    #[error("the dead letter {0} is not open")]
    DeadLetterNotOpen(Id),
    /// No reaction of that record is parked.
    #[error("no reaction of the record at position {0} is parked")]
    NotParked(Position),
    /// Too much work is open.
    #[error("{open} executions are open, and the limit is {max}: try again later")]
    TooMuchOpen {
        /// The number of open items of work.
        open: u64,
        /// The limit.
        max: u64,
    },
    /// The data to record is too large.
    #[error("{0}")]
    TooLarge(String),
    /// An internal error stopped the command; nothing was changed.
    #[error("an internal error stopped the command; nothing was changed")]
    Bug(String),
    /// The store rejected the records of the command; nothing was changed.
    #[error("the store refused the command's records: {0}")]
    Unstorable(String),
}

fn place(position: Position) -> String {
    if position == Position::default() { "in the same request".to_owned() } else { format!("at position {position}") }
}

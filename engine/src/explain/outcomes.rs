//! Slugs, faults and hints of the engine's own errors: refusals, commands that were not carried out, and
//! failures of ports.
//!
//! The messages are defined with the errors.

use crate::command::Refusal;
use crate::explain::{Explain, Fault};
use crate::letters::state::OPEN_LETTERS_MAX;
use crate::ports::{BlobError, LogError, OutputError, SubmitError, VaultError};

impl Explain for Refusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::NoTrigger(_) => "trigger-not-found",
            Self::PayloadMisfit { .. } => "payload-invalid",
            Self::KeyReused { .. } => "dedupe-key-reused",
            Self::RequestDiffers { .. } => "idempotency-key-reused",
            Self::NoAction(_)
            | Self::NoPack(_)
            | Self::NoRule(_)
            | Self::NoKey(_)
            | Self::NoVar(_)
            | Self::NoToken(_)
            | Self::NotParked(_) => "not-found",
            Self::ParametersMisfit { .. } => "parameters-invalid",
            Self::LabelsMisfit { .. } => "labels-invalid",
            Self::NotOpen(_) => "execution-not-open",
            Self::NotEnded(_) => "rerun-refused",
            Self::IsEnding(_) => "execution-ending",
            Self::NotPaused { .. } => "execution-not-paused",
            Self::NotRunning(_) => "attempt-not-running",
            Self::TooManyMessages { .. } => "too-many-messages",
            Self::WrongToken { .. } => "fencing-token-old",
            Self::NotIndeterminate(_) => "execution-not-indeterminate",
            Self::InquiryClosed(_) => "inquiry-closed",
            Self::NotAsked { .. } | Self::MayNotAnswer { .. } => "inquiry-not-asked",
            Self::AnsweredBefore { .. } => "inquiry-answered-before",
            Self::ApprovalStale { .. } => "approval-stale",
            Self::DigestMissing { .. } => "digest-required",
            Self::VetoErred { .. } | Self::AnswerMisfit { .. } => "answer-invalid",
            Self::CatalogMoved { .. } | Self::NoCatalog(_) => "catalog-moved",
            Self::KeyVersion { .. } => "key-version-old",
            Self::VarChanged(_) => "precondition-failed",
            Self::TooManyVars { .. } => "too-many-vars",
            Self::TokenNameTaken(_) => "token-name-taken",
            Self::LastAdmin(_) => "last-admin",
            Self::LetterNotOpen(_) => "dead-letter-not-open",
            Self::TooMuchOpen { .. } => "too-much-open",
            Self::TooLarge(_) => "too-large-to-record",
            Self::Bug(_) | Self::Unstorable(_) => "internal-error",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::NoTrigger(_)
            | Self::PayloadMisfit { .. }
            | Self::ParametersMisfit { .. }
            | Self::LabelsMisfit { .. }
            | Self::RequestDiffers { .. }
            | Self::VetoErred { .. }
            | Self::AnswerMisfit { .. } => Fault::Invalid,
            Self::NotAsked { .. } | Self::MayNotAnswer { .. } => Fault::Forbidden,
            Self::NoAction(_)
            | Self::NoPack(_)
            | Self::NoRule(_)
            | Self::NoKey(_)
            | Self::NoVar(_)
            | Self::NoToken(_)
            | Self::NotParked(_) => Fault::Missing,
            Self::KeyReused { .. }
            | Self::NotOpen(_)
            | Self::NotEnded(_)
            | Self::IsEnding(_)
            | Self::NotPaused { .. }
            | Self::NotRunning(_)
            | Self::TooManyMessages { .. }
            | Self::WrongToken { .. }
            | Self::NotIndeterminate(_)
            | Self::InquiryClosed(_)
            | Self::AnsweredBefore { .. }
            | Self::ApprovalStale { .. }
            | Self::DigestMissing { .. }
            | Self::CatalogMoved { .. }
            | Self::NoCatalog(_)
            | Self::KeyVersion { .. }
            | Self::VarChanged(_)
            | Self::TooManyVars { .. }
            | Self::TokenNameTaken(_)
            | Self::LastAdmin(_)
            | Self::LetterNotOpen(_) => Fault::Conflict,
            Self::TooMuchOpen { .. } => Fault::Busy,
            Self::TooLarge(_) => Fault::TooLarge,
            Self::Bug(_) | Self::Unstorable(_) => Fault::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTrigger(_) => "list the triggers with `ensue triggers list`; a trigger's ref is `<pack>.<name>`".into(),
            Self::PayloadMisfit { trigger, .. } => format!("compare it with the payload that `{trigger}` declares"),
            Self::KeyReused { .. } => "give this event its own key, or send the first event again unchanged".into(),
            Self::RequestDiffers { .. } => "create a new key for each operation, and reuse it only to send the same request again".into(),
            Self::NoAction(_) => "list the actions with `ensue actions list`; an action's ref is `<pack>.<name>`".into(),
            Self::ParametersMisfit { action, .. } => format!("compare them with the parameters that `{action}` declares"),
            Self::LabelsMisfit { action, .. } => format!("leave it out; `ensue actions show {action}` shows the labels of the action"),
            Self::NotOpen(id) => format!("see how it ended with `ensue executions show {id}`"),
            Self::IsEnding(id) => format!("see its state with `ensue executions show {id}`; a second cancel stops its cleanup"),
            Self::NotPaused { by: Some(by), .. } => format!("run `ensue executions resume {by}`"),
            Self::NotPaused { execution, by: None } => format!("see its state with `ensue executions show {execution}`"),
            Self::NotEnded(id) => format!("wait until it has ended, or end it first with `ensue executions cancel {id}`"),
            Self::NotRunning(_) => "have its worker stop it; the execution's timeline shows how it ended".into(),
            Self::TooManyMessages { .. } => "have the program send fewer messages: bulk data belongs in its output or in a file".into(),
            Self::WrongToken { .. } => "have the worker of this attempt stop and send no more reports: the attempt was given up".into(),
            Self::NotIndeterminate(id) => format!("see its state with `ensue executions show {id}`"),
            Self::InquiryClosed(id) => format!("see how it was closed with `ensue inquiries show {id}`"),
            Self::NotAsked { inquiry, .. } => format!("see its assignees with `ensue inquiries show {inquiry}`"),
            Self::MayNotAnswer { .. } => "have another assignee answer".into(),
            Self::AnsweredBefore { inquiry, .. } => format!("see the answers with `ensue inquiries show {inquiry}`"),
            Self::DigestMissing { inquiry, .. } => {
                format!(
                    "read the question with `GET /api/v1/inquiries/{inquiry}`, and send its `digest` with `answer`; `ensue inquiries respond` does this for you"
                )
            }
            Self::ApprovalStale { inquiry, .. } => {
                format!("read the current question with `ensue inquiries show {inquiry}`, and answer that")
            }
            Self::AnswerMisfit { inquiry, .. } => format!("see the fields with `ensue inquiries show {inquiry}`"),
            Self::VetoErred { .. } => "have the author of the workflow fix the expression in `veto`".into(),
            Self::CatalogMoved { .. } | Self::NoCatalog(_) => "check what is installed now, and try again".into(),
            Self::NoPack(_) => "run `ensue packs list` to see which packs are installed and which were rejected".into(),
            Self::NoRule(_) => "list the rules with `ensue rules list`; a rule's ref is `<pack>.<name>`".into(),
            Self::KeyVersion { key, .. } => format!("set it again with `ensue keys set {key}`"),
            Self::NoVar(_) => "list the vars with `ensue vars list`".into(),
            Self::VarChanged(name) => format!("check its value with `ensue vars show {name}`, and set it again"),
            Self::TooManyVars { .. } => {
                "remove vars that are no longer read with `ensue vars unset`; large numbers of values belong in a store that actions read"
                    .into()
            }
            Self::NoKey(_) => "list the keys that are set with `ensue keys list`".into(),
            Self::TokenNameTaken(name) => format!("revoke the old one with `ensue tokens revoke {name}`"),
            Self::NoToken(_) => "list the tokens with `ensue tokens list`".into(),
            Self::LastAdmin(_) => "run `ensue tokens add <name> --role admin`".into(),
            Self::NotParked(_) => "it was already retried or dismissed, or it was never parked".into(),
            Self::LetterNotOpen(of) => format!(
                "it was already retried or dismissed (`ensue dead-letters show {of}`), or it is older than the newest {OPEN_LETTERS_MAX} open dead letters"
            ),
            Self::TooMuchOpen { .. } => {
                "wait until work has ended, or find out what is blocking it with `ensue executions list --status running`".into()
            }
            Self::TooLarge(_) => "send less; large data belongs in a file or a store that the action reads".into(),
            Self::Bug(_) | Self::Unstorable(_) => return None,
        })
    }
}


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
            Self::NoTrigger(_) => "`ensue triggers list` lists the triggers there are; a trigger's ref is `<pack>.<name>`".into(),
            Self::PayloadMisfit { trigger, .. } => format!("compare with the payload that `{trigger}` declares"),
            Self::KeyReused { .. } => "give this event a key of its own, or send the first one again unchanged".into(),
            Self::RequestDiffers { .. } => {
                "make a new key for each thing that is to be done, and send it again with that thing alone".into()
            }
            Self::NoAction(_) => "`ensue actions list` lists the actions there are; an action's ref is `<pack>.<name>`".into(),
            Self::ParametersMisfit { action, .. } => format!("compare with the parameters that `{action}` declares"),
            Self::LabelsMisfit { action, .. } => format!("leave it out; `ensue actions show {action}` shows which labels the action has"),
            Self::NotOpen(id) => format!("`ensue executions show {id}` says how it ended"),
            Self::IsEnding(id) => format!("`ensue executions show {id}` says where it stands; a second cancel ends what it cleans up"),
            Self::NotPaused { by: Some(by), .. } => format!("`ensue executions resume {by}`"),
            Self::NotPaused { execution, by: None } => format!("`ensue executions show {execution}` says where it stands"),
            Self::NotEnded(id) => format!("wait for its end, or end it first: `ensue executions cancel {id}`"),
            Self::NotRunning(_) => "its worker should stop it; the execution's timeline says how it ended".into(),
            Self::TooManyMessages { .. } => "have the program say less: what is many belongs in its output or in a file".into(),
            Self::WrongToken { .. } => "this try was given up; its worker should stop and report no more".into(),
            Self::NotIndeterminate(id) => format!("`ensue executions show {id}` says where it stands"),
            Self::InquiryClosed(id) => format!("`ensue inquiries show {id}` says what became of it"),
            Self::NotAsked { inquiry, .. } => format!("`ensue inquiries show {inquiry}` says who is asked"),
            Self::MayNotAnswer { .. } => "somebody else who is asked has to answer".into(),
            Self::AnsweredBefore { inquiry, .. } => format!("`ensue inquiries show {inquiry}` shows the answers"),
            Self::DigestMissing { inquiry, .. } => {
                format!(
                    "look at what is asked, `GET /api/v1/inquiries/{inquiry}`, and send its `digest` beside `answer`; `ensue inquiries respond` does so"
                )
            }
            Self::ApprovalStale { inquiry, .. } => format!("look at what is asked now, `ensue inquiries show {inquiry}`, and answer that"),
            Self::AnswerMisfit { inquiry, .. } => format!("`ensue inquiries show {inquiry}` lists the fields"),
            Self::VetoErred { .. } => "the expression stands in the workflow's `veto`; its author has to mend it".into(),
            Self::CatalogMoved { .. } | Self::NoCatalog(_) => "look at what is installed now, and ask again".into(),
            Self::NoPack(_) => "`ensue packs list` says which packs are installed and which were not taken".into(),
            Self::NoRule(_) => "`ensue rules list` lists the rules there are; a rule's ref is `<pack>.<name>`".into(),
            Self::KeyVersion { key, .. } => format!("set it again: `ensue keys set {key}`"),
            Self::NoVar(_) => "`ensue vars list` lists the vars there are".into(),
            Self::VarChanged(name) => format!("look at it, `ensue vars show {name}`, and set it again"),
            Self::TooManyVars { .. } => {
                "remove what nobody reads any more: `ensue vars unset`; many values belong in a store that actions read".into()
            }
            Self::NoKey(_) => "`ensue keys list` lists the keys that are set".into(),
            Self::TokenNameTaken(name) => format!("`ensue tokens revoke {name}` ends the old one"),
            Self::NoToken(_) => "`ensue tokens list` lists the tokens there are".into(),
            Self::LastAdmin(_) => "`ensue tokens add <name> --role admin`".into(),
            Self::NotParked(_) => "it was retried or dismissed already, or never parked".into(),
            Self::LetterNotOpen(of) => format!(
                "it was retried or dismissed already (`ensue dead-letters show {of}`), or is older than the newest {OPEN_LETTERS_MAX} that are open"
            ),
            Self::TooMuchOpen { .. } => {
                "wait until work has ended, or find out why it does not: `ensue executions list --status running`".into()
            }
            Self::TooLarge(_) => "give less; what is large belongs in a file or a store that the action reads".into(),
            Self::Bug(_) | Self::Unstorable(_) => return None,
        })
    }
}

impl Explain for SubmitError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.slug(),
            Self::Busy => "busy",
            Self::StorageFull => "storage-full",
            Self::Stopping => "stopping",
            Self::Unknown => "outcome-unknown",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Busy => Fault::Busy,
            Self::StorageFull | Self::Stopping | Self::Unknown => Fault::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Busy => Some("send it again in a second".into()),
            Self::StorageFull => Some("make space on the disk of the data directory; the node goes on by itself".into()),
            Self::Stopping => Some("send it again when the node is back".into()),
            Self::Unknown => Some("what is sent again under the same dedupe key counts once".into()),
        }
    }
}

impl Explain for LogError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "log-unreadable",
            Self::Index(_) => "log-index-damaged",
            Self::Store(_) => "log-unavailable",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Unreadable { .. } | Self::Index(_) | Self::Store(_) => Fault::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => {
                "`ensue log verify` finds what is damaged; restore the data directory from its last good copy".into()
            }
            Self::Index(_) => {
                "keep a copy of the data directory; `ensue log verify` says whether the records are as they were written: then stop the node and \
                 build the index anew with `sqlite3 ensue-data/log.sqlite REINDEX`"
                    .into()
            }
            Self::Store(_) => "look at the disk of the data directory and at the node's own log".into(),
        })
    }
}

impl Explain for OutputError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "output-damaged",
            Self::Store { .. } | Self::Gap { .. } => "output-unavailable",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Damaged { .. } | Self::Store { .. } | Self::Gap { .. } => Fault::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Damaged { .. } => {
                "restore the folder `outputs` of the data directory from a backup; the result and the timeline are in the log".into()
            }
            Self::Store { .. } | Self::Gap { .. } => "look at the disk of the data directory and at the node's own log".into(),
        })
    }
}

impl Explain for BlobError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Full(_) | Self::Store(_) => "artifact-unavailable",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Full(_) | Self::Store(_) => Fault::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("look at the disk of the data directory and at the node's own log".into())
    }
}

impl Explain for VaultError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Integrity(_) => "vault-integrity",
            Self::Store(_) => "vault-unavailable",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Integrity(_) | Self::Store(_) => Fault::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Integrity(name) => {
                format!("set the value anew (`ensue keys set {name}`), or start the node with the master key it was sealed under")
            }
            Self::Store(_) => "look at the disk of the data directory and at the node's own log".into(),
        })
    }
}

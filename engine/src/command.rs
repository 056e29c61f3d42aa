//! What is asked of the core, what it is told beside, and what it answers.
//!
//! Commands are made at the edges, which have judged and checked before; the core checks again only what depends on its state.

mod bodies;
mod context;
mod decision;
mod given;
mod message;
mod refusal;
mod request;
mod seen;
mod settings;

pub use bodies::Bodies;
pub(crate) use bodies::document_of;
pub use context::{Context, Moment, Nothing};
pub use decision::{Answer, Decision, Novelty, ReceivedEvent};
pub use given::{
    InquiryAnswer, ObservedEvent, OfRule, PackChange, RefusedDelivery, Report, ReportOutcome, RequestExecution, Rerun, RetriedDelivery,
    SeenVar, VarChange,
};
pub use seen::{Conflict, DEDUPE_MILLIS, Dedupe, DedupeKey, Seen, SeenKeys, SignedBody};

pub use message::{Message, Said, SaidArtifact};
pub use refusal::Refusal;
pub use request::{Before, RequestKey, SeenEvent};
pub use settings::{BATCH_DRAFTS_MAX, BATCH_STEPS_MAX, FLOW_KEYS_MAX, Settings, TURN_BYTES_MAX, TURN_DRAFTS_MAX, TurnLimits};

use crate::catalog::Mode;
use crate::executions::facts::{Evidence, Failure, Settlement};
use crate::ids::{AttemptId, ExecutionId, Id, InquiryId, RuleId, TokenId};
use crate::names::{KeyRef, RuleRef, VarName};
use crate::record::{Actor, Body, CatalogRevision, Head, Position};
use crate::time::Timestamp;

/// What someone asks.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks.
    pub actor: Actor,
    /// The W3C trace of the request, as `cause.trace` of a record has it.
    pub trace: Option<String>,
    /// What is asked.
    pub ask: Ask,
}

impl Command {
    /// Gives the events that it would put into the log.
    pub fn events(&self) -> &[ObservedEvent] {
        self.ask.events()
    }

    /// Has `change` change each body that it brings: how it is kept, not what it is.
    pub fn change_bodies(&mut self, mut change: impl FnMut(&mut Body)) {
        self.ask.change_bodies(&mut change);
    }

    /// Gives the key under which it was answered before, if it was.
    pub fn request(&self) -> Option<&DedupeKey> {
        if let Ask::Once { request: RequestKey { key, .. }, .. } | Ask::Recall(key) = &self.ask { Some(key) } else { None }
    }
}

impl Ask {
    fn events(&self) -> &[ObservedEvent] {
        match self {
            Ask::Once { ask, .. } | Ask::Check(ask) => ask.events(),
            Ask::ReceiveEvents(events) | Ask::RetryDelivery(RetriedDelivery { events, .. }) => events,
            Ask::ReportAttempt(report) => report.events(),
            Ask::TakeMessage(Message { said: Said::Event(event), .. }) => std::slice::from_ref(event),
            Ask::TakeMessage(Message { said: Said::Progress { .. } | Said::Artifact(_) | Said::Unusable { .. }, .. })
            | Ask::KeepDelivery(_)
            | Ask::DismissLetter { .. }
            | Ask::RequestExecution(_)
            | Ask::RetryExecution(_)
            | Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::CancelInquiry(_)
            | Ask::PauseExecution { .. }
            | Ask::ResumeExecution { .. }
            | Ask::SettleExecution { .. }
            | Ask::AnswerInquiry(_)
            | Ask::ChangePacks { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::SetVar { .. }
            | Ask::RemoveVar { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::AcceptClock
            | Ask::NoteRestore { .. }
            | Ask::FireTimers
            | Ask::StartQueued
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. }
            | Ask::Recall(_) => &[],
        }
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        match self {
            Ask::Once { ask, .. } | Ask::Check(ask) => ask.change_bodies(change),
            Ask::ReceiveEvents(events) | Ask::RetryDelivery(RetriedDelivery { events, .. }) => {
                events.iter_mut().for_each(|event| change(&mut event.body));
            }
            Ask::ReportAttempt(report) => {
                report.body.iter_mut().for_each(&mut *change);
                report.emitted.iter_mut().for_each(|event| change(&mut event.body));
                report.vars.iter_mut().filter_map(|var| var.value.as_mut()).for_each(change);
            }
            Ask::TakeMessage(message) => match &mut message.said {
                Said::Progress { body, .. } => body.iter_mut().for_each(change),
                Said::Event(event) => change(&mut event.body),
                Said::Artifact(_) | Said::Unusable { .. } => {}
            },
            Ask::SetVar { value, .. } => change(value),
            Ask::KeepDelivery(delivery) => change(&mut delivery.body),
            Ask::RequestExecution(request) | Ask::RetryExecution(request) => {
                change(&mut request.body);
                request.rerun.iter_mut().filter_map(|rerun| rerun.kept.as_mut()).for_each(|(_, list)| change(list));
            }
            Ask::AnswerInquiry(ask) => change(&mut ask.body),
            Ask::SettleExecution { result, .. } => result.iter_mut().for_each(change),
            Ask::ChangePacks { changes, .. } => {
                for pack in changes {
                    if let PackChange::Install { manifest, .. } = pack {
                        change(manifest);
                    }
                }
            }
            Ask::DismissLetter { .. }
            | Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::CancelInquiry(_)
            | Ask::PauseExecution { .. }
            | Ask::ResumeExecution { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::RemoveVar { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::AcceptClock
            | Ask::NoteRestore { .. }
            | Ask::FireTimers
            | Ask::StartQueued
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. }
            | Ask::Recall(_) => {}
        }
    }
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Take these events in, all or none.
    ReceiveEvents(Vec<ObservedEvent>),
    /// Keep a delivery that proved who sent it but made no event.
    KeepDelivery(RefusedDelivery),
    /// Take in, once, what had been refused.
    RetryDelivery(RetriedDelivery),
    /// Run again, once, what failed for good.
    RetryExecution(RequestExecution),
    /// Leave a dead letter as it is.
    DismissLetter {
        /// The record of a refused delivery, or the execution.
        of: Id,
    },
    /// Run an action.
    RequestExecution(RequestExecution),
    /// An attempt says something while it runs.
    TakeMessage(Message),
    /// An attempt reached its end.
    ReportAttempt(Report),
    /// The worker of an attempt is gone.
    LoseAttempt {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
        /// What is known of it.
        evidence: Evidence,
        /// Why it was given up, where more is known than that its worker is gone.
        error: Option<Failure>,
    },
    /// End an execution.
    CancelExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Have nothing of an execution start any more until it is resumed.
    PauseExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Have a paused execution go on.
    ResumeExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// End an inquiry without an answer, as long as it takes one: the execution that it is about is asked to end.
    CancelInquiry(InquiryId),
    /// Say what became of an indeterminate execution.
    SettleExecution {
        /// The execution.
        execution: ExecutionId,
        /// What became of it.
        outcome: Settlement,
        /// Its result, where it succeeded with one.
        result: Option<Body>,
    },
    /// Answer an inquiry.
    AnswerInquiry(InquiryAnswer),
    /// Change the catalog to its next revision, all or none.
    ChangePacks {
        /// The revision that the changes were made for.
        base: CatalogRevision,
        /// The changes.
        changes: Vec<PackChange>,
    },
    /// Set what becomes of a rule's matches.
    SetRuleMode {
        /// The rule.
        rule: RuleRef,
        /// Its id.
        rule_id: RuleId,
        /// The mode.
        mode: Mode,
    },
    /// The vault holds a new version of a key: make it the current one.
    SetKey {
        /// The key.
        key: KeyRef,
        /// The version that the vault holds.
        version: u32,
    },
    /// Forget a key.
    RemoveKey {
        /// The key.
        key: KeyRef,
    },
    /// Give a var a value.
    SetVar {
        /// The var.
        name: VarName,
        /// The value: JSON, and not null.
        value: Body,
        /// As what whoever asks has seen it: it is refused where that is not so any more.
        seen: SeenVar,
    },
    /// Take the value of a var away.
    RemoveVar {
        /// The var.
        name: VarName,
        /// As what whoever asks has seen it: it is refused where that is not so any more.
        seen: SeenVar,
    },
    /// The vault holds the hash of a new token's secret: let its holder in.
    AddToken {
        /// The token's id.
        id: TokenId,
        /// The holder's name.
        name: String,
        /// What the holder may do.
        roles: Vec<String>,
    },
    /// Let the holder of a token in no more.
    RevokeToken {
        /// The token's name.
        name: String,
    },
    /// A node begins to write.
    NoteStart {
        /// The release it runs.
        release: String,
    },
    /// The wall clock moved away from the node's own.
    NoteClockStep {
        /// What the node's own clock said.
        from: Timestamp,
        /// What the wall clock said.
        to: Timestamp,
    },
    /// The wall clock is right as it stands now: hold no timer for its last step any more.
    AcceptClock,
    /// The log was restored from an older copy: its records up to this head were written once and are missing.
    NoteRestore {
        /// The newest head that is known of the log.
        known: Head,
    },
    /// Fire the timers that are due, and count the errors of rules that are due to be counted.
    FireTimers,
    /// Start who waits in queues of which more may start by now.
    StartQueued,
    /// Do this once under its caller's key: asked again, it is answered as before, and not done.
    Once {
        /// The key, and what is asked under it.
        request: RequestKey,
        /// What is asked.
        ask: Box<Ask>,
    },
    /// Say what was answered to the first request of a key.
    Recall(DedupeKey),
    /// Say whether this would be done, and leave it.
    Check(Box<Ask>),
    /// Try a parked reaction again.
    RetryReaction {
        /// The record it is owed to.
        of: Position,
    },
    /// Give a parked reaction up.
    DismissReaction {
        /// The record it is owed to.
        of: Position,
    },
}

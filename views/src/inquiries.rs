//! Inquiries: the questions put to people, their assignees, and the outcome of each.
//!
//! The question apart from its title is in the parameters of the asking execution; an answer is in its own
//! record.

use ensue_derive::sparse;
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::{ByNoun, ExecutionFact, InquiryFact, TimerFact};
use ensue_engine::ids::{AttemptId, ExecutionId, Id, IdentityId, InquiryId, Role};
use ensue_engine::inquiries::facts::{Assignee, InquiryOpened, Occasion, Verdict};
pub use ensue_engine::inquiries::state::Delegation;
use ensue_engine::names::{Names, StepName};
use ensue_engine::record::{Digest, Position, Record, StreamId};
use ensue_engine::sparse::is_default;
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::TimerKind;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::reach::RowScope;
use crate::view::{Column, Handle, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 5;

/// The columns by which inquiries can be filtered.
pub const COLUMNS: &[Column] = &[Column::Status, Column::Execution, Column::Parent, Column::Assignee];

/// The maximum number of shown answers, and of shown assignees and excluded people: the first ones. The core
/// does not accept more.
pub const PEOPLE_MAX: usize = 51;

/// The maximum number of shown notifications: the latest ones.
pub const NOTIFICATIONS_MAX: usize = 20;

/// After this time an open inquiry is overdue, even if nobody was reminded of it.
const OVERDUE_AFTER_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// The maximum size of a shown error, in bytes.
const ERROR_BYTES_MAX: usize = 500;
/// The maximum size of a shown title, in bytes.
const TITLE_BYTES_MAX: usize = 3_000;
/// The maximum size of a shown name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// An inquiry.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inquiry {
    /// Its id.
    pub id: InquiryId,
    /// Its position in the log.
    pub position: Position,
    /// The question, in one line.
    pub title: String,
    /// Its status.
    pub status: InquiryStatus,
    /// The assignees: `role:<role>`, or the name of a token.
    pub assignees: Vec<String>,
    /// The names of tokens that may not answer although they are assignees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// How many different people must answer.
    pub quorum: u32,
    /// The answers, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    /// The assignees that let another identity answer in their place, and the deputy of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegations: Vec<Delegation>,
    /// The number of reminders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reminders: u32,
    /// The number of escalations.
    #[serde(default, skip_serializing_if = "is_default")]
    pub escalations: u32,
    /// The notifications, latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// The execution that asks.
    pub execution: ExecutionId,
    /// If the question is about an attempt with an unknown outcome, that attempt.
    pub attempt: Option<AttemptId>,
    /// The scope of the execution; `None` if an older release recorded the question.
    pub scope: Option<Box<ExecutionScope>>,
    /// The execution of the workflow, if the asking execution is a step.
    pub parent: Option<ExecutionId>,
    /// The step.
    pub step: Option<StepName>,
    /// The item of the step, from 0.
    pub item: Option<u32>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it expires, as planned when it was opened.
    pub expires_at: Option<Timestamp>,
    /// When it stopped accepting answers.
    pub ended_at: Option<Timestamp>,
    /// The digest to which an answer is bound.
    pub digest: Digest,
    /// Whether an answer must name the digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest_required: bool,
}

/// The answer of one person.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The name of the token that answered.
    pub by: String,
    /// When the person answered.
    pub at: Timestamp,
    /// Its effect.
    pub verdict: Verdict,
    /// The answer.
    pub answer: Option<Handle>,
    /// The digest of the question as shown to that person; `None` if the answer did not name it.
    pub digest: Option<Digest>,
    /// The assignee in whose place a deputy answered.
    pub on_behalf_of: Option<IdentityId>,
}

/// The form under which an identity that an assignee named as its deputy is asked, among the assignees of the column.
const DEPUTY: &str = "deputy:";

/// A notification of people about an inquiry.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The reason for the notification.
    pub of: Occasion,
    /// When it was requested, or failed to be.
    pub at: Timestamp,
    /// The execution that notifies them; `None` if it could not be requested.
    pub execution: Option<ExecutionId>,
    /// Why it could not be requested.
    pub error: Option<String>,
}

/// The status of an inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum InquiryStatus {
    /// It waits for answers.
    Open,
    /// It was decided.
    Answered,
    /// It expired first.
    Expired,
    /// The asking execution was cancelled first.
    Cancelled,
    /// It was withdrawn: the answer became known first, or no longer matters.
    Withdrawn,
}

impl Inquiry {
    /// Returns true if the person is an assignee.
    pub fn asks(&self, name: &str, roles: &[String]) -> bool {
        let asked = assignees_of(name, roles);
        self.assignees.iter().any(|assignee| asked.contains(assignee))
    }

    /// Returns true if it is open, and people were reminded of it or it is older than a day.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let is_old = now.micros().saturating_sub(self.opened_at.micros()) > OVERDUE_AFTER_MICROS;
        self.status == InquiryStatus::Open && (self.reminders > 0 || self.escalations > 0 || is_old)
    }

    /// Returns everybody that it asks, in the forms of [`assignees_of`] and [`deputy`].
    pub fn asked_people(&self) -> Vec<String> {
        let deputies = self.delegations.iter().map(|delegation| deputy(delegation.to));
        self.assignees.iter().cloned().chain(deputies).collect()
    }

    /// Returns when a person answered, or when its deputy answered in its place.
    pub fn answered_at(&self, by: &str) -> Option<Timestamp> {
        let is_of = |answer: &&Answer| answer.by == by || answer.on_behalf_of.is_some_and(|of| of.to_string() == by);
        self.answers.iter().find(is_of).map(|answer| answer.at)
    }

    /// Returns the answer that decided it.
    pub fn decision(&self) -> Option<&Answer> {
        self.answers.last().filter(|answer| answer.verdict.closes())
    }
}

/// Returns the forms under which the holder of a token can be an assignee: its name, and each of its roles.
pub fn assignees_of(name: &str, roles: &[String]) -> Vec<String> {
    let roles = roles.iter().map(|role| Assignee::Role(role.clone()).to_string());
    std::iter::once(Assignee::Token(name.to_owned()).to_string()).chain(roles).collect()
}

/// Returns the form under which the deputy of an assignee is asked.
pub fn deputy(id: IdentityId) -> String {
    format!("{DEPUTY}{id}")
}

/// Returns the id of the inquiry that an action opens. Inquiries that the engine opens itself are named in
/// each record that concerns them.
fn id_of(record: &Record, execution: ExecutionId) -> InquiryId {
    InquiryId(Id::derive(record.log, execution.0, Role::Inquiry(1)))
}

impl View for Inquiry {
    const NAME: ViewName = ViewName::Inquiries;
    type Key = InquiryId;

    fn key(record: &Record) -> Option<Touch<InquiryId>> {
        let StreamId::Execution(execution) = &record.stream else { return None };
        let changes = || Some(Touch::Changes(id_of(record, *execution)));
        match record.fact.by_noun() {
            ByNoun::InquiryFact(InquiryFact::InquiryOpened(_)) => Some(Touch::Begins(InquiryId(record.id))),
            ByNoun::InquiryFact(InquiryFact::InquiryAnswered(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryReminded(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryEscalated(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryNotified(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryNotificationFailed(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryWithdrawn(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::InquiryFact(InquiryFact::InquiryDelegated(fact)) => Some(Touch::Changes(fact.inquiry)),
            ByNoun::TimerFact(TimerFact::TimerFired(fact)) if fact.kind == TimerKind::Expiry => changes(),
            // Nearly all executions ask nobody. Their success or failure adds nothing here that earlier
            // records do not show.
            ByNoun::ExecutionFact(ExecutionFact::ExecutionCancelled(_) | ExecutionFact::ExecutionTimedOut(_)) => changes(),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let StreamId::Execution(execution) = &record.stream else { return before };
        if let ByNoun::InquiryFact(InquiryFact::InquiryOpened(fact)) = record.fact.by_noun() {
            return Some(Self::from_opening(*execution, fact, record));
        }
        let mut inquiry = before?;
        match record.fact.by_noun() {
            ByNoun::InquiryFact(InquiryFact::InquiryAnswered(fact)) => {
                if inquiry.answers.len() < PEOPLE_MAX {
                    let (by, answer) = (cut(&fact.by, NAME_BYTES_MAX), record.body_handle().map(Handle::from));
                    inquiry.answers.push(Answer {
                        by,
                        at: record.time,
                        verdict: fact.verdict,
                        answer,
                        digest: fact.digest,
                        on_behalf_of: fact.on_behalf_of,
                    });
                }
                if fact.verdict.closes() {
                    inquiry.end(InquiryStatus::Answered, record.time);
                }
            }
            ByNoun::InquiryFact(InquiryFact::InquiryDelegated(fact)) => {
                inquiry.delegations.retain(|known| known.by != fact.by);
                if inquiry.delegations.len() < PEOPLE_MAX {
                    inquiry.delegations.push(Delegation { by: fact.by, to: fact.to });
                }
            }
            ByNoun::InquiryFact(InquiryFact::InquiryReminded(fact)) => inquiry.reminders = fact.number,
            ByNoun::InquiryFact(InquiryFact::InquiryEscalated(fact)) => {
                inquiry.escalations += 1;
                let room = PEOPLE_MAX.saturating_sub(inquiry.assignees.len());
                let to = fact.to.iter().map(|to| cut(&to.to_string(), NAME_BYTES_MAX));
                let added: Vec<String> = to.filter(|to| !inquiry.assignees.contains(to)).take(room).collect();
                inquiry.assignees.extend(added);
            }
            ByNoun::InquiryFact(InquiryFact::InquiryNotified(fact)) => {
                inquiry.add_notification(Notification { of: fact.of, at: record.time, execution: Some(fact.execution), error: None });
            }
            ByNoun::InquiryFact(InquiryFact::InquiryNotificationFailed(fact)) => {
                let error = Some(cut(&fact.error.message, ERROR_BYTES_MAX));
                inquiry.add_notification(Notification { of: fact.of, at: record.time, execution: None, error });
            }
            ByNoun::InquiryFact(InquiryFact::InquiryWithdrawn(_)) => inquiry.end(InquiryStatus::Withdrawn, record.time),
            ByNoun::TimerFact(TimerFact::TimerFired(fact)) if fact.kind == TimerKind::Expiry => {
                inquiry.end(InquiryStatus::Expired, record.time);
            }
            ByNoun::ExecutionFact(ExecutionFact::ExecutionTimedOut(_)) => inquiry.end(InquiryStatus::Expired, record.time),
            ByNoun::ExecutionFact(ExecutionFact::ExecutionCancelled(_)) => {
                // It may have expired after somebody had asked the execution to end.
                if inquiry.status == InquiryStatus::Expired {
                    inquiry.status = InquiryStatus::Cancelled;
                }
                inquiry.end(InquiryStatus::Cancelled, record.time);
            }
            _ => {}
        }
        Some(inquiry)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.opened_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![
            Some(self.status.as_str().into()),
            Some(self.execution.into()),
            self.parent.map(Term::from),
            Some(Term::Texts(self.asked_people())),
        ]
    }

    fn scope(&self) -> Option<RowScope> {
        self.scope.as_deref().map(RowScope::from)
    }

    fn life(&self) -> Life {
        if self.status == InquiryStatus::Open { Life::Alive } else { Life::Settled }
    }
}

impl Inquiry {
    fn from_opening(execution: ExecutionId, fact: &InquiryOpened, record: &Record) -> Self {
        let shown = |name: &str| cut(name, NAME_BYTES_MAX);
        Self {
            id: InquiryId(record.id),
            position: record.position,
            title: cut(&fact.title, TITLE_BYTES_MAX),
            status: InquiryStatus::Open,
            assignees: fact.assignees.iter().take(PEOPLE_MAX).map(|assignee| shown(&assignee.to_string())).collect(),
            excluded: fact.excluded.iter().take(PEOPLE_MAX).map(|name| shown(name)).collect(),
            quorum: fact.quorum,
            answers: Vec::new(),
            delegations: Vec::new(),
            reminders: 0,
            escalations: 0,
            notifications: Vec::new(),
            execution,
            attempt: fact.attempt,
            scope: fact.scope.clone(),
            parent: fact.part_of.as_ref().map(|part_of| part_of.workflow),
            step: fact.part_of.as_ref().map(|part_of| part_of.step.clone()),
            item: fact.part_of.as_ref().and_then(|part_of| part_of.item),
            opened_at: record.time,
            expires_at: fact.expires_at,
            ended_at: None,
            digest: fact.digest,
            digest_required: fact.digest_required,
        }
    }

    fn add_notification(&mut self, notification: Notification) {
        if self.notifications.len() >= NOTIFICATIONS_MAX {
            self.notifications.remove(0);
        }
        self.notifications.push(notification);
    }

    /// An inquiry that has ended keeps its first end.
    fn end(&mut self, status: InquiryStatus, at: Timestamp) {
        if self.status == InquiryStatus::Open {
            (self.status, self.ended_at) = (status, Some(at));
        }
    }
}

//! The state of inquiries: those that are open, with their answers.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use super::facts::{Answerer, Assignee, Verdict};
use crate::fact::InquiryFact;
use crate::ids::{AttemptId, ExecutionId, IdentityId, InquiryId};
use crate::record::{BodyHandle, Digest, Record, StreamId};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;

/// The inquiries whose executions are open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inquiries {
    open: Table<InquiryId, Inquiry>,
    of: Table<ExecutionId, InquiryId>,
}

undone_together!(pub(crate) Inquiries { open, of });

/// An inquiry.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inquiry {
    /// The execution that asks.
    pub execution: ExecutionId,
    /// The question, in one line.
    pub title: String,
    /// The attempt whose outcome the engine itself asks about.
    pub attempt: Option<AttemptId>,
    /// Who may answer.
    pub assignees: Vec<Assignee>,
    /// The names of tokens that may not answer.
    pub excluded: Vec<String>,
    /// How many different people must answer.
    pub quorum: u32,
    /// If it is true, one answer decides.
    pub veto: Option<String>,
    /// When it expires, as set when it was opened.
    pub expires_at: Option<Timestamp>,
    /// The digest that an answer is bound to.
    pub digest: Digest,
    /// Whether an answer must include the digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest_required: bool,
    /// The answers, the oldest first.
    pub answers: Vec<GivenAnswer>,
    /// The assignees that let another identity answer in their place, and the deputy of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegations: Vec<Delegation>,
}

/// An assignee that lets another identity answer in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// The assignee.
    pub by: IdentityId,
    /// The deputy.
    pub to: IdentityId,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// The name of the token that answered.
    pub by: String,
    /// When it was given.
    pub at: Timestamp,
    /// Its content.
    pub answer: BodyHandle,
    /// Its effect.
    pub verdict: Verdict,
    /// The assignee in whose place a deputy answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<IdentityId>,
}

impl Inquiry {
    /// Returns true if the person with this token name and these roles is asked.
    pub fn asks(&self, name: &str, roles: &[String]) -> bool {
        self.assignees.iter().any(|assignee| match assignee {
            Assignee::Role(role) => roles.contains(role),
            Assignee::Token(token) => token == name,
        })
    }

    /// Returns true if the person is excluded.
    pub fn excludes(&self, answerer: Answerer<'_>) -> bool {
        answerer.names().any(|name| self.excluded.iter().any(|excluded| excluded == name))
    }

    /// Returns when a person answered, or when its deputy answered in its place.
    pub fn answered_at(&self, by: &str) -> Option<Timestamp> {
        let is_of = |given: &&GivenAnswer| given.by == by || given.on_behalf_of.is_some_and(|of| of.to_string() == by);
        self.answers.iter().find(is_of).map(|given| given.at)
    }

    /// Returns the answer after which no more are accepted.
    pub fn decision(&self) -> Option<&GivenAnswer> {
        self.answers.last().filter(|given| given.verdict.closes())
    }
}

impl Inquiries {
    /// Returns an inquiry whose execution is open.
    pub fn get(&self, id: &InquiryId) -> Option<&Inquiry> {
        self.open.get(id)
    }

    /// Returns the inquiry that an open execution waits for.
    pub fn of(&self, execution: &ExecutionId) -> Option<(InquiryId, &Inquiry)> {
        let id = self.of.get(execution)?;
        Some((*id, self.open.get(id)?))
    }

    /// Returns the number of inquiries.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: InquiryFact<'_>) {
        let StreamId::Execution(execution) = record.stream else { return };
        match fact {
            InquiryFact::InquiryOpened(fact) => {
                let id = InquiryId(record.id);
                let inquiry = Inquiry {
                    execution,
                    title: fact.title.clone(),
                    attempt: fact.attempt,
                    assignees: fact.assignees.clone(),
                    excluded: fact.excluded.clone(),
                    quorum: fact.quorum,
                    veto: fact.veto.clone(),
                    expires_at: fact.expires_at,
                    digest: fact.digest,
                    digest_required: fact.digest_required,
                    answers: Vec::new(),
                    delegations: Vec::new(),
                };
                self.open.insert(id, inquiry);
                self.of.insert(execution, id);
            }
            InquiryFact::InquiryAnswered(fact) => {
                let Some(answer) = record.body_handle() else { return };
                let given =
                    GivenAnswer { by: fact.by.clone(), at: record.time, answer, verdict: fact.verdict, on_behalf_of: fact.on_behalf_of };
                // An inquiry of the engine is over with its answer; that of an action is read when the action ends.
                if fact.verdict.closes() && self.open.get(&fact.inquiry).is_some_and(|inquiry| inquiry.attempt.is_some()) {
                    return self.forget(&record.stream);
                }
                self.open.change(&fact.inquiry, |inquiry| inquiry.answers.push(given));
            }
            InquiryFact::InquiryEscalated(fact) => self.open.change(&fact.inquiry, |inquiry| {
                let added: Vec<_> = fact.to.iter().filter(|to| !inquiry.assignees.contains(to)).cloned().collect();
                inquiry.assignees.extend(added);
            }),
            InquiryFact::InquiryDelegated(fact) => self.open.change(&fact.inquiry, |inquiry| {
                inquiry.delegations.retain(|known| known.by != fact.by);
                inquiry.delegations.push(Delegation { by: fact.by, to: fact.to });
            }),
            InquiryFact::InquiryWithdrawn(_) => self.forget(&record.stream),
            InquiryFact::InquiryReminded(_)
            | InquiryFact::InquiryNotified(_)
            | InquiryFact::InquiryNotificationFailed(_)
            | InquiryFact::LinkMinted(_)
            | InquiryFact::LinkUsed(_) => {}
        }
    }

    /// Removes the inquiry of an execution that has ended.
    pub(crate) fn forget(&mut self, stream: &StreamId) {
        let StreamId::Execution(execution) = stream else { return };
        if let Some(id) = self.of.get(execution).copied() {
            self.of.remove(execution);
            self.open.remove(&id);
        }
    }
}

//! What inquiries are made into: those that are open, with what was answered.

use serde::{Deserialize, Serialize};

use super::facts::{Assignee, Verdict};
use crate::fact::InquiryFact;
use crate::ids::{AttemptId, ExecutionId, InquiryId};
use crate::record::{BodyHandle, Digest, Record, StreamId};
use crate::table::Table;
use crate::time::Timestamp;

/// The inquiries whose executions are open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inquiries {
    open: Table<InquiryId, Inquiry>,
    of: Table<ExecutionId, InquiryId>,
}

/// An inquiry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inquiry {
    /// The execution that asks.
    pub execution: ExecutionId,
    /// What is asked, in a line.
    pub title: String,
    /// The attempt of which the engine itself asks what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    /// Who may answer.
    pub assignees: Vec<Assignee>,
    /// The names of tokens that may not.
    pub excluded: Vec<String>,
    /// How many different people must.
    pub quorum: u32,
    /// Where it holds, one answer decides.
    pub veto: Option<String>,
    /// When it expires, as was said when it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What an answer is bound to.
    pub digest: Digest,
    /// Whether an answer must name the digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest_required: bool,
    /// What was answered, the first at first.
    pub answers: Vec<GivenAnswer>,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// The name of the token that answered.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub answer: BodyHandle,
    /// What it means.
    pub verdict: Verdict,
}

impl Inquiry {
    /// Says whether somebody is asked.
    pub fn asks(&self, name: &str, roles: &[String]) -> bool {
        self.assignees.iter().any(|assignee| match assignee {
            Assignee::Role(role) => roles.contains(role),
            Assignee::Token(token) => token == name,
        })
    }

    /// Gives the answer by which no more are taken.
    pub fn decision(&self) -> Option<&GivenAnswer> {
        self.answers.last().filter(|given| given.verdict.closes())
    }
}

impl Inquiries {
    /// Gives an inquiry whose execution is open.
    pub fn get(&self, id: &InquiryId) -> Option<&Inquiry> {
        self.open.get(id)
    }

    /// Gives the inquiry that an open execution waits for.
    pub fn of(&self, execution: &ExecutionId) -> Option<(InquiryId, &Inquiry)> {
        let id = self.of.get(execution)?;
        Some((*id, self.open.get(id)?))
    }

    /// Gives how many there are.
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
                };
                self.open.insert(id, inquiry);
                self.of.insert(execution, id);
            }
            InquiryFact::InquiryAnswered(fact) => {
                let Some(answer) = record.body_handle() else { return };
                let given = GivenAnswer { by: fact.by.clone(), at: record.time, answer, verdict: fact.verdict };
                // What the engine asked is over with its answer; what an action asked is read when that ends.
                if fact.verdict.closes() && self.open.get(&fact.inquiry).is_some_and(|inquiry| inquiry.attempt.is_some()) {
                    return self.forget(&record.stream);
                }
                self.open.change(&fact.inquiry, |inquiry| inquiry.answers.push(given));
            }
            InquiryFact::InquiryEscalated(fact) => self.open.change(&fact.inquiry, |inquiry| {
                let added: Vec<_> = fact.to.iter().filter(|to| !inquiry.assignees.contains(to)).cloned().collect();
                inquiry.assignees.extend(added);
            }),
            InquiryFact::InquiryWithdrawn(_) => self.forget(&record.stream),
            InquiryFact::InquiryReminded(_) | InquiryFact::InquiryNotified(_) | InquiryFact::InquiryNotificationFailed(_) => {}
        }
    }

    /// An execution has ended, and its inquiry with it.
    pub(crate) fn forget(&mut self, stream: &StreamId) {
        let StreamId::Execution(execution) = stream else { return };
        if let Some(id) = self.of.get(execution).copied() {
            self.of.remove(execution);
            self.open.remove(&id);
        }
    }

    pub(crate) fn commit(&mut self) {
        self.open.commit();
        self.of.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.open.undo();
        self.of.undo();
    }
}

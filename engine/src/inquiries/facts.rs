//! The facts of an inquiry. They are on the stream of the execution that asks. The question itself is that
//! execution's parameters, except where the engine asks: its question is always the same.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use ensue_derive::sparse;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::executions::facts::Failure;
use crate::executions::scope::ExecutionScope;
use crate::ids::{AttemptId, EventId, ExecutionId, IdentityId, InquiryId, LinkId};
use crate::names::Names;
use crate::record::Digest;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// A question was put to people. The record's id is the inquiry's id.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryOpened {
    /// The question, in one line.
    pub title: String,
    /// Who may answer.
    pub assignees: Vec<Assignee>,
    /// The names of tokens that may not answer, although they are among the assignees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// How many different people must answer.
    pub quorum: u32,
    /// An expression over `answer`: if it is true, that one answer decides at once.
    pub veto: Option<String>,
    /// When it expires; never if not given.
    pub expires_at: Option<Timestamp>,
    /// The hash of everything that an answer is bound to: the question, and the work that continues with the answer.
    pub digest: Digest,
    /// Whether an answer must include that hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest_required: bool,
    /// The workflow step that asks.
    pub part_of: Option<PartOf>,
    /// The attempt whose outcome the engine itself asks about; `None` if an action asks.
    pub attempt: Option<AttemptId>,
    /// The scope of the execution.
    pub scope: Option<Box<ExecutionScope>>,
}

/// Somebody answered. The body is the answer.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryAnswered {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the token that answered.
    pub by: String,
    /// What the answer means.
    pub verdict: Verdict,
    /// The hash of what that person was shown, and so approved. `None` if the answer did not include it.
    pub digest: Option<Digest>,
    /// The assignee in whose place a deputy answered.
    pub on_behalf_of: Option<IdentityId>,
}

/// An assignee lets another identity answer in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryDelegated {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The assignee.
    pub by: IdentityId,
    /// The deputy.
    pub to: IdentityId,
}

/// The assignees must be reminded: nobody has decided the inquiry yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryReminded {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The number of this reminder, from 1.
    pub number: u32,
}

/// Others are asked as well, because nobody has decided the inquiry for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryEscalated {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The number of this escalation, from 1.
    pub number: u32,
    /// The people asked from now on, in addition to the previous assignees.
    pub to: Vec<Assignee>,
}

/// The assignees are notified by a separate execution that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryNotified {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The execution that notifies them.
    pub execution: ExecutionId,
    /// The occasion of the notification.
    pub of: Occasion,
}

/// The assignees could not be notified, because the notification could not be worked out. The inquiry stays open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryNotificationFailed {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The occasion of the notification.
    pub of: Occasion,
    /// Why it failed.
    pub error: Failure,
}

/// The question was withdrawn: its answer became known some other way, or no longer matters.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryWithdrawn {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The event that made it needless.
    pub by: Option<EventId>,
}

/// A link was created with which one person sees and answers the inquiry, and nothing else. Its secret is only known to
/// whoever has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkMinted {
    /// Its id.
    pub id: LinkId,
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The person.
    pub r#for: IdentityId,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// A link was used: its session was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkUsed {
    /// Its id.
    pub id: LinkId,
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The person.
    pub r#for: IdentityId,
    /// Until when its session lasts.
    pub until: Timestamp,
}

/// The occasion of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// The inquiry was opened.
    Opened,
    /// It is still open.
    Reminded,
    /// Others are asked as well.
    Escalated,
}

/// What an answer means for its inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More people have to answer.
    Counts,
    /// It was the last answer needed.
    Decides,
    /// It decides alone: the inquiry's `veto` is true for it.
    Vetoes,
}

impl Verdict {
    /// Returns true if no answers are accepted after it.
    pub fn closes(self) -> bool {
        match self {
            Self::Counts => false,
            Self::Decides | Self::Vetoes => true,
        }
    }
}

/// A person that answers.
#[derive(Clone, Copy, Debug)]
pub struct Answerer<'a> {
    /// What the records call the person: the id of an identity, or the name of a token that no identity holds.
    pub by: &'a str,
    /// The name of the identity, by which an inquiry can name the person.
    pub name: Option<&'a str>,
    /// The roles and groups of the person.
    pub roles: &'a [String],
}

impl<'a> Answerer<'a> {
    /// Returns what an inquiry can call the person.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.name.into_iter().chain([self.by])
    }
}

/// Who may answer, written `role:<role>` or as a token's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignee {
    /// Everybody with this role.
    Role(String),
    /// The holder of the token of this name.
    Token(String),
}

const ROLE: &str = "role:";

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{ROLE}{role}"),
            Self::Token(name) => f.write_str(name),
        }
    }
}

impl FromStr for Assignee {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.strip_prefix(ROLE).map_or_else(|| Self::Token(text.to_owned()), |role| Self::Role(role.to_owned())))
    }
}

impl Serialize for Assignee {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Assignee {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(assignee) = String::deserialize(deserializer)?.parse();
        Ok(assignee)
    }
}

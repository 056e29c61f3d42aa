//! What can happen to an inquiry. It stands on the stream of the execution that asks; the question itself is that one's parameters, but
//! where the engine asks: then it is always the same.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::executions::facts::Failure;
use crate::ids::{AttemptId, ExecutionId, InquiryId};
use crate::record::Digest;
use crate::time::Timestamp;
use crate::workflows::facts::PartOf;

/// A question was put to people. The record's id is the inquiry's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryOpened {
    /// What is asked, in a line.
    pub title: String,
    /// Who may answer.
    pub assignees: Vec<Assignee>,
    /// The names of tokens that may not, though they are among the assignees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// How many different people must answer.
    pub quorum: u32,
    /// An expression over `answer`: where it holds, that one answer decides at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
    /// When it expires; never where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The hash of all that an answer is bound to: of the question, and of what goes on with the answer.
    pub digest: Digest,
    /// Whether an answer must name that hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest_required: bool,
    /// The step of a workflow that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The attempt of which the engine itself asks what became of it; none where an action asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
}

/// Somebody answered. The body is the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryAnswered {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the token that answered.
    pub by: String,
    /// What the answer means.
    pub verdict: Verdict,
    /// The hash of what was shown to that person: what was approved. None if the answer did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Those who are asked are to be told again: nobody has decided it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryReminded {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// How often that makes, from 1.
    pub number: u32,
}

/// Others are asked as well: nobody has decided it for so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryEscalated {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// Which of its escalations it is, from 1.
    pub number: u32,
    /// Who is asked from now on, beside those who were.
    pub to: Vec<Assignee>,
}

/// Those who are asked are told of it, by an execution of its own that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryNotified {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The execution that tells them.
    pub execution: ExecutionId,
    /// What they are told of.
    pub of: Occasion,
}

/// Those who are asked could not be told: what was to tell them cannot be worked out. The inquiry stays open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryNotificationFailed {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// What they were to be told of.
    pub of: Occasion,
    /// Why they were not.
    pub error: Failure,
}

/// The question was taken back: what it asked became known some other way, or does not matter any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InquiryWithdrawn {
    /// The inquiry.
    pub inquiry: InquiryId,
}

/// What those who are asked are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// The inquiry was opened.
    Opened,
    /// It is still open.
    Reminded,
    /// Others are asked as well.
    Escalated,
}

impl Occasion {
    /// Lists all of them.
    pub const ALL: [Self; 3] = [Self::Opened, Self::Reminded, Self::Escalated];

    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reminded => "reminded",
            Self::Escalated => "escalated",
        }
    }
}

/// What an answer means for its inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More people have to answer.
    Counts,
    /// It was the last that was needed.
    Decides,
    /// It decides alone: the inquiry's `veto` holds for it.
    Vetoes,
}

impl Verdict {
    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Decides => "decides",
            Self::Vetoes => "vetoes",
        }
    }

    /// Says whether no more answers are taken after it.
    pub fn closes(self) -> bool {
        match self {
            Self::Counts => false,
            Self::Decides | Self::Vetoes => true,
        }
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

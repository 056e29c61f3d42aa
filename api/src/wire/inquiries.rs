//! Inquiries: their questions, assignees and answers.

use ensue_derive::wire;
use ensue_engine::ids::{AttemptId, ExecutionId, IdentityId, InquiryId};
use ensue_engine::inquiries::facts::{Occasion, Verdict};
use ensue_engine::names::StepName;
use ensue_engine::record::{Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Inquiry;
use ensue_views::inquiries::{Answer, Delegation, InquiryStatus, Notification};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::shapes;
use crate::wire::sessions::GivenSecret;

/// How many characters of the text of a question a list shows.
const LISTED_CHARS: usize = 280;

/// A question to people.
#[wire(Serialize)]
pub(crate) struct WireInquiry {
    id: InquiryId,
    position: Position,
    title: String,
    status: InquiryStatus,
    /// The callers that may answer: `role:<role>`, or the name of a token.
    assignees: Vec<String>,
    /// The names of tokens that may not answer, even if they are assignees.
    excluded: Vec<String>,
    /// How many different people must answer.
    quorum: u32,
    /// The answers, oldest first.
    answers: Vec<WireAnswer>,
    /// The assignees that let another identity answer in their place, each with its deputy.
    delegations: Vec<WireDelegation>,
    /// How often people were reminded.
    reminders: u32,
    /// How often further people were asked; `assignees` includes them.
    escalations: u32,
    /// When people were notified by its `notify`, latest last: at most 20.
    notifications: Vec<WireNotification>,
    /// The execution that opened it.
    execution: ExecutionId,
    /// The attempt whose outcome is unknown, if the node itself opened the inquiry about it.
    attempt: Option<AttemptId>,
    /// The workflow execution of which its execution is a step.
    parent: Option<ExecutionId>,
    /// The step of the workflow `parent` that opened it.
    step: Option<StepName>,
    /// The item of the step, from 0.
    item: Option<u32>,
    opened_at: Timestamp,
    /// When it expires, as computed when it was opened; a clock jump shifts it.
    expires_at: Option<Timestamp>,
    /// When it stopped accepting answers.
    ended_at: Option<Timestamp>,
    /// The digest that binds an answer to the question: send it back with the answer.
    digest: Digest,
    /// Whether an answer without `digest` is rejected with 428.
    digest_required: bool,
    /// The address where people read it. Reading it does not answer it.
    url: String,
    /// How many people have answered so far; `quorum` of them must.
    counted: u32,
    /// Only in answers to reads without `as_of`: whether it is open, and people were reminded of it or it is older than a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_overdue: Option<bool>,
    /// Only in answers to reads without `as_of`: whether the caller may answer it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    may_answer: Option<bool>,
    /// Only in answers to reads without `as_of`: why the caller may not answer it now; null if the caller may.
    #[serde(skip_serializing_if = "Option::is_none")]
    may_not_answer: Option<Option<WireMayNotAnswer>>,
    /// Only in answers to reads: whether the caller has answered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by_me: Option<bool>,
    /// Only in answers to reads: further details. In a list, the first 280 characters, with `…` if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Option<String>>,
    /// Only for a single inquiry: an expression over `answer`; if it is true, one answer decides at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    veto: Option<Option<String>>,
    /// Only for a single inquiry: the JSON Schema of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_schema: Option<Option<Box<RawValue>>>,
    /// Only for a single inquiry: the answer that decided it, or the default answer if nobody answered in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<Box<RawValue>>>,
}

/// Why a caller may not answer an inquiry: what the answer would get.
#[wire(Serialize)]
pub(crate) struct WireMayNotAnswer {
    /// The code of the error.
    code: String,
    /// The error, for people.
    detail: String,
}

/// What an inquiry is to the caller that reads it.
pub(crate) struct ReaderStanding {
    pub(crate) may_answer: Result<(), Problem>,
    pub(crate) answered_by_me: bool,
    pub(crate) is_overdue: bool,
}

/// One answer to an inquiry.
#[wire(Serialize)]
pub(crate) struct WireAnswer {
    by: String,
    at: Timestamp,
    #[schemars(with = "shapes::AnswerVerdict")]
    verdict: Verdict,
    /// The record that holds it.
    position: Option<Position>,
    /// The digest of the question as it was shown, that is, what was approved; null if the answer did not
    /// include it.
    digest: Option<Digest>,
    /// The assignee in whose place a deputy answered, or null if the person was asked itself.
    on_behalf_of: Option<IdentityId>,
    /// Only for a single inquiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<Box<RawValue>>>,
}

/// An assignee that lets another identity answer in its place.
#[wire(Serialize)]
pub(crate) struct WireDelegation {
    by: IdentityId,
    to: IdentityId,
}

/// A delegation that is asked for.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedDelegation {
    /// The name of the deputy.
    pub(crate) to: String,
}

/// A notification about an inquiry.
#[wire(Serialize)]
pub(crate) struct WireNotification {
    #[schemars(with = "shapes::NotificationOccasion")]
    of: Occasion,
    at: Timestamp,
    /// The execution that notifies people; null if it could not be requested.
    execution: Option<ExecutionId>,
    /// Why it could not be requested.
    error: Option<String>,
}

impl From<Notification> for WireNotification {
    fn from(told: Notification) -> Self {
        Self { of: told.of, at: told.at, execution: told.execution, error: told.error }
    }
}

impl From<Answer> for WireAnswer {
    fn from(answer: Answer) -> Self {
        let position = answer.answer.map(|handle| handle.position);
        Self {
            by: answer.by,
            at: answer.at,
            verdict: answer.verdict,
            position,
            digest: answer.digest,
            on_behalf_of: answer.on_behalf_of,
            answer: None,
        }
    }
}

/// The bodies of an inquiry that are read from the log; none if there are none, or they were erased.
#[derive(Default)]
pub(crate) struct InquiryBodies {
    pub(crate) text: Option<String>,
    pub(crate) veto: Option<String>,
    pub(crate) answer_schema: Option<Box<RawValue>>,
    /// The answers, in order.
    pub(crate) answers: Vec<Option<Box<RawValue>>>,
    /// The answer that counts.
    pub(crate) answer: Option<Box<RawValue>>,
}

impl WireInquiry {
    /// Shows an inquiry as an item of a list; `base` is the address where inquiries are read.
    pub(crate) fn for_list(inquiry: Inquiry, base: &str) -> Self {
        let counted = u32::try_from(inquiry.answers.len()).unwrap_or(u32::MAX);
        Self {
            id: inquiry.id,
            position: inquiry.position,
            title: inquiry.title,
            status: inquiry.status,
            assignees: inquiry.assignees,
            excluded: inquiry.excluded,
            quorum: inquiry.quorum,
            answers: inquiry.answers.into_iter().map(WireAnswer::from).collect(),
            delegations: inquiry.delegations.into_iter().map(|Delegation { by, to }| WireDelegation { by, to }).collect(),
            reminders: inquiry.reminders,
            escalations: inquiry.escalations,
            notifications: inquiry.notifications.into_iter().map(WireNotification::from).collect(),
            execution: inquiry.execution,
            attempt: inquiry.attempt,
            parent: inquiry.parent,
            step: inquiry.step,
            item: inquiry.item,
            opened_at: inquiry.opened_at,
            expires_at: inquiry.expires_at,
            ended_at: inquiry.ended_at,
            digest: inquiry.digest,
            digest_required: inquiry.digest_required,
            url: format!("{base}/{}", inquiry.id),
            counted,
            is_overdue: None,
            may_answer: None,
            may_not_answer: None,
            answered_by_me: None,
            text: None,
            veto: None,
            answer_schema: None,
            answer: None,
        }
    }

    /// Shows what the inquiry is to its reader.
    pub(crate) fn read_by(self, standing: ReaderStanding) -> Self {
        let refused = standing
            .may_answer
            .err()
            .map(|problem| WireMayNotAnswer { code: problem.code(), detail: problem.detail().unwrap_or_default().to_owned() });
        Self {
            is_overdue: Some(standing.is_overdue),
            may_answer: Some(refused.is_none()),
            may_not_answer: Some(refused),
            answered_by_me: Some(standing.answered_by_me),
            ..self
        }
    }

    /// Shows an inquiry as it was: what its reader may do is a matter of the present.
    pub(crate) fn read_then(self, answered_by_me: bool) -> Self {
        Self { answered_by_me: Some(answered_by_me), ..self }
    }

    /// Shows the beginning of the question in a list.
    pub(crate) fn beginning_with(self, text: Option<String>) -> Self {
        let cut = |text: String| match text.char_indices().nth(LISTED_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        Self { text: Some(text.map(cut)), ..self }
    }

    /// Shows a single inquiry.
    pub(crate) fn whole(inquiry: Inquiry, base: &str, bodies: InquiryBodies) -> Self {
        let mut whole = Self::for_list(inquiry, base);
        for (shown, answer) in whole.answers.iter_mut().zip(bodies.answers) {
            shown.answer = Some(answer);
        }
        let InquiryBodies { text, veto, answer_schema, answer, .. } = bodies;
        Self { text: Some(text), veto: Some(veto), answer_schema: Some(answer_schema), answer: Some(answer), ..whole }
    }
}

/// An answer, as sent by a caller.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireResponse {
    pub(crate) answer: Box<RawValue>,
    #[serde(default)]
    pub(crate) digest: Option<Digest>,
}

/// The same shape for the OpenAPI document.
#[wire()]
#[schemars(rename = "InquiryResponse")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WireGivenResponse {
    /// The answer: it must match the inquiry's `answer_schema`.
    answer: Value,
    /// The inquiry's `digest`, as it was shown. A different digest is rejected; so is an answer without it if
    /// `digest_required` is true.
    #[serde(default)]
    digest: Option<Digest>,
}

/// A link to an inquiry that is asked for.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedInquiryLink {
    /// The name of the identity that the link is for.
    pub(crate) r#for: String,
}

/// A code that opens the session of a link.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLinkCode {
    /// The code of the link.
    #[schemars(with = "String")]
    pub(crate) code: GivenSecret,
}

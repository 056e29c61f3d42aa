//! Inquiries: what is asked of whom, and what was answered.

use ensue_engine::ids::{AttemptId, ExecutionId, InquiryId};
use ensue_engine::inquiries::facts::{Occasion, Verdict};
use ensue_engine::names::StepName;
use ensue_engine::record::{Digest, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Inquiry;
use ensue_views::inquiries::{Answer, InquiryStatus, Notification};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::shapes;

/// A question to people.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireInquiry {
    #[schemars(with = "shapes::InquiryId")]
    id: InquiryId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    title: String,
    #[schemars(with = "shapes::InquiryStatus")]
    status: InquiryStatus,
    /// Who may answer: `role:<role>`, or the name of a token.
    assignees: Vec<String>,
    /// The names of tokens that may not, though they are asked.
    excluded: Vec<String>,
    /// How many different people must answer.
    quorum: u32,
    /// What was answered, the first at first.
    answers: Vec<WireAnswer>,
    /// How often people were reminded.
    reminders: u32,
    /// How often others were asked as well; `assignees` has them.
    escalations: u32,
    /// When people were told by its `notify`, the latest at last: at most 20.
    notifications: Vec<WireNotification>,
    /// The execution that asks.
    #[schemars(with = "shapes::ExecutionId")]
    execution: ExecutionId,
    /// The attempt of it of which nobody knows what became of it, where the node itself asks that.
    #[schemars(with = "Option<shapes::AttemptId>")]
    attempt: Option<AttemptId>,
    /// The execution of the workflow that it is a step of.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    parent: Option<ExecutionId>,
    /// The step of the workflow `parent` that asks.
    #[schemars(with = "Option<shapes::StepName>")]
    step: Option<StepName>,
    /// The item of the step, from 0.
    item: Option<u32>,
    #[schemars(with = "shapes::Timestamp")]
    opened_at: Timestamp,
    /// When it expires, as was said when it was opened; a step of the clock moves it.
    #[schemars(with = "Option<shapes::Timestamp>")]
    expires_at: Option<Timestamp>,
    /// When no more answers were taken.
    #[schemars(with = "Option<shapes::Timestamp>")]
    ended_at: Option<Timestamp>,
    /// What an answer is bound to: send it back with the answer.
    #[schemars(with = "shapes::Digest")]
    digest: Digest,
    /// Whether an answer without `digest` is rejected with 428.
    digest_required: bool,
    /// Where it is read. To read it answers nothing.
    url: String,
    /// Only of a single inquiry: what else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Option<String>>,
    /// Only of a single inquiry: an expression over `answer`; where it holds, one answer decides at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    veto: Option<Option<String>>,
    /// Only of a single inquiry: the JSON Schema of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_schema: Option<Option<Box<RawValue>>>,
    /// Only of a single inquiry: the answer that decided, or the one that stood in where nobody gave one in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<Box<RawValue>>>,
}

/// What somebody answered.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireAnswer {
    by: String,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    #[schemars(with = "shapes::AnswerVerdict")]
    verdict: Verdict,
    /// The record that holds it.
    #[schemars(with = "Option<shapes::Position>")]
    position: Option<Position>,
    /// The digest of what was shown: what was approved; null if the answer did not name it.
    #[schemars(with = "Option<shapes::Digest>")]
    digest: Option<Digest>,
    /// Only of a single inquiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<Box<RawValue>>>,
}

/// That people were told of an inquiry.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireNotification {
    #[schemars(with = "shapes::NotificationOccasion")]
    of: Occasion,
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    /// The execution that tells them; null where it could not be asked for.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    execution: Option<ExecutionId>,
    /// Why it could not.
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
        Self { by: answer.by, at: answer.at, verdict: answer.verdict, position, digest: answer.digest, answer: None }
    }
}

/// What is read of an inquiry from the log; none where there is nothing, or it was erased.
#[derive(Default)]
pub(crate) struct Bodies {
    pub(crate) text: Option<String>,
    pub(crate) veto: Option<String>,
    pub(crate) answer_schema: Option<Box<RawValue>>,
    /// The answers, in their order.
    pub(crate) answers: Vec<Option<Box<RawValue>>>,
    /// The one that counts.
    pub(crate) answer: Option<Box<RawValue>>,
}

impl WireInquiry {
    /// Shows an inquiry in a list; `base` is where inquiries are read.
    pub(crate) fn listed(inquiry: Inquiry, base: &str) -> Self {
        Self {
            id: inquiry.id,
            position: inquiry.position,
            title: inquiry.title,
            status: inquiry.status,
            assignees: inquiry.assignees,
            excluded: inquiry.excluded,
            quorum: inquiry.quorum,
            answers: inquiry.answers.into_iter().map(WireAnswer::from).collect(),
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
            text: None,
            veto: None,
            answer_schema: None,
            answer: None,
        }
    }

    /// Shows an inquiry alone.
    pub(crate) fn whole(inquiry: Inquiry, base: &str, bodies: Bodies) -> Self {
        let mut whole = Self::listed(inquiry, base);
        for (shown, answer) in whole.answers.iter_mut().zip(bodies.answers) {
            shown.answer = Some(answer);
        }
        let Bodies { text, veto, answer_schema, answer, .. } = bodies;
        Self { text: Some(text), veto: Some(veto), answer_schema: Some(answer_schema), answer: Some(answer), ..whole }
    }
}

/// An answer, as a caller gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireResponse {
    pub(crate) answer: Box<RawValue>,
    #[serde(default)]
    pub(crate) digest: Option<Digest>,
}

/// The same for those who read the document.
#[derive(JsonSchema)]
#[schemars(rename = "InquiryResponse")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WireGivenResponse {
    /// The answer: it fits the inquiry's `answer_schema`.
    answer: Value,
    /// The inquiry's `digest`, as it was shown. Another one is rejected, and so is an answer without it if `digest_required` is true.
    #[schemars(with = "Option<shapes::Digest>")]
    #[serde(default)]
    digest: Option<Digest>,
}

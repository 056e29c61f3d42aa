//! The errors of answers: the caller may not answer, the answer is too late, or it does not fit.

use ensue_engine::catalog::Misfit;
use ensue_engine::command::Refusal;
use ensue_engine::explain::Explain;
use ensue_engine::ids::InquiryId;
use ensue_engine::inquiries::facts::Verdict;
use ensue_engine::inquiries::lost_attempt;
use ensue_engine::inquiries::right::{AnswerRight, Answerer};
use ensue_engine::record::Digest;
use ensue_expression::{Document, Node};
use ensue_packs::whole_schema;
use ensue_views::Inquiry;
use ensue_views::inquiries::{Answer, InquiryStatus};
use thiserror::Error;

use crate::ports::RepresentedIdentity;
use crate::problem::Problem;

/// The maximum size of an answer in bytes: the result of the execution contains all answers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The maximum number of answers listed if an answer comes too late: the last ones.
const TOLD_MAX: usize = 5;

/// An answer that does not fit the question.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Invalid)]
enum AnswerInvalid {
    /// It does not match the schema.
    #[error("the answer does not fit the schema of the inquiry")]
    #[explain(
        slug = "answer-invalid",
        hint = "compare the answer with `answer_schema` of the inquiry; `ensue inquiries show <id>` lists the fields"
    )]
    Misfit,
    /// It is too long.
    #[error("the answer is {0} bytes; the limit is {ANSWER_BYTES_MAX}")]
    #[explain(slug = "answer-invalid", hint = "send a shorter answer; store long content elsewhere, and refer to it in the answer")]
    TooLong(usize),
    /// No answer could match the schema.
    #[error("no answer can fit: the inquiry's answer schema is not a JSON Schema that can be checked: {0}")]
    #[explain(slug = "answer-invalid", hint = "have its author fix it; cancel the inquiry, or let it expire")]
    NoSchema(Misfit),
    /// The question was erased.
    #[error("the question of the inquiry was erased, so it can no longer be answered")]
    #[explain(slug = "payload-erased", fault = Conflict, hint = "cancel the inquiry before it expires with `ensue inquiries cancel <id>`")]
    Erased,
}

/// A closed inquiry, and its outcome.
#[derive(Debug, Error, Explain)]
#[error("the inquiry {id} is closed: {how}")]
#[explain(slug = "inquiry-closed", fault = Conflict, hint = "see the answers with `ensue inquiries show {id}`")]
pub(super) struct ClosedInquiry {
    id: InquiryId,
    how: String,
}

impl ClosedInquiry {
    /// Returns the outcome of an inquiry; none while it is open.
    pub(super) fn of(inquiry: &Inquiry) -> Option<Self> {
        let at = inquiry.ended_at.map_or_else(String::new, |at| format!(" at {at}"));
        let how = match inquiry.status {
            InquiryStatus::Open => return None,
            InquiryStatus::Answered => format!("it was answered by {}", describe_answers(&inquiry.answers)),
            InquiryStatus::Expired => format!("it expired{at}"),
            InquiryStatus::Cancelled => format!("it was cancelled{at}"),
            InquiryStatus::Withdrawn => format!("it was withdrawn{at}: the answer became known in another way, or no longer matters"),
        };
        Some(Self { id: inquiry.id, how })
    }
}

/// Formats who answered, and when.
fn describe_answers(answers: &[Answer]) -> String {
    let left_out = answers.len().saturating_sub(TOLD_MAX);
    let mut told: Vec<String> = (left_out > 0).then(|| format!("{left_out} others")).into_iter().collect();
    told.extend(answers.iter().skip(left_out).map(|answer| {
        let how = if answer.verdict == Verdict::Vetoes { ", with a veto" } else { "" };
        format!("`{}` at {}{how}", answer.by, answer.at)
    }));
    told.join(", ")
}

/// Checks that an inquiry still accepts answers.
pub(super) fn demand_open(inquiry: &Inquiry) -> Result<(), Problem> {
    ClosedInquiry::of(inquiry).map_or(Ok(()), |closed| Err(closed.into()))
}

/// Returns true if the inquiry asks the person itself.
pub(super) fn asks(inquiry: &Inquiry, answerer: Answerer<'_>) -> bool {
    answerer.names().any(|name| inquiry.asks(name, answerer.roles))
}

fn excludes(inquiry: &Inquiry, answerer: Answerer<'_>) -> bool {
    answerer.names().any(|name| inquiry.excluded.iter().any(|excluded| excluded == name))
}

/// Checks that a caller may answer an inquiry now, as far as is visible here; the core decides.
pub(super) fn demand_right(inquiry: &Inquiry, answerer: Answerer<'_>, digest: Option<Digest>) -> Result<(), Problem> {
    let right = AnswerRight {
        is_asked: asks(inquiry, answerer),
        is_excluded: excludes(inquiry, answerer),
        answered_at: inquiry.answered_at(answerer.by),
        ..right(inquiry, answerer, digest)
    };
    demand(inquiry, &right)
}

/// Checks that a deputy may answer on behalf of an assignee now, as far as is visible here; the core also knows
/// who requested the work.
pub(super) fn demand_right_of_deputy(
    inquiry: &Inquiry,
    deputy: Answerer<'_>,
    of: &RepresentedIdentity,
    digest: Option<Digest>,
) -> Result<(), Problem> {
    let by = of.id.to_string();
    let represented = Answerer { by: &by, name: Some(&of.name), roles: &of.roles };
    let right = AnswerRight {
        is_asked: asks(inquiry, represented),
        is_excluded: excludes(inquiry, deputy) || excludes(inquiry, represented),
        answered_at: inquiry.answered_at(&by).or_else(|| inquiry.answered_at(deputy.by)),
        ..right(inquiry, deputy, digest)
    };
    demand(inquiry, &right)
}

/// Returns what holds for everybody.
fn right<'a>(inquiry: &Inquiry, answerer: Answerer<'a>, digest: Option<Digest>) -> AnswerRight<'a> {
    AnswerRight {
        inquiry: inquiry.id,
        name: answerer.name.unwrap_or(answerer.by),
        is_asked: false,
        is_excluded: false,
        is_open: inquiry.status == InquiryStatus::Open,
        answered_at: None,
        digest: inquiry.digest,
        digest_required: inquiry.digest_required,
        given: digest,
    }
}

fn demand(inquiry: &Inquiry, right: &AnswerRight<'_>) -> Result<(), Problem> {
    right.demand().map_err(|refusal| match (refusal, ClosedInquiry::of(inquiry)) {
        // The view also knows how the inquiry was closed.
        (Refusal::InquiryClosed(_), Some(closed)) => closed.into(),
        (refusal, _) => refusal.into(),
    })
}

/// Checks that an answer matches the schema in the question, that is, in the parameters of the execution that
/// opened the inquiry. May take long.
pub(super) fn demand_fit(question: Option<Document>, answer: Node<'_>) -> Result<(), Problem> {
    let question = question.ok_or(AnswerInvalid::Erased)?;
    demand_short(answer)?;
    let schema = question.root().get("answer").map(Node::to_value).unwrap_or_default();
    let schema = whole_schema(schema).map_err(AnswerInvalid::NoSchema)?;
    let misfits = schema.misfits(answer);
    if misfits.is_empty() {
        return Ok(());
    }
    let placed = misfits.into_iter().map(|misfit| Misfit { pointer: format!("/answer{}", misfit.pointer), ..misfit });
    Err(Problem::from(AnswerInvalid::Misfit).with_errors(placed))
}

fn demand_short(answer: Node<'_>) -> Result<(), Problem> {
    let bytes = answer.raw().len();
    if bytes <= ANSWER_BYTES_MAX {
        return Ok(());
    }
    let why = AnswerInvalid::TooLong(bytes);
    let misfit = Misfit { pointer: "/answer".to_owned(), message: why.to_string() };
    Err(Problem::from(why).with_errors([misfit]))
}

/// Checks that an answer is a valid settlement of an execution.
pub(super) fn demand_settlement(answer: Node<'_>) -> Result<(), Problem> {
    demand_short(answer)?;
    let Err(misfit) = lost_attempt::settlement(answer) else { return Ok(()) };
    let misfit = Misfit { pointer: format!("/answer{}", misfit.pointer), ..misfit };
    Err(Problem::from(AnswerInvalid::Misfit).with_errors([misfit]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(schema: &serde_json::Value, answer: &serde_json::Value) -> Result<(), Problem> {
        demand_fit(Some(Document::from_value(&json!({ "answer": schema }))), Document::from_value(answer).root())
    }

    #[test]
    fn answer_errors_name_each_field() {
        let schema = json!({ "type": "object", "required": ["ship"], "properties": { "ship": { "type": "boolean" }, "note": { "type": "string" } } });
        assert!(fits(&schema, &json!({ "ship": true })).is_ok());
        for wrong in [json!({ "note": 3 }), json!({}), json!([true]), json!(null)] {
            assert_eq!(fits(&schema, &wrong).unwrap_err().code(), "answer_invalid", "{wrong}");
        }
    }

    #[test]
    fn invalid_schema_accepts_no_answer() {
        let why = fits(&json!({ "type": 5 }), &json!({})).unwrap_err();
        assert_eq!(why.code(), "answer_invalid");
        assert!(why.detail().is_some_and(|detail| detail.contains("not a JSON Schema")), "{why:?}");
    }

    #[test]
    fn answer_has_a_maximum_length() {
        let text = "x".repeat(ANSWER_BYTES_MAX);
        let why = fits(&json!({}), &json!(text)).unwrap_err();
        assert_eq!(why.code(), "answer_invalid");
        assert!(fits(&json!({}), &json!(text[..ANSWER_BYTES_MAX - 2])).is_ok());
    }

    #[test]
    fn erased_inquiry_cannot_be_answered() {
        assert_eq!(demand_fit(None, Document::from_value(&json!({})).root()).unwrap_err().code(), "payload_erased");
    }
}

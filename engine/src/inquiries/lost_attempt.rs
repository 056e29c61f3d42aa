//! The question that the engine itself asks: it is unknown whether an attempt took effect, and with `on_lost:
//! ask` a person decides.
//!
//! It is on the stream of the indeterminate execution, is always the same, and is withdrawn if the outcome
//! becomes known some other way.

use ensue_expression::{Node, NodeKind};
use serde_json::{Value, json};

use super::facts::{Assignee, InquiryOpened, InquiryWithdrawn};
use crate::catalog::Misfit;
use crate::executions::facts::{Settlement, SettlementWord};
use crate::executions::state::{Attempt, Execution, Phase, Stop};
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id, Role};
use crate::inquiries::question::{TEXT_BYTES_MAX, TITLE_BYTES_MAX};
use crate::record::{Body, Digest, Draft, Record, StreamId};
use crate::state::State;
use crate::text::cut;

/// The roles that are asked: those that may settle an execution, except authors, who do not answer inquiries.
pub const ROLES: [&str; 2] = ["admin", "operator"];

/// The explanation for the assignees, in addition to the title.
pub const TEXT: &str = "The worker of the attempt is gone, and Ensue cannot tell whether the attempt took effect. Check the system that the action works \
    on. `succeeded`: it took effect; add the `result` if there is one. `failed`: it did not take effect and is not retried; `error` says \
    why. `retry`: it did not take effect and is retried, or cancelled if that was requested. A late report of the attempt answers this \
    inquiry as well.";

/// Returns the JSON Schema of the answer: the same as the body of `POST /executions/{id}/settle`.
pub fn answer_schema() -> Value {
    json!({
        "type": "object",
        "required": ["outcome"],
        "additionalProperties": false,
        "properties": {
            "outcome": { "enum": SettlementWord::ALL.map(SettlementWord::as_str), "description": "The outcome of the attempt." },
            "result": { "description": "With `succeeded`: the result." },
            "error": { "type": "string", "description": "With `failed`: the reason." },
        },
    })
}

/// Parses an answer. If it is not valid, the error states where.
pub fn settlement(answer: Node<'_>) -> Result<(Settlement, Option<Body>), Misfit> {
    let misfit = |pointer: &str, message: &str| Misfit { pointer: pointer.to_owned(), message: message.to_owned() };
    if answer.kind() != NodeKind::Object {
        return Err(misfit("", "it must be an object with an `outcome`"));
    }
    let mut names = answer.entries().map(|(name, _)| name.into_owned());
    if let Some(other) = names.find(|name| !["outcome", "result", "error"].contains(&name.as_str())) {
        return Err(Misfit { pointer: format!("/{other}"), message: "an answer can have only `outcome`, `result` and `error`".to_owned() });
    }
    let given = |name: &str| answer.get(name).filter(|node| node.kind() != NodeKind::Null);
    let error = match given("error").map(|error| error.as_str()) {
        Some(None) => return Err(misfit("/error", "it is not a string")),
        Some(Some(error)) => Some(error.into_owned()),
        None => None,
    };
    let result = given("result").map(|result| Body::json(result.raw().to_owned()));
    let Some(outcome) = answer.get("outcome") else { return Err(misfit("/outcome", "it is missing")) };
    let word = SettlementWord::ALL.into_iter().find(|word| outcome.as_str().is_some_and(|text| text == word.as_str()));
    let word = word.ok_or_else(|| misfit("/outcome", "it must be `succeeded`, `failed` or `retry`"))?;
    word.with(result, error).map_err(|why| misfit(&format!("/{}", why.part()), &why.to_string()))
}

/// Returns the record that comes before all other consequences for an execution: the question is put, or withdrawn.
pub(crate) fn first(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution)) -> Option<Draft> {
    let asked = state.inquiries().of(&id).filter(|(_, inquiry)| inquiry.attempt.is_some());
    let fact: Fact = match (asked, in_doubt(execution)) {
        (None, Some(attempt)) if matches!(record.fact, Fact::ExecutionBecameIndeterminate(_)) => {
            return Some(draft_inquiry(state, record, (id, execution), attempt));
        }
        (Some((inquiry, asked)), attempt) if asked.attempt != attempt.map(|attempt| attempt.id) => {
            InquiryWithdrawn { inquiry, by: None }.into()
        }
        _ => return None,
    };
    Some(draft(record, (id, execution), None, fact))
}

/// Returns the attempt whose outcome is unknown and must be decided by a person.
pub(super) fn in_doubt(execution: &Execution) -> Option<Attempt> {
    match execution.phase {
        // If it took too long, or was settled, there is nothing left to ask.
        Phase::Indeterminate { attempt, stop: None | Some(Stop::Cancelled) } => Some(attempt),
        _ => None,
    }
}

fn draft_inquiry(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution), attempt: Attempt) -> Draft {
    let title = cut(format!("What became of attempt {} of `{}`?", attempt.number, execution.action), TITLE_BYTES_MAX);
    let bound = json!({ "title": title, "text": TEXT, "answer": answer_schema(), "execution": id, "attempt": attempt.id });
    let canonical = serde_json_canonicalizer::to_vec(&bound).expect("it has no numbers, and everything else has a canonical form");
    let fact = InquiryOpened {
        title,
        assignees: ROLES.map(|role| Assignee::Role(role.to_owned())).to_vec(),
        excluded: Vec::new(),
        quorum: 1,
        veto: None,
        expires_at: None,
        digest: Digest::of(&canonical),
        digest_required: false,
        part_of: execution.part_of.clone(),
        attempt: Some(attempt.id),
        scope: Some(Box::new(execution.scope())),
    };
    let inquiry = Id::derive(state.log(), id.0, Role::Inquiry(attempt.number));
    draft(record, (id, execution), Some(inquiry), fact.into())
}

fn draft(record: &Record, (id, execution): (ExecutionId, &Execution), begins: Option<Id>, fact: Fact) -> Draft {
    let cause = Some(execution.cause(record.id));
    Draft::by_engine(StreamId::Execution(id), fact).beginning(begins).because(cause)
}

const _: () = assert!(TEXT.len() <= TEXT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use ensue_expression::Document;

    use super::*;

    fn read(answer: &Value) -> Result<(Settlement, Option<String>), String> {
        let answer = Document::from_value(answer);
        let read = settlement(answer.root()).map_err(|misfit| misfit.to_string())?;
        Ok((read.0, read.1.map(|body| String::from_utf8_lossy(body.content.as_deref().unwrap_or_default()).into_owned())))
    }

    #[test]
    fn answer_is_parsed_into_a_settlement_with_its_details() {
        let given = json!({ "outcome": "succeeded", "result": { "a": 1 } });
        assert_eq!(read(&given), Ok((Settlement::Succeeded, Some(r#"{"a":1}"#.to_owned()))));
        assert_eq!(read(&json!({ "outcome": "succeeded", "error": null })), Ok((Settlement::Succeeded, None)));
        assert_eq!(read(&json!({ "outcome": "retry" })), Ok((Settlement::Retry, None)));
        let failed = json!({ "outcome": "failed", "error": "gone" });
        assert_eq!(read(&failed), Ok((Settlement::Failed { error: "gone".to_owned() }, None)));
    }

    #[test]
    fn invalid_settlement_is_rejected_with_its_pointer() {
        let cases = [
            (json!(3), ""),
            (json!({}), "/outcome"),
            (json!({ "outcome": 3 }), "/outcome"),
            (json!({ "outcome": "maybe" }), "/outcome"),
            (json!({ "outcome": "failed" }), "/error"),
            (json!({ "outcome": "failed", "error": 3 }), "/error"),
            (json!({ "outcome": "retry", "error": "x" }), "/error"),
            (json!({ "outcome": "retry", "result": 1 }), "/result"),
            (json!({ "outcome": "failed", "error": "x", "result": 1 }), "/result"),
            (json!({ "outcome": "retry", "when": "now" }), "/when"),
        ];
        for (answer, place) in cases {
            let answer = Document::from_value(&answer);
            assert_eq!(settlement(answer.root()).unwrap_err().pointer, place, "{}", answer.root().raw());
        }
    }
}

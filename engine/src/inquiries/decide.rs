//! The commands on inquiries: answer one, cancel one.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, Roots, Scope, Value};

use super::facts::{InquiryAnswered, Verdict};
use super::lost;
use super::question::ANSWER;
use super::right::{AnswerRight, Answerer};
use super::state::Inquiry;
use crate::command::{Answer, Decision, InquiryAnswer, Refusal};
use crate::executions::decide::{self as executions, settled_as};
use crate::executions::state::{Execution, Phase};
use crate::ids::InquiryId;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::text::describe;

/// Accepts an answer. It fits the inquiry: the caller has checked it against the inquiry's schema, which
/// never changes.
pub(crate) fn answer(state: &State, actor: &Actor, trace: Option<&str>, ask: &InquiryAnswer) -> Decision {
    let Some(inquiry) = state.inquiries().get(&ask.inquiry) else { return Decision::Refused(Refusal::InquiryClosed(ask.inquiry)) };
    let refusal = |refusal| Decision::Refused(refusal);
    let asking = asking(state, inquiry);
    let answerer = Answerer { by: &ask.by, name: ask.name.as_deref(), roles: &ask.roles };
    let right = AnswerRight {
        inquiry: ask.inquiry,
        name: ask.name.as_deref().unwrap_or(&ask.by),
        is_asked: answerer.names().any(|name| inquiry.asks(name, &ask.roles)),
        is_excluded: answerer.names().any(|name| inquiry.excluded.iter().any(|excluded| excluded == name)),
        is_open: asking.is_some(),
        answered_at: inquiry.answers.iter().find(|given| given.by == ask.by).map(|given| given.at),
        digest: inquiry.digest,
        digest_required: inquiry.digest_required,
        given: ask.digest,
    };
    if let Err(why) = right.demand() {
        return refusal(why);
    }
    let Some(execution) = asking else { return refusal(Refusal::InquiryClosed(ask.inquiry)) };
    let verdict = match verdict(inquiry, ask) {
        Ok(verdict) => verdict,
        Err(why) => return refusal(Refusal::VetoErred { inquiry: ask.inquiry, why }),
    };
    let settled = match inquiry.attempt.map(|_| lost::settlement(ask.answer.root())).transpose() {
        Ok(settled) => settled,
        Err(misfit) => return refusal(Refusal::AnswerMisfit { inquiry: ask.inquiry, misfit: misfit.to_string() }),
    };
    let answered = Draft {
        stream: StreamId::Execution(inquiry.execution),
        begins: None,
        actor: actor.clone(),
        cause: Some(execution.cause(ask.inquiry.0)),
        trace: trace.map(str::to_owned),
        fact: InquiryAnswered { inquiry: ask.inquiry, by: ask.by.clone(), verdict, digest: ask.digest }.into(),
        body: Some(ask.body.clone()),
    };
    let settled = settled.map(|(outcome, result)| settled_as(actor, (inquiry.execution, execution), outcome, result));
    Decision::Done { drafts: std::iter::once(answered).chain(settled).collect(), answer: Answer::Execution(inquiry.execution) }
}

/// Cancels the execution that an inquiry is about. If no answer is accepted any longer, the execution
/// continues: the cancel was not about what it does now.
pub(crate) fn cancel(state: &State, actor: &Actor, trace: Option<&str>, id: InquiryId) -> Decision {
    let asking = state.inquiries().get(&id).filter(|inquiry| asking(state, inquiry).is_some());
    match asking {
        Some(inquiry) => executions::cancel(state, actor, trace, inquiry.execution),
        None => Decision::Refused(Refusal::InquiryClosed(id)),
    }
}

/// Returns the execution that still waits for an answer.
pub(super) fn asking<'e>(state: &'e State, inquiry: &Inquiry) -> Option<&'e Execution> {
    state.executions().get(&inquiry.execution).filter(|execution| match inquiry.attempt {
        Some(attempt) => lost::in_doubt(execution).is_some_and(|doubted| doubted.id == attempt),
        None => execution.phase == Phase::Asking,
    })
}

fn verdict(inquiry: &Inquiry, ask: &InquiryAnswer) -> Result<Verdict, String> {
    if let Some(veto) = &inquiry.veto {
        let veto = Expression::compile(veto, &Roots::new([ANSWER])).map_err(|error| error.to_string())?;
        let scope = Scope::new().with(ANSWER, Value::from(ask.answer.root()));
        if veto.holds(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX)).map_err(|error| describe(&error))? {
            return Ok(Verdict::Vetoes);
        }
    }
    Ok(if inquiry.answers.len() + 1 >= inquiry.quorum as usize { Verdict::Decides } else { Verdict::Counts })
}

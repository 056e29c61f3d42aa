//! The commands on inquiries: answer one, cancel one.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, Roots, Scope, Value};

use super::facts::{InquiryAnswered, InquiryDelegated, Verdict};
use super::lost_attempt;
use super::question::ANSWER;
use super::react::requester;
use super::right::{AnswerRight, Answerer};
use super::state::{Delegation, Inquiry};
use crate::access::permission::Permission;
use crate::command::{Answer, Decision, InquiryAnswer, NewDelegation, Refusal};
use crate::executions::decide::{self as executions, settled_as};
use crate::executions::state::{Execution, Phase};
use crate::ids::{IdentityId, InquiryId};
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::text::describe;
use crate::time::Timestamp;

/// The maximum number of assignees of one inquiry that delegate it.
const DELEGATIONS_MAX: usize = 50;

/// Accepts an answer. It fits the inquiry: the caller has checked it against the inquiry's schema, which
/// never changes.
pub(crate) fn answer(state: &State, actor: &Actor, trace: Option<&str>, ask: &InquiryAnswer, now: Timestamp) -> Decision {
    let Some(inquiry) = state.inquiries().get(&ask.inquiry) else { return Decision::Refused(Refusal::InquiryClosed(ask.inquiry)) };
    let refusal = |refusal| Decision::Refused(refusal);
    let asking = asking(state, inquiry);
    let answerer = Answerer { by: &ask.by, name: ask.name.as_deref(), roles: &ask.roles };
    let (is_asked, is_excluded, answered_at) = match &ask.behalf {
        None => (asks(inquiry, answerer), inquiry.excludes(answerer), inquiry.answered_at(&ask.by)),
        Some(behalf) => {
            let (of, roles) = (behalf.of.to_string(), roles_of_represented(state, inquiry, &ask.by, behalf.of, now));
            let represented = Answerer { by: &of, name: behalf.name.as_deref(), roles: roles.as_deref().unwrap_or_default() };
            let is_excluded = inquiry.excludes(answerer) || inquiry.excludes(represented) || is_requester(state, inquiry, &ask.by);
            // A deputy answers once, and on behalf of an assignee that has not answered.
            let answered_at = inquiry.answered_at(&of).or_else(|| inquiry.answered_at(&ask.by));
            (roles.is_some() && asks(inquiry, represented), is_excluded, answered_at)
        }
    };
    let right = AnswerRight {
        inquiry: ask.inquiry,
        name: ask.name.as_deref().unwrap_or(&ask.by),
        is_asked,
        is_excluded,
        is_open: asking.is_some(),
        answered_at,
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
    let settled = match inquiry.attempt.map(|_| lost_attempt::settlement(ask.answer.root())).transpose() {
        Ok(settled) => settled,
        Err(misfit) => return refusal(Refusal::AnswerMisfit { inquiry: ask.inquiry, misfit: misfit.to_string() }),
    };
    let answered = Draft::new(
        StreamId::Execution(inquiry.execution),
        actor,
        InquiryAnswered {
            inquiry: ask.inquiry,
            by: ask.by.clone(),
            verdict,
            digest: ask.digest,
            on_behalf_of: ask.behalf.as_ref().map(|behalf| behalf.of),
        },
    )
    .because(execution.cause(ask.inquiry.0))
    .with_trace(trace)
    .with_body(ask.body.clone());
    let settled = settled.map(|(outcome, result)| settled_as(actor, (inquiry.execution, execution), outcome, result));
    Decision::Done { drafts: std::iter::once(answered).chain(settled).collect(), answer: Answer::Execution(inquiry.execution) }
}

/// Lets another identity answer on behalf of an assignee that may answer now. A later delegation replaces it.
pub(crate) fn delegate(state: &State, actor: &Actor, trace: Option<&str>, new: &NewDelegation, now: Timestamp) -> Decision {
    let id = new.inquiry;
    let refused = |why| Decision::Refused(Refusal::DelegationRefused { inquiry: id, why });
    let Some(inquiry) = state.inquiries().get(&id) else { return Decision::Refused(Refusal::InquiryClosed(id)) };
    let asking = asking(state, inquiry);
    let answerer = Answerer { by: &new.by, name: new.name.as_deref(), roles: &new.roles };
    let right = AnswerRight {
        inquiry: id,
        name: new.name.as_deref().unwrap_or(&new.by),
        is_asked: asks(inquiry, answerer),
        is_excluded: inquiry.excludes(answerer),
        is_open: asking.is_some(),
        answered_at: inquiry.answered_at(&new.by),
        digest: inquiry.digest,
        digest_required: inquiry.digest_required,
        given: Some(inquiry.digest),
    };
    if let Err(why) = right.demand() {
        return Decision::Refused(why);
    }
    let Some(execution) = asking else { return Decision::Refused(Refusal::InquiryClosed(id)) };
    let Ok(by) = new.by.parse::<IdentityId>() else { return refused("a token without an identity cannot have a deputy") };
    if state.access().rights_of(new.to, now).is_err() {
        return refused("the deputy does not exist, or is disabled");
    }
    let to = new.to.to_string();
    if by == new.to {
        return refused("nobody is their own deputy");
    }
    if inquiry.excludes(Answerer { by: &to, name: Some(&new.to_name), roles: &[] }) || is_requester(state, inquiry, &to) {
        return refused("the deputy is excluded, or requested the work");
    }
    if inquiry.answered_at(&to).is_some() {
        return refused("the deputy has answered");
    }
    let delegation = Delegation { by, to: new.to };
    if inquiry.delegations.contains(&delegation) {
        return Decision::Done { drafts: Vec::new(), answer: Answer::Execution(inquiry.execution) };
    }
    if inquiry.delegations.len() >= DELEGATIONS_MAX && inquiry.delegations.iter().all(|known| known.by != by) {
        return Decision::Refused(Refusal::LimitReached { what: "delegations of this inquiry", max: DELEGATIONS_MAX });
    }
    let draft = Draft::new(StreamId::Execution(inquiry.execution), actor, InquiryDelegated { inquiry: id, by, to: new.to })
        .because(execution.cause(id.0))
        .with_trace(trace);
    Decision::Done { drafts: vec![draft], answer: Answer::Execution(inquiry.execution) }
}

fn asks(inquiry: &Inquiry, answerer: Answerer<'_>) -> bool {
    answerer.names().any(|name| inquiry.asks(name, answerer.roles))
}

/// Returns the roles of an assignee in whose place a deputy may answer now; `None` if it may not. Only the assignee
/// itself has a deputy, so that a deputy's deputy does not answer.
fn roles_of_represented(state: &State, inquiry: &Inquiry, deputy: &str, of: IdentityId, now: Timestamp) -> Option<Vec<String>> {
    let deputy: IdentityId = deputy.parse().ok()?;
    let is_absent = || {
        let absence = state.access().absence(&of).filter(|absence| absence.deputy == Some(deputy));
        absence.is_some() && state.access().is_absent(&of, now)
    };
    if !inquiry.delegations.contains(&Delegation { by: of, to: deputy }) && !is_absent() {
        return None;
    }
    let held = state.access().rights_of(of, now).ok()?;
    held.rights.reach(Permission::InquiriesAnswer).map(|_| held.roles)
}

/// Returns true if the identity requested the outermost execution around an inquiry.
fn is_requester(state: &State, inquiry: &Inquiry, by: &str) -> bool {
    let execution = state.executions().get(&inquiry.execution);
    execution.and_then(|execution| requester(state, execution)).is_some_and(|name| name == by)
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
        Some(attempt) => lost_attempt::in_doubt(execution).is_some_and(|doubted| doubted.id == attempt),
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

//! The consequences for an inquiry: it is opened with the execution that asks, which ends with its answer, or
//! without one.

use std::collections::BTreeSet;

use ensue_expression::{Document, Node};
use serde_json::{Value as Json, json};

use super::facts::{Assignee, InquiryEscalated, InquiryOpened, InquiryReminded, Occasion};
use super::question::{ExcludedPerson, Question};
use super::state::Inquiry;
use crate::catalog::Run;
use crate::command::Context;
use crate::executions::facts::{ExecutionSucceeded, Failure, FailureKind};
use crate::executions::state::{Execution, Phase};
use crate::fact::{Fact, InquiryFact};
use crate::ids::{ExecutionId, Id, InquiryId, Role};
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Actor, Body, BodyHandle, CatalogRevision, DEPTH_MAX, Digest, Draft, Record, StreamId};
use crate::state::State;
use crate::time::duration_text;
use crate::time::millis;
use crate::timers::facts::{TimerFired, TimerKind};
use crate::timers::set::begin_of_wait;
use crate::timers::set::timer;
use crate::workflows::notify::InquiryNotice;
use crate::workflows::run::definition;
use crate::workflows::run::with_steps;

/// Returns the records that open the inquiry of an execution that asks, if it is not open yet.
pub(crate) fn opening(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    with: &Context<'_>,
) -> Result<Option<Vec<Draft>>, Reaction> {
    if execution.phase != Phase::Asking || state.inquiries().of(&id).is_some() {
        return Ok(None);
    }
    let params = document(execution.params, with)?;
    let question = parse_question(&params)?;
    let excluded = excluded_names(state, &question, execution);
    if let Some(error) = nobody_left(&question, &excluded) {
        return Ok(Some(vec![draft_end(record, execution, Err(error))]));
    }
    let opened_at = begin_of_wait(state, record);
    let expires_at = question.expires.map(|expires| opened_at.plus_millis(millis(expires)));
    let fact = InquiryOpened {
        title: question.title.clone(),
        assignees: question.assignees.clone(),
        excluded,
        quorum: question.quorum,
        veto: question.veto.as_ref().map(|veto| veto.source().to_owned()),
        expires_at,
        digest: digest(state, &question, execution, with)?,
        digest_required: question.digest_required,
        part_of: execution.part_of.clone(),
        attempt: None,
        scope: Some(Box::new(execution.scope())),
    };
    let inquiry = Id::derive(state.log(), id.0, Role::Inquiry(1));
    let opened = Draft::by_engine(StreamId::Execution(id), fact).beginning(inquiry).because(execution.cause(record.id));
    let expiry = expires_at.map(|due| (TimerKind::Expiry, 1, due));
    let reminder = question.remind.map(|remind| (TimerKind::Reminder, 1, opened_at.plus_millis(millis(remind.every))));
    let escalations = (1..).zip(&question.escalate);
    let escalations = escalations.map(|(number, to)| (TimerKind::Escalation, number, opened_at.plus_millis(millis(to.after))));
    let timers = expiry.into_iter().chain(reminder).chain(escalations);
    let timers = timers.map(|(kind, number, due)| timer(state, record, (id, execution), (kind, number), due));
    Ok(Some(std::iter::once(opened).chain(timers).collect()))
}

/// Returns the consequences of a fired timer of an execution for its inquiry; `None` if the timer is for
/// something else.
pub(crate) fn after_timer(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    fired: &TimerFired,
    with: &Context<'_>,
) -> Option<Reaction> {
    if !matches!(fired.kind, TimerKind::Reminder | TimerKind::Escalation) || execution.phase != Phase::Asking {
        return None;
    }
    let (inquiry, _) = state.inquiries().of(&id)?;
    Some(match remind_or_escalate(state, record, (id, execution), (inquiry, fired), with) {
        Ok(drafts) => Reaction::last(drafts),
        Err(reaction) => reaction,
    })
}

/// Returns the record of a reminder or escalation, and the timer of the next reminder.
fn remind_or_escalate(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    (inquiry, fired): (InquiryId, &TimerFired),
    with: &Context<'_>,
) -> Result<Vec<Draft>, Reaction> {
    let params = document(execution.params, with)?;
    let question = parse_question(&params)?;
    let number = fired.number;
    let (fact, next): (Fact, _) = match fired.kind {
        TimerKind::Escalation => {
            let escalation = question.escalate.get(number.saturating_sub(1) as usize);
            let to = escalation.map(|escalation| escalation.to.clone()).unwrap_or_default();
            (InquiryEscalated { inquiry, number, to }.into(), None)
        }
        _ => {
            let next = question.remind.filter(|remind| number < remind.max);
            let due = next.map(|remind| begin_of_wait(state, record).plus_millis(millis(remind.every)));
            (InquiryReminded { inquiry, number }.into(), due)
        }
    };
    let cause = Some(execution.cause(record.id));
    let draft = Draft::by_engine(StreamId::Execution(id), fact).because(cause);
    let next = next.map(|due| timer(state, record, (id, execution), (TimerKind::Reminder, number + 1), due));
    Ok(std::iter::once(draft).chain(next).collect())
}

/// Returns the consequences of a record of an inquiry.
pub(crate) fn react(state: &State, record: &Record, fact: InquiryFact<'_>, with: &Context<'_>) -> Reaction {
    let StreamId::Execution(id) = record.stream else { return Reaction::nothing() };
    let Some(execution) = state.executions().get(&id).filter(|execution| execution.asks()) else {
        return Reaction::nothing();
    };
    let of = match fact {
        InquiryFact::InquiryAnswered(fact) if fact.verdict.closes() => return end(state, record, (id, execution), with),
        InquiryFact::InquiryOpened(_) => Occasion::Opened,
        InquiryFact::InquiryReminded(_) => Occasion::Reminded,
        InquiryFact::InquiryEscalated(_) => Occasion::Escalated,
        InquiryFact::InquiryAnswered(_)
        | InquiryFact::InquiryNotified(_)
        | InquiryFact::InquiryNotificationFailed(_)
        | InquiryFact::InquiryWithdrawn(_)
        | InquiryFact::InquiryDelegated(_)
        | InquiryFact::LinkMinted(_)
        | InquiryFact::LinkUsed(_) => return Reaction::nothing(),
    };
    if execution.phase == Phase::Woken { Reaction::nothing() } else { notify(state, record, (id, execution), of, with) }
}

/// Notifies the assignees, if the step defines a notification.
fn notify(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution), of: Occasion, with: &Context<'_>) -> Reaction {
    let Some((inquiry, part_of)) = state.inquiries().of(&id).zip(execution.part_of.as_ref()) else { return Reaction::nothing() };
    let reaction = with_steps(state, part_of.workflow, record, with, |run| {
        let params = match document(execution.params, with) {
            Ok(params) => params,
            Err(reaction) => return Some(reaction),
        };
        let question = match parse_question(&params) {
            Ok(question) => question,
            Err(reaction) => return Some(reaction),
        };
        run.notify_people((id, execution, part_of), &InquiryNotice { inquiry, question: &question, of })
    });
    // If its steps cannot be read, the people to notify are unknown. The question stays open.
    reaction.flatten().unwrap_or_else(Reaction::nothing)
}

/// Returns the end of an execution whose wait is over: the answer came, or the time for one passed.
pub(crate) fn end(state: &State, record: &Record, (id, execution): (ExecutionId, &Execution), with: &Context<'_>) -> Reaction {
    let Some((_, inquiry)) = state.inquiries().of(&id) else { return Reaction::nothing() };
    match outcome(inquiry, execution, with) {
        Ok(outcome) => Reaction::last(vec![draft_end(record, execution, outcome)]),
        Err(reaction) => reaction,
    }
}

fn outcome(inquiry: &Inquiry, execution: &Execution, with: &Context<'_>) -> Result<Result<Body, Failure>, Reaction> {
    let answers = answers(inquiry, with)?;
    if let (Some(_), Some(last)) = (inquiry.decision(), answers.last()) {
        return Ok(Ok(result(last.root(), inquiry, &answers)));
    }
    let params = document(execution.params, with)?;
    let question = parse_question(&params)?;
    if let Some(answer) = question.on_expire {
        return Ok(Ok(result(answer, inquiry, &answers)));
    }
    let limit = duration_text(question.expires.map_or(0, millis));
    let message = match (answers.len(), inquiry.quorum) {
        (0, _) => format!("nobody answered within {limit}"),
        (count, quorum) => format!("{count} of {quorum} people answered within {limit}"),
    };
    Ok(Err(Failure::new(FailureKind::Expired, message)))
}

fn parse_question(params: &Document) -> Result<Question<'_>, Reaction> {
    Question::parse(params.root()).map_err(|misfit| Reaction::Impossible(format!("it is not a valid question: {misfit}")))
}

fn draft_end(record: &Record, execution: &Execution, outcome: Result<Body, Failure>) -> Draft {
    let (fact, body): (Fact, _) = match outcome {
        Ok(result) => (ExecutionSucceeded { part_of: execution.part_of.clone() }.into(), Some(result)),
        Err(error) => (execution.failure_fact(error), None),
    };
    let cause = Some(execution.cause(record.id));
    Draft::by_engine(record.stream.clone(), fact).because(cause).with_body(body)
}

/// Returns the answers, in order.
fn answers(inquiry: &Inquiry, with: &Context<'_>) -> Result<Vec<Document>, Reaction> {
    let (mut answers, mut missing) = (Vec::new(), Vec::new());
    for given in &inquiry.answers {
        match with.bodies.document(&given.answer) {
            Some(answer) => answers.push(answer),
            None => missing.push(given.answer),
        }
    }
    if missing.is_empty() { Ok(answers) } else { Err(Reaction::Needs(missing)) }
}

/// Returns the result of an execution that asked: the answer that counts, and all answers given.
fn result(answer: Node<'_>, inquiry: &Inquiry, answers: &[Document]) -> Body {
    let answers_given = inquiry.answers.iter().zip(answers).map(|(given, answer)| {
        let (by, verdict) = (Json::from(given.by.as_str()), given.verdict.as_str());
        let by = match given.on_behalf_of {
            Some(of) => format!(r#"{by},"on_behalf_of":"{of}""#),
            None => by.to_string(),
        };
        format!(r#"{{"by":{by},"at":"{}","verdict":"{verdict}","answer":{}}}"#, given.at, answer.root().raw())
    });
    let all = answers_given.collect::<Vec<_>>().join(",");
    Body::json(format!(r#"{{"answer":{},"answers":[{all}]}}"#, answer.raw()))
}

fn document(handle: BodyHandle, with: &Context<'_>) -> Result<Document, Reaction> {
    with.bodies.document(&handle).ok_or_else(|| Reaction::Needs(vec![handle]))
}

/// Returns why too few people are left to answer, if their number is known: it is unknown how many people have a role.
fn nobody_left(question: &Question<'_>, excluded: &[String]) -> Option<Failure> {
    let mut people: BTreeSet<&str> = BTreeSet::new();
    for assignee in question.assignees.iter().chain(question.escalate.iter().flat_map(|escalation| &escalation.to)) {
        match assignee {
            Assignee::Role(_) => return None,
            Assignee::Token(name) if !excluded.contains(name) => drop(people.insert(name)),
            Assignee::Token(_) => {}
        }
    }
    let left = u32::try_from(people.len()).unwrap_or(u32::MAX);
    let message = format!("{} people must answer, but only {left} of the assignees may", question.quorum);
    (left < question.quorum).then(|| Failure::new(FailureKind::ParametersInvalid, message))
}

fn excluded_names(state: &State, question: &Question<'_>, execution: &Execution) -> Vec<String> {
    let names = question.exclude.iter().filter_map(|excluded| match excluded {
        ExcludedPerson::Requester => requester(state, execution),
        ExcludedPerson::Token(name) => Some(name.clone()),
    });
    names.collect()
}

/// Returns what the records call the person who requested an execution: an identity by its id, whichever of its tokens it
/// used. If a program requested it, this is who requested the execution of the program, as long as that is open.
pub(super) fn requester(state: &State, execution: &Execution) -> Option<String> {
    let mut execution = execution;
    // A program's request is one deeper in its chain.
    for _ in 0..=DEPTH_MAX {
        match outermost(state, execution).actor.parse() {
            Ok(Actor::Execution(of)) => execution = state.executions().get(&of.execution)?,
            Ok(actor) => return name_of(&actor),
            Err(_) => return None,
        }
    }
    None
}

fn name_of(actor: &Actor) -> Option<String> {
    match actor {
        Actor::Token(name) => Some(name.clone()),
        Actor::Identity { id, .. } => Some(id.to_string()),
        Actor::Engine | Actor::Execution(_) | Actor::Sensor(_) | Actor::Worker(_) | Actor::Operator => None,
    }
}

/// Returns the execution of the outermost workflow around an execution, or the execution itself if there is none.
pub(super) fn outermost<'e>(state: &'e State, execution: &'e Execution) -> &'e Execution {
    let mut outermost = execution;
    while let Some(workflow) = outermost.part_of.as_ref().and_then(|part_of| state.executions().get(&part_of.workflow)) {
        outermost = workflow;
    }
    outermost
}

/// Hashes everything that an answer is bound to: the question, the workflow's parameters and catalog, and the
/// steps that wait for the answer. It is BLAKE3 over canonical JSON (RFC 8785).
fn digest(state: &State, question: &Question<'_>, execution: &Execution, with: &Context<'_>) -> Result<Digest, Reaction> {
    let around = execution.part_of.as_ref().and_then(|part_of| Some((&part_of.step, state.executions().get(&part_of.workflow)?)));
    digest_within(question, around, execution.catalog, with)
}

/// Returns the digest that an answer would be bound to if a step of a workflow asked the question defined by
/// these parameters.
pub(crate) fn question_digest(params: &Document, step: &StepName, workflow: &Execution, with: &Context<'_>) -> Result<Digest, Reaction> {
    digest_within(&parse_question(params)?, Some((step, workflow)), workflow.catalog, with)
}

fn digest_within(
    question: &Question<'_>,
    around: Option<(&StepName, &Execution)>,
    catalog: CatalogRevision,
    with: &Context<'_>,
) -> Result<Digest, Reaction> {
    let (params, then) = match around {
        Some((step, workflow)) => {
            let given = workflow.of_rule.as_ref().map_or(workflow.params, |of| of.given.payload);
            let built = with.catalogs.at(catalog);
            let action = built.as_ref().and_then(|built| definition(built, workflow));
            let Some(Run::Workflow(steps)) = action.map(|action| &action.run) else {
                let action = &workflow.action;
                return Err(Reaction::Impossible(format!("the steps of `{action}` cannot be read in the catalog of revision {catalog}")));
            };
            let then: Vec<&str> = steps.dependents(step).map(|step| step.name.as_str()).collect();
            (document(given, with)?.root().to_value(), json!(then))
        }
        None => (Json::Null, json!([])),
    };
    let bound = json!({
        "title": question.title,
        "text": question.text,
        "answer": question.answer.to_value(),
        "params": params,
        "catalog": catalog,
        "then": then,
    });
    let canonical = serde_json_canonicalizer::to_vec(&bound)
        .map_err(|error| Reaction::Impossible(format!("the question has no canonical form: {error}")))?;
    Ok(Digest::of(&canonical))
}

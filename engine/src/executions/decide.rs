//! The commands on executions: request one, report how it ended, report that its worker is gone, cancel it, settle it.

use crate::time::millis;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Action, Extra};
use crate::command::{Answer, Context, Decision, Moment, Novelty, Refusal, Report, ReportOutcome, RequestExecution};
use crate::events::decide::{self as events, EventOrigin};
use crate::executions::admission::admits_work;
use crate::executions::facts::{
    AttemptFailed, AttemptLost, AttemptReportedLate, AttemptSucceeded, Evidence, ExecutionCancelRequested, ExecutionRequested,
    ExecutionSettled, Failure, FailureKind, OUTPUT_TAIL_BYTES_MAX, Pace, Settlement,
};
use crate::executions::labels::{LABELS_MAX, Labels};
use crate::executions::program::{self, ProgramContext};
use crate::executions::rights;
use crate::executions::scope::ExecutionScope;
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::ids::{AttemptId, ExecutionId, Id};
use crate::locks::facts::Claim;
use crate::names::LabelName;
use crate::record::{Actor, Body, CatalogRevision, Cause, Draft, StreamId};
use crate::state::State;
use crate::text::{cut, end_of};
use crate::vars::decide::{self as vars, Changer};
use crate::workflows::facts::RerunPlanned;

/// The maximum length of a person's reason in bytes, as stored.
const REASON_BYTES_MAX: usize = 2048;

/// Requests an execution that does not follow from anything in the log.
pub(crate) fn request(
    state: &State,
    at: &Moment,
    actor: &Actor,
    trace: Option<&str>,
    ask: &RequestExecution,
    with: &Context<'_>,
) -> Decision {
    if let Err(refusal) = admits_work(state, with) {
        return Decision::Refused(refusal);
    }
    let of_program = program::context_of(state, actor);
    if let Some(Err(refusal)) = of_program.as_ref().map(ProgramContext::demand_shallow) {
        return Decision::Refused(refusal);
    }
    let rerun = ask.rerun.as_deref();
    if let Some(open) = rerun.map(|rerun| rerun.of).filter(|of| state.executions().get(of).is_some()) {
        return Decision::Refused(Refusal::NotEnded(open));
    }
    let now = state.catalog_revision();
    let definition = match present_definition(now, ask, with) {
        Ok(definition) => definition,
        Err(refusal) => return Decision::Refused(refusal),
    };
    let RequestTerms { pace, claim, labels, given_labels } = match fit_request(&definition, ask) {
        Ok(fitted) => fitted,
        Err(refusal) => return Decision::Refused(refusal),
    };
    let of_its_rule = rerun.and_then(|rerun| rerun.rule_claim.clone());
    let execution = ExecutionId(Id::root(at.time, at.entropy));
    let of_rule = rerun.and_then(|rerun| rerun.rule.as_ref());
    let retry_of_rule = of_rule.and_then(|of| with.catalogs.at(now)?.rules().get(&of.rule)?.retry.clone());
    // A rerun keeps the scope of the first execution, whatever its parameters are now.
    let scope = match rerun {
        Some(rerun) => rerun.scope.clone(),
        None => ExecutionScope::of_root(None, &ask.action, &labels, &with.settings.scope_labels),
    };
    let fact = ExecutionRequested {
        action: ask.action.clone(),
        catalog: now,
        rule: of_rule.map(|of| of.rule.clone()),
        event: of_rule.and_then(|of| of.event),
        enforcement: of_rule.and_then(|of| of.enforcement),
        given: of_rule.and_then(|of| of.given.clone().map(Box::new)),
        part_of: None,
        rerun_of: rerun.map(|rerun| rerun.of),
        priority: rerun.and_then(|rerun| rerun.priority).unwrap_or(definition.priority),
        queue: definition.queue.clone(),
        labels,
        scope: scope.into_recorded(of_rule.map(|of| &of.rule), &ask.action),
        // Otherwise, the actor says it.
        principal: rerun.and_then(|rerun| rerun.principal.clone()).or_else(|| of_program.as_ref().map(|of| of.principal.clone())),
        given_labels,
        idempotent: definition.idempotent,
        on_lost: definition.on_lost,
        timeout_millis: millis(definition.timeout),
        grace_millis: millis(definition.grace),
        failures_max: retry_of_rule.as_ref().or(definition.retry.as_ref()).map(|retry| retry.attempts),
        limit_millis: definition.limit.map(millis),
        start_at: ask.start_at.filter(|start_at| *start_at > at.time),
        locks: of_its_rule.into_iter().chain(claim).collect(),
        wait_millis: None,
        pace,
        // If a person or client asks for it, it is not a turn of a loop.
        internal_above: of_program.map(|of| of.internal_above).unwrap_or_default(),
        link: None,
    };
    // A rerun continues the chain of the original execution, in the trace of the caller that asked for it.
    let cause = rerun.map(|rerun| Cause { trace: trace.map(str::to_owned).or_else(|| rerun.cause.trace.clone()), ..rerun.cause.clone() });
    let requested = Draft::new(StreamId::Execution(execution), actor, fact)
        .beginning(execution.0)
        .because(cause.clone())
        .with_trace(trace)
        .with_body(ask.body.clone());
    let planned = rerun.and_then(|rerun| {
        let (count, list) = rerun.kept.as_ref().filter(|_| pace == Pace::InSteps)?;
        let fact = RerunPlanned { of: rerun.of, from: rerun.from.clone(), count: *count };
        let cause = cause.clone().map(|cause| cause.from_parent(execution.0));
        Some(Draft { begins: None, cause, fact: fact.into(), body: Some(list.clone()), ..requested.clone() })
    });
    Decision::Done { drafts: std::iter::once(requested).chain(planned).collect(), answer: Answer::Execution(execution) }
}

/// What follows from the parameters of a request.
struct RequestTerms {
    pace: Pace,
    claim: Option<Claim>,
    labels: Labels,
    given_labels: BTreeSet<LabelName>,
}

/// Returns what follows from the parameters of a request, if they fit its action.
fn fit_request(definition: &Action, ask: &RequestExecution) -> Result<RequestTerms, Refusal> {
    let params = ask.params.root();
    let misfit = |misfits: String| Refusal::ParametersMisfit { action: ask.action.clone(), misfits };
    let pace = definition.pace(params).map_err(|why| misfit(why.to_string()))?;
    let claim = definition.claim(params).map_err(|why| misfit(why.message))?;
    let labels = definition.labels_of(params).map_err(|why| misfit(why.message))?;
    let (labels, given_labels) = with_given(ask, labels).map_err(|why| Refusal::LabelsMisfit { action: ask.action.clone(), why })?;
    Ok(RequestTerms { pace, claim, labels, given_labels })
}

/// Adds the given labels to those of the action and returns the names of the given ones, or why they cannot be added.
fn with_given(ask: &RequestExecution, mut labels: Labels) -> Result<(Labels, BTreeSet<LabelName>), String> {
    let (declared, given): (Vec<_>, Vec<_>) = ask.labels.iter().partition(|(name, _)| labels.contains_key(name));
    if let (None, Some((name, _))) = (&ask.rerun, declared.first()) {
        return Err(format!("`{name}` is already a label of `{}`, which sets its value", ask.action));
    }
    // The caller of a rerun cannot leave a label out, so the action's labels take precedence.
    let room = if ask.rerun.is_some() { LABELS_MAX.saturating_sub(labels.len()) } else { given.len() };
    let given = &given[..given.len().min(room)];
    let names = given.iter().map(|(name, _)| (*name).clone()).collect();
    labels.extend(given.iter().map(|(name, value)| ((*name).clone(), (*value).clone())));
    match labels.len() {
        ..=LABELS_MAX => Ok((labels, names)),
        count => Err(format!("it would have {count} labels; the limit is {LABELS_MAX}")),
    }
}

/// Returns the action as the current catalog has it, if the parameters fit it.
fn present_definition(now: CatalogRevision, ask: &RequestExecution, with: &Context<'_>) -> Result<Arc<Action>, Refusal> {
    if ask.catalog == now {
        return Ok(ask.definition.clone());
    }
    let Some(catalog) = with.catalogs.at(now) else { return Err(Refusal::NoCatalog(now)) };
    let of_steps = ask.rerun.as_ref().and_then(|rerun| rerun.rule.as_ref()).filter(|of| of.given.is_some());
    let action = match of_steps {
        Some(of) => {
            let rule = catalog.rules().get(&of.rule).filter(|rule| rule.has_steps());
            // The input of its steps was made from its event: nothing is checked against parameters.
            return rule.map(|rule| rule.action.clone()).ok_or_else(|| Refusal::NoRule(of.rule.clone()));
        }
        None => catalog.actions().get(&ask.action).ok_or_else(|| Refusal::NoAction(ask.action.clone()))?,
    };
    let misfits = action.parameters.misfits(ask.params.root(), Extra::Refused);
    if !misfits.is_empty() {
        let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(Refusal::ParametersMisfit { action: ask.action.clone(), misfits });
    }
    Ok(action.clone())
}

/// Accepts a worker's report on how an attempt ended. A report on an attempt that was given up is recorded
/// and changes nothing, except that it settles an execution that is indeterminate about this very attempt.
pub(crate) fn report(state: &State, actor: &Actor, report: &Report, at: &Moment, with: &Context<'_>) -> Decision {
    let Some(execution) = state.executions().get(&report.execution) else {
        return Decision::Refused(Refusal::NotOpen(report.execution));
    };
    let attempt = execution.phase.attempt();
    let draft = |fact: Fact| {
        Draft::new(StreamId::Execution(report.execution), actor, fact)
            .because(execution.cause(report.attempt.0))
            .with_body(report.body.clone())
    };
    match attempt {
        Some(current) if current.id == report.attempt && current.token != report.token => {
            Decision::Refused(Refusal::WrongToken { attempt: report.attempt, given: report.token })
        }
        Some(current) if current.id == report.attempt => {
            let ended_at = report.ended_before.map(|millis| at.time.minus_millis(millis));
            let refused = report.events().iter().find_map(|event| rights::may_emit(state, execution, &event.trigger, at.time).err());
            if let Some(why) = refused {
                // Nothing of the attempt is accepted: its events and vars belong together.
                let error = Failure::new(FailureKind::NotPermitted, why);
                let fact = AttemptFailed { attempt: report.attempt, error, retry_after_millis: None, output_tail: None, ended_at };
                return Decision::Done { drafts: vec![draft(fact.into()).with_body(None)], answer: Answer::Done };
            }
            let fact: Fact = match &report.outcome {
                ReportOutcome::Succeeded => AttemptSucceeded { attempt: report.attempt, ended_at }.into(),
                ReportOutcome::Failed(error) => {
                    let retry_after_millis = report.retry_after_millis;
                    let output_tail = report.output_tail.as_deref().map(|tail| end_of(tail, OUTPUT_TAIL_BYTES_MAX));
                    let output_tail = output_tail.filter(|tail| !tail.is_empty()).map(str::to_owned);
                    AttemptFailed { attempt: report.attempt, error: error.clone(), retry_after_millis, output_tail, ended_at }.into()
                }
            };
            let emits = execution.cause(report.attempt.0);
            let changes = Changer { actor, cause: Some(emits.clone()), trace: None, execution: Some(report.execution) };
            let changed = match vars::change_each(state, &changes, &report.vars) {
                Ok(changed) => changed,
                Err(refusal) => return Decision::Refused(refusal),
            };
            let cause = Some(Cause { depth: emits.depth + 1, ..emits });
            let source = EventOrigin { actor, cause, trace: None, internal_above: execution.internal_above.clone() };
            match events::receive_each(state, &source, report.events(), at, with) {
                Ok((drafts, received)) => {
                    // The result names the event that the log already has under the key.
                    let first = received.first().filter(|received| received.novelty == Novelty::Repeat).map(|received| received.id);
                    let result = first.map(|id| Body::json(format!(r#"{{"event":"{id}"}}"#)));
                    let ended = draft(fact).with_body(result.or_else(|| report.body.clone()));
                    Decision::Done { drafts: std::iter::once(ended).chain(drafts).chain(changed).collect(), answer: Answer::Done }
                }
                Err(refusal) => Decision::Refused(refusal),
            }
        }
        Some(_) | None => {
            let error = match &report.outcome {
                ReportOutcome::Succeeded => None,
                ReportOutcome::Failed(error) => Some(error.clone()),
            };
            let late = AttemptReportedLate { attempt: report.attempt, error };
            Decision::Done { drafts: vec![draft(late.into())], answer: Answer::ReportedLate }
        }
    }
}

/// Records that the worker of an attempt is gone. Records nothing if the attempt is over.
pub(crate) fn lose(
    state: &State,
    actor: &Actor,
    id: ExecutionId,
    attempt: AttemptId,
    evidence: Evidence,
    error: Option<Failure>,
) -> Decision {
    let drafts = match state.executions().get(&id) {
        Some(execution @ Execution { phase: Phase::Running(current) | Phase::Cancelling { attempt: current, .. }, .. })
            if current.id == attempt =>
        {
            let may_know = execution.is_given_to(actor);
            let evidence = if may_know { evidence } else { Evidence::MayHaveBegun };
            vec![Draft::new(StreamId::Execution(id), actor, AttemptLost { attempt, evidence, error }).because(execution.cause(attempt.0))]
        }
        Some(_) | None => Vec::new(),
    };
    Decision::Done { drafts, answer: Answer::Done }
}

/// Cancels an execution: it ends at once if nothing of it runs, and otherwise once its attempt was stopped or
/// its steps have ended. Canceling again changes nothing, except that a workflow that is cleaning up is then
/// asked to stop that as well.
pub(crate) fn cancel(state: &State, actor: &Actor, trace: Option<&str>, id: ExecutionId) -> Decision {
    let Some(execution) = state.executions().get(&id) else { return Decision::Refused(Refusal::NotOpen(id)) };
    let drafts = if may_be_cancelled(state, id, execution) {
        vec![Draft::new(StreamId::Execution(id), actor, ExecutionCancelRequested {}).because(execution.cause(id.0)).with_trace(trace)]
    } else {
        Vec::new()
    };
    Decision::Done { drafts, answer: Answer::Execution(id) }
}

/// Returns true if canceling an execution changes anything.
pub(crate) fn may_be_cancelled(state: &State, id: ExecutionId, execution: &Execution) -> bool {
    match execution.phase {
        Phase::Delayed
        | Phase::Blocked
        | Phase::Queued
        | Phase::Asleep
        | Phase::Asking
        | Phase::Awaiting
        | Phase::Woken
        | Phase::Running(_)
        | Phase::Indeterminate { .. }
        | Phase::Settled { .. } => true,
        // The first cancel ends the forward steps, the second also the cleanup after them. If nothing runs
        // for the workflow and it has not ended, it can be canceled any number of times.
        Phase::InSteps { .. } => state.workflows().progress(&id).is_some_and(|progress| progress.cancels < 2 || progress.open == 0),
        // An execution that has failed may be about to be retried.
        Phase::Ending { stop, .. } => stop.is_none() && execution.may_be_tried_again(),
        Phase::Cancelling { .. } | Phase::Withdrawn(_) => false,
    }
}

/// Accepts a person's statement of what became of an indeterminate execution.
pub(crate) fn settle(state: &State, actor: &Actor, id: ExecutionId, outcome: &Settlement, result: Option<&Body>) -> Decision {
    match state.executions().get(&id) {
        None => Decision::Refused(Refusal::NotOpen(id)),
        // A settlement is final, even if its consequences have not been worked out yet.
        Some(execution) if state.executions().is_indeterminate(&id) => {
            let settled = settled_as(actor, (id, execution), outcome.clone(), result.cloned());
            Decision::Done { drafts: vec![settled], answer: Answer::Execution(id) }
        }
        Some(_) => Decision::Refused(Refusal::NotIndeterminate(id)),
    }
}

/// Returns the record of what somebody states became of an execution.
pub(crate) fn settled_as(actor: &Actor, (id, execution): (ExecutionId, &Execution), outcome: Settlement, result: Option<Body>) -> Draft {
    let outcome = match outcome {
        Settlement::Failed { error } => Settlement::Failed { error: cut(error, REASON_BYTES_MAX) },
        Settlement::Succeeded | Settlement::Retry => outcome,
    };
    Draft::new(StreamId::Execution(id), actor, ExecutionSettled { outcome })
        .because(execution.cause(execution.phase.attempt().map_or(id.0, |attempt| attempt.id.0)))
        .with_body(result)
}

/// Returns the failure that is recorded for an execution whose attempt is lost.
pub(crate) fn lost_failure() -> Failure {
    Failure::new(FailureKind::Lost, "the worker is gone, and it is unknown whether the attempt took effect; the action has `on_lost: fail`")
}

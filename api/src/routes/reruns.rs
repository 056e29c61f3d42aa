//! Rerunning an execution that has ended, as a new one: from the start, or keeping the parts that succeeded.
//!
//! The original execution is read from its records, which never change; the core decides step by step what is
//! taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_engine::access::limit::Target;
use ensue_engine::catalog::{Action, Catalog, Does, Run, Step};
use ensue_engine::command::{Ask, OfRule, RequestExecution, Rerun};
use ensue_engine::executions::history::{History, HistoryEnd, KeptError};
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, LogId};
use ensue_engine::locks::facts::{Claim, LockOwner};
use ensue_engine::names::{RuleRef, StepName};
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Body, Record, Revision, StreamId};
use ensue_engine::rules::judge::complete;
use ensue_engine::workflows::facts::{KeptAs, RerunFrom, ReusableStep};
use ensue_expression::Document;
use ensue_views::Execution;
use serde_json::{Map, Value};
use thiserror::Error;

use super::actions::{ParametersMisfit, repeat_answer, request_execution, unanswerable};
use super::{Routes, control};
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::call::Call;
use crate::operation::{BodyPresence, DryRunQuery, Header, HonoredHeader, Operation, Takes, schema_of};
use crate::permissions::{ActionsExecute, ActionsRead, ExecutionsRead, ExecutionsRerun, Permission as _, RulesRead};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond;
use crate::rows::left_views;
use crate::wire::executions::{WireExecution, WireRerun};
use crate::wire::reruns::{WirePlannedStep, WireRerunAnswer, WireRerunPlan};

/// Why an execution cannot be rerun.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "rerun-refused", fault = Conflict)]
enum RerunRefused {
    /// It has not ended.
    #[error("the execution {0} has not ended")]
    #[explain(hint = "wait until it has ended, or end it first with `ensue executions cancel {0}`")]
    GoesOn(ExecutionId),
    /// It is a step of a workflow.
    #[error("the execution {id} is step `{step}` of {root}, and only the whole workflow can be rerun")]
    #[explain(hint = "run `ensue executions rerun {root} --from {step}`, if it is a step of that workflow itself")]
    IsStep {
        /// The step's execution.
        id: ExecutionId,
        /// The step.
        step: StepName,
        /// The outermost workflow around it.
        root: ExecutionId,
    },
    /// No part of it failed.
    #[error("the execution {0} succeeded, so there is no failed part to start from")]
    #[explain(hint = "run `ensue executions rerun {0}` for all of it, or add `--from STEP` for a step and those that need it")]
    Succeeded(ExecutionId),
    /// The step does not exist.
    #[error("there is no step `{step}` in the current version of `{of}`")]
    #[explain(hint = "name a step of the workflow as it is installed now, `start` or `failed`")]
    NoStep {
        /// The name in the request.
        step: String,
        /// The action or rule that is run.
        of: String,
    },
    /// It ran the steps of a rule that no longer has steps.
    #[error("the rule `{0}` no longer has steps: it now runs an action")]
    #[explain(hint = "send an event of your own, so that the rule acts on it")]
    NoStepsNow(RuleRef),
    /// The results of the steps that are taken over depend on the old parameters.
    #[error("new `params` require `from: start`: the steps that are taken over used the old ones")]
    #[explain(hint = "leave out `params` or `from`")]
    ParamsMidway,
    /// A rule's steps have no parameters.
    #[error("the execution {0} runs the steps of a rule: it has an event and no `params`")]
    #[explain(hint = "leave out `params`; send an event of your own, so that the rule acts on it")]
    ParamsOfRule(ExecutionId),
    /// There is too much to take over.
    #[error("{0}")]
    #[explain(hint = "rerun it from the start, or move parts of it to sub-workflows")]
    TooMany(String),
    /// Its parameters are no longer stored.
    #[error("the parameters of {0} are no longer stored")]
    #[explain(hint = "run the action with your own parameters: `ensue run`")]
    ParamsGone(ExecutionId),
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<ExecutionsRerun>(
        "/executions/{id}/rerun",
        rerun,
        Operation::new("execution_rerun", "Reruns an execution that has ended")
            .with_query(&[DryRunQuery::PARAMETERS])
            .honors(&[HonoredHeader::Prefer])
            .takes(Takes::Json { schema: schema_of::<WireRerun>, example: r#"{"from": "failed"}"#, presence: BodyPresence::Optional })
            .gives::<WireExecution>(202, "The rerun was requested.", &[Header::Position, Header::Location, Header::PreferenceApplied])
            .gives::<WireRerunAnswer>(
                200,
                "The rerun ended within the time that the caller preferred to wait; or this is a dry run, and nothing was changed.",
                &[Header::Position, Header::Location, Header::PreferenceApplied],
            )
            .refuses(&[(409, "chain_too_deep"), (409, "rerun_refused"), (422, "parameters_invalid")])
            .demands_admission(),
    );
}

/// Reruns an execution: 202 with the new one, or, if the caller prefers to wait and it ends in time, 200 with
/// the ended execution.
pub(super) async fn rerun(allowed: AllowedCaller<ExecutionsRerun>, mut call: Call) -> Outcome {
    let api = call.api().clone();
    if let Some((before, _)) = call.before().await? {
        return repeat_answer(call, &before).await;
    }
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    call.admission()?;
    let wanted: WireRerun = call.json_or_nothing().await?;
    control::demand(&call, &allowed, id).await?;
    let runs = AllowedCaller::<ActionsExecute>::demand(&*api.ports.access, call.request(), &Secrecy::Open)?;
    let request = api.threads.blocking(move |ports| request(ports, id, wanted, RightsOf::Caller)).await??;
    demand_action(&runs, &request)?;
    if call.is_dry_run()? {
        let (definition, kept) = (request.definition.clone(), request.rerun.as_ref().and_then(|rerun| rerun.kept.clone()));
        call.check(call.on_behalf(&allowed)?, Ask::RequestExecution(request)).await?;
        let plan = api.threads.blocking(move |ports| plan(ports, id, &definition, kept.map(|(_, list)| list))).await??;
        return respond::json(&plan);
    }
    request_execution(&allowed, call, request).await
}

/// On whose rights a rerun runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RightsOf {
    /// On those of the caller.
    Caller,
    /// On those of the execution that is rerun.
    FirstRun,
}

/// Checks that the caller of a rerun may run its action.
pub(super) fn demand_action(runs: &AllowedCaller<ActionsExecute>, request: &RequestExecution) -> Result<(), Problem> {
    let name = request.action.as_str();
    if runs.includes(&Target::of_action(name)) { Ok(()) } else { Err(runs.beyond_limit(name)) }
}

/// Builds the request to the core. Blocking.
pub(super) fn request(ports: &Ports, id: ExecutionId, wanted: WireRerun, on: RightsOf) -> Result<RequestExecution, Problem> {
    let records = records_of(ports, id)?;
    let missing = || Missing::new(ExecutionsRead::THING, &id.to_string());
    let log = records.first().map(|record| record.log).ok_or_else(missing)?;
    let history = History::of(id, &records).ok_or_else(missing)?;
    if let Some(part_of) = &history.requested.part_of {
        let root = outermost(ports, part_of.workflow)?;
        return Err(RerunRefused::IsStep { id, step: part_of.step.clone(), root }.into());
    }
    let Some(end) = history.end else { return Err(RerunRefused::GoesOn(id).into()) };
    // Its own steps could be read from the log, but a reader of the rerun would find nothing of what it takes
    // over. If the views cannot be read, the rerun is still allowed.
    if let Ok(Some(left)) = left_views::<Execution>(ports, &id.to_string(), ExecutionsRead::THING) {
        return Err(left.into());
    }
    let catalog = ports.installed.current();
    let (action, priority) = present(&catalog, &history)?;
    let from = from(wanted.from.as_deref(), &action)?;
    if from == RerunFrom::Failed && end == HistoryEnd::Succeeded {
        return Err(RerunRefused::Succeeded(id).into());
    }
    if wanted.params.is_some() && from != RerunFrom::Start {
        return Err(RerunRefused::ParamsMidway.into());
    }
    let given = ports.log.body(history.params.at)?.ok_or(RerunRefused::ParamsGone(id))?;
    let mut given: Value = serde_json::from_slice(&given).map_err(|why| Problem::bug(&why))?;
    if let Some(params) = wanted.params {
        if history.requested.given.is_some() {
            return Err(RerunRefused::ParamsOfRule(id).into());
        }
        change(&mut given, params);
    }
    let name = history.requested.action.clone();
    let given = Document::from_value(&given);
    let params = if history.requested.given.is_some() {
        // The steps of a rule read its event; the data next to the event, the events of a window, stays as it
        // was.
        given
    } else {
        complete(&action.parameters, given).map_err(|misfits| Problem::from(ParametersMisfit(name.clone())).with_errors(misfits))?
    };
    if let Some(misfit) = unanswerable(&action, &params) {
        return Err(Problem::from(ParametersMisfit(name)).with_errors([misfit]));
    }
    let kept = kept_parts(ports, log, &history, &action, &from)?;
    let requested = &history.requested;
    let rule = requested.rule.clone().map(|rule| OfRule {
        rule,
        event: requested.event,
        enforcement: requested.enforcement,
        given: requested.given.as_deref().cloned(),
    });
    let rule_claim = requested.locks.iter().find_map(|claim| present_claim(&catalog, claim));
    let scope = requested.scope();
    let principal = match on {
        RightsOf::Caller => None,
        RightsOf::FirstRun => history.principal.clone(),
    };
    let rerun = Rerun { of: id, cause: history.cause.clone(), rule, scope, principal, rule_claim, priority, from, kept };
    Ok(RequestExecution {
        action: name,
        definition: action,
        catalog: catalog.revision(),
        body: Body::json(params.bytes().clone()),
        params,
        start_at: None,
        labels: requested.labels_given(),
        rerun: Some(Box::new(rerun)),
    })
}

/// Returns what a rerun would do; `kept` is the list of what succeeded before. Blocking.
fn plan(ports: &Ports, of: ExecutionId, action: &Action, kept: Option<Body>) -> Result<WireRerunPlan, Problem> {
    let mut plan = WireRerunPlan { runs: Vec::new(), taken_over: Vec::new(), decided_again: Vec::new() };
    let Run::Workflow(workflow) = &action.run else { return Ok(plan) };
    let list = kept.and_then(|kept| kept.content);
    let kept: Vec<ReusableStep> = list.map_or(Ok(Vec::new()), |list| serde_json::from_slice(&list)).map_err(|why| Problem::bug(&why))?;
    let mut items: BTreeMap<StepName, u32> = BTreeMap::new();
    for record in records_of(ports, of)? {
        if let Fact::StepExpanded(fact) = record.fact {
            items.insert(fact.step, fact.count);
        }
    }
    let done = |name: &StepName| {
        let done = kept.iter().filter(|kept| kept.step == *name && kept.item.is_some()).count();
        u32::try_from(done).unwrap_or(u32::MAX)
    };
    let whole: BTreeMap<&StepName, &KeptAs> = kept.iter().filter(|kept| kept.item.is_none()).map(|kept| (&kept.step, &kept.what)).collect();
    let has_rest = |name: &StepName| match whole.get(name) {
        Some(KeptAs::Each { .. }) => items.get(name).is_none_or(|all| *all > done(name)),
        Some(KeptAs::Skipped | KeptAs::Done(_)) => false,
        None => true,
    };
    // A step may be taken over if nothing that it needs runs again.
    let mut unchanged: BTreeSet<&StepName> = BTreeSet::new();
    loop {
        let known = unchanged.len();
        let follows = |step: &&Step| !has_rest(&step.name) && has_all(step, &unchanged);
        let more: Vec<&StepName> = workflow.steps().iter().filter(follows).map(|step| &step.name).collect();
        unchanged.extend(more);
        if unchanged.len() == known {
            break;
        }
    }
    for step in workflow.steps() {
        let name = &step.name;
        let planned = |items| WirePlannedStep { step: name.clone(), items };
        match whole.get(name).filter(|_| has_all(step, &unchanged)) {
            None => plan.runs.push(planned(None)),
            Some(KeptAs::Skipped) => plan.decided_again.push(name.clone()),
            Some(KeptAs::Done(_)) => plan.taken_over.push(planned(None)),
            Some(KeptAs::Each { .. }) if !has_rest(name) => plan.taken_over.push(planned(None)),
            Some(KeptAs::Each { .. }) => {
                let done = done(name);
                plan.runs.push(planned(items.get(name).map(|all| all.saturating_sub(done)).filter(|_| done > 0)));
                plan.taken_over.extend((done > 0).then(|| planned(Some(done))));
            }
        }
    }
    Ok(plan)
}

/// Returns true if nothing that a step needs runs again: all of it, or as much as is enough.
fn has_all(step: &Step, unchanged: &BTreeSet<&StepName>) -> bool {
    let count = step.needs.iter().filter(|needs| unchanged.contains(needs)).count();
    count >= step.enough.map_or(step.needs.len(), |enough| enough.count as usize)
}

/// Reads all records of an execution. Blocking.
fn records_of(ports: &Ports, id: ExecutionId) -> Result<Vec<Record>, LogError> {
    let (stream, mut records) = (StreamId::Execution(id), Vec::new());
    loop {
        let after = records.last().map_or(Revision(0), |last: &Record| last.revision);
        let page = ports.log.read_stream(&stream, after, ReadLimit::default())?;
        if page.is_empty() {
            return Ok(records);
        }
        // The bodies of the records are loaded where they are needed.
        records.extend(page.into_iter().map(without_content));
    }
}

fn without_content(mut record: Record) -> Record {
    if let Some(body) = &mut record.body {
        body.content = None;
    }
    record
}

/// Finds the outermost workflow around an execution. Blocking.
fn outermost(ports: &Ports, workflow: ExecutionId) -> Result<ExecutionId, LogError> {
    let mut outermost = workflow;
    loop {
        let first = ports.log.read_stream(&StreamId::Execution(outermost), Revision(0), ReadLimit { records: 1, bytes: usize::MAX })?;
        let above = History::of(outermost, &first).and_then(|history| history.requested.part_of);
        match above {
            Some(part_of) => outermost = part_of.workflow,
            None => return Ok(outermost),
        }
    }
}

/// Returns the lock of a rule that the rerun must hold: for the same key, with the rule's current definition.
fn present_claim(catalog: &Catalog, then: &Claim) -> Option<Claim> {
    let LockOwner::Rule(rule) = &then.owner else { return None };
    let stages = catalog.rules().get(rule)?.flow.as_ref()?.stages();
    let (limit, conflict) = stages.iter().find_map(|stage| match stage.does {
        Does::Concurrency { limit, conflict } => Some((limit, conflict)),
        _ => None,
    })?;
    Some(Claim { limit, conflict, ..then.clone() })
}

/// Returns the current version of what an execution ran, with the priority set by its rule.
fn present(catalog: &Catalog, history: &History) -> Result<(Arc<Action>, Option<i8>), Problem> {
    let requested = &history.requested;
    let rule = requested.rule.as_ref().and_then(|rule| catalog.rules().get(rule));
    let priority = rule.and_then(|rule| rule.priority);
    if requested.given.is_some() {
        let gone = || Missing::new(RulesRead::THING, requested.rule.as_ref().map_or("", RuleRef::as_str));
        let rule = rule.ok_or_else(gone)?;
        if !rule.has_steps() {
            return Err(RerunRefused::NoStepsNow(rule.name.clone()).into());
        }
        return Ok((rule.action.clone(), priority));
    }
    let action = catalog.actions().get(&requested.action).ok_or_else(|| Missing::new(ActionsRead::THING, requested.action.as_str()))?;
    Ok((action.clone(), priority))
}

fn from(text: Option<&str>, action: &Action) -> Result<RerunFrom, RerunRefused> {
    let no_step = |step: &str| RerunRefused::NoStep { step: crate::problem::quote(step), of: action.name.to_string() };
    match text {
        None | Some("start") => Ok(RerunFrom::Start),
        Some("failed") => Ok(RerunFrom::Failed),
        Some(text) => {
            let Run::Workflow(workflow) = &action.run else { return Err(no_step(text)) };
            let step: StepName = text.parse().map_err(|_| no_step(text))?;
            workflow.step(&step).map(|step| RerunFrom::Step(step.name.clone())).ok_or_else(|| no_step(text))
        }
    }
}

fn change(given: &mut Value, params: Map<String, Value>) {
    match given {
        Value::Object(fields) => fields.extend(params),
        other => *other = Value::Object(params),
    }
}

/// Returns what succeeded and is taken over: its size, and its list.
fn kept_parts(ports: &Ports, log: LogId, history: &History, action: &Action, from: &RerunFrom) -> Result<Option<(u32, Body)>, Problem> {
    let Run::Workflow(workflow) = &action.run else { return Ok(None) };
    if *from == RerunFrom::Start {
        return Ok(None);
    }
    let kept = history.reusable_steps(log, workflow, from, |id| records_of(ports, id)).map_err(|error| match error {
        KeptError::TooMany => Problem::from(RerunRefused::TooMany(error.to_string())),
        KeptError::Unreadable(error) => Problem::from(error),
    })?;
    let list = serde_json::to_vec(&kept).map_err(|why| Problem::bug(&why))?;
    Ok(Some((u32::try_from(kept.len()).unwrap_or(u32::MAX), Body::json(list))))
}

//! How a replay begins: with the rule's decision on the event, and with the request that would be made.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Action, Catalog, Rule};
use ensue_engine::command::VarChange;
use ensue_engine::executions::facts::{ExecutionRequested, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Body, Draft, Position, Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::judge::{EventView, Plan, Verdict, complete, judge_rule};
use ensue_engine::vars::values::SeenVars;
use ensue_expression::Document;
use serde_json::Value;

use super::divergence::{self, Divergence, What};
use super::{Definitions, RecordedDecision, RecordedExecution, Unreplayable, change_of, draft_of};

/// Returns the request that would be made now, or how it differs from the recorded one.
pub(super) fn begin(
    recorded: &RecordedExecution,
    (record, then): (&Record, &ExecutionRequested),
    definitions: Definitions<'_>,
    catalog: &Catalog,
) -> Result<Result<(ExecutionRequested, Body), Divergence>, Unreplayable> {
    let body = record.body.clone().filter(|body| body.content.is_some()).ok_or(Unreplayable::BodyGone(record.position))?;
    let differs = |what, pointer: String, recorded: Option<Value>, would: Option<Value>| {
        Ok(Err(Divergence { step: String::new(), what, pointer, recorded, would }))
    };
    let ran = || Some(Value::from(format!("run {}", then.action)));
    let enforced = recorded
        .enforced
        .as_ref()
        .filter(|enforced| matches!(enforced.made.outcome, Outcome::Executed { execution } if execution == recorded.execution));
    let (action, params) = match (enforced, &then.rule) {
        (Some(enforced), _) => match judge_again(enforced, catalog, &vars_before(recorded, record.position)?)? {
            RuleOutcome::Runs(rule, params) => {
                let action = &rule.action;
                if action.name != then.action {
                    return differs(What::Rule, String::new(), ran(), Some(Value::from(format!("run {}", action.name))));
                }
                // Defaults that the action has received since then are not a choice of the rule.
                let given: Value = serde_json::from_slice(body.content.as_deref().unwrap_or_default()).unwrap_or_default();
                let completed = complete(&action.parameters, Document::from_value(&given))
                    .map_or_else(|_| body.clone(), |document| Body::json(document.bytes().clone()));
                if let Some((pointer, then, now)) = divergence::bodies(Some(&completed), Some(&params)) {
                    return differs(What::Input, pointer, then, now);
                }
                (action.clone(), body)
            }
            RuleOutcome::Not(would) => return differs(What::Rule, String::new(), ran(), would.map(Value::from)),
            RuleOutcome::Depends(rule) if rule.action.name != then.action => {
                return differs(What::Rule, String::new(), ran(), Some(Value::from(format!("run {}", rule.action.name))));
            }
            RuleOutcome::Depends(rule) => (rule.action.clone(), body),
        },
        (None, Some(rule)) if then.given.is_some() => match catalog.rules().get(rule).filter(|rule| rule.has_steps()) {
            Some(rule) => (rule.action.clone(), body),
            None => return differs(What::Rule, String::new(), ran(), Some(Value::from(format!("there is no rule `{rule}` with steps")))),
        },
        (None, rule) => {
            // The other reasons why it was held depend on other events; whether the rule would run this
            // action does not.
            let runs = rule.as_ref().map(|rule| (rule, catalog.rules().get(rule).map(|rule| &rule.action.name)));
            match runs {
                Some((rule, None)) => {
                    return differs(What::Rule, String::new(), ran(), Some(Value::from(format!("there is no rule `{rule}`"))));
                }
                Some((_, Some(name))) if *name != then.action => {
                    return differs(What::Rule, String::new(), ran(), Some(Value::from(format!("run {name}"))));
                }
                Some(_) | None => {}
            }
            let Some(action) = catalog.actions().get(&then.action) else {
                let none = Value::from(format!("there is no action `{}`", then.action));
                return differs(What::Request, String::new(), ran(), Some(none));
            };
            (action.clone(), body)
        }
    };
    if matches!(definitions, Definitions::Recorded(_)) {
        return Ok(Ok((then.clone(), params)));
    }
    Ok(defined_now(then, &action, params))
}

/// Returns the request as the action defines it now, or how it differs from the recorded one.
fn defined_now(then: &ExecutionRequested, action: &Action, params: Body) -> Result<(ExecutionRequested, Body), Divergence> {
    let differs = |what, pointer: String, recorded: Option<Value>, would: Option<Value>| {
        Err(Divergence { step: String::new(), what, pointer, recorded, would })
    };
    let ran = || Some(Value::from(format!("run {}", then.action)));
    let mut now = then.clone();
    let plain = params.content.clone().unwrap_or_default();
    let given: Value = serde_json::from_slice(&plain).unwrap_or_default();
    // The input of a rule's steps was built from its event, so it is not checked against parameters.
    let of_steps = then.given.is_some();
    let given = Document::from_value(&given);
    let document = if of_steps { Ok(given) } else { complete(&action.parameters, given) };
    let document = match document {
        Ok(document) => document,
        Err(misfits) => {
            let misfits: Vec<String> = misfits.iter().map(ToString::to_string).collect();
            return differs(What::Request, String::new(), ran(), Some(Value::from(misfits.join("; "))));
        }
    };
    now.pace = match action.pace(document.root()) {
        Ok(pace) => pace,
        Err(misfit) => return differs(What::Request, String::new(), ran(), Some(Value::from(misfit.to_string()))),
    };
    now.labels = match action.labels_of(document.root()) {
        Ok(labels) => then.labels_given().into_iter().chain(labels).collect(),
        Err(misfit) => return differs(What::Request, String::new(), ran(), Some(Value::from(misfit.to_string()))),
    };
    now.given_labels.retain(|name| !action.labels.contains_key(name));
    let completed = Body::json(document.bytes().clone());
    // A parameter that the workflow has gained since then counts only where a step reads it.
    if now.pace != Pace::InSteps
        && let Some((pointer, then, would)) = divergence::bodies(Some(&params), Some(&completed))
    {
        return differs(What::Input, pointer, then, would);
    }
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    now.failures_max = action.retry.as_ref().map(|retry| retry.attempts);
    now.limit_millis = action.limit.map(millis);
    (now.idempotent, now.on_lost) = (action.idempotent, action.on_lost);
    (now.timeout_millis, now.grace_millis) = (millis(action.timeout), millis(action.grace));
    Ok((now, if of_steps { params } else { completed }))
}

/// Returns what a rerun takes over, which was recorded with the request.
pub(super) fn find_rerun_plan(recorded: &RecordedExecution) -> Result<Option<Draft>, Unreplayable> {
    let planned = recorded.records.iter().find(|record| matches!(record.fact, Fact::RerunPlanned(_)));
    match planned {
        Some(record) if record.body.as_ref().is_none_or(|body| body.content.is_none()) => Err(Unreplayable::BodyGone(record.position)),
        planned => Ok(planned.map(draft_of)),
    }
}

/// What a rule does with the event that it decided on.
enum RuleOutcome {
    /// It runs its action with these parameters.
    Runs(Arc<Rule>, Body),
    /// It does not run an action; what it does instead.
    Not(Option<String>),
    /// It depends on other events.
    Depends(Arc<Rule>),
}

/// Returns the recorded vars as they were before a position.
fn vars_before(recorded: &RecordedExecution, position: Position) -> Result<SeenVars, Unreplayable> {
    let mut values = BTreeMap::new();
    for record in recorded.records.iter().filter(|record| record.position < position) {
        match change_of(record)? {
            Some(VarChange { name, value: Some(value) }) => {
                let plain = value.content.ok_or(Unreplayable::BodyGone(record.position))?;
                values.insert(name, Document::parse(plain).map_err(|_| Unreplayable::BodyGone(record.position))?);
            }
            Some(VarChange { name, value: None }) => drop(values.remove(&name)),
            None => {}
        }
    }
    Ok(SeenVars::from_values(values))
}

fn judge_again(enforced: &RecordedDecision, catalog: &Catalog, vars: &SeenVars) -> Result<RuleOutcome, Unreplayable> {
    let RecordedDecision { event, made } = enforced;
    let name: &RuleRef = &made.rule;
    let Some(rule) = catalog.rules().get(name).cloned() else { return Ok(RuleOutcome::Not(Some(format!("there is no rule `{name}`")))) };
    let (Fact::EventReceived(fact), StreamId::Event(id)) = (&event.fact, &event.stream) else { return Ok(RuleOutcome::Depends(rule)) };
    let is_asked = rule.triggers.contains(&fact.trigger) || fact.rule.as_ref() == Some(name);
    if !is_asked {
        return Ok(RuleOutcome::Not(Some(format!("`{name}` does not listen to {}", fact.trigger))));
    }
    let plain = event.body.as_ref().and_then(|body| body.content.clone()).ok_or(Unreplayable::BodyGone(event.position))?;
    let Ok(payload) = Document::parse(plain) else { return Err(Unreplayable::BodyGone(event.position)) };
    let payload = match catalog.newest(&fact.trigger, fact.version, &payload) {
        Ok(newest) => newest,
        Err(why) => return Ok(RuleOutcome::Not(Some(format!("it fails: {why}")))),
    };
    let view = EventView {
        id: *id,
        trigger: &fact.trigger,
        source: &fact.source,
        time: fact.occurred_at,
        payload: &payload,
        only: fact.rule.as_ref(),
    };
    Ok(match judge_rule(&rule, &view, vars) {
        None => RuleOutcome::Not(Some("it does not match".to_owned())),
        Some(Verdict::Erred { message }) => RuleOutcome::Not(Some(format!("it fails: {message}"))),
        Some(Verdict::Undecided) => RuleOutcome::Depends(rule),
        Some(Verdict::Matched(plan)) => match plan {
            Plan::Run { params, .. } => RuleOutcome::Runs(rule, params),
            Plan::Reject { error } => RuleOutcome::Not(Some(format!("rejected: {error}"))),
            Plan::Controlled { run, .. } => match run.map(|plan| *plan) {
                Some(Plan::Run { params, .. }) => RuleOutcome::Runs(rule, params),
                Some(Plan::Reject { error }) => RuleOutcome::Not(Some(format!("rejected: {error}"))),
                Some(Plan::Controlled { .. }) | None => RuleOutcome::Depends(rule),
            },
        },
    })
}

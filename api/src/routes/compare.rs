//! Comparing two executions: what differs in their definitions, parameters, steps and results.

use std::collections::BTreeMap;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::StepName;
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_views::executions::Status;
use ensue_views::store::ListQuery;
use ensue_views::{Column, Execution, Handle, RowReach, ViewName};
use serde_json::value::RawValue;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond;
use crate::routes::graph::graph;
use crate::rows::read_row;
use crate::wire::compare::{Pair, WireDifference, WireStepDifference};
use crate::wire::embed_body;
use crate::wire::graph::{WireGraphNode, WireStepState};

/// Stands for the last execution before the first one that did the same and succeeded.
const LAST_SUCCESS: &str = "last_success";

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions/{id}/compare/{other}",
        get,
        Operation::shows::<WireDifference>("execution_compare", "Returns what differs between two executions").sees_views(),
    );
}

/// Compares two executions.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let first: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    let other: ExecutionId = match call.part("other") {
        LAST_SUCCESS => {
            let (of, reach) = (first.clone(), allowed.rows());
            let found = call.api().threads.blocking(move |ports| last_success(ports, &of, reach)).await??;
            found.ok_or_else(|| Missing::new(ExecutionsRead::THING, LAST_SUCCESS))?
        }
        _ => call.parse_part("other", ExecutionsRead::THING)?,
    };
    let second: Execution = call.api().row(other.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    respond::json(&call.api().threads.blocking(move |ports| difference(ports, &first, &second)).await??)
}

/// Returns the last execution before this one that did the same and succeeded, among those that the caller reaches.
/// Blocking.
pub(super) fn last_success(ports: &Ports, of: &Execution, reach: RowReach) -> Result<Option<ExecutionId>, Problem> {
    let query = ListQuery { after: Some(of.position), limit: 1, ..ListQuery::newest(ViewName::Executions, reach) };
    let mut query = query.with(Column::Action, of.action.as_str()).with(Column::Status, Status::Succeeded.as_str());
    if let Some(rule) = &of.rule {
        query = query.with(Column::Rule, rule.as_str());
    }
    let found = ports.views.list(&query)?;
    Ok(found.first().map(ensue_views::Row::read::<Execution>).transpose()?.map(|execution| execution.id))
}

fn difference(ports: &Ports, first: &Execution, second: &Execution) -> Result<WireDifference, Problem> {
    let seconds = |execution: &Execution| execution.ended_at.map(|ended| seconds_of(execution.requested_at, ended));
    Ok(WireDifference {
        executions: Pair { first: first.id.to_string(), second: second.id.to_string() },
        action: Pair::if_different(first.action.to_string(), second.action.to_string()),
        status: Pair::if_different(first.status.into(), second.status.into()),
        catalog: Pair::if_different(first.catalog.0, second.catalog.0),
        seconds: Pair::if_different(seconds(first), seconds(second)),
        params: bodies(ports, first.params, second.params)?,
        result: bodies(ports, first.result, second.result)?,
        steps: steps(ports, first, second)?,
    })
}

fn seconds_of(from: Timestamp, to: Timestamp) -> f64 {
    to.micros_since(from) as f64 / 1e6
}

/// Reads two bodies if they differ.
fn bodies(ports: &Ports, first: Option<Handle>, second: Option<Handle>) -> Result<Option<Pair<Option<Box<RawValue>>>>, Problem> {
    if first.map(|body| body.digest) == second.map(|body| body.digest) {
        return Ok(None);
    }
    let read = |body: Option<Handle>| -> Result<Option<Box<RawValue>>, Problem> {
        Ok(body.map(|body| ports.log.body(body.position)).transpose()?.flatten().as_ref().map(embed_body))
    };
    Ok(Some(Pair { first: read(first)?, second: read(second)? }))
}

/// A step of an execution.
#[derive(Default)]
struct ComparedStep {
    state: Option<WireStepState>,
    seconds: Option<f64>,
    result: Option<Digest>,
}

fn steps(ports: &Ports, first: &Execution, second: &Execution) -> Result<Vec<WireStepDifference>, Problem> {
    let (mut of_first, mut of_second) = (steps_of(ports, first)?, steps_of(ports, second)?);
    let mut names: Vec<StepName> = of_first.iter().map(|(name, _)| name.clone()).collect();
    names.extend(of_second.iter().map(|(name, _)| name.clone()).filter(|name| !of_first.iter().any(|(known, _)| known == name)));
    let (mut of_first, mut of_second): (BTreeMap<_, _>, BTreeMap<_, _>) = (of_first.drain(..).collect(), of_second.drain(..).collect());
    let differing = names.into_iter().filter_map(|step| {
        let (first, second) = (of_first.remove(&step).unwrap_or_default(), of_second.remove(&step).unwrap_or_default());
        let state = Pair::if_different(first.state, second.state);
        let seconds = Pair::if_different(first.seconds, second.seconds);
        let result_differs = first.result != second.result;
        (state.is_some() || seconds.is_some() || result_differs).then_some(WireStepDifference { step, state, seconds, result_differs })
    });
    Ok(differing.collect())
}

/// Returns the steps of an execution, in the order in which they are written. There are none if their definition is
/// no longer stored.
fn steps_of(ports: &Ports, execution: &Execution) -> Result<Vec<(StepName, ComparedStep)>, Problem> {
    let Ok(graph) = graph(ports, execution) else { return Ok(Vec::new()) };
    let step = |node: WireGraphNode| {
        let single = node.execution.map(|id| read_row::<Execution>(ports, &id.to_string())).transpose()?.flatten();
        let seconds = node.started_at.zip(node.ended_at).map(|(from, to)| seconds_of(from, to));
        let result = single.and_then(|single| single.result).map(|result| result.digest);
        Ok((node.step.step, ComparedStep { state: node.state, seconds, result }))
    };
    graph.nodes.into_iter().map(step).collect()
}

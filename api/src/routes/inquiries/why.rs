//! What led to an inquiry: the event, the rule and the workflows above the execution that asks.
//!
//! People who answer may not read traces or executions. They get texts, and nothing of a payload, of parameters or
//! of results.

use ensue_engine::ids::InquiryId;
use ensue_engine::names::StepName;
use ensue_views::{Enforcement, Event, Execution, Inquiry};

use super::visible;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::permissions::{InquiriesRead, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::respond;
use crate::routes::graph::{definition, graph};
use crate::rows::read_row;
use crate::wire::graph::{WireGraph, WireGraphNode};
use crate::wire::why::{WireCause, WireEndedStep, WireWhy};

/// The maximum number of workflows above a question; more cannot be nested.
const WORKFLOWS_MAX: usize = 32;

/// Shows what led to an inquiry.
pub(super) async fn get(allowed: AllowedCaller<InquiriesRead>, call: Call) -> Outcome {
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    let inquiry = visible(&call, &allowed, id).await?;
    respond::json(&call.api().threads.blocking(move |ports| why(ports, &inquiry)).await??)
}

/// Reads the causes. Those that have left the views are left out. Blocking.
fn why(ports: &Ports, inquiry: &Inquiry) -> Result<WireWhy, Problem> {
    let mut why = WireWhy { inquiry: inquiry.id, chain: Vec::new(), waiting: Vec::new() };
    let Some(asking) = read_row::<Execution>(ports, &inquiry.execution.to_string())? else { return Ok(why) };
    let mut outermost = asking.clone();
    why.chain.push(WireCause::Question {
        id: asking.id,
        action: asking.action.clone(),
        labels: asking.labels.clone(),
        at: asking.requested_at,
    });
    for depth in 0..WORKFLOWS_MAX {
        let Some(parent) = outermost.parent else { break };
        let Some(workflow) = read_row::<Execution>(ports, &parent.to_string())? else { break };
        // Without its definition nothing is known about its steps.
        let steps = graph(ports, &workflow).ok();
        if depth == 0 {
            why.waiting = waiting(steps.as_ref(), outermost.step.as_ref());
        }
        why.chain.push(WireCause::Workflow {
            id: workflow.id,
            action: workflow.action.clone(),
            description: description(ports, &workflow),
            labels: workflow.labels.clone(),
            at: workflow.requested_at,
            rerun_of: workflow.rerun_of,
            ended: steps.map(ended_steps).unwrap_or_default(),
            step: outermost.step,
            item: outermost.item,
        });
        outermost = workflow;
    }
    let enforcement = outermost.enforcement.map(|id| read_row::<Enforcement>(ports, &id.to_string())).transpose()?.flatten();
    if let Some(enforcement) = enforcement {
        let catalog = ports.installed.at(enforcement.rule_revision);
        let rule = catalog.as_ref().and_then(|catalog| catalog.rules().get(&enforcement.rule));
        let description = rule.map(|rule| rule.description.clone()).unwrap_or_default();
        why.chain.push(WireCause::Rule { r#ref: enforcement.rule.clone(), description });
        if let Some(event) = read_row::<Event>(ports, &enforcement.event.to_string())? {
            why.chain.push(WireCause::Event { id: event.id, trigger: event.trigger, at: event.received_at });
        }
    }
    why.chain.reverse();
    Ok(why)
}

fn description(ports: &Ports, workflow: &Execution) -> String {
    let catalog = ports.installed.at(workflow.catalog);
    catalog.as_ref().and_then(|catalog| definition(catalog, workflow)).map(|action| action.description.clone()).unwrap_or_default()
}

/// Returns the steps that need the one that asks.
fn waiting(graph: Option<&WireGraph>, step: Option<&StepName>) -> Vec<StepName> {
    let (Some(graph), Some(step)) = (graph, step) else { return Vec::new() };
    graph.edges.iter().filter(|edge| edge.from == *step).map(|edge| edge.to.clone()).collect()
}

fn ended_steps(graph: WireGraph) -> Vec<WireEndedStep> {
    let ended = |node: WireGraphNode| {
        let state = node.state.filter(|state| state.is_end())?;
        let seconds = node.started_at.zip(node.ended_at).map(|(from, to)| to.micros_since(from) as f64 / 1e6);
        Some(WireEndedStep { step: node.step.step, state, seconds })
    };
    graph.nodes.into_iter().filter_map(ended).collect()
}

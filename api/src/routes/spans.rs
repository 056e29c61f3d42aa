//! The spans of an execution: when it and its steps ran, in one answer for a timeline.

use ensue_engine::executions::facts::Pace;
use ensue_engine::ids::ExecutionId;
use ensue_views::Execution;
use ensue_views::store::LIST_ROWS_MAX;

use super::Routes;
use super::graph::steps_after;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{Query, bad};
use crate::respond;
use crate::wire::spans::WireSpans;
use serde_json::json;

/// The maximum number of spans.
const SPANS_MAX: usize = 10_000;

/// The parameter of the spans.
#[derive(Query)]
struct SpansQuery {
    /// Leaves out ended executions that took less than this share of the whole, and what is below them.
    #[query(what = "a number", schema = json!({ "type": "number", "minimum": 0, "maximum": 1, "default": 0 }))]
    min_share: Option<f64>,
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions/{id}/spans",
        get,
        Operation::shows::<WireSpans>("execution_spans", "Returns when an execution and its steps ran, in columns")
            .with_query(&[SpansQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Shows the spans.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let min_share = call.parameters::<SpansQuery>()?.min_share.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&min_share) {
        return Err(bad("min_share", "must be a number from 0 to 1").into());
    }
    let root: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    respond::json(&call.api().threads.blocking(move |ports| spans(ports, &root, min_share)).await??)
}

/// Reads the executions below one, level by level. They belong where it belongs. Blocking.
fn spans(ports: &Ports, root: &Execution, min_share: f64) -> Result<WireSpans, Problem> {
    let mut spans = WireSpans::of(root);
    // Until an open execution ends, nothing is known to be a small share of it.
    let least = root.ended_at.map_or(0.0, |ended| ended.micros_since(root.requested_at) as f64 * min_share);
    let is_shown =
        |execution: &Execution| execution.ended_at.is_none_or(|ended| ended.micros_since(execution.requested_at) as f64 >= least);
    let (mut place, mut has_steps) = (0, vec![root.pace == Pace::InSteps]);
    while place < spans.id.len() {
        let (of, mut after) = (spans.id[place], None);
        let at = u32::try_from(place).unwrap_or(u32::MAX);
        let is_workflow = has_steps[place];
        place += 1;
        if !is_workflow {
            continue;
        }
        loop {
            let page = steps_after(ports, of, after)?;
            after = page.last().map(|last| last.position);
            for execution in page.iter().filter(|execution| is_shown(execution)) {
                if spans.id.len() == SPANS_MAX {
                    spans.truncated = true;
                    return Ok(spans);
                }
                spans.add(execution, Some(at));
                has_steps.push(execution.pace == Pace::InSteps);
            }
            if page.len() < LIST_ROWS_MAX {
                break;
            }
        }
    }
    Ok(spans)
}

//! Running executions: cancel, pause and resume one, and settle one whose outcome is unknown.
//!
//! Bulk changes are in `bulk.rs`, and reruns in `reruns.rs`.

use ensue_engine::command::{Ask, FirstAnswer};
use ensue_engine::executions::facts::{Settlement, SettlementMisfit};
use ensue_engine::explain::Explain;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Body;
use ensue_views::{Execution, RowReach};
use thiserror::Error;

use super::Routes;
use super::executions::{as_of, read};
use crate::auth::{AllowedCaller, Proof as _};
use crate::call::{Call, Nothing};
use crate::operation::{Conditional, Operation, Takes, WRITTEN};
use crate::permissions::{ExecutionsCancel, ExecutionsPause, ExecutionsRead, ExecutionsSettle, Permission};
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::rows::read_row;
use crate::wire::executions::{WireExecution, WireOutcome, WireSettlement};

/// A settlement whose fields do not go together.
#[derive(Debug, Error, Explain)]
#[error(transparent)]
#[explain(slug = "body-invalid", fault = Invalid,
    hint = r#"for example `{{"outcome": "succeeded", "result": {{}}}}`, `{{"outcome": "failed", "error": "…"}}` or `{{"outcome": "retry"}}`"#)]
struct SettlementInvalid(#[from] SettlementMisfit);

/// Declares the routes that cancel, pause and resume an execution.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<ExecutionsCancel>(
        "/executions/{id}/cancel",
        cancel,
        Operation::new("execution_cancel", "Requests that an execution and everything that it runs be cancelled")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireExecution>(202, "The cancellation was requested.", WRITTEN)
            .refuses(&[(409, "execution_not_open")])
            .honors_conditions(Conditional::Change)
            .sees_views(),
    );
    routes.post::<ExecutionsPause>(
        "/executions/{id}/pause",
        pause,
        Operation::new("execution_pause", "Pauses an execution: nothing of it starts until it is resumed")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireExecution>(200, "The execution is paused.", WRITTEN)
            .refuses(&[(409, "execution_not_open"), (409, "execution_ending")])
            .honors_conditions(Conditional::Change)
            .sees_views(),
    );
    routes.post::<ExecutionsPause>(
        "/executions/{id}/resume",
        resume,
        Operation::new("execution_resume", "Resumes a paused execution")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireExecution>(200, "The execution is resumed.", WRITTEN)
            .refuses(&[(409, "execution_not_open"), (409, "execution_not_paused")])
            .honors_conditions(Conditional::Change)
            .sees_views(),
    );
}

/// Declares the route that settles an indeterminate execution.
pub(super) fn declare_settling(routes: &mut Routes) {
    routes.post::<ExecutionsSettle>(
        "/executions/{id}/settle",
        settle,
        Operation::new("execution_settle", "Settles an execution whose outcome is unknown")
            .can_be_tried()
            .takes_json::<WireOutcome>(r#"{"outcome": "succeeded", "result": {"sent": true}}"#)
            .gives::<WireExecution>(200, "The execution is settled.", WRITTEN)
            .refuses(&[(409, "execution_not_indeterminate"), (409, "execution_not_open")])
            .honors_conditions(Conditional::Change)
            .sees_views(),
    );
}

/// Cancels an execution.
pub(super) async fn cancel(allowed: AllowedCaller<ExecutionsCancel>, mut call: Call) -> Outcome {
    let execution: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    demand(&call, &allowed, execution).await?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, execution, &before, WriteOutcome::Accepted).await;
    }
    let Nothing {} = call.json_or_nothing().await?;
    change(&allowed, &call, execution, Ask::CancelExecution { execution }, WriteOutcome::Accepted).await
}

/// Pauses an execution: it starts nothing until it is resumed.
pub(super) async fn pause(allowed: AllowedCaller<ExecutionsPause>, mut call: Call) -> Outcome {
    let execution: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    demand(&call, &allowed, execution).await?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, execution, &before, WriteOutcome::Done).await;
    }
    let Nothing {} = call.json_or_nothing().await?;
    change(&allowed, &call, execution, Ask::PauseExecution { execution }, WriteOutcome::Done).await
}

/// Resumes a paused execution.
pub(super) async fn resume(allowed: AllowedCaller<ExecutionsPause>, mut call: Call) -> Outcome {
    let execution: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    demand(&call, &allowed, execution).await?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, execution, &before, WriteOutcome::Done).await;
    }
    let Nothing {} = call.json_or_nothing().await?;
    change(&allowed, &call, execution, Ask::ResumeExecution { execution }, WriteOutcome::Done).await
}

/// Settles an indeterminate execution.
pub(super) async fn settle(allowed: AllowedCaller<ExecutionsSettle>, mut call: Call) -> Outcome {
    let execution: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    demand(&call, &allowed, execution).await?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, execution, &before, WriteOutcome::Done).await;
    }
    let (outcome, result) = settlement(call.json().await?)?;
    change(&allowed, &call, execution, Ask::SettleExecution { execution, outcome, result }, WriteOutcome::Done).await
}

fn settlement(given: WireSettlement) -> Result<(Settlement, Option<Body>), SettlementInvalid> {
    let result = given.result.map(|result| Body::json(String::from(Box::<str>::from(result))));
    Ok(given.outcome.with(result, given.error)?)
}

/// Checks that a permission covers an execution.
pub(super) async fn demand<P: Permission>(call: &Call, allowed: &AllowedCaller<P>, id: ExecutionId) -> Result<(), Problem> {
    if !allowed.is_limited() {
        return Ok(());
    }
    let missing = || Missing::new(ExecutionsRead::THING, &id.to_string());
    let found = call.api().threads.blocking(move |ports| read_row::<Execution>(ports, &id.to_string())).await??;
    allowed.demand_row(&found.ok_or_else(missing)?, &id.to_string())
}

/// Changes an existing execution, and shows its new state.
async fn change<P: Permission>(allowed: &AllowedCaller<P>, call: &Call, id: ExecutionId, ask: Ask, how: WriteOutcome) -> Outcome {
    let (api, by) = (call.api(), call.on_behalf(allowed)?);
    let reach = allowed.rows_for::<ExecutionsRead>().unwrap_or_else(RowReach::nothing);
    let lock = call.lock::<ExecutionsRead, _>(&id.to_string(), move |ports, id| read(ports, id, reach)).await?;
    // This distinguishes a missing execution from one that has ended.
    let before: Execution = api.row(id.to_string(), ExecutionsRead::THING, RowReach::Everything).await?;
    if call.is_dry_run()? {
        return call.check(by, ask).await;
    }
    let committed = api.submit_locked(lock, by, ask).await?;
    if call.is_keyed() {
        let then = as_of(api, id, committed.position).await?;
        return respond::answer_write(how, committed.position, &WireExecution::for_list(then));
    }
    // The change is done; a lagging view must not suggest otherwise.
    let after = match api.see_position(committed.position).await {
        Ok(()) => api.row(id.to_string(), ExecutionsRead::THING, RowReach::Everything).await.unwrap_or(before),
        Err(_) => before,
    };
    respond::answer_write(how, committed.position, &WireExecution::for_list(after))
}

/// Repeats the response to the first request of a key.
async fn changed_before(call: &Call, id: ExecutionId, before: &FirstAnswer, how: WriteOutcome) -> Outcome {
    let then = as_of(call.api(), id, before.position).await?;
    respond::answer_write(how, before.position, &WireExecution::for_list(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_settlement(text: &str) -> Result<(Settlement, Option<Body>), SettlementInvalid> {
        settlement(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn success_may_have_a_result_and_failure_an_error_but_not_vice_versa() {
        assert!(matches!(parse_settlement(r#"{"outcome":"succeeded","result":{"a":1}}"#), Ok((Settlement::Succeeded, Some(_)))));
        assert!(matches!(parse_settlement(r#"{"outcome":"failed","error":"no"}"#), Ok((Settlement::Failed { .. }, None))));
        assert!(matches!(parse_settlement(r#"{"outcome":"retry"}"#), Ok((Settlement::Retry, None))));
        assert!(matches!(parse_settlement(r#"{"outcome":"failed"}"#), Err(SettlementInvalid(SettlementMisfit::FailureWithoutError))));
        assert!(matches!(
            parse_settlement(r#"{"outcome":"retry","result":1}"#),
            Err(SettlementInvalid(SettlementMisfit::ResultOfNoSuccess))
        ));
        assert!(matches!(
            parse_settlement(r#"{"outcome":"succeeded","error":"x"}"#),
            Err(SettlementInvalid(SettlementMisfit::ErrorOfNoFailure))
        ));
    }
}

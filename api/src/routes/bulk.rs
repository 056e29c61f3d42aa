//! Bulk changes of executions: those that a list with the same filters shows, page by page, with a result for
//! each.
//!
//! Each execution is changed by its own command, as if it had been requested alone: some may be refused while
//! others are changed. A step follows its workflow, so steps are changed only if the request names their
//! workflow.

use std::sync::Arc;

use ensue_engine::command::{Answer, Ask, Refusal, RequestKey};
use ensue_engine::explain::Explain;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Position;
use ensue_views::executions::Status;
use ensue_views::store::{ListQuery, Row};
use ensue_views::{Column, Execution, RowReach, ViewName};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use thiserror::Error;

use super::Routes;
use super::actions::asked_before;
use super::executions::{self, ExecutionQuery, FailureQuery};
use super::reruns::{self, RightsOf};
use crate::api::Api;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::call::{Call, Nothing};
use crate::listing::IdQuery;
use crate::operation::{BodyPresence, DryRunQuery, Header, Operation, Takes, schema_of};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{ActionsExecute, ExecutionsCancel, ExecutionsPause, ExecutionsRead, ExecutionsRerun, Permission};
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Outcome, Problem};
use crate::query::{ParameterGroups, Query, bad, list_names};
use crate::wire::WireList;
use crate::wire::bulk::{WireChanged, WireRefused};
use crate::wire::executions::WireRerun;

/// How many commands are submitted at once: they share commits.
const AT_ONCE: usize = 16;

/// The filters that select the executions.
const FILTERS: ParameterGroups = &[IdQuery::PARAMETERS, ExecutionQuery::PARAMETERS, FailureQuery::PARAMETERS, PeriodQuery::PARAMETERS];

/// The parameter of a rerun.
#[derive(Query)]
struct AgainQuery {
    /// Whether executions that were already rerun are rerun again. Without it, they are left out.
    again: bool,
}

/// The request has no filter that selects executions.
#[derive(Debug, Error, Explain)]
#[error("refusing to change all executions: give at least one filter")]
#[explain(slug = "bad-parameter", fault = Malformed,
    hint = format!("give at least one of {}", list_names(FILTERS)))]
struct FilterMissing;

/// The query parameters: those that select the executions, those that control how they are read, and, only for
/// a rerun, the one that decides whether executions that were already rerun are included.
const MANY_AGAIN: ParameterGroups = &[
    IdQuery::PARAMETERS,
    ExecutionQuery::PARAMETERS,
    FailureQuery::PARAMETERS,
    PeriodQuery::PARAMETERS,
    PageQuery::PARAMETERS,
    DryRunQuery::PARAMETERS,
    AgainQuery::PARAMETERS,
];

/// The same without that last parameter.
const MANY: ParameterGroups = MANY_AGAIN.split_at(MANY_AGAIN.len() - 1).0;

/// Describes an operation that changes the executions of a page of a list.
const fn changes_many(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .with_query(MANY)
        .gives::<WireList<WireChanged>>(200, "The outcome for each item of a page.", &[Header::Link])
        .sees_views()
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<ExecutionsCancel>(
        "/executions/cancel",
        cancel,
        changes_many("executions_cancel", "Requests that executions be cancelled: those of a page of a list").takes(Takes::Empty),
    );
    routes.post::<ExecutionsPause>(
        "/executions/pause",
        pause,
        changes_many("executions_pause", "Pauses executions: nothing of them starts until they are resumed").takes(Takes::Empty),
    );
    routes.post::<ExecutionsPause>(
        "/executions/resume",
        resume,
        changes_many("executions_resume", "Resumes paused executions").takes(Takes::Empty),
    );
    routes.post::<ExecutionsRerun>(
        "/executions/rerun",
        rerun,
        changes_many("executions_rerun", "Reruns executions that have ended")
            .with_query(MANY_AGAIN)
            .takes(Takes::Json { schema: schema_of::<WireRerun>, example: r#"{"from": "failed"}"#, presence: BodyPresence::Optional })
            .demands_admission(),
    );
}

/// Cancels executions.
pub(super) async fn cancel(allowed: AllowedCaller<ExecutionsCancel>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    each(&allowed, &call, BulkChange::Cancel).await
}

/// Pauses executions: they start nothing until they are resumed.
pub(super) async fn pause(allowed: AllowedCaller<ExecutionsPause>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    each(&allowed, &call, BulkChange::Pause).await
}

/// Resumes paused executions.
pub(super) async fn resume(allowed: AllowedCaller<ExecutionsPause>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    each(&allowed, &call, BulkChange::Resume).await
}

/// Reruns executions that have ended.
pub(super) async fn rerun(allowed: AllowedCaller<ExecutionsRerun>, mut call: Call) -> Outcome {
    if call.parameters::<PeriodQuery>()?.until.is_none() {
        return Err(bad(
            "until",
            "must be given: only executions that were requested before this time are rerun, not the reruns themselves",
        )
        .into());
    }
    call.admission()?;
    let wanted: WireRerun = call.json_or_nothing().await?;
    let AgainQuery { again } = call.parameters()?;
    let runs = AllowedCaller::<ActionsExecute>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    each(&allowed, &call, BulkChange::Rerun(wanted, if again { Again::Yes } else { Again::No }, runs)).await
}

/// The change to make to each execution.
enum BulkChange {
    Cancel,
    Pause,
    Resume,
    /// The caller must be allowed to run the action of each.
    Rerun(WireRerun, Again, AllowedCaller<ActionsExecute>),
}

/// Whether to rerun an execution that was already rerun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

/// The request for each execution.
struct BulkRequest {
    api: Arc<Api>,
    by: OnBehalf,
    change: BulkChange,
    is_dry: bool,
}

/// The result for one execution.
#[derive(Default)]
struct BulkResult {
    /// Its position in the log; none in a dry run.
    position: Option<Position>,
    /// The new execution that reruns it.
    rerun: Option<ExecutionId>,
    /// The execution that already reran it, if it was skipped for that reason.
    rerun_before: Option<ExecutionId>,
}

/// Changes each execution of the requested page, and returns the results in their order.
async fn each<P: Permission>(allowed: &AllowedCaller<P>, call: &Call, change: BulkChange) -> Outcome {
    if call.query().first_of(FILTERS).is_none() {
        return Err(FilterMissing.into());
    }
    // The response lists the executions.
    let sees = AllowedCaller::<ExecutionsRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let listed = executions::read_page(call, allowed, allowed.rows().and(&sees.rows())).await?;
    let asked = BulkRequest { api: call.api().clone(), by: call.on_behalf(allowed)?, change, is_dry: call.is_dry_run()? };
    let asked = Arc::new(asked);
    let with_steps = call.parameters::<ExecutionQuery>()?.parent.is_some();
    let meant: Vec<(ExecutionId, Status)> = listed
        .items
        .iter()
        .filter(|execution| with_steps || execution.parent.is_none())
        .map(|execution| (execution.id, execution.status))
        .collect();
    let changed: Vec<WireChanged> = stream::iter(meant).map(move |meant| one(asked.clone(), meant)).buffered(AT_ONCE).collect().await;
    call.answer_page(changed, listed.next.as_deref(), &listed.page)
}

async fn one(asked: Arc<BulkRequest>, (execution, status): (ExecutionId, Status)) -> WireChanged {
    let made = match (&asked.change, status) {
        // A second cancel also ends the cleanup, so it must be requested for a single execution.
        (BulkChange::Cancel, Status::Cancelling | Status::Undoing) => Err(Refusal::IsEnding(execution).into()),
        _ => asked.apply(execution).await,
    };
    match made {
        Ok(BulkResult { position, rerun, rerun_before }) => WireChanged { execution, position, rerun, rerun_before, error: None },
        Err(problem) => {
            WireChanged { execution, position: None, rerun: None, rerun_before: None, error: Some(WireRefused::from(&problem)) }
        }
    }
}

impl BulkRequest {
    async fn apply(&self, execution: ExecutionId) -> Result<BulkResult, Problem> {
        if let Some(before) = self.rerun_before(execution).await? {
            return Ok(BulkResult { rerun_before: Some(before), ..BulkResult::default() });
        }
        let ask = match &self.change {
            BulkChange::Cancel => Ask::CancelExecution { execution },
            BulkChange::Pause => Ask::PauseExecution { execution },
            BulkChange::Resume => Ask::ResumeExecution { execution },
            BulkChange::Rerun(wanted, _, runs) => {
                let wanted = wanted.clone();
                let request = move |ports: &Ports| reruns::request(ports, execution, wanted, RightsOf::Caller);
                let request = self.api.threads.blocking(request).await??;
                reruns::demand_action(runs, &request)?;
                Ask::RequestExecution(request)
            }
        };
        if self.is_dry {
            self.api.submit(OnBehalf { request: None, ..self.by.clone() }, Ask::Check(Box::new(ask))).await?;
            return Ok(BulkResult::default());
        }
        let is_rerun = matches!(self.change, BulkChange::Rerun(..));
        let request = self.by.request.as_ref().map(|request| self.of_one(request, execution));
        // A caller that changes it under a condition must not be overtaken.
        let lock = self.api.resource_locks.lock(&format!("{}/{execution}", ExecutionsRead::NOUN)).await;
        let committed = self.api.submit_locked(lock, OnBehalf { request, ..self.by.clone() }, ask).await?;
        let (position, rerun) = match committed.answer {
            _ if !is_rerun => (committed.position, None),
            Answer::Execution(made) => (committed.position, Some(made)),
            Answer::Before(before) => (before.position, Some(asked_before(&before)?)),
            other => return Err(Problem::bug(&format!("a request for a rerun was answered with {other:?}"))),
        };
        Ok(BulkResult { position: Some(position), rerun, rerun_before: None })
    }

    /// Returns the newest execution that already reran this one, if that is a reason to skip this one.
    ///
    /// A request that was carried out under the same key is not a reason: it gets the same response as the
    /// first time.
    async fn rerun_before(&self, execution: ExecutionId) -> Result<Option<ExecutionId>, Problem> {
        let BulkChange::Rerun(_, Again::No, _) = &self.change else { return Ok(None) };
        if let (false, Some(request)) = (self.is_dry, &self.by.request) {
            let key = self.of_one(request, execution).key;
            let by = OnBehalf { request: None, ..self.by.clone() };
            if matches!(self.api.submit(by, Ask::Recall(key)).await?.answer, Answer::Before(_)) {
                return Ok(None);
            }
        }
        let query = ListQuery {
            limit: 1,
            ..ListQuery::newest(ViewName::Executions, RowReach::Everything).with(Column::RerunOf, execution.to_string())
        };
        let rows = self.api.threads.blocking(move |ports| ports.views.list(&query)).await??;
        let rerun = rows.first().map(Row::read::<Execution>).transpose()?;
        Ok(rerun.map(|rerun| rerun.id))
    }

    /// Returns the idempotency key for one execution of many: the change is the same on whichever page the
    /// execution appears.
    fn of_one(&self, request: &RequestKey, execution: ExecutionId) -> RequestKey {
        let what = match &self.change {
            BulkChange::Cancel => "cancel".to_owned(),
            BulkChange::Pause => "pause".to_owned(),
            BulkChange::Resume => "resume".to_owned(),
            BulkChange::Rerun(WireRerun { from, params }, ..) => format!("rerun {from:?} {}", json!(params)),
        };
        request.of_one(execution.0, &what)
    }
}

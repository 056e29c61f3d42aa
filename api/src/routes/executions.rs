//! Executions: list them, and show one, its attempts and its records.
//!
//! Output is in `logs.rs`, changes are in `control.rs`, and running an action by hand is in `actions.rs`.

use std::sync::Arc;

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::labels::{self, LABELS_MAX, LabelValue};
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::LabelName;
use ensue_engine::ports::{LogError, ReadLimit, SubmitError};
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::executions::{Attempt, Status};
use ensue_views::store::Filter;
use ensue_views::{Column, Execution, RowReach, TimelineEntry};
use serde_json::{Value, json};

use super::Routes;
use crate::api::Api;
use crate::as_of::{self, AsOfQuery};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing::{self, IdQuery, ListPage, SortQuery};
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{ExecutionsRead, Permission};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem, quote};
use crate::query::{ColumnText, ParameterRefusal, Query, QueryValue, bad, words};
use crate::respond;
use crate::routes::compare::last_success;
use crate::rows::read_row;
use crate::shapes;
use crate::wire::embed_body;
use crate::wire::executions::{ExecutionBodies, WireAttempt, WireExecution};
use crate::wire::waits::{self, WireWaitKind};

/// The maximum size of the records from which a timeline's page is read, in bytes.
const TIMELINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The statuses of executions that wait for something.
pub(super) const WAITING: [Status; 7] =
    [Status::Delayed, Status::Queued, Status::Paused, Status::Waiting, Status::Cancelling, Status::Undoing, Status::Indeterminate];

/// The parameters that select executions by their columns.
#[derive(Query)]
pub(super) struct ExecutionQuery {
    /// Only those with one of these statuses.
    #[query(column)]
    status: Vec<Status>,
    /// Only those with one of these names.
    #[query(column)]
    action: Vec<String>,
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
    /// Only those with this label, `<name>=<value>`. If it is given more than once, those with all of the labels.
    #[query(column, repeated = LABELS_MAX)]
    label: Vec<Label>,
    /// Only those with this name or id.
    #[query(column)]
    correlation: Option<String>,
    /// Only steps of this workflow execution.
    #[query(column)]
    pub(super) parent: Option<String>,
    /// Only reruns of this execution.
    #[query(column)]
    rerun_of: Option<String>,
}

/// The parameter that selects executions by their failure.
#[derive(Query)]
pub(super) struct FailureQuery {
    /// Only those that failed for this kind of reason. A request examines at most 500, so a page may hold fewer than `limit`
    /// and still have a `next`.
    error_kind: Option<FailureKind>,
}

/// The parameters that select executions by values that have no column.
#[derive(Query)]
struct StandingQuery {
    /// Only those with at least this number of attempts. Examines rows as `error_kind` does.
    attempts_min: Option<u32>,
    /// Whether to list only executions that are not steps, or only steps. Examines rows as `error_kind` does.
    is_root: Option<bool>,
    /// Only those that wait for this kind of thing. Examines rows as `error_kind` does.
    waits_for: Option<WireWaitKind>,
}

words!(Status, FailureKind, WireWaitKind);

/// A label of an execution.
pub(super) struct Label(pub(super) LabelName, pub(super) LabelValue);

impl QueryValue for Label {
    fn schema() -> Value {
        let pattern = "^[a-z][a-z0-9_]{0,63}=[^\\u0000-\\u001f\\u007f-\\u009f]{1,256}$";
        json!({ "type": "string", "pattern": pattern, "examples": ["site=eu"] })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        let (label, value) = labels::parse(text).map_err(|why| bad(name, format!("is `{}`, which {why}", quote(text))))?;
        Ok(Self(label, value))
    }
}

impl ColumnText for Label {
    fn to_text(&self) -> String {
        labels::render_label(&self.0, &self.1)
    }
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions",
        list,
        Operation::lists::<WireExecution>(
            "execution_list",
            "Lists executions, newest first",
            &[
                IdQuery::PARAMETERS,
                ExecutionQuery::PARAMETERS,
                FailureQuery::PARAMETERS,
                StandingQuery::PARAMETERS,
                PeriodQuery::PARAMETERS,
                SortQuery::PARAMETERS,
                PageQuery::PARAMETERS,
            ],
        )
        .sees_views()
        .is_shared(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}",
        get,
        Operation::shows::<WireExecution>("execution_get", "Returns an execution with its parameters and its result")
            .with_query(&[AsOfQuery::PARAMETERS])
            .sees_views(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}/attempts",
        attempts,
        Operation::lists::<WireAttempt>(
            "attempt_list",
            "Lists an execution's last attempts, oldest first",
            &[PageQuery::PARAMETERS, AsOfQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}/timeline",
        timeline,
        Operation::lists::<shapes::TimelineEntry>(
            "execution_timeline",
            "Lists an execution's records, oldest first",
            &[PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
}

/// Lists executions, newest first.
pub(super) async fn list(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let listed = read_page(&call, &allowed, allowed.rows()).await?;
    let items = listed.items.into_iter().map(WireExecution::for_list).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Reads the page of executions that a request asks for, among those that the caller reaches.
pub(super) async fn read_page<P: Permission>(
    call: &Call,
    allowed: &AllowedCaller<P>,
    reach: RowReach,
) -> Result<ListPage<Execution>, Problem> {
    let mut query: ExecutionQuery = call.parameters()?;
    // All steps of a workflow are in its chain, or none, and there may be many: this checks the workflow instead of each
    // step.
    if let Some(parent) = &query.parent
        && let Some(correlation) = query.correlation.take()
        && !is_in_chain(call, parent.clone(), &correlation).await?
    {
        query.parent = Some(String::new());
    }
    let mut filters = query.filters();
    let FailureQuery { error_kind: kind } = call.parameters()?;
    if kind.is_some() && query.status.is_empty() {
        let ended_badly = [Status::Failed, Status::TimedOut, Status::Cancelled].map(|status| status.as_str().to_owned());
        filters.push(Filter::any_of(Column::Status, ended_badly.to_vec()));
    }
    let StandingQuery { attempts_min, is_root, waits_for } = call.parameters()?;
    if waits_for.is_some() && query.status.is_empty() {
        filters.push(Filter::any_of(Column::Status, WAITING.map(|status| status.as_str().to_owned()).to_vec()));
    }
    if kind.is_none() && attempts_min.is_none() && is_root.is_none() && waits_for.is_none() {
        return listing::rows_within::<Execution, _>(call, allowed, filters, reach).await;
    }
    let keeps = |execution: &Execution| {
        // The reason arrives with the end, and the status is the only column that may change.
        kind.is_none_or(|kind| execution.error.as_ref().is_some_and(|error| error.kind == kind))
            && attempts_min.is_none_or(|least| execution.attempt >= least)
            && is_root.is_none_or(|is_root| execution.parent.is_none() == is_root)
            && waits_for.is_none_or(|wanted| waits::kind(execution) == Some(wanted))
    };
    listing::rows_picked(call, allowed, filters, reach, keeps).await
}

/// Returns true if an execution is in the chain of this correlation.
async fn is_in_chain(call: &Call, execution: String, correlation: &str) -> Result<bool, Problem> {
    let found = call.api().threads.blocking(move |ports| read_row::<Execution>(ports, &execution)).await??;
    Ok(found.is_some_and(|execution| execution.correlation.to_string() == correlation))
}

/// Shows an execution with its parameters and result.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    let execution = as_of::as_asked((call.api(), call.as_of()), (execution, id), ExecutionsRead::THING, StreamId::Execution(id)).await?;
    let (reach, is_past) = (allowed.rows(), call.as_of().is_some());
    // The last success is about the present.
    let show = move |ports: &Ports| if is_past { whole(ports, execution) } else { to_wire(ports, execution, reach) };
    respond::json(&call.api().threads.blocking(show).await??)
}

/// Reads what [`get`] shows to a caller that reaches these rows. Blocking.
pub(super) fn read(ports: &Ports, id: &str, reach: RowReach) -> Result<Option<WireExecution>, Problem> {
    read_row::<Execution>(ports, id)?.map(|execution| to_wire(ports, execution, reach)).transpose()
}

/// Shows an execution with its bodies, and with the last one before it that succeeded. Blocking.
fn to_wire(ports: &Ports, execution: Execution, reach: RowReach) -> Result<WireExecution, Problem> {
    let last_success = last_success(ports, &execution, reach)?;
    Ok(whole(ports, execution)?.after(last_success))
}

/// The progress message of an attempt.
#[derive(serde::Deserialize)]
struct ProgressMessage {
    message: String,
}

/// Returns the last lines that a failed attempt printed to standard error. If the output cannot be read here, the
/// attempt's log reports it. Blocking.
fn output_tail(ports: &Ports, attempt: &Attempt) -> Option<String> {
    attempt.error.as_ref()?;
    ports.outputs.tail(attempt.id)
}

/// Shows an execution with its bodies. Blocking.
pub(super) fn whole(ports: &Ports, execution: Execution) -> Result<WireExecution, Problem> {
    let params = execution.params.map(|params| ports.log.body(params.position)).transpose()?.flatten();
    let result = execution.result.map(|result| ports.log.body(result.position)).transpose()?.flatten();
    let said = execution.progress.as_ref().and_then(|progress| progress.message);
    let said = said.map(|said| ports.log.body(said.position)).transpose()?.flatten();
    let doing = said.and_then(|said| serde_json::from_slice::<ProgressMessage>(&said).ok()).map(|said| said.message);
    let output_tail = execution.attempts.last().and_then(|attempt| output_tail(ports, attempt));
    let bodies = ExecutionBodies { params: params.as_ref().map(embed_body), result: result.as_ref().map(embed_body), doing, output_tail };
    Ok(WireExecution::whole(execution, bodies))
}

/// Lists the newest of an execution's attempts, oldest first.
pub(super) async fn attempts(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    let execution = as_of::as_asked((call.api(), call.as_of()), (execution, id), ExecutionsRead::THING, StreamId::Execution(id)).await?;
    // Names in a list over the catalog are compared as text; padded numbers sort the same way.
    let number = |number: u32| format!("{number:010}");
    let listed = listing::of_catalog(&call, &allowed, execution.attempts.into_iter(), |attempt| number(attempt.number))?;
    let attempts = listed.items;
    let shown = move |ports: &Ports| {
        let shown = attempts.into_iter().map(|attempt| {
            let tail = output_tail(ports, &attempt);
            WireAttempt::shown(attempt, tail)
        });
        shown.collect()
    };
    let items: Vec<WireAttempt> = call.api().threads.blocking(shown).await?;
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Lists an execution's records, oldest first.
pub(super) async fn timeline(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let page = call.page(&allowed)?;
    let after = page.after.as_deref().map(listing::place).transpose()?.map_or(Revision(0), |place| Revision(place.0));
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    let limit = page.limit;
    let (items, next) = call.api().threads.blocking(move |ports| read_timeline(ports, &execution, after, limit)).await??;
    call.answer_page(items, next.map(|next| next.to_string()).as_deref(), &page)
}

/// Reads a page of a timeline, and the revision after which the next page continues, if there is more. A page
/// has fewer entries than `limit` if the records are large, so only a look past its last record shows whether
/// there are more. Fails if the view has seen later records than the log finds. Blocking.
fn read_timeline(ports: &Ports, of: &Execution, after: Revision, limit: usize) -> Result<(Vec<TimelineEntry>, Option<Revision>), LogError> {
    let stream = &StreamId::Execution(of.id);
    let records = ports.log.read_stream(stream, after, ReadLimit { records: limit, bytes: TIMELINE_BYTES_MAX })?;
    let last = records.last().map_or(after, |record| record.revision);
    let items = records.iter().filter_map(TimelineEntry::of).collect();
    // The next record may have the maximum size: this avoids holding both at once.
    drop(records);
    let has_more = !ports.log.read_stream(stream, last, ReadLimit { records: 1, bytes: 0 })?.is_empty();
    if !has_more && last < of.revision {
        return Err(LogError::Index(format!(
            "stream {stream} has no records after revision {last}, although the execution was found at {}",
            of.revision
        )));
    }
    Ok((items, has_more.then_some(last)))
}

/// Folds an execution's own records up to a position: its state there is the same however late it is requested.
/// Fails if the log cannot be read.
pub(super) async fn as_of(api: &Arc<Api>, id: ExecutionId, position: Position) -> Result<Execution, Problem> {
    let fold = move |ports: &Ports| as_of::row_at(ports, &StreamId::Execution(id), &id, position, usize::MAX);
    api.threads.blocking(fold).await?.ok().flatten().ok_or_else(|| SubmitError::Unknown.into())
}

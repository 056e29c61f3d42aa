//! Executions: list them, and show one, its attempts and its records.
//!
//! Output is in `logs.rs`, changes are in `control.rs`, and running an action by hand is in `actions.rs`.

use std::sync::Arc;

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::labels;
use ensue_engine::ids::ExecutionId;
use ensue_engine::ports::{LogError, ReadLimit, SubmitError};
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::executions::{Attempt, Status};
use ensue_views::store::Filter;
use ensue_views::{Column, Execution, RowReach, TimelineEntry};

use super::Routes;
use crate::api::Api;
use crate::as_of::{self, AS_OF};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing::{self, ListPage};
use crate::operation::Operation;
use crate::permissions::{ExecutionsRead, Permission};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem, quote};
use crate::query::{ParameterRefusal, Query, bad};
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

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions",
        list,
        Operation::lists::<WireExecution>(
            "execution_list",
            "Lists executions, newest first",
            &[
                "id",
                "status",
                "action",
                "rule",
                "label",
                "correlation",
                "parent",
                "rerun_of",
                "error_kind",
                "attempts_min",
                "is_root",
                "waits_for",
                "since",
                "until",
                "sort",
                "limit",
                "cursor",
            ],
        )
        .sees_views()
        .is_shared(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}",
        get,
        Operation::shows::<WireExecution>("execution_get", "Returns an execution with its parameters and its result")
            .with_query(&[AS_OF])
            .sees_views(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}/attempts",
        attempts,
        Operation::lists::<WireAttempt>("attempt_list", "Lists an execution's last attempts, oldest first", &["limit", "cursor", AS_OF])
            .sees_views(),
    );
    routes.get::<ExecutionsRead>(
        "/executions/{id}/timeline",
        timeline,
        Operation::lists::<shapes::TimelineEntry>("execution_timeline", "Lists an execution's records, oldest first", &["limit", "cursor"])
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
    let query = call.query();
    check_status(query)?;
    let mut columns = vec![Column::Status, Column::Action, Column::Rule, Column::RerunOf];
    let mut filters = label_filters(query)?;
    match (query.text("parent"), query.text("correlation")) {
        // All steps of a workflow are in its chain, or none, and there may be many: this checks the workflow
        // instead of each step.
        (Some(parent), Some(correlation)) => {
            let value = if is_in_chain(call, parent.to_owned(), correlation).await? { parent.to_owned() } else { String::new() };
            filters.push(Filter::is(Column::Parent, value));
        }
        (Some(_), None) => columns.push(Column::Parent),
        (None, _) => columns.push(Column::Correlation),
    }
    let kind = query.one_of("error_kind", &FailureKind::ALL.map(|kind| (kind.as_str(), kind)))?;
    if kind.is_some() && query.text("status").is_none() {
        let ended_badly = [Status::Failed, Status::TimedOut, Status::Cancelled].map(|status| status.as_str().to_owned());
        filters.push(Filter::any_of(Column::Status, ended_badly.to_vec()));
    }
    let attempts_min: Option<u32> = query.parse_value("attempts_min", "a number")?;
    let is_root = query.one_of("is_root", &[("true", true), ("false", false)])?;
    let waits_for = query.one_of("waits_for", &WireWaitKind::ALL.map(|kind| (kind.as_str(), kind)))?;
    if waits_for.is_some() && query.text("status").is_none() {
        filters.push(Filter::any_of(Column::Status, WAITING.map(|status| status.as_str().to_owned()).to_vec()));
    }
    if kind.is_none() && attempts_min.is_none() && is_root.is_none() && waits_for.is_none() {
        return listing::rows_within::<Execution, _>(call, allowed, &columns, filters, reach).await;
    }
    let keeps = |execution: &Execution| {
        // The reason arrives with the end, and the status is the only column that may change.
        kind.is_none_or(|kind| execution.error.as_ref().is_some_and(|error| error.kind == kind))
            && attempts_min.is_none_or(|least| execution.attempt >= least)
            && is_root.is_none_or(|is_root| execution.parent.is_none() == is_root)
            && waits_for.is_none_or(|wanted| waits::kind(execution) == Some(wanted))
    };
    listing::rows_picked(call, allowed, &columns, filters, reach, keeps).await
}

/// Checks the statuses that a request names.
pub(super) fn check_status(query: &Query) -> Result<(), ParameterRefusal> {
    query.each_of("status", &Status::ALL.map(|status| (status.as_str(), status))).map(drop)
}

/// Returns filters for the labels that every execution of a list must have.
pub(super) fn label_filters(query: &Query) -> Result<Vec<Filter>, ParameterRefusal> {
    let filter = |text: &str| match labels::parse(text) {
        Ok(_) => Ok(Filter::is(Column::Label, text)),
        Err(why) => Err(bad("label", format!("is `{}`, which {why}", quote(text)))),
    };
    query.texts("label").map(filter).collect()
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

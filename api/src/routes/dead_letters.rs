//! Dead letters: list them, show one, and retry or dismiss one or many.
//!
//! To retry an execution is to rerun its failed part; to retry a delivery is to receive it as if it had just
//! arrived, but without verifying its sender: the dead letter exists because the sender was verified on
//! arrival. The core ensures that each dead letter is settled only once.

use ensue_views::RowReach;
use std::sync::Arc;

use ensue_engine::catalog::{DELIVERY_BYTES_MAX, HookMethod};
use ensue_engine::command::{Answer, Ask, Refusal, RequestKey, RetriedDelivery};
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::names::Names;
use ensue_engine::ports::{HookConnection, HookRequest, ReadLimit};
use ensue_engine::record::{Position, Record};
use ensue_views::dead_letters::LetterStatus;
use ensue_views::executions::Status;
use ensue_views::store::Filter;
use ensue_views::{Column, DeadLetter, Execution};
use futures_util::{StreamExt as _, stream};
use thiserror::Error;

use super::Routes;
use super::reruns::{self, RightsOf};
use crate::api::Api;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::call::{Call, Nothing};
use crate::listing::{self, IdQuery, ListPage, SortQuery};
use crate::operation::{Conditional, DryRunQuery, Header, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{DeadLettersRead, DeadLettersSettle, Permission};
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{ParameterGroups, Query, bad, list_names, words};
use crate::respond::{self, WriteOutcome};
use crate::rows::read_row;
use crate::wire::bulk::WireRefused;
use crate::wire::dead_letters::{WireDeadLetter, WireDealtWith};
use crate::wire::executions::WireRerun;
use crate::wire::{WireList, embed_body};
use ensue_views::View as _;

/// How many commands are submitted at once: they share commits.
const AT_ONCE: usize = 16;

/// The filters that select the dead letters; `status` does not count, because only open ones can be settled.
const FILTERS: ParameterGroups = &[IdQuery::PARAMETERS, DeadLetterQuery::PARAMETERS, PeriodQuery::PARAMETERS];

/// The parameter that selects dead letters by their statuses.
#[derive(Query)]
struct LetterStatusQuery {
    /// Only those with one of these statuses.
    status: Vec<LetterStatus>,
}

/// The parameters that select dead letters by where they come from.
#[derive(Query)]
struct DeadLetterQuery {
    /// Only those with this name or id.
    #[query(column)]
    sensor: Option<String>,
    /// Only those with one of these names.
    #[query(column)]
    action: Vec<String>,
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
}

words!(LetterStatus);

/// Why dead letters are not settled.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
enum DeadLetterRefused {
    /// The request has no filter that selects dead letters.
    #[error("refusing to change all dead letters: give at least one filter")]
    #[explain(slug = "bad-parameter", fault = Malformed,
        hint = format!("give at least one of {}", list_names(FILTERS)))]
    Unfiltered,
    /// The body of the delivery was not stored.
    #[error("the body of the delivery {0} was not stored, so the delivery cannot be retried")]
    #[explain(slug = "dead-letter-not-kept", fault = Conflict,
        hint = "have its sender send it again, or send its content as an event, and then run `ensue dead-letters dismiss {0}`")]
    NotKept(Id),
    /// The body of the delivery was erased.
    #[error("the body of the delivery {0} was erased")]
    #[explain(slug = "dead-letter-not-kept", fault = Conflict,
        hint = "have its sender send it again, or send its content as an event, and then run `ensue dead-letters dismiss {0}`")]
    Erased(Id),
}

/// The query parameters of the bulk operations.
const OF_DEAD_LETTERS: ParameterGroups = &[
    IdQuery::PARAMETERS,
    DeadLetterQuery::PARAMETERS,
    PeriodQuery::PARAMETERS,
    SortQuery::PARAMETERS,
    PageQuery::PARAMETERS,
    DryRunQuery::PARAMETERS,
];

/// Describes an operation that settles the dead letters of a page of a list.
const fn deals_with_many(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .with_query(OF_DEAD_LETTERS)
        .takes(Takes::Empty)
        .gives::<WireList<WireDealtWith>>(200, "The outcome for each item of a page.", &[Header::Link])
        .sees_views()
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<DeadLettersRead>(
        "/dead_letters",
        list,
        Operation::lists::<WireDeadLetter>(
            "dead_letter_list",
            "Lists dead letters, newest first: deliveries from proven senders that were rejected, and executions that failed permanently",
            &[
                IdQuery::PARAMETERS,
                LetterStatusQuery::PARAMETERS,
                DeadLetterQuery::PARAMETERS,
                PeriodQuery::PARAMETERS,
                SortQuery::PARAMETERS,
                PageQuery::PARAMETERS,
            ],
        )
        .sees_views(),
    );
    routes.get::<DeadLettersRead>(
        "/dead_letters/{id}",
        get,
        Operation::shows::<WireDeadLetter>("dead_letter_get", "Returns a dead letter with its delivery").sees_views(),
    );
    routes.post::<DeadLettersSettle>(
        "/dead_letters/{id}/retry",
        retry,
        Operation::new("dead_letter_retry", "Retries a dead letter")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireDealtWith>(202, "The execution is run again, or the new events of the delivery are on the disk.", WRITTEN)
            .refuses(&[
                (400, "body_not_json"),
                (400, "message_invalid"),
                (404, "hook_not_found"),
                (409, "dead_letter_not_open"),
                (409, "dead_letter_not_kept"),
                (409, "rerun_refused"),
                (422, "message_invalid"),
                (422, "parameters_invalid"),
                (422, "payload_invalid"),
                (422, "sensor_does_not_pull"),
                (422, "sensor_erred"),
                (422, "trigger_not_found"),
                (422, "trigger_version_unknown"),
            ])
            .honors_conditions(Conditional::Change)
            .demands_admission(),
    );
    routes.post::<DeadLettersSettle>(
        "/dead_letters/{id}/dismiss",
        dismiss,
        Operation::new("dead_letter_dismiss", "Dismisses a dead letter")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireDealtWith>(200, "The dead letter is dismissed.", WRITTEN)
            .refuses(&[(409, "dead_letter_not_open")])
            .honors_conditions(Conditional::Change),
    );
    routes.post::<DeadLettersSettle>(
        "/dead_letters/retry",
        retry_many,
        deals_with_many("dead_letters_retry", "Retries dead letters: the open ones of a page of a list").demands_admission(),
    );
    routes.post::<DeadLettersSettle>(
        "/dead_letters/dismiss",
        dismiss_many,
        deals_with_many("dead_letters_dismiss", "Dismisses dead letters: the open ones of a page of a list"),
    );
}

/// Lists dead letters, newest first.
pub(super) async fn list(allowed: AllowedCaller<DeadLettersRead>, call: Call) -> Outcome {
    let LetterStatusQuery { status: statuses } = call.parameters()?;
    let listed = read_page(&call, &allowed, allowed.rows(), statuses).await?;
    let items = listed.items.into_iter().map(WireDeadLetter::for_list).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a dead letter with the delivered body.
pub(super) async fn get(allowed: AllowedCaller<DeadLettersRead>, call: Call) -> Outcome {
    let id: Id = call.parse_part("id", DeadLettersRead::THING)?;
    let letter: DeadLetter = call.api().row(id.to_string(), DeadLettersRead::THING, allowed.rows()).await?;
    respond::json(&call.api().threads.blocking(move |ports| whole(ports, letter)).await??)
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, id: &str) -> Result<Option<WireDeadLetter>, Problem> {
    read_row::<DeadLetter>(ports, id)?.map(|letter| whole(ports, letter)).transpose()
}

fn whole(ports: &Ports, letter: DeadLetter) -> Result<WireDeadLetter, Problem> {
    if letter.execution.is_some() {
        return Ok(WireDeadLetter::for_list(letter));
    }
    let delivered = letter.body.map(|handle| ports.log.body(handle.position)).transpose()?.flatten();
    Ok(WireDeadLetter::whole(letter, delivered.as_ref().map(embed_body)))
}

/// Reads the page of dead letters that a request asks for. Those of an action or a rule are found through the
/// failed executions.
async fn read_page<P: Permission>(
    call: &Call,
    allowed: &AllowedCaller<P>,
    reach: RowReach,
    statuses: Vec<LetterStatus>,
) -> Result<ListPage<DeadLetter>, Problem> {
    let query: DeadLetterQuery = call.parameters()?;
    let mut filters = query.filters();
    if query.action.is_empty() && query.rule.is_empty() {
        filters.extend(listing::any_of(Column::Status, statuses.iter().map(|status| status.as_str().to_owned()).collect()));
        return listing::rows_within(call, allowed, filters, reach).await;
    }
    if query.sensor.is_some() {
        return Err(bad("sensor", "cannot be combined with `action` or `rule`: those select executions, which have no sensor").into());
    }
    let failed = [Status::Failed, Status::TimedOut].map(|status| status.as_str().to_owned());
    filters.push(Filter::any_of(Column::Status, failed.to_vec()));
    let listed = listing::rows_within::<Execution, _>(call, allowed, filters, reach.clone()).await?;
    let ListPage { items, next, page } = listed;
    let dead_letters = move |ports: &Ports| -> Result<Vec<DeadLetter>, Problem> {
        let roots = items.into_iter().filter(|execution| execution.parent.is_none());
        let dead_letters = roots.filter_map(|execution| read_row::<DeadLetter>(ports, &execution.id.to_string()).transpose());
        let mut dead_letters: Vec<DeadLetter> = dead_letters.collect::<Result<_, _>>()?;
        dead_letters.retain(|letter| reach.covers(letter.scope().as_ref()));
        dead_letters.retain(|letter| statuses.is_empty() || statuses.contains(&letter.status));
        Ok(dead_letters)
    };
    Ok(ListPage { items: call.api().threads.blocking(dead_letters).await??, next, page })
}

/// Retries a dead letter.
pub(super) async fn retry(allowed: AllowedCaller<DeadLettersSettle>, call: Call) -> Outcome {
    call.admission()?;
    deal_with_one(&allowed, call, Deal::Retry).await
}

/// Dismisses a dead letter.
pub(super) async fn dismiss(allowed: AllowedCaller<DeadLettersSettle>, call: Call) -> Outcome {
    deal_with_one(&allowed, call, Deal::Dismiss).await
}

/// Retries all matching dead letters of a page of a list.
pub(super) async fn retry_many(allowed: AllowedCaller<DeadLettersSettle>, mut call: Call) -> Outcome {
    if call.parameters::<PeriodQuery>()?.until.is_none() {
        return Err(bad("until", "must be given: only dead letters from before this time are retried, not those that fail again").into());
    }
    call.admission()?;
    let Nothing {} = call.json_or_nothing().await?;
    deal_with_many(&allowed, &call, Deal::Retry).await
}

/// Dismisses all matching dead letters of a page of a list.
pub(super) async fn dismiss_many(allowed: AllowedCaller<DeadLettersSettle>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    deal_with_many(&allowed, &call, Deal::Dismiss).await
}

/// How to settle a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Names)]
enum Deal {
    Retry,
    Dismiss,
}

/// The request for each dead letter.
struct DealRequest {
    api: Arc<Api>,
    by: OnBehalf,
    deal: Deal,
    is_dry: bool,
}

/// The result for one dead letter.
#[derive(Default)]
struct DealResult {
    /// Its position in the log; none in a dry run.
    position: Option<Position>,
    rerun: Option<ExecutionId>,
    events: Vec<EventId>,
}

async fn deal_with_one(allowed: &AllowedCaller<DeadLettersSettle>, mut call: Call, deal: Deal) -> Outcome {
    let id: Id = call.parse_part("id", DeadLettersRead::THING)?;
    let before = match call.before().await? {
        Some((before, _)) => {
            let events = before.events.iter().map(|event| event.id).collect();
            Some(DealResult { position: Some(before.position), rerun: before.execution, events })
        }
        None => None,
    };
    let dealt = match before {
        Some(dealt) => dealt,
        None => {
            let Nothing {} = call.json_or_nothing().await?;
            if allowed.is_limited() {
                let letter: DeadLetter = call.api().row(id.to_string(), DeadLettersRead::THING, RowReach::Everything).await?;
                allowed.demand_row(&letter, &id.to_string())?;
            }
            let lock = call.lock::<DeadLettersRead, _>(&id.to_string(), read).await?;
            let letter: DeadLetter = call.api().row(id.to_string(), DeadLettersRead::THING, RowReach::Everything).await?;
            let asked = DealRequest { api: call.api().clone(), by: call.on_behalf(allowed)?, deal, is_dry: call.is_dry_run()? };
            let dealt = asked.carry_out(letter, asked.by.request.clone()).await?;
            drop(lock);
            dealt
        }
    };
    let Some(position) = dealt.position else { return Ok(respond::dry_run()) };
    let how = match deal {
        Deal::Retry => WriteOutcome::Accepted,
        Deal::Dismiss => WriteOutcome::Done,
    };
    respond::answer_write(
        how,
        position,
        &WireDealtWith { id, position: Some(position), rerun: dealt.rerun, events: dealt.events, error: None },
    )
}

async fn deal_with_many(allowed: &AllowedCaller<DeadLettersSettle>, call: &Call, deal: Deal) -> Outcome {
    if call.query().first_of(FILTERS).is_none() {
        return Err(DeadLetterRefused::Unfiltered.into());
    }
    // The response lists the dead letters.
    let sees = AllowedCaller::<DeadLettersRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let listed = read_page(call, allowed, allowed.rows().and(&sees.rows()), vec![LetterStatus::Open]).await?;
    let asked = Arc::new(DealRequest { api: call.api().clone(), by: call.on_behalf(allowed)?, deal, is_dry: call.is_dry_run()? });
    let each = stream::iter(listed.items).map(move |letter| one(asked.clone(), letter));
    let dealt: Vec<WireDealtWith> = each.buffered(AT_ONCE).collect().await;
    call.answer_page(dealt, listed.next.as_deref(), &listed.page)
}

async fn one(asked: Arc<DealRequest>, letter: DeadLetter) -> WireDealtWith {
    let id = letter.id;
    let request = asked.by.request.as_ref().map(|request| request.of_one(id, asked.deal.as_str()));
    let lock = asked.api.resource_locks.lock(&format!("{}/{id}", DeadLettersRead::NOUN)).await;
    let dealt = asked.carry_out(letter, request).await;
    drop(lock);
    match dealt {
        Ok(DealResult { position, rerun, events }) => WireDealtWith { id, position, rerun, events, error: None },
        Err(problem) => WireDealtWith { id, position: None, rerun: None, events: Vec::new(), error: Some(WireRefused::from(&problem)) },
    }
}

impl DealRequest {
    async fn carry_out(&self, letter: DeadLetter, request: Option<RequestKey>) -> Result<DealResult, Problem> {
        let deal = self.deal;
        let ask = self.api.threads.blocking(move |ports| ask(ports, &letter, deal)).await??;
        if self.is_dry {
            self.api.submit(OnBehalf { request: None, ..self.by.clone() }, Ask::Check(Box::new(ask))).await?;
            return Ok(DealResult::default());
        }
        let committed = self.api.submit(OnBehalf { request, ..self.by.clone() }, ask).await?;
        let made = DealResult { position: Some(committed.position), ..DealResult::default() };
        Ok(match committed.answer {
            Answer::Execution(rerun) => DealResult { rerun: Some(rerun), ..made },
            Answer::Events(events) => DealResult { events: events.iter().map(|event| event.id).collect(), ..made },
            Answer::Before(before) => DealResult {
                position: Some(before.position),
                rerun: before.execution,
                events: before.events.iter().map(|event| event.id).collect(),
            },
            Answer::Done => made,
            other => return Err(Problem::bug(&format!("a request for a dead letter was answered with {other:?}"))),
        })
    }
}

/// Returns the command for the core. Blocking.
fn ask(ports: &Ports, letter: &DeadLetter, deal: Deal) -> Result<Ask, Problem> {
    match (deal, letter.execution) {
        (Deal::Dismiss, _) => Ok(Ask::DismissDeadLetter { of: letter.id }),
        _ if letter.status != LetterStatus::Open => Err(Refusal::DeadLetterNotOpen(letter.id).into()),
        (Deal::Retry, Some(execution)) => {
            let wanted = WireRerun { from: Some("failed".to_owned()), params: None };
            Ok(Ask::RetryExecution(reruns::request(ports, execution, wanted, RightsOf::FirstRun)?))
        }
        (Deal::Retry, None) => again(ports, letter).map(Ask::RetryDelivery),
    }
}

/// Creates the events that a refused delivery creates now.
fn again(ports: &Ports, letter: &DeadLetter) -> Result<RetriedDelivery, Problem> {
    let at = letter.position;
    let record = ports.log.read(Position(at.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 1 })?.pop();
    let missing = || Problem::from(Missing::new(DeadLettersRead::THING, &letter.id.to_string()));
    let Some(Record { fact: Fact::DeliveryRefused(refused), cause, .. }) = record else { return Err(missing()) };
    let with = refused.with.ok_or(DeadLetterRefused::NotKept(letter.id))?;
    let body = ports.log.body(at)?.ok_or(DeadLetterRefused::Erased(letter.id))?;
    if let Some(message) = with.message {
        let events = ports.sensors.read_again(&refused.sensor, message, body)?;
        return Ok(RetriedDelivery { of: letter.id, cause: cause.from_parent(letter.id), events });
    }
    let method = with.method.as_deref().and_then(HookMethod::of).unwrap_or_default();
    // Its proof was checked when it arrived, so the URL, which only a proof covers, does not matter.
    let (sensor, url) = (refused.sensor, String::new());
    let connection = HookConnection::default();
    // It is in the log already, so the node's present limit is no reason to refuse it.
    let body_bytes_max = DELIVERY_BYTES_MAX;
    let request =
        HookRequest { sensor, headers: with.headers, query: with.query, body, body_bytes_max, method, path: with.path, url, connection };
    let events = ports.webhooks.deliver_again(request)?;
    Ok(RetriedDelivery { of: letter.id, cause: cause.from_parent(letter.id), events })
}

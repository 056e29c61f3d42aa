//! Replies to senders: one that ends a delivery before it creates events, and one that waits for what comes of it.
//!
//! The request's own task waits. The sequencer and the executor do not know of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use ensue_engine::catalog::WaitingReply;
use ensue_engine::command::ReceivedEvent;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{RuleRef, SensorRef};
use ensue_engine::ports::{Came, CameHow, HookReply};
use ensue_engine::record::Position;
use ensue_expression::Document;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::Status;
use ensue_views::{Column, Enforcement, Event, Execution, ListQuery, Row, RowReach, ViewName};
use tokio::time::Instant;

use super::{TakenDelivery, answer};
use crate::api::Api;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::quotas::Caller;
use crate::respond;
use crate::route::BASE;
use crate::routes::actions::at_its_end;
use crate::rows::read_row;
use crate::settings::PageServing;

/// How long a rule that was not judged with its event may still be judged.
const JUDGED_WITHIN: Duration = Duration::from_millis(500);
/// How long the views rest between two looks for a rule that was not judged with its event.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// What a sender gets if the execution failed, and the sensor says nothing else: no reason.
const FAILED: &[u8] = b"The work for this delivery failed.\n";

/// Sends a reply.
pub(super) fn to_response(reply: HookReply) -> Outcome {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).map_err(|why| Problem::bug(&why))?;
    for (name, value) in reply.headers {
        let name = HeaderName::try_from(name).map_err(|why| Problem::bug(&why))?;
        let value = HeaderValue::try_from(value).map_err(|why| Problem::bug(&why))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Waits for what comes of a delivery, and sends the reply that the sensor has for it.
pub(super) async fn await_reply(api: &Arc<Api>, sensor: &SensorRef, waits: &WaitingReply, taken: &TakenDelivery) -> Outcome {
    let came = match taken.position.filter(|_| !taken.events.is_empty()) {
        None => nothing(),
        // Over the limit, the sender gets the reply for late ones at once.
        Some(position) => match api.hook_waiters.enter(Caller::Hook(sensor.clone()), 1) {
            Ok(_room) => came_of(api, sensor, waits, (&taken.events, position)).await?,
            Err(_) => late(None),
        },
    };
    let came = Came { event: taken.events.first().map(|event| event.id), ..came };
    match (api.ports.webhooks.reply_to(sensor, waits, &came)?, came.how) {
        (Some(reply), _) => to_response(reply),
        (None, CameHow::Failed) => {
            let headers = vec![(header::CONTENT_TYPE.to_string(), "text/plain; charset=utf-8".to_owned())];
            to_response(HookReply { status: StatusCode::BAD_GATEWAY.as_u16(), headers, body: Bytes::from_static(FAILED) })
        }
        (None, CameHow::Late) => {
            let response = answer(taken)?;
            Ok(match &came.execution {
                Some((id, _)) => respond::with_location(response, &format!("{BASE}/executions/{id}")),
                None => response,
            })
        }
        (None, CameHow::Succeeded | CameHow::Nothing) => answer(taken),
    }
}

fn nothing() -> Came {
    Came { how: CameHow::Nothing, event: None, execution: None, status: None, result: None, error_kind: None }
}

fn late(execution: Option<(ExecutionId, String)>) -> Came {
    Came { how: CameHow::Late, execution, ..nothing() }
}

/// What the rules have decided about the events of a delivery.
enum RulesDecision {
    /// The execution that the delivery waits for.
    Execution(ExecutionId),
    /// The flow control of the rule holds it back.
    Held,
    /// There is none.
    Nothing,
    /// A rule may still be judged.
    Undecided,
}

/// Waits for what comes of events. A repeat waits for what came of the first delivery.
async fn came_of(
    api: &Arc<Api>,
    sensor: &SensorRef,
    waits: &WaitingReply,
    (events, position): (&[ReceivedEvent], Position),
) -> Result<Came, Problem> {
    let deadline = Instant::now() + Duration::from_millis(waits.wait_millis);
    let Some(found) = find_execution(api, (sensor, waits.rule.as_ref()), events, (position, deadline)).await? else {
        return Ok(late(None));
    };
    let id = match found {
        RulesDecision::Execution(id) => id,
        RulesDecision::Held => return Ok(late(None)),
        RulesDecision::Nothing | RulesDecision::Undecided => return Ok(nothing()),
    };
    let place = match api.settings.page {
        PageServing::On => "/ui",
        PageServing::Off => BASE,
    };
    let shown = Some((id, format!("{}{place}/executions/{id}", api.settings.base_url)));
    let left = deadline.saturating_duration_since(Instant::now());
    // If the views are too far behind to show the execution, it is late.
    let Ok(execution) = at_its_end(api, id, position, left).await else { return Ok(late(shown)) };
    let ended = Came { status: Some(execution.status.as_str()), execution: shown.clone(), ..nothing() };
    Ok(match execution.status {
        Status::Succeeded => Came { how: CameHow::Succeeded, result: result_of(api, execution).await?, ..ended },
        Status::Failed | Status::TimedOut | Status::Cancelled => {
            Came { how: CameHow::Failed, error_kind: execution.error.map(|error| error.kind.as_str()).or(ended.status), ..ended }
        }
        _ => Came { status: ended.status, ..late(shown) },
    })
}

async fn result_of(api: &Arc<Api>, execution: Execution) -> Result<Option<Document>, Problem> {
    let Some(result) = execution.result else { return Ok(None) };
    let body = api.threads.blocking(move |ports| ports.log.body(result.position)).await??;
    Ok(body.and_then(|body| Document::parse(body).ok()))
}

/// Finds the execution of events once the views show them; `None` if they do not in time.
async fn find_execution(
    api: &Arc<Api>,
    (sensor, rule): (&SensorRef, Option<&RuleRef>),
    events: &[ReceivedEvent],
    (position, deadline): (Position, Instant),
) -> Result<Option<RulesDecision>, Problem> {
    let judged_by = deadline.min(Instant::now() + JUDGED_WITHIN);
    loop {
        let is_seen = tokio::select! {
            biased;
            () = api.stopping.wait() => false,
            () = tokio::time::sleep_until(deadline) => false,
            seen = api.see_position(position) => seen.is_ok(),
        };
        if !is_seen {
            return Ok(None);
        }
        let (sensor, rule, ids) = (sensor.clone(), rule.cloned(), events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
        match api.threads.blocking(move |ports| look(ports, &sensor, rule.as_ref(), &ids)).await?? {
            RulesDecision::Undecided if Instant::now() < judged_by => tokio::time::sleep(LOOK_EVERY).await,
            found => return Ok(Some(found)),
        }
    }
}

/// Looks for the execution of events that a rule of the sensor's own pack requested: a pack does not tell senders what other packs
/// do. Blocking.
fn look(ports: &Ports, sensor: &SensorRef, rule: Option<&RuleRef>, events: &[String]) -> Result<RulesDecision, Problem> {
    let mut found = RulesDecision::Nothing;
    for event in events {
        let query = ListQuery::newest(ViewName::Enforcements, RowReach::Everything).with(Column::Event, event.clone());
        let query = match rule {
            Some(rule) => query.with(Column::Rule, rule.as_str()),
            None => query,
        };
        let rows = ports.views.list(&query)?;
        let mut made: Vec<Enforcement> = rows.iter().map(Row::read).collect::<Result<_, _>>()?;
        made.retain(|enforcement| enforcement.rule.pack() == sensor.pack());
        made.sort_by_key(|enforcement| enforcement.position);
        if let Some(execution) = made.iter().find_map(|enforcement| enforcement.execution) {
            return Ok(RulesDecision::Execution(execution));
        }
        if made.iter().any(|enforcement| enforcement.outcome == OutcomeName::Held && enforcement.became.is_none()) {
            found = RulesDecision::Held;
        }
        let is_undecided = made.is_empty() && read_row::<Event>(ports, event)?.is_some_and(|event| event.undecided > 0);
        if is_undecided && matches!(found, RulesDecision::Nothing) {
            found = RulesDecision::Undecided;
        }
    }
    Ok(found)
}

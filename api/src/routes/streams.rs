//! Records as they come: of the whole log, or of one execution until it has ended.

use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Position;
use ensue_views::Execution;

use crate::auth::Allowed;
use crate::call::Call;
use crate::permissions::{ExecutionsRead, LogRead, Permission};
use crate::problem::{Outcome, Problem};
use crate::query::{ParameterRefusal, bad};
use crate::sse::{EVENT_STREAM, LAST_EVENT_ID, Line};
use crate::streams::{PAGES_WAITING_MAX, RecordStream, Told};
use crate::websocket::Handshake;

/// Tells of every record behind the caller's place, or from now on.
pub(super) async fn log(allowed: Allowed<LogRead>, call: Call) -> Outcome {
    let form = asked_form(&call)?;
    let head = call.api().blocking(|ports| ports.log.head()).await??.position;
    let at = place(&call, head)?.unwrap_or(head);
    begin(allowed, &call, (Told::Log, at), form)
}

/// Tells of every record of an execution and its attempts behind the caller's place, or from its first.
pub(super) async fn execution(allowed: Allowed<ExecutionsRead>, call: Call) -> Outcome {
    let form = asked_form(&call)?;
    let id: ExecutionId = call.named("id", ExecutionsRead::THING)?;
    let head = call.api().blocking(|ports| ports.log.head()).await??.position;
    let at = place(&call, head)?.unwrap_or(Position(0));
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING).await?;
    begin(allowed, &call, (Told::Execution(execution.id), at), form)
}

/// Reads where a caller goes on: `Last-Event-ID`, or `after` where it comes for the first time.
fn place(call: &Call, head: Position) -> Result<Option<Position>, Problem> {
    let query = call.query();
    let after = query.parsed("after", "a position")?.map(|after| ("after", after));
    let last = call.headers().get(LAST_EVENT_ID).map(|given| match given.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(last) => Ok(("last-event-id", last)),
        None => Err(bad("last-event-id", "is not a position, as the id of an event gives it")),
    });
    match last.transpose()?.or(after) {
        Some((name, position)) if position > head.0 => Err(ahead(name, position, head).into()),
        given => Ok(given.map(|(_, position)| Position(position))),
    }
}

/// A place that this log does not have yet: what would be told from there on would leave out what comes before it.
fn ahead(name: &'static str, position: u64, head: Position) -> ParameterRefusal {
    bad(name, format!("is {position}, and the newest record is at {head}: it is of another log"))
}

/// Reads whether the stream is to be a WebSocket; without one it is of events, which the caller must accept.
fn asked_form(call: &Call) -> Result<Option<Handshake>, Problem> {
    let asked = Handshake::asked(call.request(), &call.api().settings.base_url)?;
    if asked.is_none() {
        call.accepted(&[EVENT_STREAM])?;
    }
    Ok(asked)
}

fn begin<P: Permission>(allowed: Allowed<P>, call: &Call, (told, at): (Told, Position), form: Option<Handshake>) -> Outcome {
    let api = call.api();
    let share = api.streams.enter(allowed.name())?;
    let (line, response) = match form {
        Some(handshake) => Line::upgraded(api, allowed, PAGES_WAITING_MAX, (handshake, at))?,
        None => Line::open(api, allowed, PAGES_WAITING_MAX)?,
    };
    let told = RecordStream::new(api.clone(), told, at, line).run();
    tokio::spawn(async move {
        told.await;
        drop(share);
    });
    Ok(response)
}

//! Live streams of records: of the whole log, or of one execution until it has ended.

use ensue_engine::ids::ExecutionId;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::Execution;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::{Content, HonoredHeader, Operation, schema_of};
use crate::permissions::{ExecutionsRead, LogRead, Permission};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{Parameter, ParameterRefusal, Query, bad};
use crate::record_filter::{KindQuery, RecordFilter, RecordQuery};
use crate::respond;
use crate::shapes::Record;
use crate::sse::{EVENT_STREAM, LAST_EVENT_ID, StreamFormat, StreamLine};
use crate::streams::{PAGES_WAITING_MAX, RecordStream, StreamScope};
use crate::websocket::Handshake;

/// The parameter of the place after which a list or a stream begins.
#[derive(Query)]
pub(super) struct AfterQuery {
    /// The position to start after.
    #[query(what = "a position")]
    pub(super) after: Option<u64>,
}

/// The parameter of the form of events.
#[derive(Query)]
struct NamedQuery {
    /// Whether each event is named after the kind of its record. `false` by default.
    named: bool,
}

/// The parameter of the kinds: a stream has no pages.
const STREAM_KIND: &[Parameter] = &[KindQuery::PARAMETERS[0].with_description("Only records of one of these kinds.")];

/// Describes an operation that streams records.
const fn stream_operation(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .honors(&[HonoredHeader::LastEventId])
        .gives_content(200, "Server-sent events, until the caller or the node ends them.", Content::Events(schema_of::<Record>), &[])
        .gives_content(101, "The same as messages of a WebSocket, if the request asks for one.", Content::Nothing, &[])
        .refuses(&[(400, "websocket_invalid"), (403, "origin_refused"), (406, "not_acceptable"), (429, "over_share")])
}

/// Declares the stream of one execution.
pub(super) fn declare_of_execution(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions/{id}/stream",
        execution,
        stream_operation("execution_stream", "Streams an execution's records as they are written, until it has ended")
            .with_query(&[AfterQuery::PARAMETERS, NamedQuery::PARAMETERS])
            .gives_content(204, "The execution has ended, and `Last-Event-ID` is its last record.", Content::Nothing, &[])
            .sees_views(),
    );
}

/// Declares the stream of the whole log.
pub(super) fn declare_of_log(routes: &mut Routes) {
    routes.get::<LogRead>(
        "/log/stream",
        log,
        stream_operation("record_stream", "Streams the log's records as they are written").with_query(&[
            AfterQuery::PARAMETERS,
            NamedQuery::PARAMETERS,
            STREAM_KIND,
            RecordQuery::PARAMETERS,
        ]),
    );
}

/// Streams the wanted records after the caller's position, or from now on.
pub(super) async fn log(allowed: AllowedCaller<LogRead>, call: Call) -> Outcome {
    let form = asked_form(&call)?;
    let head = call.api().threads.blocking(|ports| ports.log.head()).await??.position;
    let at = place(&call, head)?.unwrap_or(head);
    let told = StreamScope::Log(RecordFilter::of(call.query())?);
    begin(allowed, &call, (told, at), form)
}

/// Streams every record of an execution and its attempts after the caller's position, or from the first one.
pub(super) async fn execution(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let form = asked_form(&call)?;
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let head = call.api().threads.blocking(|ports| ports.log.head()).await??.position;
    let at = place(&call, head)?.unwrap_or(Position(0));
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    if form.is_none() && call.headers().contains_key(LAST_EVENT_ID) && execution.status.is_end() {
        let last = call.api().threads.blocking(move |ports| last_of(ports, id)).await??;
        if last <= at {
            // With any other response, a browser would reconnect.
            return Ok(respond::nothing());
        }
    }
    begin(allowed.about(&execution), &call, (StreamScope::Execution(execution.id), at), form)
}

/// Finds the newest record of an execution. Blocking.
fn last_of(ports: &Ports, id: ExecutionId) -> Result<Position, LogError> {
    let (stream, mut revision, mut last) = (StreamId::Execution(id), Revision(0), Position(0));
    loop {
        let records = ports.log.read_stream(&stream, revision, ReadLimit { records: 128, bytes: 128 * 1024 })?;
        let Some(record) = records.last() else { return Ok(last) };
        (revision, last) = (record.revision, record.position);
    }
}

/// Reads where a caller continues: `Last-Event-ID`, or `after` on the first connection.
pub(super) fn place(call: &Call, head: Position) -> Result<Option<Position>, Problem> {
    let after = call.parameters::<AfterQuery>()?.after.map(|after| ("after", after));
    let last = call.headers().get(LAST_EVENT_ID).map(|given| match given.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(last) => Ok(("last-event-id", last)),
        None => Err(bad("last-event-id", "is not a position from the id of an event")),
    });
    match last.transpose()?.or(after) {
        Some((name, position)) if position > head.0 => Err(ahead(name, position, head).into()),
        given => Ok(given.map(|(_, position)| Position(position))),
    }
}

/// Rejects a position that this log does not have yet: a stream from there would omit the records before it.
fn ahead(name: &'static str, position: u64, head: Position) -> ParameterRefusal {
    bad(name, format!("is {position}, but the newest record is at {head}: the position belongs to another log"))
}

/// Returns the handshake if the stream is a WebSocket; otherwise it is an event stream, which the caller must
/// accept.
fn asked_form(call: &Call) -> Result<Option<Handshake>, Problem> {
    let asked = Handshake::parse(call.request(), &call.api().settings.base_url)?;
    if asked.is_none() {
        call.choose_media_type(&[EVENT_STREAM])?;
    }
    Ok(asked)
}

/// Returns whether events have names: an `EventSource` receives unnamed events by default, and named ones only
/// one by one.
fn events(call: &Call) -> Result<StreamFormat, Problem> {
    let NamedQuery { named } = call.parameters()?;
    Ok(if named { StreamFormat::NamedEvents } else { StreamFormat::Events })
}

fn begin<P: Permission>(allowed: AllowedCaller<P>, call: &Call, (told, at): (StreamScope, Position), form: Option<Handshake>) -> Outcome {
    let api = call.api();
    let room = api.streams.enter(&allowed.caller())?;
    let (line, response) = match form {
        Some(handshake) => StreamLine::open_websocket(api.ends(), allowed, PAGES_WAITING_MAX, (handshake, at))?,
        None => StreamLine::open(api.ends(), allowed, PAGES_WAITING_MAX, events(call)?)?,
    };
    let told = RecordStream::new(api.streams.clone(), told, at, line).run();
    tokio::spawn(async move {
        told.await;
        drop(room);
    });
    Ok(response)
}

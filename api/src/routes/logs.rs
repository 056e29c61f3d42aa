//! The output of an execution's attempts: a part of it, all of it unchanged, or live.
//!
//! Outputs are not records: they have byte offsets instead of positions.

use bytes::Bytes;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::{OutputError, OutputState, OutputStream};
use ensue_views::executions::AttemptStatus;
use ensue_views::{Attempt, Execution};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Routes;
use crate::api::Api;
use crate::auth::AllowedCaller;
use crate::call::{Call, choose_media_type};
use crate::live_output::{Beginning, Follower};
use crate::operation::{Content, HonoredHeader, Operation, schema_of};
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{ParameterRefusal, Query, bad, words};
use crate::queues::QueueName;
use crate::respond;
use crate::sizes::{CHUNK_BYTES_MAX, CHUNKS_WAITING_MAX};
use crate::sse::{EVENT_STREAM, StreamFormat, StreamLine};
use crate::wire::executions::{WireOutput, WireOutputs, with_final_state};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// The maximum number of bytes of a stream in one JSON response.
const PART_BYTES_MAX: usize = 1024 * 1024;

/// An attempt's output is no longer stored.
#[derive(Debug, Error, Explain)]
#[error("the output of attempt {0} was deleted because it was old or to free space")]
#[explain(slug = "output-removed", fault = Missing,
    hint = "look at the result and the timeline in the log; `outputs.keep_days` and `outputs.quota` limit how long and how much output is kept")]
struct OutputRemoved(u32);

/// Too many clients follow outputs.
#[derive(Debug, Error, Explain)]
#[error("too many outputs are being followed")]
#[explain(slug = "busy", fault = Busy, hint = "try again when another follower has ended, or read the existing output without `follow`")]
struct TooManyFollowers;

/// The parameters of the output of an execution.
#[derive(Query)]
struct OutputQuery {
    /// The number of the attempt.
    attempt: Option<u32>,
    /// Only this stream.
    stream: Option<OutputStream>,
    /// The number of bytes of the stream to skip.
    #[query(what = "a number of bytes")]
    offset: Option<u64>,
    /// How many bytes from the end of the stream to return. Not with `offset` or `follow`.
    #[query(what = "a number of bytes")]
    tail: Option<u64>,
    /// Whether to continue with new output as it is printed.
    follow: Option<bool>,
}

words!(OutputStream);

/// The place in an execution's output where a caller wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OutputStart {
    /// The number of the attempt; none means the newest, or the first one to come.
    attempt: Option<u32>,
    from: StartOffset,
}

/// Where in a stream a caller wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartOffset {
    /// After this number of bytes.
    Offset(u64),
    /// This number of bytes before its end.
    End(u64),
}

impl StartOffset {
    fn of(query: &OutputQuery) -> Result<Self, ParameterRefusal> {
        match (query.offset, query.tail) {
            (Some(_), Some(_)) => Err(bad("tail", "cannot be combined with `offset`")),
            (None, Some(bytes)) => Ok(Self::End(bytes)),
            (offset, None) => Ok(Self::Offset(offset.unwrap_or(0))),
        }
    }

    /// Returns the number of bytes to skip. Blocking.
    fn offset(self, ports: &Ports, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        match self {
            Self::Offset(offset) => Ok(offset),
            Self::End(bytes) => {
                // What was printed over the limit was counted, but is not there.
                let dropped = match ports.outputs.read(attempt, stream, 0, 0)?.state {
                    OutputState::Truncated { bytes_dropped } => bytes_dropped,
                    OutputState::Open | OutputState::Complete | OutputState::Removed => 0,
                };
                Ok(ports.outputs.accepted_offset(attempt, stream)?.saturating_sub(dropped).saturating_sub(bytes))
            }
        }
    }
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/executions/{id}/logs",
        get,
        Operation::new("execution_logs", "Returns or follows the output of an execution")
            .honors(&[HonoredHeader::LastEventId])
            .with_query(&[OutputQuery::PARAMETERS])
            .gives_content(
                200,
                "A part of the output, all of one stream, or both streams as they are printed.",
                Content::JsonTextOrEvents { json: schema_of::<WireOutputs>, data: schema_of::<WireOutput> },
                &[],
            )
            .refuses(&[(406, "not_acceptable"), (410, "output_removed"), (503, "output_damaged"), (503, "output_unavailable")])
            .sees_views(),
    );
}

/// Shows an execution's output.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let query: OutputQuery = call.parameters()?;
    let stream = query.stream;
    let id: ExecutionId = call.parse_part("id", ExecutionsRead::THING)?;
    let place = OutputStart { attempt: query.attempt, from: StartOffset::of(&query)? };
    // An offset without a stream would be ambiguous.
    if matches!(place.from, StartOffset::Offset(1..)) && stream.is_none() {
        return Err(needs_stream("`offset`").into());
    }
    let media = wanted_media_type(&call, query.follow)?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING, allowed.rows()).await?;
    match (media, stream) {
        (JSON, _) => part(&call, &execution, stream, place).await,
        (TEXT, Some(stream)) => text(&call, &execution, stream, place).await,
        (TEXT, None) => Err(needs_stream("`text/plain`").into()),
        (_, Some(stream)) => follow(allowed.about(&execution), &call, &execution, &[stream], place),
        (_, None) => follow(allowed.about(&execution), &call, &execution, &OutputStream::ALL, place),
    }
}

fn needs_stream(what: &str) -> ParameterRefusal {
    bad("stream", format!("is missing: {what} shows a single stream, `stdout` or `stderr`"))
}

fn wanted_media_type(call: &Call, follow: Option<bool>) -> Result<&'static str, Problem> {
    match follow {
        Some(true) => choose_media_type(call.headers(), &[EVENT_STREAM]),
        Some(false) => choose_media_type(call.headers(), &[JSON, TEXT]),
        None => choose_media_type(call.headers(), &[JSON, TEXT, EVENT_STREAM]),
    }
}

/// Finds an attempt; none if there is none yet.
fn attempt_at(execution: &Execution, number: Option<u32>) -> Result<Option<&Attempt>, Missing> {
    match number {
        None => Ok(execution.attempts.last()),
        Some(number) => {
            let found = execution.attempts.iter().find(|attempt| attempt.number == number);
            found.map(Some).ok_or_else(|| Missing::new("attempt of this execution", &number.to_string()))
        }
    }
}

/// Returns a part of one stream or both.
async fn part(call: &Call, execution: &Execution, stream: Option<OutputStream>, place: OutputStart) -> Outcome {
    let Some(attempt) = attempt_at(execution, place.attempt)? else {
        return respond::json(&WireOutputs { items: Vec::new(), next: None });
    };
    let (id, number, is_over) = (attempt.id, attempt.number, attempt.status != AttemptStatus::Running);
    let streams = stream.map_or_else(|| OutputStream::ALL.to_vec(), |stream| vec![stream]);
    let items = call
        .api()
        .threads
        .blocking(move |ports| {
            let read = |stream| {
                let offset = place.from.offset(ports, id, stream)?;
                ports
                    .outputs
                    .read(id, stream, offset, PART_BYTES_MAX)
                    .map(|part| if is_over { with_final_state(part, PART_BYTES_MAX) } else { part })
                    .map(|part| WireOutput::new(number, stream, offset, &part))
            };
            streams.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        })
        .await??;
    respond::json(&WireOutputs { items, next: None })
}

/// Returns all that a stream contains now from the place on, byte for byte.
async fn text(call: &Call, execution: &Execution, stream: OutputStream, place: OutputStart) -> Outcome {
    let attempt = attempt_at(execution, place.attempt)?.map(|attempt| (attempt.id, attempt.number));
    let mut offset = 0;
    if let Some((id, number)) = attempt {
        let look = move |ports: &Ports| Ok((ports.outputs.read(id, stream, 0, 0)?.state, place.from.offset(ports, id, stream)?));
        let (state, from) = call.api().threads.blocking(look).await?.map_err(|why: OutputError| Problem::from(why))?;
        if state == OutputState::Removed {
            return Err(OutputRemoved(number).into());
        }
        offset = from;
    }
    let attempt = attempt.map(|(id, _)| id);
    let held = call.api().queue(QueueName::LiveOutputs).enter(1).ok_or(TooManyFollowers)?;
    let (send, receive) = mpsc::channel(CHUNKS_WAITING_MAX);
    if let Some(attempt) = attempt {
        let api = call.api().clone();
        tokio::task::spawn_blocking(move || {
            send_all(&api, attempt, stream, offset, &send);
            drop(held);
        });
    }
    Ok(respond::stream(ReceiverStream::new(receive), "text/plain; charset=utf-8"))
}

fn send_all(api: &Api, attempt: AttemptId, stream: OutputStream, mut offset: u64, to: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    loop {
        match api.ports.outputs.read(attempt, stream, offset, CHUNK_BYTES_MAX) {
            // The part that was sent is incomplete, and the rest is no longer stored.
            Ok(part) if part.state == OutputState::Removed => {
                drop(to.blocking_send(Err(std::io::Error::other("the output was deleted while it was being sent"))));
                return;
            }
            Ok(part) if part.bytes.is_empty() => return,
            Ok(part) => {
                offset = part.next;
                if to.blocking_send(Ok(part.bytes)).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "an output could not be read completely");
                // The caller must not mistake the part for the whole, so the connection is aborted.
                drop(to.blocking_send(Err(std::io::Error::other("the output could not be read completely"))));
                return;
            }
        }
    }
}

/// Streams the output as it is printed, from one attempt to the next, until the execution has ended.
fn follow(
    allowed: AllowedCaller<ExecutionsRead>,
    call: &Call,
    execution: &Execution,
    streams: &[OutputStream],
    place: OutputStart,
) -> Outcome {
    let StartOffset::Offset(offset) = place.from else {
        return Err(bad("tail", "cannot be combined with `follow`: read the end first, and then follow from its `next`").into());
    };
    let begin = || Beginning::at(place.attempt, streams, offset);
    let beginning = Beginning::parse_last_event_id(call.headers(), streams)?.unwrap_or_else(begin);
    attempt_at(execution, beginning.attempt)?;
    let held = call.api().queue(QueueName::LiveOutputs).enter(1).ok_or(TooManyFollowers)?;
    let (line, response) = StreamLine::open(call.api().ends(), allowed, CHUNKS_WAITING_MAX, StreamFormat::Events)?;
    let follower = Follower::new(call.api().clone(), execution.id, beginning, line);
    tokio::spawn(async move {
        follower.run().await;
        drop(held);
    });
    Ok(response)
}

//! What an execution's attempts print: a part of it, all of it as it is, or live.
//!
//! Outputs are no records: they have offsets in bytes and not positions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::{OutputPart, OutputState, OutputStream};
use ensue_views::executions::AttemptStatus;
use ensue_views::{Attempt, Execution};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::Api;
use crate::auth::Allowed;
use crate::call::{Call, accepted};
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, bad};
use crate::respond;
use crate::wire::executions::{WireOutput, WireOutputEnd, WireOutputs};

const KNOWN: &[&str] = &["attempt", "stream", "offset", "follow"];
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The most bytes of a stream that one answer in JSON holds.
const PART_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes that are read of a stream at once where all of it is given.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How many chunks wait for a caller that reads slowly.
const CHUNKS_WAITING_MAX: usize = 4;
/// How often a stream is looked at for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a caller hears that the stream is still there, and its token is looked at again.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Too many follow outputs.
#[derive(Debug, Error)]
#[error("too many outputs are followed at once")]
struct TooManyFollowers;

impl Explain for TooManyFollowers {
    fn slug(&self) -> &'static str {
        "busy"
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("try again when another follower is done, or read what there is without `follow`".into())
    }
}

/// Where in an execution's output a caller wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The attempt, by its number; none means the newest, or the first to come.
    attempt: Option<u32>,
    /// The bytes before.
    offset: u64,
}

/// Shows what an execution printed.
pub(super) async fn get(allowed: Allowed<ExecutionsRead>, call: Call) -> Outcome {
    let query = call.query(KNOWN)?;
    let id: ExecutionId = call.named("id", ExecutionsRead::THING)?;
    let stream = query.one_of("stream", &[("stdout", OutputStream::Stdout), ("stderr", OutputStream::Stderr)])?;
    let place = Place { attempt: query.parsed("attempt", "a number")?, offset: query.parsed("offset", "a number of bytes")?.unwrap_or(0) };
    if place.offset > 0 && stream.is_none() {
        return Err(needs_stream("`offset`").into());
    }
    let media = wanted(&call, &query)?;
    call.see().await?;
    let execution: Execution = call.api().row(id.to_string(), ExecutionsRead::THING).await?;
    match (media, stream) {
        (JSON, _) => part(&call, &execution, stream, place).await,
        (TEXT, Some(stream)) => text(&call, &execution, stream, place),
        (TEXT, None) => Err(needs_stream("`text/plain`").into()),
        (_, Some(stream)) => follow(allowed, &call, &execution, stream, place),
        (_, None) => Err(needs_stream("`follow`").into()),
    }
}

fn needs_stream(what: &str) -> crate::query::ParameterRefusal {
    bad("stream", format!("is missing: {what} is of one stream, `stdout` or `stderr`"))
}

fn wanted(call: &Call, query: &Query) -> Result<&'static str, Problem> {
    match query.one_of("follow", &[("true", Follow::Yes), ("false", Follow::No)])? {
        Some(Follow::Yes) => accepted(call.headers(), &[EVENT_STREAM]),
        Some(Follow::No) => accepted(call.headers(), &[JSON, TEXT]),
        None => accepted(call.headers(), &[JSON, TEXT, EVENT_STREAM]),
    }
}

#[derive(Clone, Copy)]
enum Follow {
    Yes,
    No,
}

/// Finds an attempt; none where there is none yet.
fn attempt_at(execution: &Execution, number: Option<u32>) -> Result<Option<&Attempt>, Missing> {
    match number {
        None => Ok(execution.attempts.last()),
        Some(number) => {
            let found = execution.attempts.iter().find(|attempt| attempt.number == number);
            found.map(Some).ok_or_else(|| Missing::new("attempt of this execution", &number.to_string()))
        }
    }
}

/// Gives a part of one stream or both.
async fn part(call: &Call, execution: &Execution, stream: Option<OutputStream>, place: Place) -> Outcome {
    let Some(attempt) = attempt_at(execution, place.attempt)? else {
        return respond::json(&WireOutputs { items: Vec::new(), next: None });
    };
    let (id, number) = (attempt.id, attempt.number);
    let streams = stream.map_or_else(|| vec![OutputStream::Stdout, OutputStream::Stderr], |stream| vec![stream]);
    let items = call
        .api()
        .blocking(move |ports| {
            let read = |stream| {
                ports.outputs.read(id, stream, place.offset, PART_BYTES_MAX).map(|part| shown(number, stream, place.offset, &part))
            };
            streams.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        })
        .await??;
    respond::json(&WireOutputs { items, next: None })
}

fn shown(attempt: u32, stream: OutputStream, offset: u64, part: &OutputPart) -> WireOutput {
    let (state, bytes_dropped) = match part.state {
        OutputState::Open => ("open", 0),
        OutputState::Complete => ("complete", 0),
        OutputState::Truncated { bytes_dropped } => ("truncated", bytes_dropped),
    };
    let text = String::from_utf8_lossy(&part.bytes).into_owned();
    WireOutput { attempt, stream: stream.as_str(), offset, next: part.next, state, bytes_dropped, text }
}

/// Gives all of a stream that there is now, byte for byte.
fn text(call: &Call, execution: &Execution, stream: OutputStream, place: Place) -> Outcome {
    let attempt = attempt_at(execution, place.attempt)?.map(|attempt| attempt.id);
    let (send, receive) = mpsc::channel(CHUNKS_WAITING_MAX);
    if let Some(attempt) = attempt {
        let api = call.api().clone();
        tokio::task::spawn_blocking(move || send_all(&api, attempt, stream, place.offset, &send));
    }
    Ok(streamed(receive, "text/plain; charset=utf-8"))
}

fn send_all(api: &Api, attempt: AttemptId, stream: OutputStream, mut offset: u64, to: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    loop {
        match api.ports.outputs.read(attempt, stream, offset, CHUNK_BYTES_MAX) {
            Ok(part) if part.bytes.is_empty() => return,
            Ok(part) => {
                offset = part.next;
                if to.blocking_send(Ok(part.bytes)).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "an output could not be read to its end");
                // The caller must not take the part for the whole: the connection breaks off.
                drop(to.blocking_send(Err(std::io::Error::other("the output could not be read to its end"))));
                return;
            }
        }
    }
}

fn streamed<E: Into<axum::BoxError> + Send + 'static>(
    chunks: mpsc::Receiver<Result<Bytes, E>>,
    content_type: &'static str,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(chunks)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Gives a stream as it is printed, from one attempt to the next, until the execution has ended.
fn follow(allowed: Allowed<ExecutionsRead>, call: &Call, execution: &Execution, stream: OutputStream, place: Place) -> Outcome {
    let place = resumed(call.headers(), stream)?.unwrap_or(place);
    attempt_at(execution, place.attempt)?;
    let permit = call.api().followers.clone().try_acquire_owned().map_err(|_| TooManyFollowers)?;
    let (send, receive) = mpsc::channel::<Result<Bytes, Infallible>>(CHUNKS_WAITING_MAX);
    let follower = Follower {
        api: call.api().clone(),
        allowed,
        execution: execution.id,
        stream,
        attempt: place.attempt,
        offset: place.offset,
        to: send,
        heard_at: Instant::now(),
    };
    tokio::spawn(async move {
        follower.run().await;
        drop(permit);
    });
    let mut response = streamed(receive, EVENT_STREAM);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Reads where a caller that was cut off goes on: `Last-Event-ID: <attempt>.<stream>.<offset>`.
fn resumed(headers: &HeaderMap, stream: OutputStream) -> Result<Option<Place>, Problem> {
    let Some(given) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let place = given.to_str().ok().and_then(|text| {
        let mut parts = text.split('.');
        let (attempt, of, offset) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?.parse().ok()?);
        (of == stream.as_str() && parts.next().is_none()).then_some(Place { attempt: Some(attempt), offset })
    });
    place.map(Some).ok_or_else(|| bad("last-event-id", "is not an id that this stream gave").into())
}

/// One caller that follows one stream.
struct Follower {
    api: Arc<Api>,
    allowed: Allowed<ExecutionsRead>,
    execution: ExecutionId,
    stream: OutputStream,
    attempt: Option<u32>,
    offset: u64,
    to: mpsc::Sender<Result<Bytes, Infallible>>,
    heard_at: Instant,
}

/// What a look at the stream came to.
enum Look {
    /// There was more.
    More,
    /// There was nothing new.
    Nothing,
    /// There will be nothing more.
    End(WireOutputEnd),
}

/// Why following ends before the execution does.
enum Left {
    /// The caller is gone.
    Gone,
    /// Something failed.
    Failed(Problem),
}

impl Follower {
    async fn run(mut self) {
        match self.until_the_end().await {
            Ok(()) | Err(Left::Gone) => {}
            Err(Left::Failed(problem)) => tracing::warn!(code = problem.code(), "following an output ended early"),
        }
    }

    async fn until_the_end(&mut self) -> Result<(), Left> {
        loop {
            match self.look().await? {
                Look::More => continue,
                Look::End(end) => {
                    let data = serde_json::to_string(&end).map_err(|why| Left::Failed(Problem::bug(&why)))?;
                    return self.send(format!("event: end\ndata: {data}\n\n")).await;
                }
                Look::Nothing => {}
            }
            if self.heard_at.elapsed() >= HEARTBEAT_EVERY {
                if !self.allowed.still_holds(&*self.api.ports.access) {
                    return Ok(());
                }
                self.send(":\n\n".to_owned()).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.to.closed() => return Err(Left::Gone),
                () = self.api.stopped() => return Ok(()),
            }
        }
    }

    async fn look(&mut self) -> Result<Look, Left> {
        // First where the execution stands, then what it printed: what is printed before an end is seen before the end is.
        let execution: Execution = self.api.row(self.execution.to_string(), ExecutionsRead::THING).await.map_err(Left::Failed)?;
        let number = self.attempt.or_else(|| execution.attempts.last().map(|attempt| attempt.number));
        let attempt = execution.attempts.iter().find(|attempt| Some(attempt.number) == number);
        if let Some(attempt) = attempt {
            self.attempt = Some(attempt.number);
            let is_over = attempt.status != AttemptStatus::Running;
            if self.read(attempt.id, attempt.number, is_over).await? {
                return Ok(Look::More);
            }
            let later = execution.attempts.iter().find(|other| other.number > attempt.number);
            if let (true, Some(later)) = (is_over, later) {
                (self.attempt, self.offset) = (Some(later.number), 0);
                return Ok(Look::More);
            }
            if !is_over {
                return Ok(Look::Nothing);
            }
        }
        Ok(if execution.status.is_end() { Look::End(WireOutputEnd { status: execution.status }) } else { Look::Nothing })
    }

    /// Sends what is new in an attempt's stream, and says whether there was anything.
    async fn read(&mut self, attempt: AttemptId, number: u32, is_over: bool) -> Result<bool, Left> {
        let (stream, offset) = (self.stream, self.offset);
        let part =
            self.api.blocking(move |ports| ports.outputs.read(attempt, stream, offset, CHUNK_BYTES_MAX)).await.map_err(Left::Failed)?;
        let mut part = part.map_err(|error| Left::Failed(error.into()))?;
        let whole = whole_characters(&part.bytes);
        if whole == 0 && !is_over {
            return Ok(false);
        }
        if whole > 0 {
            part.next -= (part.bytes.len() - whole) as u64;
            part.bytes.truncate(whole);
        }
        if part.bytes.is_empty() {
            return Ok(false);
        }
        let data = serde_json::to_string(&shown(number, stream, offset, &part)).map_err(|why| Left::Failed(Problem::bug(&why)))?;
        self.offset = part.next;
        self.send(format!("id: {number}.{}.{}\nevent: output\ndata: {data}\n\n", stream.as_str(), part.next)).await?;
        Ok(true)
    }

    async fn send(&mut self, text: String) -> Result<(), Left> {
        self.heard_at = Instant::now();
        self.to.send(Ok(Bytes::from(text))).await.map_err(|_| Left::Gone)
    }
}

/// How many of the bytes are whole characters: one that is cut at the end is shown with its rest.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_waits_for_its_rest() {
        assert_eq!(whole_characters("aé".as_bytes()), 3);
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(&[b'a', 0xff, b'b']), 3);
    }

    #[test]
    fn a_caller_goes_on_where_it_was_cut_off_in_the_same_stream() {
        let with = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
            resumed(&headers, OutputStream::Stdout)
        };
        assert_eq!(with("2.stdout.17").unwrap(), Some(Place { attempt: Some(2), offset: 17 }));
        for bad in ["2.stderr.17", "2.stdout", "x.stdout.1", "2.stdout.17.3", ""] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}

//! A reader of Server-Sent Events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! It parses the framing of events and resumes broken streams. Callers interpret the data, which is JSON.

use std::ops::ControlFlow;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::report::{CommandResult, Exit, Failure};
use crate::table::text;

/// How long to wait for a node that went away.
const NODE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a live node may stay silent: three of the heartbeats that it sends when there is nothing to
/// report.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The first pause before a retry, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The name of the event that ends a stream.
pub(crate) const END: &str = "end";

/// The most bytes of one event.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SseEvent {
    /// Its id, used to resume after it; empty if it has none.
    pub(crate) id: String,
    /// Its name; empty if it has none.
    pub(crate) name: String,
    /// Its data; null if it has none and only marks a place in the stream.
    pub(crate) data: Value,
    /// The data as the node wrote it.
    pub(crate) raw: String,
}

impl SseEvent {
    fn is_for_people(&self) -> bool {
        !self.data.is_null()
    }
}

/// Passes each event of a stream to `each`, until `each` reports that it was the last. If the node goes away,
/// it resumes after the last id as soon as a node answers. Fails if none answers for [`NODE_PATIENCE`], or if
/// one answers but sends nothing in all that time.
pub(crate) async fn follow_on(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    mut each: impl FnMut(&SseEvent) -> ControlFlow<()>,
) -> CommandResult {
    let mut place: Option<String> = None;
    let (mut heard_at, mut pause) = (Instant::now(), PAUSE_FIRST);
    let mut was_there = false;
    loop {
        let mut flow = ControlFlow::Continue(());
        let mut reason = String::new();
        let told = match timeout(SILENCE_MAX, client.follow(path, query, place.as_deref())).await.unwrap_or_else(|_| Err(silent(client))) {
            // Everything was delivered before.
            Ok(response) if response.status() == StatusCode::NO_CONTENT => {
                let end = SseEvent { id: String::new(), name: END.to_owned(), data: json!({ "reason": "ended" }), raw: String::new() };
                return match each(&end) {
                    ControlFlow::Break(()) => Ok(()),
                    ControlFlow::Continue(()) => Err(ended_again("ended")),
                };
            }
            Ok(response) => {
                was_there = true;
                let opened = Instant::now();
                let mut stream = SseStream { response, frames: Frames::default(), spoke_at: opened };
                let told = stream
                    .follow(client, |told| {
                        if told.name == END {
                            reason = text(&told.data, "reason");
                        } else if told.is_for_people() {
                            (heard_at, pause) = (Instant::now(), PAUSE_FIRST);
                        }
                        flow = if told.is_for_people() { each(&told) } else { ControlFlow::Continue(()) };
                        if !told.id.is_empty() {
                            place = Some(told.id);
                        }
                        flow
                    })
                    .await;
                // There may be nothing to report for long: an open stream means that the node was alive as
                // long as it sent something.
                if stream.spoke_at - opened > PAUSE_MAX {
                    (heard_at, pause) = (stream.spoke_at, PAUSE_FIRST);
                }
                told
            }
            Err(failure) => Err(failure),
        };
        let is_over = heard_at.elapsed() > NODE_PATIENCE;
        match told {
            Ok(()) if flow.is_break() => return Ok(()),
            Ok(()) if is_over => return Err(ended_again(&reason)),
            Err(failure) if is_over || !was_there || !matches!(failure.exit(), Exit::Unreachable | Exit::TryLater) => return Err(failure),
            Ok(()) | Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

fn silent(client: &Client) -> Failure {
    Failure::with(Exit::Unreachable, format!("{} has sent nothing for {} s", client.server(), SILENCE_MAX.as_secs()))
        .hint("check whether it answers with `ensue status`")
}

fn ended_again(reason: &str) -> Failure {
    let why = if reason.is_empty() { "and gives no reason".to_owned() } else { format!("with the reason `{reason}`") };
    Failure::with(Exit::TryLater, format!("the node repeatedly ends the stream {why}")).hint("see the problems with `ensue doctor`")
}

/// An answer that is a stream of events.
struct SseStream {
    response: Response,
    frames: Frames,
    /// When the node last sent anything, including heartbeats.
    spoke_at: Instant,
}

impl SseStream {
    /// Passes each event to `each`, until `each` stops or the answer ends. Fails if the node falls silent or
    /// the connection breaks.
    async fn follow(&mut self, client: &Client, mut each: impl FnMut(SseEvent) -> ControlFlow<()>) -> CommandResult {
        let broken = |why: String| Failure::with(Exit::Unreachable, format!("the stream was interrupted: {why}"));
        loop {
            let chunk = timeout(SILENCE_MAX, self.response.chunk()).await.map_err(|_| silent(client))?;
            let Some(chunk) = chunk.map_err(|error| broken(error.to_string()))? else { return Ok(()) };
            self.spoke_at = Instant::now();
            self.frames.push(&chunk);
            while let Some(told) = self.frames.next().map_err(broken)? {
                if each(told).is_break() {
                    return Ok(());
                }
            }
        }
    }
}

/// The bytes of a stream that are being parsed into events.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next complete event; events with neither an id nor data are skipped.
    fn next(&mut self) -> Result<Option<SseEvent>, String> {
        while let Some(end) = self.bytes.windows(2).position(|window| window == b"\n\n") {
            let frame = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
            self.bytes.drain(..end + 2);
            if let Some(told) = parse_event(&frame)? {
                return Ok(Some(told));
            }
        }
        if self.bytes.len() > EVENT_BYTES_MAX {
            return Err(format!("an event is larger than {EVENT_BYTES_MAX} bytes"));
        }
        Ok(None)
    }
}

fn parse_event(frame: &str) -> Result<Option<SseEvent>, String> {
    let (mut id, mut name, mut data) = (String::new(), String::new(), Vec::new());
    for line in frame.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut id),
            "event" => value.clone_into(&mut name),
            "data" => data.push(value),
            _ => {}
        }
    }
    if data.is_empty() {
        return Ok((!id.is_empty()).then(|| SseEvent { id, ..SseEvent::default() }));
    }
    let raw = data.join("\n");
    let data = serde_json::from_str(&raw).map_err(|error| format!("an event is not JSON: {error}"))?;
    Ok(Some(SseEvent { id, name, data, raw }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Runs a node that answers each request with the same stream and then acts as `then` says.
    async fn follow_one_that(says: &'static str, then: Then) -> (Failure, u32, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None, &Default::default()).unwrap();
        let asked = Cell::new(0);
        let node = async {
            let mut kept = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                asked.set(asked.get() + 1);
                assert!(asked.get() < 1_000, "it is polled without end");
                answer(&mut connection, says).await;
                match then {
                    Then::Ends => {}
                    Then::StandsStill => kept.push(connection),
                }
            }
        };
        let begin = Instant::now();
        let failure = tokio::select! {
            () = node => unreachable!("it listens without end"),
            followed = follow_on(&client, "/log/stream", &[], |_| ControlFlow::Continue(())) => followed.unwrap_err(),
        };
        (failure, asked.get(), begin.elapsed())
    }

    #[derive(Clone, Copy)]
    enum Then {
        Ends,
        StandsStill,
    }

    async fn answer(connection: &mut TcpStream, says: &str) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        connection.write_all(format!("{head}{says}").as_bytes()).await.unwrap();
    }

    // The paused clock advances to the next timer only when nothing else can run.
    #[tokio::test(start_paused = true)]
    async fn follower_backs_off_and_gives_up_if_the_node_ends_every_stream() {
        let says = "retry: 1000\nid: 7\n\nevent: end\ndata: {\"reason\": \"failed\"}\n\n";
        let (failure, asked, took) = follow_one_that(says, Then::Ends).await;
        assert_eq!((failure.exit(), failure.to_string().contains("`failed`")), (Exit::TryLater, true), "{failure}");
        assert!(took > NODE_PATIENCE && took < NODE_PATIENCE * 2, "{took:?}");
        assert!(asked < 30, "it was asked {asked} times");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_node_is_not_awaited_forever() {
        let (failure, asked, took) = follow_one_that(": hello\n\nid: 7\n\n", Then::StandsStill).await;
        assert_eq!(failure.exit(), Exit::Unreachable, "{failure}");
        assert!(failure.to_string().contains("has sent nothing for 45 s"), "{failure}");
        assert!(took > NODE_PATIENCE && took < NODE_PATIENCE * 3, "{took:?}");
        assert!(asked > 1, "it was not asked again");
    }

    #[test]
    fn events_are_parsed_however_the_stream_is_split() {
        let stream =
            b": hello\n\nretry: 1000\nid: 0\n\nid: 1\nevent: output\ndata: {\"text\":\n data: x\n\nid: 2\ndata: {\"text\": \"b\"}\n\n";
        let stream = String::from_utf8_lossy(stream).replace("{\"text\":\n data: x", "{\"text\": \"a\"}").into_bytes();
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                frames.push(chunk);
                while let Some(told) = frames.next().unwrap() {
                    seen.push(told);
                }
            }
            assert_eq!(
                seen,
                [
                    SseEvent { id: "0".into(), ..SseEvent::default() },
                    SseEvent { id: "1".into(), name: "output".into(), data: json!({ "text": "a" }), raw: "{\"text\": \"a\"}".into() },
                    SseEvent { id: "2".into(), name: String::new(), data: json!({ "text": "b" }), raw: "{\"text\": \"b\"}".into() },
                ]
            );
        }
    }

    #[test]
    fn event_without_an_end_is_not_buffered_forever() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert!(frames.next().is_err());
    }
}

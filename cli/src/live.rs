//! Server-Sent Events, read as they come (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! It knows the frame of an event and how a stream goes on where it broke off, and leaves the data, JSON, to whoever asked.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::Value;

use crate::client::Client;
use crate::report::{Exit, Failure, Outcome};

/// How long a node that went away is waited for.
const NODE_PATIENCE: Duration = Duration::from_secs(60);
/// The first pause before it is asked again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The name of the event with which a node ends a stream.
pub(crate) const END: &str = "end";

/// The most bytes of one event.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// Its place in the stream, to go on from; empty where it has none.
    pub(crate) id: String,
    /// Its name; empty where it has none.
    pub(crate) name: String,
    /// Its data; null where it has none and only says where the stream stands.
    pub(crate) data: Value,
}

impl Told {
    fn is_for_people(&self) -> bool {
        !self.data.is_null()
    }
}

/// Hands each event of a stream to `each`, until it says that this was the last. Where the node goes away, it goes on behind the last id
/// as soon as one answers.
pub(crate) async fn follow_on(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    mut each: impl FnMut(&Told) -> ControlFlow<()>,
) -> Outcome {
    let mut place: Option<String> = None;
    let (mut heard_at, mut pause) = (Instant::now(), PAUSE_FIRST);
    let mut was_there = false;
    loop {
        let mut flow = ControlFlow::Continue(());
        let told = match client.follow(path, query, place.as_deref()).await {
            Ok(response) => {
                was_there = true;
                let opened = Instant::now();
                let told = follow(response, |told| {
                    if told.name != END {
                        (heard_at, pause) = (Instant::now(), PAUSE_FIRST);
                    }
                    flow = if told.is_for_people() { each(&told) } else { ControlFlow::Continue(()) };
                    if !told.id.is_empty() {
                        place = Some(told.id);
                    }
                    flow
                })
                .await;
                // There may be nothing to tell for long: a stream that stood is a node that was there until now.
                if opened.elapsed() > PAUSE_MAX {
                    (heard_at, pause) = (Instant::now(), PAUSE_FIRST);
                }
                told
            }
            Err(failure) => Err(failure),
        };
        let is_over = heard_at.elapsed() > NODE_PATIENCE;
        match told {
            Ok(()) if flow.is_break() => return Ok(()),
            Ok(()) if is_over => return Err(Failure::with(Exit::Unreachable, "the node ends the stream again and again")),
            Err(failure) if is_over || !was_there || !matches!(failure.exit(), Exit::Unreachable | Exit::TryLater) => return Err(failure),
            Ok(()) | Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Hands each event of one answer to `each`, until it has enough or the answer ends.
async fn follow(mut response: Response, mut each: impl FnMut(Told) -> ControlFlow<()>) -> Outcome {
    let mut frames = Frames::default();
    let broken = |why: String| Failure::with(Exit::Unreachable, format!("the stream broke off: {why}"));
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(error.to_string()))? {
        frames.push(&chunk);
        while let Some(told) = frames.next().map_err(broken)? {
            if each(told).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The bytes of a stream on their way to events.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole event; what has neither an id nor data is passed over.
    fn next(&mut self) -> Result<Option<Told>, String> {
        while let Some(end) = self.bytes.windows(2).position(|window| window == b"\n\n") {
            let frame = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
            self.bytes.drain(..end + 2);
            if let Some(told) = told(&frame)? {
                return Ok(Some(told));
            }
        }
        if self.bytes.len() > EVENT_BYTES_MAX {
            return Err(format!("an event is over {EVENT_BYTES_MAX} bytes"));
        }
        Ok(None)
    }
}

fn told(frame: &str) -> Result<Option<Told>, String> {
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
        return Ok((!id.is_empty()).then(|| Told { id, ..Told::default() }));
    }
    let data = serde_json::from_str(&data.join("\n")).map_err(|error| format!("an event is not JSON: {error}"))?;
    Ok(Some(Told { id, name, data }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut_up() {
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
                    Told { id: "0".into(), ..Told::default() },
                    Told { id: "1".into(), name: "output".into(), data: json!({ "text": "a" }) },
                    Told { id: "2".into(), name: String::new(), data: json!({ "text": "b" }) },
                ]
            );
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_gathered_for_ever() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert!(frames.next().is_err());
    }
}

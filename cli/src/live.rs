//! Server-Sent Events, read as they come (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! It knows the frame of an event and leaves its data, JSON, to whoever asked.

use reqwest::Response;
use serde_json::Value;

use crate::report::{Exit, Failure, Outcome};

/// The most bytes of one event.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// Its place in the stream, to go on from; empty where it has none.
    pub(crate) id: String,
    /// Its name; empty where it has none.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: Value,
}

/// Hands each event of a stream to `each`, until the stream ends.
pub(crate) async fn follow(mut response: Response, mut each: impl FnMut(Told) -> Outcome) -> Outcome {
    let mut frames = Frames::default();
    let broken = |why: String| Failure::with(Exit::Unreachable, format!("the stream broke off: {why}"));
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(error.to_string()))? {
        frames.push(&chunk);
        while let Some(told) = frames.next().map_err(broken)? {
            each(told)?;
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

    /// The next whole event; comments and events without data are passed over.
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
        return Ok(None);
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
        let stream = b": hello\n\nid: 1\nevent: output\ndata: {\"text\":\n data: x\n\nid: 2\ndata: {\"text\": \"b\"}\n\n";
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

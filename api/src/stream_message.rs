//! The messages to a caller that follows something, whatever the format.
//!
//! They are sent in `sse.rs` and `websocket.rs`.

use bytes::Bytes;
use ensue_engine::record::Position;

/// A message on a line.
#[derive(Debug)]
pub(crate) enum StreamMessage {
    /// Events, as Server-Sent Events are written.
    Events(Bytes),
    /// Records as JSON, each with its position: one message each.
    Records(Vec<(Position, Bytes)>),
    /// A heartbeat: nothing new, but the line is still open.
    Beat,
    /// The end of the line.
    End {
        /// The reason, as JSON.
        why: String,
        /// The same as a WebSocket close code.
        code: u16,
    },
}

impl StreamMessage {
    /// Converts it to Server-Sent Events.
    pub(crate) fn into_events(self) -> Bytes {
        match self {
            Self::Events(events) => events,
            // These are for WebSocket.
            Self::Records(_) => Bytes::new(),
            Self::Beat => Bytes::from_static(b":\n\n"),
            // The last event has no id, so the caller's place stays where it is.
            Self::End { why, .. } => format!("event: end\ndata: {why}\n\n").into(),
        }
    }
}

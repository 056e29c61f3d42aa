//! What is said to a caller who follows something, whatever form it is heard in.
//!
//! How it is sent is `sse.rs`'s and `websocket.rs`'s.

use bytes::Bytes;
use ensue_engine::record::Position;

/// Something that is said on a line.
#[derive(Debug)]
pub(crate) enum Said {
    /// Events, as Server-Sent Events are written.
    Events(Bytes),
    /// Records as JSON, each with its position: one message each.
    Records(Vec<(Position, Bytes)>),
    /// Nothing new; the line is still there.
    Beat,
    /// There will be nothing more.
    End {
        /// Why, as JSON.
        why: String,
        /// The same as a WebSocket says it.
        code: u16,
    },
}

impl Said {
    /// Writes it as Server-Sent Events.
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

//! A message of a source, and how much of a source may be read at once.

use bytes::Bytes;
use ensue_engine::events::facts::{KeptMessage, MessageForm};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, JsonError};
use serde_json::{Map, Value};

/// The maximum size of a message's body, in bytes. A larger one becomes a dead letter.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How much is kept of a body that is too large, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The maximum size of what is kept of a refused message beside its body, in bytes.
const KEPT_BYTES_MAX: usize = 8 << 10;

/// What a source read: one line, one item, or one file.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number in the run.
    pub token: Token,
    /// Its content.
    pub body: Body,
    /// What the source knows about it beside its content: an object. Expressions read its fields by name.
    pub about: Map<String, Value>,
    /// The key under which the message is accepted once, if the source has one of its own.
    pub key: Option<String>,
    /// When it happened, if the source says so.
    pub time: Option<Timestamp>,
}

/// The number of a message in a run: 1, 2, 3, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// The content of a message.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes as they were read, which the sensor's `decode` explains.
    Bytes(Bytes),
    /// A JSON value.
    Json(Document),
    /// Nothing, but there is something to know about it.
    Nothing,
    /// More than [`MESSAGE_BYTES_MAX`] bytes.
    Cut {
        /// The first [`HEAD_BYTES_MAX`] bytes at most.
        head: Bytes,
        /// The number of bytes of the whole.
        whole: u64,
    },
    /// No message at all: only the cursor moves. It makes no event.
    Progress,
}

impl Message {
    /// Returns what is kept of it beside its body if it is refused, so that it can be read again later; `None` if its
    /// body is not whole, or it is too large.
    pub fn to_kept(&self) -> Option<KeptMessage> {
        let form = match &self.body {
            Body::Json(_) => MessageForm::Json,
            Body::Bytes(_) => MessageForm::Bytes,
            Body::Nothing => MessageForm::Nothing,
            Body::Cut { .. } | Body::Progress => return None,
        };
        let about = Value::Object(self.about.clone()).to_string();
        let bytes = about.len() + self.key.as_ref().map_or(0, String::len);
        (bytes <= KEPT_BYTES_MAX).then(|| KeptMessage { form, about, key: self.key.clone(), time: self.time })
    }

    /// Returns a message as it was kept, with its body.
    ///
    /// # Errors
    /// If the body is not JSON although it was.
    pub fn again(kept: KeptMessage, body: Bytes) -> Result<Self, JsonError> {
        let body = match kept.form {
            MessageForm::Json => Body::Json(Document::parse(body)?),
            MessageForm::Bytes => Body::Bytes(body),
            MessageForm::Nothing => Body::Nothing,
        };
        // It was written as an object.
        let about = serde_json::from_str(&kept.about).unwrap_or_default();
        Ok(Self { token: Token(1), body, about, key: kept.key, time: kept.time })
    }
}

impl Body {
    /// Returns the memory that it takes, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Json(document) => document.bytes().len(),
            Self::Cut { head, .. } => head.len(),
            Self::Nothing | Self::Progress => 0,
        }
    }

    /// Returns true if it takes no memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How much may be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The maximum number of messages, at least 1.
    pub messages: usize,
    /// The number of bytes after which no further message is read. One message may exceed it.
    pub bytes: usize,
}

/// How far a source is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Nobody knows.
    #[default]
    Unknown,
    /// This many messages are waiting.
    Messages(u64),
    /// The newest message that was read is of this time.
    NewestAt(Timestamp),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(body: Body) -> Message {
        let Value::Object(about) = json!({ "file": { "name": "a.txt" }, "index": 2 }) else { panic!("an object") };
        let time = Some(Timestamp::from_micros(1_800_000_000_000_001));
        Message { token: Token(7), body, about, key: Some("k-1".to_owned()), time }
    }

    #[test]
    fn message_is_read_again_as_it_was_kept() {
        let json = Document::from_value(&json!({ "n": 1 }));
        for (body, bytes) in [
            (Body::Json(json.clone()), json.bytes().clone()),
            (Body::Bytes(Bytes::from_static(b"\xff")), Bytes::from_static(b"\xff")),
            (Body::Nothing, Bytes::new()),
        ] {
            let message = message(body);
            let again = Message::again(message.to_kept().unwrap(), bytes).unwrap();
            assert_eq!(format!("{again:?}"), format!("{:?}", Message { token: Token(1), ..message }));
        }
        assert!(Message::again(message(Body::Json(json)).to_kept().unwrap(), Bytes::from_static(b"{")).is_err());
    }

    #[test]
    fn message_that_is_not_whole_is_not_kept() {
        for body in [Body::Cut { head: Bytes::from_static(b"a"), whole: 1 << 30 }, Body::Progress] {
            assert_eq!(message(body).to_kept(), None);
        }
    }

    #[test]
    fn what_is_known_and_the_key_of_a_kept_message_share_a_limit() {
        let with = |key: usize, text: usize| {
            let about = Map::from_iter([("text".to_owned(), Value::from("x".repeat(text)))]);
            let beside = "{\"text\":\"\"}".len();
            let message = Message { about, key: Some("k".repeat(key)), ..message(Body::Nothing) };
            (message.to_kept().is_some(), key + text + beside)
        };
        for (key, text) in [(8_000, 181), (181, 8_000), (0, 8_181)] {
            assert_eq!(with(key, text), (true, KEPT_BYTES_MAX));
            assert!(!with(key + 1, text).0 && !with(key, text + 1).0);
        }
    }
}

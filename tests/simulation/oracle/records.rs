//! The log as JSON: each record as the API shows it, and the bytes of its body.

use ensue_api::ports::LogAccess;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Position, WireRecord};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ground::WorldGround;
use crate::node::Node;
use crate::oracle::Violation;
use crate::pack::in_newest_version;
use crate::secrets::holds_secret;

/// A record, parsed from its JSON.
#[derive(Debug, Deserialize)]
pub(super) struct Raw {
    pub(super) position: u64,
    pub(super) log: String,
    pub(super) epoch: u64,
    pub(super) batch: String,
    pub(super) stream: String,
    pub(super) revision: u64,
    pub(super) kind: String,
    pub(super) schema: u64,
    pub(super) id: String,
    pub(super) time: String,
    pub(super) actor: String,
    pub(super) cause: RawCause,
    pub(super) fact: Box<RawValue>,
    #[serde(default)]
    pub(super) body: Option<RawBody>,
    pub(super) chain: String,
    /// The decoded bytes of the body.
    #[serde(skip)]
    pub(super) content: Option<Vec<u8>>,
    /// Whether its JSON contains a secret.
    #[serde(skip)]
    pub(super) holds_secret: bool,
    /// The fact, parsed.
    #[serde(skip)]
    pub(super) said: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawCause {
    pub(super) parent: Option<String>,
    pub(super) root: String,
    pub(super) depth: u64,
    pub(super) trace: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawBody {
    pub(super) digest: String,
}

impl Raw {
    /// Returns a text field of the fact, or an empty text if it is missing.
    pub(super) fn text(&self, field: &str) -> &str {
        self.said.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns a number field of the fact, or 0 if it is missing.
    pub(super) fn number(&self, field: &str) -> u64 {
        self.said.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns the body as JSON, or null if it has none.
    pub(super) fn payload(&self) -> Value {
        self.content.as_deref().and_then(|content| serde_json::from_slice(content).ok()).unwrap_or(Value::Null)
    }

    /// Returns the payload of an event as its rules see it, in the newest version of its trigger.
    pub(super) fn newest_payload(&self) -> Result<Value, Violation> {
        let version = self.said.get("version").and_then(Value::as_u64).unwrap_or(1);
        let newest = in_newest_version(self.text("trigger"), version, self.payload());
        newest.map_err(|why| Violation::new("I4", format!("the event at {} is wrong: {why}", self.position)))
    }

    /// Returns true if it may start something that a caller requested: it has no cause in the log, or it is a
    /// rerun of something that had none.
    pub(super) fn is_asked_for(&self) -> bool {
        self.cause.parent.is_none() || self.said.get("rerun_of").is_some()
    }

    /// Returns the time in microseconds since the Unix epoch.
    pub(super) fn micros(&self) -> i64 {
        micros(&self.time)
    }

    /// Returns the clock's step in microseconds, or 0 if it did not step.
    pub(super) fn clock_step_micros(&self) -> i64 {
        if self.kind == "clock.stepped" { micros(self.text("to")) - micros(self.text("from")) } else { 0 }
    }
}

/// Returns a time in microseconds since the Unix epoch.
pub(super) fn micros(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time).map_or(0, |time| time.timestamp_micros())
}

/// Reads the whole log page by page, as a reader does, and adds it to the trace.
pub(super) fn read(node: &Node, ground: &WorldGround) -> Result<Vec<Raw>, Violation> {
    let mut records: Vec<Raw> = Vec::new();
    loop {
        let after = Position(records.last().map_or(0, |record| record.position));
        let page = node.log().read(after, ReadLimit { records: 100, ..ReadLimit::default() });
        let page = page.map_err(|error| Violation::new("I1", format!("the log cannot be read after {after}: {error}")))?;
        if page.is_empty() {
            return Ok(records);
        }
        for record in &page {
            let json = serde_json::to_string(&WireRecord::from(record)).map_err(|error| Violation::new("I2", error.to_string()))?;
            ground.story().note(&json);
            let mut raw: Raw = serde_json::from_str(&json).map_err(|error| Violation::new("I2", format!("{error}: {json}")))?;
            raw.holds_secret = holds_secret(json.as_bytes());
            raw.said = serde_json::from_str(raw.fact.get()).unwrap_or(Value::Null);
            raw.content = match &record.body {
                Some(body) => ensue_node::parts::plain(body).ok().flatten().map(|bytes| bytes.to_vec()),
                None => None,
            };
            records.push(raw);
        }
    }
}

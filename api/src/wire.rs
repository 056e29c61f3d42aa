//! The shapes of answers and requests, one file a noun. Relations are named by their noun and null where there is none.
//!
//! Nothing here is read from a store or decided: a shape is made of what a view or the catalog says.

pub(crate) mod actions;
pub(crate) mod artifacts;
pub(crate) mod backfill;
pub(crate) mod backtests;
pub(crate) mod bulk;
pub(crate) mod dead_letters;
pub(crate) mod enforcements;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod inquiries;
pub(crate) mod keys;
pub(crate) mod locks;
pub(crate) mod node;
pub(crate) mod packs;
pub(crate) mod queues;
pub(crate) mod replays;
pub(crate) mod rules;
pub(crate) mod sensors;
pub(crate) mod timers;
pub(crate) mod tokens;
pub(crate) mod traces;
pub(crate) mod triggers;
pub(crate) mod vars;
pub(crate) mod verdicts;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct WireList<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; null on the last one.
    pub(crate) next: Option<String>,
}

/// Puts a body into an answer as it came: JSON as it stands, any other bytes as a text.
pub(crate) fn embedded(body: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body);
    RawValue::from_string(text.clone().into_owned())
        .or_else(|_| serde_json::value::to_raw_value(&text))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

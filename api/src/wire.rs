//! The shapes of requests and responses, one file per noun. Relations are named after their noun, and null if
//! there is none.
//!
//! Nothing here reads a store or makes decisions: a shape is built from a view's rows or the catalog.

pub(crate) mod actions;
pub(crate) mod artifacts;
pub(crate) mod audit;
pub(crate) mod backfill;
pub(crate) mod backtests;
pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod compare;
pub(crate) mod connections;
pub(crate) mod counts;
pub(crate) mod dead_letters;
pub(crate) mod devices;
pub(crate) mod enforcements;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod inquiries;
pub(crate) mod judgements;
pub(crate) mod keys;
pub(crate) mod locks;
pub(crate) mod me;
pub(crate) mod node;
pub(crate) mod now;
pub(crate) mod pack_files;
pub(crate) mod packs;
pub(crate) mod people;
pub(crate) mod queues;
pub(crate) mod replays;
pub(crate) mod reruns;
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod sensor_runs;
pub(crate) mod sensor_tests;
pub(crate) mod sensors;
pub(crate) mod series;
pub(crate) mod sessions;
pub(crate) mod spans;
pub(crate) mod timers;
pub(crate) mod tokens;
pub(crate) mod traces;
pub(crate) mod triggers;
pub(crate) mod usage;
pub(crate) mod vars;
pub(crate) mod verdicts;
pub(crate) mod waits;
pub(crate) mod why;

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

/// Embeds a body in a response: JSON unchanged, any other bytes as a string.
pub(crate) fn embed_body(body: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body);
    RawValue::from_string(text.clone().into_owned())
        .or_else(|_| serde_json::value::to_raw_value(&text))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

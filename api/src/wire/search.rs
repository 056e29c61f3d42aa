//! What a search finds.

use ensue_derive::wire;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// What a search found.
#[wire(Serialize)]
pub(crate) struct WireFound {
    /// At most ten of each kind.
    pub(crate) items: Vec<WireFoundItem>,
    pub(crate) took_ms: f64,
}

/// A thing that a search found.
#[wire(Serialize)]
pub(crate) struct WireFoundItem {
    pub(crate) kind: WireFoundKind,
    /// Its id or its name.
    pub(crate) id: String,
    /// Its name for people: the action, the trigger, the title or the description.
    pub(crate) title: String,
    pub(crate) status: Option<&'static str>,
    /// When it began.
    pub(crate) at: Option<Timestamp>,
}

/// The kind of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireFoundKind {
    Event,
    Enforcement,
    Execution,
    Inquiry,
    DeadLetter,
    Pack,
    Action,
    Rule,
    Trigger,
    Sensor,
}

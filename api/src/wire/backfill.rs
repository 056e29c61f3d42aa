//! Running a schedule's past times.

use ensue_derive::wire;
use ensue_engine::ids::EventId;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The range of times to run.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireBackfill {
    /// The start of the range, inclusive.
    pub(crate) since: Timestamp,
    /// The end of the range, exclusive; now if omitted.
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
}

/// A time of a schedule.
#[wire(Serialize)]
pub(crate) struct WireMadeUpFor {
    /// The time.
    pub(crate) scheduled_at: Timestamp,
    /// Its event; null if it has none, as in a dry run.
    pub(crate) event: Option<EventId>,
    /// Whether it already had an event.
    pub(crate) fired_before: bool,
}

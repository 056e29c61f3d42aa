//! Running a schedule's past times.

use ensue_engine::ids::EventId;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shapes;

/// The range of times to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireBackfill {
    /// The start of the range, inclusive.
    #[schemars(with = "shapes::Timestamp")]
    pub(crate) since: Timestamp,
    /// The end of the range, exclusive; now if omitted.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Timestamp>")]
    pub(crate) until: Option<Timestamp>,
}

/// A time of a schedule.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireMadeUpFor {
    /// The time.
    #[schemars(with = "shapes::Timestamp")]
    pub(crate) scheduled_at: Timestamp,
    /// Its event; null if it has none, as in a dry run.
    #[schemars(with = "Option<shapes::EventId>")]
    pub(crate) event: Option<EventId>,
    /// Whether it already had an event.
    pub(crate) fired_before: bool,
}

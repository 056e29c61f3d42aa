//! Making up for times of a schedule.

use ensue_engine::ids::EventId;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shapes;

/// Which times are made up for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireBackfill {
    /// From when on.
    #[schemars(with = "shapes::Timestamp")]
    pub(crate) since: Timestamp,
    /// Before when; now without it.
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
    /// Its event; null where it has none, which is so in a dry run.
    #[schemars(with = "Option<shapes::EventId>")]
    pub(crate) event: Option<EventId>,
    /// Whether it had one before.
    pub(crate) fired_before: bool,
}

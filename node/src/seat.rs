//! What one log has in a node: its state and its tables, who follows it, and who leads it.
//!
//! Read in the order in which a seat comes up: [`open`] opens what is kept and folds it, `stores` has at hand what everybody looks things
//! up in, `follow` has the read models, the count and the snapshots keep up, `work` has attempts run, and `lead` has the sequencer write.
//! A seat ends with its sequencer: what it failed with is the seat's, and whoever has the seat decides what that means.

pub(crate) mod follow;
pub(crate) mod lead;
pub mod open;
mod space;
pub(crate) mod stores;
mod telemetry;
pub(crate) mod work;

use std::sync::Arc;

use ensue_api::Queues;
use ensue_engine::command::Settings;

use crate::clock::Clock;

/// What all stages of a seat are given.
pub(crate) struct Around {
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// What the operator sets, as far as the core knows it; who the worker is comes later.
    pub(crate) settings: Settings,
    /// The queues of the process.
    pub(crate) queues: Queues,
}

//! The parts of one log in a node: its state, its tables, its followers and its leader.
//!
//! Read the modules in the order in which it starts: [`open`] opens the stored files and folds the log, `stores`
//! holds the shared lookups, `follow` keeps the read models and the counts up to date, `work` runs attempts, and
//! `lead` runs the sequencer that writes the log, and saves snapshots of its state. It ends with its sequencer.
//! It holds the sequencer's error, and its owner decides what the error means.

mod disk_space;
pub(crate) mod follow;
pub(crate) mod lead;
pub mod open;
pub mod standby;
pub(crate) mod stores;
mod telemetry;
mod warm_up;
pub(crate) mod work;

use std::sync::Arc;

use ensue_api::Queues;
use ensue_engine::command::Settings;

use crate::clock::SteppedClock;

/// The dependencies of all stages of the runtime of a log.
pub(crate) struct RuntimeContext {
    /// The time.
    pub(crate) clock: Arc<dyn SteppedClock>,
    /// The operator's settings, as far as the core knows them; the worker's name is set later.
    pub(crate) settings: Settings,
    /// The queues of the process.
    pub(crate) queues: Queues,
}

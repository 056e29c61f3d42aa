//! Pulling sensors: a task for each reads its source, and commits the events together with the cursor.
//!
//! What runs follows from the log: the effects of the records start and stop the tasks. Read the modules in this
//! order: `supervisor` starts, restarts and stops the tasks, `run` is one run of a source, `held` keeps what it
//! has pulled, `batches` makes batches of messages, `parts` keeps which parts of a source fail, `back_off` says when a
//! failed run is tried again, `logs` keeps what the runs say, and `trial` is a test of a sensor beside its run.

mod back_off;
mod batches;
mod held_messages;
mod log_files;
mod logs;
mod parts;
mod rehearsed_messages;
mod report;
mod run;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;
mod trial;
mod world;

pub(crate) use world::NodeWorlds;

pub use rehearsed_messages::RehearsedMessages;
pub use supervisor::{SensorSupervisor, SensorWorlds, SupervisorParts};

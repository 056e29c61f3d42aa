//! Executions: runs of actions, and the attempts they are made of.

pub mod artifacts;
pub mod decide;
pub mod facts;
pub mod history;
pub mod labels;
pub mod messages;
pub(crate) mod pausing;
pub mod queues;
pub mod react;
pub(crate) mod retry;
pub mod state;
pub(crate) mod timed;

//! Executions: runs of actions, and their attempts.

pub(crate) mod admission;
pub mod artifacts;
pub(crate) mod begin;
pub mod decide;
pub(crate) mod end;
pub(crate) mod execution_timers;
pub mod facts;
pub mod history;
pub mod labels;
pub mod message_counts;
pub mod messages;
pub mod milestone;
pub(crate) mod pausing;
pub mod program;
pub mod queues;
pub mod react;
pub(crate) mod retry;
pub mod rights;
pub mod scope;
pub(crate) mod start;
pub mod state;

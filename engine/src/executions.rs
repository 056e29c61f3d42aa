//! Executions: runs of actions, and the attempts they are made of.

pub mod artifacts;
pub mod decide;
pub mod facts;
pub mod messages;
pub mod react;
pub mod state;

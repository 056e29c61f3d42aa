//! Executions: runs of actions, and the attempts they are made of.

pub mod decide;
pub mod facts;
pub mod react;
pub mod state;

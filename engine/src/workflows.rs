//! Workflows: executions that consist of steps. Each step is a separate execution, or none if it was skipped.

mod begin;
pub mod elements;
mod end;
pub mod facts;
mod inputs;
mod items;
pub(crate) mod notify;
pub mod part;
pub(crate) mod react;
mod requests;
mod reuse;
pub(crate) mod run;
pub mod state;
mod turns;
mod undo;
pub mod wait_index;
pub(crate) mod waits;

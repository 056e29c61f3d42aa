//! Locks: what lets only so many executions of an action, or of a rule, be open at once.

mod claim;
pub mod facts;
pub(crate) mod react;
pub mod state;

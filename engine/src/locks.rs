//! Locks: they limit how many executions of an action or of a rule may be open at once.

mod claim;
pub mod facts;
pub(crate) mod react;
pub mod state;

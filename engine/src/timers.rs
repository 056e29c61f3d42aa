//! Timers: moments that the state waits for.

pub mod decide;
pub mod facts;
pub mod kind;
pub mod react;
pub(crate) mod set;
pub mod state;

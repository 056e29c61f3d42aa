//! Flow control: which matches of a rule are acted on, and when.
//!
//! What each flow control makes of a match is `walk.rs`'s, a pure function of what is kept; read `facts.rs`, `state.rs`, `walk.rs`, `react.rs`.

mod ends;
pub mod facts;
pub mod keys;
pub(crate) mod react;
pub mod state;
mod walk;

pub(crate) use ends::{at_start, follow};

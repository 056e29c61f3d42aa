//! Flow control: which matches of a rule are acted on, and when.
//!
//! `walk.rs` decides what each flow control makes of a match, as a pure function of the kept state. Read in
//! this order: `facts.rs`, `state.rs`, `walk.rs`, `react.rs`.

mod ends;
pub mod facts;
pub mod match_keys;
pub(crate) mod react;
pub mod state;
mod walk;

pub(crate) use ends::{at_start, follow};

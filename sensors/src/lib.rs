//! Sensors: they turn authenticated input from outside into events.
//!
//! [`webhook`] makes events of deliveries, and [`signatures`] checks their senders. [`pulled`] makes events of the
//! [messages](message) that the node fetches. Nothing here opens a
//! socket, reads a clock or looks up a key: everything needed is passed as an argument.

pub mod message;
pub mod pulled;
mod schemes;
pub mod signatures;
pub mod webhook;

pub use signatures::{KEY_BYTES_MIN, SignatureRefusal};
pub use webhook::{Emitted, HookRefusal, Outgoing, Stage, compose, receive};

//! Sensors: they turn what happens outside into events, checked and unforged.
//!
//! [`webhook`] makes events of deliveries, [`signatures`] proves who sent them. Nothing here opens a socket, reads a clock or
//! looks up a key: what is needed comes in as an argument.

pub mod signatures;
pub mod webhook;

pub use signatures::{KEY_BYTES_MIN, SignatureRefusal};
pub use webhook::{Emitted, HookRefusal, Outgoing, Stage, compose, receive};

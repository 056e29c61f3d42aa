//! Sensors: they turn authenticated input from outside into events.
//!
//! [`webhook`] makes events of deliveries, [`signatures`] and [`sns`] check their senders, and [`replies`] renders what senders
//! get back. [`pulled`] makes events of the [messages](message) that the node fetches. Nothing here opens a
//! socket, reads a clock or looks up a key: everything needed is passed as an argument.

mod bodies;
mod composing;
mod delivery_headers;
mod forms;
mod handshakes;
mod limits;
pub mod message;
pub mod pulled_messages;
pub mod refusal;
pub mod replies;
mod schemes;
pub mod signatures;
pub mod sns;
pub mod webhook;

pub use limits::{FIELDS_MAX, FILE_BYTES_MAX, UNPACKED_TIMES_MAX};
pub use refusal::{HookRefusal, Stage};
pub use signatures::{KEY_BYTES_MIN, SignatureRefusal};
pub use webhook::{EmittedEvent, Outgoing, ReceiveOutcome, compose, receive};

//! Connectors: they pull messages out of programs, servers and folders.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | [`source`] | the trait behind which each source is |
//! | [`world`] | the ports through which sources reach what is outside |
//! | [`error`] | why a source cannot go on |
//! | `connect` | the sources by kind |
//! | `process`, `poll`, `file` | one source each |
//! | `lines` | bytes split into lines |
//!
//! A connector does not know the log: the node commits the events of a message, and then reports to the source that
//! the message is settled. `ensue-sensors` makes events of messages.

mod base85;
mod connect;
pub mod error;
mod file;
mod line_reader;
mod poll;
mod process;
pub mod source;
pub mod world;

use std::future::Future;
use std::pin::Pin;

pub use connect::{Connectors, CursorMisfit, check_cursor};
pub use ensue_sensors::message::{Body, Lag, MESSAGE_BYTES_MAX, Message, Room, Token};
pub use error::{SensorErrorKind, SourceError};
pub use source::{Connect, Guarantee, MessageSource, PullOutcome};
pub use world::{SourcePurpose, World};

/// A future that a source or a port returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

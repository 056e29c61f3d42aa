//! How the messages of a pulling sensor are read, and what happens to those that cannot be read.

use std::time::Duration;

use crate::catalog::{Schema, TextDecoding};

/// The greatest limit of messages that may be refused within a period.
pub const POISON_MAX: u32 = 10_000;

/// How the messages of a sensor are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The form of a message's body.
    pub decode: Decode,
    /// How a message becomes text.
    pub text_decoding: TextDecoding,
    /// The schema that each message must fit, if its author declares one.
    pub schema: Option<Schema>,
    /// How many messages may be refused, with none that is accepted, before the sensor is shown as failing.
    pub poison: PoisonLimit,
    /// What happens to a message that cannot be read.
    pub on_poison: OnPoison,
}

/// The form of a message's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decode {
    /// One JSON value.
    #[default]
    Json,
    /// Text.
    Text,
}

/// What happens to a message that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPoison {
    /// It becomes a dead letter, and the sensor continues.
    #[default]
    Letter,
    /// The sensor fails, and the message stays where it is.
    Stop,
}

/// How many messages may be refused within a period in which none is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonLimit {
    /// The number of messages, at most [`POISON_MAX`].
    pub limit: u32,
    /// The period.
    pub per: Duration,
}

impl Default for PoisonLimit {
    fn default() -> Self {
        Self { limit: 100, per: Duration::from_secs(60) }
    }
}

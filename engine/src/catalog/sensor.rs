//! Sensors: where events come from, how deliveries are verified, and which events they create.

use std::sync::Arc;

use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::names::{KeyRef, SensorRef, TriggerRef};
use crate::schedule::plan::Plan;

/// Watches something outside and emits events.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// Its ref.
    pub name: SensorRef,
    /// Its purpose.
    pub description: String,
    /// What it watches.
    pub source: Source,
    /// The events that it can create; each one that matches creates an event.
    pub emits: Vec<Emit>,
    /// The configuration of its pack: an object.
    pub config: Arc<Value>,
}

/// What a sensor watches.
#[derive(Clone, Debug)]
pub enum Source {
    /// Deliveries at `/hooks/<pack>/<sensor>`.
    Webhook {
        /// How deliveries are verified.
        verify: Verify,
        /// What happens to repeats of a signed body.
        repeats: Repeats,
    },
    /// A schedule.
    Timer {
        /// When it is due.
        schedule: Arc<Plan>,
    },
}

impl Source {
    /// Returns how deliveries are verified, or `None` if the sensor takes no deliveries.
    pub fn webhook(&self) -> Option<&Verify> {
        match self {
            Self::Webhook { verify, .. } => Some(verify),
            Self::Timer { .. } => None,
        }
    }

    /// Returns true if a body that was accepted creates no event again, whatever its headers are: only the
    /// body is signed.
    pub fn drops_repeats(&self) -> bool {
        match self {
            Self::Webhook { verify, repeats } => verify.key().is_some() && *repeats == Repeats::Drop,
            Self::Timer { .. } => false,
        }
    }
}

/// The minimum size in bytes of a key that verifies deliveries. A shorter key can be guessed, and with an
/// empty key anybody can sign.
pub const KEY_BYTES_MIN: usize = 16;

/// What happens to a signed body that is delivered again within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// It gets the same answer as the first delivery, and creates no event.
    #[default]
    Drop,
    /// It creates events again, unless its key was seen.
    Allow,
}

/// How deliveries are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// With GitHub's signature: `X-Hub-Signature-256: sha256=<hex>` over the raw body.
    Github {
        /// The shared secret.
        key: KeyRef,
    },
    /// With a MAC of the raw body in a header.
    Hmac(HmacVerify),
    /// Not at all: anybody may deliver.
    None,
}

impl Verify {
    /// Returns the key that verifies deliveries, or `None` if anybody may deliver.
    pub fn key(&self) -> Option<&KeyRef> {
        match self {
            Self::Github { key } => Some(key),
            Self::Hmac(hmac) => Some(&hmac.key),
            Self::None => None,
        }
    }
}

/// The parameters of a MAC over the raw body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacVerify {
    /// The shared secret.
    pub key: KeyRef,
    /// The header with the signature, in lower case.
    pub header: String,
    /// The hash algorithm.
    pub algorithm: HmacAlgorithm,
    /// How the signature is encoded.
    pub encoding: SignatureEncoding,
    /// The text before the signature in the header.
    pub prefix: String,
}

/// The hash algorithm of a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64 with padding, RFC 4648 §4.
    Base64,
}

/// An event that a delivery may create.
#[derive(Clone, Debug)]
pub struct Emit {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its condition; `None` means always.
    pub when: Option<Expression>,
    /// The key under which it is accepted once within 24 hours; `None` means that each one is accepted.
    pub dedupe: Option<Expression>,
    /// Its payload; `None` means the body of the delivery, byte for byte.
    pub payload: Option<Template>,
}

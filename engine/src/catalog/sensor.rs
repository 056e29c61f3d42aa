//! Sensors: where events come from, how a delivery proves who sent it, and which events it makes.

use std::sync::Arc;

use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::names::{KeyRef, SensorRef, TriggerRef};
use crate::schedule::plan::Plan;

/// What watches the world and emits events.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// Its ref.
    pub name: SensorRef,
    /// What it is for.
    pub description: String,
    /// What it watches.
    pub source: Source,
    /// The events it makes; each that fits makes one.
    pub emits: Vec<Emit>,
    /// Its pack's configuration: an object.
    pub config: Arc<Value>,
}

/// What a sensor watches.
#[derive(Clone, Debug)]
pub enum Source {
    /// Deliveries at `/hooks/<pack>/<sensor>`.
    Webhook {
        /// How a delivery proves who sent it.
        verify: Verify,
        /// What becomes of a signed body that comes again.
        repeats: Repeats,
    },
    /// The time.
    Timer {
        /// When it is due.
        schedule: Arc<Plan>,
    },
}

impl Source {
    /// Gives how a delivery proves who sent it; none where there are no deliveries.
    pub fn webhook(&self) -> Option<&Verify> {
        match self {
            Self::Webhook { verify, .. } => Some(verify),
            Self::Timer { .. } => None,
        }
    }

    /// Returns true where a body that was accepted makes no event again, whatever comes with it: what is signed is the body alone.
    pub fn drops_repeats(&self) -> bool {
        match self {
            Self::Webhook { verify, repeats } => verify.key().is_some() && *repeats == Repeats::Drop,
            Self::Timer { .. } => false,
        }
    }
}

/// The fewest bytes of a key that verifies deliveries. A shorter key can be guessed, and with an empty key anybody can sign.
pub const KEY_BYTES_MIN: usize = 16;

/// What becomes of a signed body that comes again within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// It is answered as the first one was, and makes no event.
    #[default]
    Drop,
    /// It makes events again, unless its key was seen.
    Allow,
}

/// How a delivery proves who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// As GitHub signs: `X-Hub-Signature-256: sha256=<hex>` over the raw body.
    Github {
        /// The shared secret.
        key: KeyRef,
    },
    /// A MAC over the raw body in a header.
    Hmac(HmacVerify),
    /// Not at all: anybody may deliver.
    None,
}

impl Verify {
    /// Gives the key that deliveries are verified with; none where anybody may deliver.
    pub fn key(&self) -> Option<&KeyRef> {
        match self {
            Self::Github { key } => Some(key),
            Self::Hmac(hmac) => Some(&hmac.key),
            Self::None => None,
        }
    }
}

/// A MAC over the raw body, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacVerify {
    /// The shared secret.
    pub key: KeyRef,
    /// The header that carries the signature, in lower case.
    pub header: String,
    /// The hash.
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    pub encoding: SignatureEncoding,
    /// What stands before it in the header.
    pub prefix: String,
}

/// The hash of a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64 with padding, RFC 4648 §4.
    Base64,
}

/// An event that a delivery may make.
#[derive(Clone, Debug)]
pub struct Emit {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// What must hold for it; none means always.
    pub when: Option<Expression>,
    /// The key under which it is accepted once within 24 hours; none means each is accepted.
    pub dedupe: Option<Expression>,
    /// Its payload; none means the body as it came, byte for byte.
    pub payload: Option<Template>,
}

//! Logins of terminals that a person approves elsewhere (the device grant, RFC 8628).

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::ids::LinkId;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;

use super::{LoginOf, PortError, RedeemedCode, SessionEnds};

/// The terminals that wait for approval. All methods are quick.
pub trait Devices: Send + Sync {
    /// Returns true if terminals may log in this way.
    fn are_allowed(&self) -> bool;
    /// Begins a login.
    fn begin(&self, terminal: WaitingDevice) -> Result<BegunDevice, PortError>;
    /// Returns whose rights the session of a terminal has, once after its approval; until then, what it has to wait for.
    fn poll(&self, device_code: &Secret) -> Result<RedeemedCode, PortError>;
    /// Returns the terminal of a code that `by` typed.
    fn look_up(&self, user_code: &str, by: &str) -> Result<WaitingDevice, CodeNotFound>;
    /// Decides about the terminal of a code that `by` typed.
    fn decide(&self, user_code: &str, by: &str, decision: DeviceDecision) -> Result<(), CodeNotFound>;
}

/// A terminal that asks for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDevice {
    /// The address that it comes from.
    pub address: Option<IpAddr>,
    /// The program, in a few words.
    pub agent: String,
    /// When it asked.
    pub asked_at: Timestamp,
}

/// A login of a terminal that has begun.
pub struct BegunDevice {
    /// The code with which the terminal asks.
    pub device_code: Secret,
    /// The code that a person types.
    pub user_code: String,
    /// How long both are valid.
    pub valid_for: Duration,
    /// The time between two questions of the terminal.
    pub interval: Duration,
}

/// What a person decides about a terminal.
#[derive(Clone, Debug)]
pub enum DeviceDecision {
    /// It gets a session.
    Approve {
        /// Whose rights the session has.
        of: LoginOf,
        /// The login link that opened the session of whoever approves.
        link: Option<LinkId>,
        /// What ends it before its own time is over.
        ends: SessionEnds,
    },
    /// It gets none.
    Deny,
}

/// Why there is no terminal for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeNotFound {
    /// No terminal waits under this code.
    Unknown,
    /// There were too many wrong codes.
    TooManyWrong {
        /// When the next one is accepted.
        free_in: Duration,
    },
}

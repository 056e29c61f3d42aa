//! Logins of terminals that a person approves elsewhere (RFC 8628).

use std::net::IpAddr;

use ensue_derive::wire;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::sessions::GivenSecret;
use crate::ports::WaitingDevice;

/// A login of a terminal that has begun.
#[wire(Serialize)]
pub(crate) struct WireBegunDevice<'d> {
    /// What the terminal sends to ask for its session.
    pub(crate) device_code: &'d str,
    /// What a person types at `verification_uri`.
    pub(crate) user_code: &'d str,
    pub(crate) verification_uri: String,
    /// For how many seconds the codes are valid.
    pub(crate) expires_in: u64,
    /// How many seconds the terminal waits before it asks again.
    pub(crate) interval: u64,
}

/// The question of a terminal for its session.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WirePolledDevice {
    #[schemars(with = "String")]
    pub(crate) device_code: GivenSecret,
}

/// The code of a terminal.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireUserCode {
    pub(crate) user_code: String,
}

/// A terminal that waits.
#[wire(Serialize)]
pub(crate) struct WireWaitingDevice {
    /// The address that it comes from.
    address: Option<IpAddr>,
    /// The program, in a few words.
    agent: String,
    asked_at: Timestamp,
}

impl From<WaitingDevice> for WireWaitingDevice {
    fn from(WaitingDevice { address, agent, asked_at }: WaitingDevice) -> Self {
        Self { address, agent, asked_at }
    }
}

/// A decision about a terminal.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireDeviceDecision {
    pub(crate) user_code: String,
    pub(crate) decision: WireDeviceAnswer,
}

/// What is decided.
#[wire(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireDeviceAnswer {
    /// The terminal gets a session with the rights of the caller.
    Approve,
    /// It gets none.
    Deny,
}

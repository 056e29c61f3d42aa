//! Keys over time: how a value is replaced, how long the value before it is accepted, when it expires, and
//! who saw it.

pub(crate) mod decide;
pub mod facts;
pub mod state;

use crate::time::Timestamp;

/// The maximum time for which the value before a rotation is accepted, in milliseconds: 30 days.
pub const OVERLAP_MILLIS_MAX: u64 = 30 * 24 * 3_600_000;

/// How long before its expiry a value is reported, in milliseconds: 14 days.
pub const WARNED_BEFORE_MILLIS: u64 = 14 * 24 * 3_600_000;

/// Returns when the expiry of a value is reported.
pub fn warned_at(expires_at: Timestamp) -> Timestamp {
    expires_at.minus_millis(WARNED_BEFORE_MILLIS)
}

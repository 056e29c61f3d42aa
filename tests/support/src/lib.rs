//! What tests of several crates share. It depends on the engine alone, so that every crate can use it.
//!
//! [`spec`] runs scenarios on the core; [`story`] and [`records`] write logs by hand, and [`single`] makes
//! records without a log; [`faulty_log`] makes any log fail as planned.

#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up is a failed test")]

pub mod faulty_log;
pub mod records;
pub mod single;
pub mod spec;
pub mod story;

use ensue_engine::time::Timestamp;

/// 28 March 2026, noon in UTC: the time at which scenarios and logs begin.
pub const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

//! Tests of the ways in, on simulated time.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

mod bearer;
mod browser;
mod front;
mod issuer_keys;
mod known_answers;
mod logout;
mod one_time;
#[path = "../../../tests/support/provider.rs"]
mod openid;
mod passwords;
mod provider;
mod refresh;
mod senders;
mod settings;
#[path = "../../../tests/support/skipped.rs"]
mod skipped;
mod support;
mod throttle;

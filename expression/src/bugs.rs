//! A bug on purpose, so that it can be shown what a bug in evaluating one rule does to the others: nothing.
//!
//! It is there where the feature `bugs` is on and [`plant`] was called, both of which only the simulator does: the feature alone changes
//! nothing, as cargo builds a crate once for all that are built together, with the features of all of them.

#[cfg(feature = "bugs")]
use std::sync::atomic::{AtomicBool, Ordering};

/// The field whose reading stops the evaluation, where the bug is there.
pub const BUGGY_FIELD: &str = "simulated_bug";

#[cfg(feature = "bugs")]
static IS_PLANTED: AtomicBool = AtomicBool::new(false);

/// What the bug panics with.
#[derive(Clone, Copy, Debug)]
pub struct BugOnPurpose;

/// Puts the bug into this process, for as long as it lives.
#[cfg(feature = "bugs")]
pub fn plant() {
    IS_PLANTED.store(true, Ordering::Relaxed);
}

/// Has the bug strike where it is there and this is its field.
#[cfg(feature = "bugs")]
pub(crate) fn strike(field: &str) {
    if field == BUGGY_FIELD && IS_PLANTED.load(Ordering::Relaxed) {
        std::panic::panic_any(BugOnPurpose);
    }
}

/// Has no bug strike.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub(crate) const fn strike(_: &str) {}
